#include "files/lowering.hpp"

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <utility>

#include "files/arguments.hpp"

namespace densegrad {
namespace {

constexpr Size kLargestWidth = std::numeric_limits<std::int32_t>::max();  // of a Network, too

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

void check_width(Size width) {
  if (width < 1 || width > kLargestWidth) {
    refuse("Network: expected widths from 1 to " + std::to_string(kLargestWidth) + ", got " + std::to_string(width));
  }
}

// What a layer knows of itself when it lowers itself.
struct Lowering {
  PlanBuilder& builder;
  Size x;
  std::string path;
  Arguments& given;

  Size width() const { return builder.width(x); }

  Slot vector(const char* name, bool trainable) const { return builder.slot(path + "." + name, {width()}, trainable); }

  Size node(const std::string& primitive, const std::vector<Slot>& slots, const Attributes& attributes = {}) const {
    return builder.node(primitive, {x}, width(), slots, attributes);
  }
};

Size lower_activation(PlanBuilder& builder, Size z, const PrimitiveSpec& f) {
  return builder.node(f.primitive, {z}, builder.width(z), {}, f.attributes);
}

Size lower_activation(const Lowering& layer) {
  return lower_activation(layer.builder, layer.x,
                          chosen_of(layer.given.who(), "activation", layer.given.required("activation")));
}

Size lower_dense(const Lowering& layer) {
  Arguments& given = layer.given;
  const Size units = given.count("units");
  check_width(units);
  given.optional("init");  // the weights are there
  const bool use_bias = given.flag("use_bias", true);
  const bool trainable_w = given.flag("trainable_w", true), trainable_b = given.flag("trainable_b", true);
  Slot penalized;
  penalized.l1 = given.real("l1", 0, 0);
  penalized.l2 = given.real("l2", 0, 0);
  std::vector<Slot> slots = {layer.builder.slot(layer.path + ".w", {layer.width(), units}, trainable_w, penalized)};
  if (use_bias) slots.push_back(layer.builder.slot(layer.path + ".b", {units}, trainable_b));
  const Size z = layer.builder.node("dense", {layer.x}, units, slots);
  const Json* activation = given.optional("activation");
  if (activation == nullptr || activation->is(Json::Kind::null)) return z;
  return lower_activation(layer.builder, z, chosen_of(given.who(), "activation", *activation));
}

Size lower_dropout(const Lowering& layer) {
  layer.given.required("rate");
  return layer.builder.dropout(layer.x,
                               layer.given.real("rate", 0, 0, find_primitive("layer", "dropout").attributes[0].high));
}

Size lower_batch_norm(const Lowering& layer) {
  const bool trainable = layer.given.flag("trainable", true);
  const double momentum = layer.given.real("momentum", 0.1, 0, 1), eps = layer.given.real("eps", 1e-5, 0);
  const std::vector<Slot> slots = {layer.vector("gamma", trainable), layer.vector("beta", trainable),
                                   layer.vector("mean", false), layer.vector("variance", false)};
  return layer.node("batch_norm", slots, {{"eps", eps}, {"momentum", trainable ? momentum : 0}});
}

Size lower_layer_norm(const Lowering& layer) {
  const bool trainable = layer.given.flag("trainable", true);
  const double eps = layer.given.real("eps", 1e-5, 0);
  return layer.node("layer_norm", {layer.vector("gamma", trainable), layer.vector("beta", trainable)}, {{"eps", eps}});
}

Size lower_standardize(const Lowering& layer) {
  layer.given.flag("fitted", false);
  return layer.node("standardize", {layer.vector("mean", false), layer.vector("scale", false)});
}

Size lower_parametric(const Lowering& layer, const char* primitive) {
  layer.given.real("initial", 0);
  const Size width = layer.given.flag("shared", true) ? 1 : layer.width();
  return layer.node(primitive, {layer.builder.slot(layer.path + ".a", {width}, layer.given.flag("trainable", true))});
}
Size lower_prelu(const Lowering& layer) { return lower_parametric(layer, "prelu"); }
Size lower_learned_swish(const Lowering& layer) { return lower_parametric(layer, "learned_swish"); }

Size lower_residual(const Lowering& layer) {
  const std::vector<Json>& inner = layer.given.list("layers");
  if (inner.empty()) refuse("Residual: expected at least 1 layer, got 0");
  Size y = layer.x;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    y = lower_layer(layer.builder, y, layer.path + "." + std::to_string(i), inner[i]);
  }
  if (layer.builder.width(y) != layer.width()) {
    refuse("Residual: expected layers that keep the width " + std::to_string(layer.width()) + ", got " +
           std::to_string(layer.builder.width(y)) + " outputs");
  }
  return layer.builder.node("add", {layer.x, y}, layer.width());
}

struct LayerClass {
  const char* name;
  Size (*lower)(const Lowering&);
};

constexpr LayerClass kClasses[] = {
    {"Activation", lower_activation}, {"Dense", lower_dense},
    {"Dropout", lower_dropout},       {"BatchNorm", lower_batch_norm},
    {"LayerNorm", lower_layer_norm},  {"Standardize", lower_standardize},
    {"PReLU", lower_prelu},           {"LearnedSwish", lower_learned_swish},
    {"Residual", lower_residual},
};

}  // namespace

