#include "network/stages.hpp"

#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace densegrad {
namespace {

constexpr Size kLargestWidth = std::numeric_limits<std::int32_t>::max();  // so that in * out fits a Size

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("Network: " + what); }

void check_slot(const Plan& plan, const Slot& slot, Size rows, Size columns) {
  if (slot.rows != rows || slot.columns != columns) {
    refuse("expected a slot of shape (" + std::to_string(rows) + ", " + std::to_string(columns) + "), got (" +
           std::to_string(slot.rows) + ", " + std::to_string(slot.columns) + ")");
  }
  if (slot.offset < 0 || slot.offset > plan.parameter_count - slot.size()) {
    refuse("a slot lies outside the " + std::to_string(plan.parameter_count) + " parameters");
  }
}

void check_node(const Plan& plan, const Node& node, Size source) {
  const Size buffers = static_cast<Size>(plan.widths.size());
  if (node.inputs.size() != 1 || node.inputs[0] != source) refuse("expected each node to read the one before it");
  if (node.output <= source || node.output >= buffers) refuse("a node writes a buffer that is not there");
  const Size in = plan.widths[source], out = plan.widths[node.output];
  if (node.primitive != "dense") {
    if (in != out) refuse("expected an activation to keep the width");
    return;
  }
  if (node.slots.empty() || node.slots.size() > 2) refuse("expected a dense node to have w, and perhaps b");
  check_slot(plan, node.slots[0], in, out);
  if (node.slots.size() == 2) check_slot(plan, node.slots[1], 1, out);
}

Stage make_stage(const Node& node, Size source) {
  Stage stage;
  stage.source = source;
  stage.z = node.primitive == "dense" ? node.output : source;
  stage.target = node.output;
  if (node.primitive == "dense") {
    stage.dense = true;
    stage.w = node.slots[0];
    if (node.slots.size() == 2) stage.b = node.slots[1];
    return stage;
  }
  const PrimitiveRow& row = find_primitive("activation", node.primitive);
  stage.activation = activation_named(node.primitive);
  stage.by_row = row.by_row;
  stage.reads_z = std::strchr(row.reads, 'z') != nullptr;
  stage.reads_y = std::strchr(row.reads, 'y') != nullptr;
  stage.attributes = attribute_values(row, node.attributes);
  return stage;
}

// An elementwise activation can be applied to z while it is hot.
bool can_fuse(const Plan& plan, const Stage& before, const Node& node) {
  if (!before.dense || before.activation != Activation::identity || node.primitive == "dense") return false;
  if (before.target == plan.output || (plan.loss && before.target == plan.prediction)) return false;
  return !find_primitive("activation", node.primitive).by_row;
}

void fuse(Stage& dense, const Stage& activation) {
  dense.target = activation.target;
  dense.z = activation.reads_z ? activation.z : activation.target;
  dense.activation = activation.activation;
  dense.reads_z = activation.reads_z;
  dense.reads_y = activation.reads_y;
  dense.attributes = activation.attributes;
}

}  // namespace

std::vector<Stage> make_stages(const Plan& plan) {
  const Size buffers = static_cast<Size>(plan.widths.size());
  if (plan.input < 0 || plan.input >= buffers) refuse("the input is not a buffer");
  for (const Size width : plan.widths) {
    if (width < 1 || width > kLargestWidth) {
      refuse("expected widths from 1 to " + std::to_string(kLargestWidth) + ", got " + std::to_string(width));
    }
  }
  std::vector<Stage> stages;
  Size last = plan.input;
  for (const Node& node : plan.nodes) {
    check_node(plan, node, last);
    last = node.output;
    if (!stages.empty() && can_fuse(plan, stages.back(), node)) {
      fuse(stages.back(), make_stage(node, stages.back().target));
    } else {
      stages.push_back(make_stage(node, node.inputs[0]));
    }
  }
  if (stages.empty()) refuse("expected at least one node");
  stages_until(stages, plan, plan.output);
  if (plan.loss) {
    find_primitive("loss", plan.loss.primitive);
    stages_until(stages, plan, plan.prediction);
  }
  if (plan.optimizer) find_primitive("optimizer", plan.optimizer.primitive);
  return stages;
}

std::size_t stages_until(const std::vector<Stage>& stages, const Plan& plan, Size buffer) {
  if (buffer == plan.input) return 0;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    if (stages[i].target == buffer) return i + 1;
  }
  refuse("no node gives the buffer " + std::to_string(buffer));
}

std::vector<Span> trainable_spans(const Plan& plan) {
  std::vector<Span> spans;
  for (const Node& node : plan.nodes) {
    for (const Slot& slot : node.slots) {
      if (!slot.trainable) continue;
      if (!spans.empty() && spans.back().offset + spans.back().size == slot.offset) {
        spans.back().size += slot.size();
      } else {
        spans.push_back({slot.offset, slot.size()});
      }
    }
  }
  return spans;
}

}  // namespace densegrad
