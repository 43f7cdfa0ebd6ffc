#pragma once

#include <string>
#include <vector>

#include "densegrad/files.hpp"
#include "files/json.hpp"
#include "files/lowering.hpp"

namespace densegrad {

/// A model as its description has it, without its numbers.
struct ModelDescription {
  Plan plan;
  std::vector<NamedSlot> slots;
  std::string dtype;  // "float32" or "float64"
  std::vector<Columns> inputs, outputs;
};

/// The model that a file's description means. Throws std::invalid_argument where it means none.
ModelDescription describe(const Json& description);

}  // namespace densegrad
