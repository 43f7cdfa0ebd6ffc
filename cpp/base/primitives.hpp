#pragma once

// What the library knows of each primitive, expanded from primitives.def.

#include <map>
#include <string>
#include <vector>

#include "densegrad/types.hpp"

namespace densegrad {

enum class Activation {
#define DENSEGRAD_ACTIVATION(name, ...) name,
#include "base/primitives.def"
};

enum class LossKind {
#define DENSEGRAD_LOSS(name, ...) name,
#include "base/primitives.def"
};

enum class OptimizerKind {
#define DENSEGRAD_OPTIMIZER(name, ...) name,
#include "base/primitives.def"
};

struct Attribute {
  const char* name;
  double fallback;
  double low;
  double high;
};

/// One row of the table, with the columns that do not concern its kind left empty.
struct PrimitiveRow {
  const char* name;
  const char* kind;
  const char* reads;
  int ulp;
  bool by_row;
  const char* init;  // the scheme for initial weights before it
  const char* target;
  int predictions;  // numbers of a prediction for each one of a target
  int state;
  std::vector<Attribute> attributes;
};

/// All rows, in the table's order.
const std::vector<PrimitiveRow>& primitives();

/// The row of a name; throws std::invalid_argument where there is none of that kind.
const PrimitiveRow& find_primitive(const std::string& kind, const std::string& name);

/// What the numbers of a target are.
enum class TargetKind { values, counts, probabilities, classes };

/// What a loss asks of its targets, and how many columns they have; of classes, as many as there are classes.
struct TargetRule {
  TargetKind kind = TargetKind::values;
  Size width = 0;
};

/// The rule for a prediction of so many columns. Throws std::invalid_argument for a loss that is not known, or where it
/// cannot share them out.
TargetRule target_rule(const std::string& loss, Size prediction_width);

Activation activation_named(const std::string& name);
LossKind loss_named(const std::string& name);
OptimizerKind optimizer_named(const std::string& name);

/// The values of a primitive's attributes in the table's order, defaults where `given` has none.
std::vector<double> attribute_values(const PrimitiveRow& row, const std::map<std::string, double>& given);

}  // namespace densegrad
