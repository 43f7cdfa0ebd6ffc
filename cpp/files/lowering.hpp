#pragma once

#include <map>
#include <string>
#include <vector>

#include "densegrad/plan.hpp"
#include "files/json.hpp"

namespace densegrad {

/// An array of parameters that a model has: its name and shape, and where it lies in the flat buffer.
struct NamedSlot {
  std::string name;
  std::vector<Size> shape;
  Slot slot;
};

/// Collects a plan's nodes while layers lower themselves one after the other, as plan.py's PlanBuilder does; the two
/// make the same nodes, buffers and slots in the same order.
class PlanBuilder {
 public:
  /// Dropout draws by `noise_seed`.
  PlanBuilder(Size input_size, double noise_seed);

  Size width(Size buffer) const { return plan_.widths[static_cast<std::size_t>(buffer)]; }
  const std::vector<Node>& nodes() const { return plan_.nodes; }
  const std::vector<NamedSlot>& slots() const { return slots_; }

  /// The next free place of the flat buffer, or the one that this name has already. `penalized` has its l1 and l2.
  Slot slot(const std::string& name, const std::vector<Size>& shape, bool trainable, const Slot& penalized = {});

  /// The output buffer of a new node.
  Size node(const std::string& primitive, const std::vector<Size>& inputs, Size width,
            const std::vector<Slot>& slots = {}, const Attributes& attributes = {});

  /// Of several buffers side by side; one stays as it is.
  Size concatenate(const std::vector<Size>& buffers);

  /// Of a dropout with noise that no other node draws.
  Size dropout(Size x, double rate);

  /// The plan so far, with its output.
  Plan plan(Size output) const;

 private:
  Plan plan_;
  std::vector<NamedSlot> slots_;
  std::map<std::string, std::size_t> places_;  // in slots_
  double noise_seed_ = 0;
  double streams_ = 0;
};

/// Appends the nodes of a layer that a file describes behind buffer x; gives its output buffer. `path` begins the names
/// of its arrays.
Size lower_layer(PlanBuilder& builder, Size x, const std::string& path, const Json& described);

}  // namespace densegrad
