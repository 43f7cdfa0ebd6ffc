#include "network/stages.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>

#include "network/loss_terms.hpp"

namespace densegrad {
namespace {

constexpr Size kLargestWidth = std::numeric_limits<std::int32_t>::max();  // so that in * out fits a Size

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("Network: " + what); }

std::string shape_of(Size rows, Size columns) {
  return "(" + std::to_string(rows) + ", " + std::to_string(columns) + ")";
}

bool is_layer(const Node& node) {
  const std::vector<PrimitiveRow>& rows = primitives();
  return std::any_of(rows.begin(), rows.end(), [&](const PrimitiveRow& row) {
    return node.primitive == row.name && row.kind == std::string("layer");
  });
}

StageKind kind_of(const Node& node) {
  if (!is_layer(node)) return StageKind::activation;
  int position = 1;
  for (const PrimitiveRow& row : primitives()) {
    if (row.kind != std::string("layer")) continue;
    if (row.name == node.primitive) break;
    ++position;
  }
  return static_cast<StageKind>(position);
}

// Parameters of a node: so many rows and columns each, the last of them only perhaps.
struct Expected {
  std::vector<Size> rows;
  Size columns;
  std::size_t least;
};

Expected expected_slots(StageKind kind, Size in, Size out) {
  switch (kind) {
    case StageKind::dense:
      return {{in, 1}, out, 1};
    case StageKind::standardize:
    case StageKind::layer_norm:
      return {{1, 1}, out, 2};
    case StageKind::batch_norm:
      return {{1, 1, 1, 1}, out, 4};
    case StageKind::prelu:
    case StageKind::learned_swish:
      return {{1}, out, 1};
    default:
      return {{}, out, 0};
  }
}

void check_slots(const Plan& plan, const Node& node, StageKind kind) {
  const Expected expected = expected_slots(kind, plan.widths[node.inputs[0]], plan.widths[node.output]);
  if (node.slots.size() < expected.least || node.slots.size() > expected.rows.size()) {
    refuse("expected " + std::to_string(expected.rows.size()) + " arrays of parameters for " + node.primitive +
           ", got " + std::to_string(node.slots.size()));
  }
  const bool may_share = kind == StageKind::prelu || kind == StageKind::learned_swish;
  for (std::size_t i = 0; i < node.slots.size(); ++i) {
    const Slot& slot = node.slots[i];
    const bool shared = may_share && slot.rows == 1 && slot.columns == 1;
    if (!shared && (slot.rows != expected.rows[i] || slot.columns != expected.columns)) {
      refuse("expected a slot of shape " + shape_of(expected.rows[i], expected.columns) + ", got " +
             shape_of(slot.rows, slot.columns));
    }
    if (slot.offset < 0 || slot.offset > plan.parameter_count - slot.size()) {
      refuse("a slot lies outside the " + std::to_string(plan.parameter_count) + " parameters");
    }
  }
}

void check_width(const Plan& plan, const Node& node, StageKind kind) {
  const auto width = [&](Size buffer) { return plan.widths[static_cast<std::size_t>(buffer)]; };
  const Size out = width(node.output);
  if (kind == StageKind::concatenate && out != width(node.inputs[0]) + width(node.inputs[1])) {
    refuse("expected concatenate to give the " + std::to_string(width(node.inputs[0])) + " + " +
           std::to_string(width(node.inputs[1])) + " columns of its inputs, got " + std::to_string(out));
  }
  if (kind == StageKind::columns) {
    const double first = attribute_values(find_primitive("layer", node.primitive), node.attributes)[0];
    if (!(first >= 0 && first <= static_cast<double>(width(node.inputs[0]) - out))) {
      refuse("expected columns to take its " + std::to_string(out) + " from " + std::to_string(width(node.inputs[0])));
    }
  }
  if (!keeps_width(kind)) return;
  for (const Size input : node.inputs) {
    if (width(input) != out) {
      refuse("expected " + node.primitive + " to keep the width " + std::to_string(width(input)) + ", got " +
             std::to_string(out));
    }
  }
}

// written: which buffers hold something when the node runs
void check_node(const Plan& plan, const Node& node, std::vector<bool>& written) {
  const StageKind kind = kind_of(node);
  const Size buffers = static_cast<Size>(plan.widths.size());
  const std::size_t inputs = kind == StageKind::add || kind == StageKind::concatenate ? 2 : 1;
  if (node.inputs.size() != inputs) {
    refuse("expected " + std::to_string(inputs) + " inputs for " + node.primitive + ", got " +
           std::to_string(node.inputs.size()));
  }
  for (const Size input : node.inputs) {
    if (input < 0 || input >= buffers || !written[static_cast<std::size_t>(input)]) {
      refuse("expected each node to read the input or what a node before it gives");
    }
  }
  if (node.output < 0 || node.output >= buffers) refuse("a node writes a buffer that is not there");
  if (written[static_cast<std::size_t>(node.output)])
    refuse("two nodes write the buffer " + std::to_string(node.output));
  written[static_cast<std::size_t>(node.output)] = true;
  check_width(plan, node, kind);
  check_slots(plan, node, kind);
}

// Nodes share a slot as it is, or not at all.
void check_sharing(const Plan& plan) {
  std::vector<Slot> slots;
  for (const Node& node : plan.nodes) slots.insert(slots.end(), node.slots.begin(), node.slots.end());
  std::sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) { return a.offset < b.offset; });
  for (std::size_t i = 1; i < slots.size(); ++i) {
    const Slot &a = slots[i - 1], &b = slots[i];
    const bool same = a.offset == b.offset && a.rows == b.rows && a.columns == b.columns && a.trainable == b.trainable;
    if (!same && a.offset + a.size() > b.offset) {
      refuse("expected slots that are the same or lie apart, got two that overlap at " + std::to_string(b.offset));
    }
  }
}