PlanBuilder::PlanBuilder(Size input_size, double noise_seed) : noise_seed_(noise_seed) {
  check_width(input_size);
  plan_.widths = {input_size};
}

Slot PlanBuilder::slot(const std::string& name, const std::vector<Size>& shape, bool trainable, const Slot& penalized) {
  const auto [place, fresh] = places_.emplace(name, slots_.size());
  if (!fresh) return slots_[place->second].slot;
  Slot slot = penalized;
  slot.offset = plan_.parameter_count;
  slot.rows = shape.size() > 1 ? shape[0] : 1;
  slot.columns = shape.back();
  slot.trainable = trainable;
  if (slot.size() > std::numeric_limits<Size>::max() - plan_.parameter_count) refuse("more parameters than 2^63");
  plan_.parameter_count += slot.size();
  slots_.push_back({name, shape, slot});
  return slot;
}

Size PlanBuilder::node(const std::string& primitive, const std::vector<Size>& inputs, Size width,
                       const std::vector<Slot>& slots, const Attributes& attributes) {
  check_width(width);
  const Size output = static_cast<Size>(plan_.widths.size());
  plan_.widths.push_back(width);
  plan_.nodes.push_back({primitive, inputs, output, slots, attributes});
  return output;
}

Size PlanBuilder::concatenate(const std::vector<Size>& buffers) {
  Size whole = buffers[0];
  for (std::size_t i = 1; i < buffers.size(); ++i) {
    whole = node("concatenate", {whole, buffers[i]}, width(whole) + width(buffers[i]));
  }
  return whole;
}

Size PlanBuilder::dropout(Size x, double rate) {
  return node("dropout", {x}, width(x), {}, {{"rate", rate}, {"seed", noise_seed_}, {"stream", streams_++}});
}

Plan PlanBuilder::plan(Size output) const {
  Plan plan = plan_;
  plan.output = plan.prediction = output;
  return plan;
}

Size lower_layer(PlanBuilder& builder, Size x, const std::string& path, const Json& described) {
  Arguments outside("model", described);
  const std::string name = outside.text("class");
  std::string known;
  for (const LayerClass& one : kClasses) {
    known += (known.empty() ? "" : ", ") + std::string(one.name);
    if (one.name != name) continue;
    Arguments given(name, described);
    given.required("class");
    const Size y = one.lower({builder, x, path, given});
    given.done();
    return y;
  }
  refuse_choice("model", "layer class", name, known);
}

}  // namespace densegrad
