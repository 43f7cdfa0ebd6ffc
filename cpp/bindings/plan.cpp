#include "bindings/plan.hpp"

#include <pybind11/stl.h>

namespace densegrad::bindings {
namespace {

namespace py = pybind11;

Attributes attributes_of(py::handle object) { return py::dict(object.attr("attributes")).cast<Attributes>(); }

Slot slot_of(py::handle object) {
  const auto shape = object.attr("shape").cast<std::vector<Size>>();
  Slot slot;
  slot.offset = object.attr("offset").cast<Size>();
  slot.rows = shape.size() > 1 ? shape[0] : 1;
  slot.columns = shape.back();
  slot.trainable = object.attr("trainable").cast<bool>();
  slot.l1 = object.attr("l1").cast<double>();
  slot.l2 = object.attr("l2").cast<double>();
  return slot;
}

Node node_of(py::handle object) {
  Node node;
  node.primitive = object.attr("primitive").cast<std::string>();
  node.inputs = object.attr("inputs").cast<std::vector<Size>>();
  node.output = object.attr("output").cast<Size>();
  for (const py::handle slot : object.attr("slots")) node.slots.push_back(slot_of(slot));
  node.attributes = attributes_of(object);
  return node;
}

PrimitiveSpec spec_of(py::handle object) {
  if (object.is_none()) return {};
  return {object.attr("primitive").cast<std::string>(), attributes_of(object)};
}

LossTerm term_of(py::handle object) {
  return {spec_of(object), object.attr("columns").cast<Size>(), object.attr("weight").cast<double>()};
}

}  // namespace

Plan plan_of(py::handle object) {
  Plan plan;
  plan.widths = object.attr("widths").cast<std::vector<Size>>();
  for (const py::handle node : object.attr("nodes")) plan.nodes.push_back(node_of(node));
  plan.input = object.attr("input").cast<Size>();
  plan.output = object.attr("output").cast<Size>();
  plan.parameter_count = object.attr("parameter_count").cast<Size>();
  const py::object loss = object.attr("loss");
  if (!loss.is_none()) {
    for (const py::handle term : loss.attr("terms")) plan.terms.push_back(term_of(term));
    if (plan.terms.empty()) plan.loss = spec_of(loss);
    plan.prediction = loss.attr("prediction").cast<Size>();
  }
  const py::object optimizer = object.attr("optimizer");
  plan.optimizer = spec_of(optimizer);
  if (plan.optimizer) {
    plan.clip_value = optimizer.attr("clip_value").cast<double>();
    plan.clip_norm = optimizer.attr("clip_norm").cast<double>();
    plan.average = optimizer.attr("average").cast<double>();
  }
  plan.batch_shares_penalty = object.attr("batch_shares_penalty").cast<bool>();
  return plan;
}

}  // namespace densegrad::bindings