Stage make_stage(const Node& node) {
  Stage stage;
  stage.kind = kind_of(node);
  stage.sources = node.inputs;
  stage.target = node.output;
  stage.z = stage.kind == StageKind::activation ? node.inputs[0] : node.output;
  stage.slots = node.slots;
  if (stage.kind != StageKind::activation) {
    stage.attributes = attribute_values(find_primitive("layer", node.primitive), node.attributes);
    return stage;
  }
  const PrimitiveRow& row = find_primitive("activation", node.primitive);
  stage.activation = activation_named(node.primitive);
  stage.by_row = row.by_row;
  stage.reads_z = std::strchr(row.reads, 'z') != nullptr;
  stage.reads_y = std::strchr(row.reads, 'y') != nullptr;
  stage.activation_attributes = attribute_values(row, node.attributes);
  return stage;
}

bool read_once(const Plan& plan, Size buffer) {
  Size readers = buffer == plan.output || (plan.has_loss() && buffer == plan.prediction) ? 1 : 0;
  for (const Node& node : plan.nodes) readers += std::count(node.inputs.begin(), node.inputs.end(), buffer);
  return readers == 1;
}

// An elementwise activation can be applied to z while it is hot.
bool can_fuse(const Plan& plan, const Stage& before, const Node& node) {
  if (!before.dense() || before.activation != Activation::identity || is_layer(node)) return false;
  if (before.target != node.inputs[0] || !read_once(plan, before.target)) return false;
  return !find_primitive("activation", node.primitive).by_row;
}

void fuse(Stage& dense, const Stage& activation) {
  dense.target = activation.target;
  dense.z = activation.reads_z ? activation.z : activation.target;
  dense.activation = activation.activation;
  dense.reads_z = activation.reads_z;
  dense.reads_y = activation.reads_y;
  dense.activation_attributes = activation.activation_attributes;
}

}  // namespace

bool Stage::trainable() const {
  return std::any_of(slots.begin(), slots.end(), [](const Slot& slot) { return slot.trainable && slot.size() > 0; });
}

bool keeps_width(StageKind kind) {
  return kind != StageKind::dense && kind != StageKind::concatenate && kind != StageKind::columns;
}

std::vector<Stage> make_stages(const Plan& plan) {
  const Size buffers = static_cast<Size>(plan.widths.size());
  if (plan.input < 0 || plan.input >= buffers) refuse("the input is not a buffer");
  for (const Size width : plan.widths) {
    if (width < 1 || width > kLargestWidth) {
      refuse("expected widths from 1 to " + std::to_string(kLargestWidth) + ", got " + std::to_string(width));
    }
  }
  std::vector<bool> written(plan.widths.size());
  written[static_cast<std::size_t>(plan.input)] = true;
  std::vector<Stage> stages;
  for (const Node& node : plan.nodes) {
    check_node(plan, node, written);
    if (!stages.empty() && can_fuse(plan, stages.back(), node)) {
      fuse(stages.back(), make_stage(node));
    } else {
      stages.push_back(make_stage(node));
    }
  }
  if (stages.empty()) refuse("expected at least one node");
  check_sharing(plan);
  stages_for(stages, plan, plan.output);
  if (plan.has_loss()) {
    stages_for(stages, plan, plan.prediction);
    loss_terms(plan);
  }
  if (plan.optimizer) find_primitive("optimizer", plan.optimizer.primitive);
  return stages;
}

Stages stages_for(const std::vector<Stage>& stages, const Plan& plan, Size buffer) {
  std::vector<bool> needed(plan.widths.size());
  Stages found;
  const bool inside = buffer >= 0 && buffer < static_cast<Size>(needed.size());
  if (inside) needed[static_cast<std::size_t>(buffer)] = true;
  for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage) {
    if (!needed[static_cast<std::size_t>(stage->target)]) continue;
    found.push_back(&*stage);
    for (const Size source : stage->sources) needed[static_cast<std::size_t>(source)] = true;
  }
  if (found.empty() ? buffer != plan.input : found.front()->target != buffer) {
    refuse("no node gives the buffer " + std::to_string(buffer));
  }
  std::reverse(found.begin(), found.end());
  return found;
}

TrainableSlots trainable_slots(const Plan& plan) {
  TrainableSlots found;
  std::set<Size> offsets;
  for (const Node& node : plan.nodes) {
    for (const Slot& slot : node.slots) {
      if (!slot.trainable) continue;
      const bool first = offsets.insert(slot.offset).second;
      found.shared |= !first;
      if (first) found.slots.push_back(slot);
    }
  }
  return found;
}

std::vector<Span> trainable_spans(const Plan& plan) {
  std::vector<Span> spans;
  for (const Slot& slot : trainable_slots(plan).slots) {
    if (!spans.empty() && spans.back().offset + spans.back().size == slot.offset) {
      spans.back().size += slot.size();
    } else {
      spans.push_back({slot.offset, slot.size()});
    }
  }
  return spans;
}

}  // namespace densegrad
