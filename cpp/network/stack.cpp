#include <utility>

#include "densegrad/plan.hpp"

namespace densegrad {
namespace {

void append(Plan& plan, Node node, Size width) {
  node.inputs = {plan.output};
  node.output = static_cast<Size>(plan.widths.size());
  plan.widths.push_back(width);
  plan.output = node.output;
  plan.nodes.push_back(std::move(node));
}

Slot take(Plan& plan, Size rows, Size columns) {
  const Slot slot{plan.parameter_count, rows, columns};
  plan.parameter_count += slot.size();
  return slot;
}

}  // namespace

Plan stack(Size inputs, const std::vector<Layer>& layers, PrimitiveSpec loss, PrimitiveSpec optimizer) {
  Plan plan;
  plan.widths = {inputs};
  for (const Layer& layer : layers) {
    Node dense;
    dense.primitive = "dense";
    dense.slots = {take(plan, plan.widths.back(), layer.units)};
    if (layer.bias) dense.slots.push_back(take(plan, 1, layer.units));
    append(plan, std::move(dense), layer.units);
    if (!layer.activation) continue;
    Node activation;
    activation.primitive = layer.activation.primitive;
    activation.attributes = layer.activation.attributes;
    append(plan, std::move(activation), layer.units);
  }
  plan.prediction = plan.output;
  plan.loss = std::move(loss);
  plan.optimizer = std::move(optimizer);
  return plan;
}

}  // namespace densegrad
