#include "files/description.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "files/arguments.hpp"
#include "network/stages.hpp"

namespace densegrad {
namespace {

constexpr Size kFormat = 1;  // the newest that is read here, _files/model_file.py's FORMAT

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

void check_format(Arguments& description) {
  const Size format = description.count("format");
  if (format > kFormat) {
    refuse("it has format " + std::to_string(format) + ", this densegrad " DENSEGRAD_VERSION " reads up to " +
           std::to_string(kFormat) + "; upgrade densegrad");
  }
}

// ---- the layers of a Sequential, and the wires of a Model; each gives the buffers of its outputs

std::vector<Size> lower_stack(PlanBuilder& builder, Arguments& model, ModelDescription& described) {
  const std::vector<Json>& layers = model.list("layers");
  if (layers.empty()) refuse("Sequential: expected at least 1 layer, got 0");
  Size buffer = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    buffer = lower_layer(builder, buffer, "layers." + std::to_string(i), layers[i]);
  }
  described.inputs = {{"input0", builder.width(0)}};
  described.outputs = {{"output0", builder.width(buffer)}};
  return {buffer};
}

// The values of a Model while its wires are drawn again: those of its inputs, then what each wire gives.
class Wiring {
 public:
  Wiring(PlanBuilder& builder, const std::vector<Json>& layers)
      : builder_(builder), layers_(layers), called_at_(layers.size()) {}

  void add_inputs(const std::vector<Columns>& inputs) {
    Size first = 0;
    for (const Columns& input : inputs) {
      const Attributes place = {{"first", static_cast<double>(first)}};
      give(inputs.size() > 1 ? builder_.node("columns", {0}, input.width, {}, place) : 0);
      first += input.width;
    }
  }

  void add_wire(const Json& described) {
    Arguments wire("Model", described);
    const Json& by = wire.required("by");
    std::vector<Size> from;
    for (const Json& place : wire.list("from")) from.push_back(take(place));
    if (by.is(Json::Kind::string)) {
      give(joined(by.text(), from));
    } else {
      give(called(count_of("Model", "place of a layer", by, 0), from));
    }
  }

  // The buffer of a value that is read here.
  Size take(const Json& place) {
    const Size at = count_of("Model", "place of a value", place, 0), count = static_cast<Size>(buffers_.size());
    if (at >= count) refuse("Model: expected a value below " + std::to_string(count) + ", got " + std::to_string(at));
    read_[static_cast<std::size_t>(at)] = true;
    return buffers_[static_cast<std::size_t>(at)];
  }

  void check_all_needed() const {
    const auto unread = std::find(read_.begin(), read_.end(), false);
    if (unread != read_.end()) {
      refuse("Model: expected inputs and values that an output needs, got value " +
             std::to_string(unread - read_.begin()) + ", which none does");
    }
    if (layers_called_ < layers_.size()) {
      refuse("Model: expected wires by each of " + std::to_string(layers_.size()) + " layers, got " +
             std::to_string(layers_called_));
    }
  }

 private:
  void give(Size buffer) {
    buffers_.push_back(buffer);
    read_.push_back(false);
  }

  Size joined(const std::string& join, const std::vector<Size>& from) {
    if (join != "add" && join != "concatenate") refuse_choice("Model", "join", join, "add, concatenate");
    if (from.size() != 2) refuse(join + ": expected 2 values, got " + std::to_string(from.size()));
    if (join == "concatenate") return builder_.concatenate(from);
    const Size width = builder_.width(from[0]), other = builder_.width(from[1]);
    if (width != other) {
      refuse("add: expected values of one width, got " + std::to_string(width) + " and " + std::to_string(other));
    }
    return builder_.node("add", from, width);
  }

  // Layers are numbered in the order of their first call.
  Size called(Size layer, const std::vector<Size>& from) {
    const auto place = static_cast<std::size_t>(layer);
    if (place >= layers_.size() || place > layers_called_) {
      refuse("Model: expected a layer below " + std::to_string(std::min(layers_.size(), layers_called_ + 1)) +
             ", got " + std::to_string(layer));
    }
    if (from.size() != 1) refuse("Model: expected 1 input for a layer, got " + std::to_string(from.size()));
    const Size width = builder_.width(from[0]);
    if (place == layers_called_) {
      called_at_[place] = width;
      ++layers_called_;
    } else if (called_at_[place] != width) {
      refuse("Model: expected layer " + std::to_string(layer) + " to be called at one width, got " +
             std::to_string(called_at_[place]) + " and " + std::to_string(width));
    }
    return lower_layer(builder_, from[0], "layers." + std::to_string(layer), layers_[place]);
  }

  PlanBuilder& builder_;
  const std::vector<Json>& layers_;
  std::vector<Size> called_at_;  // the width
  std::size_t layers_called_ = 0;
  std::vector<Size> buffers_;  // of the values
  std::vector<bool> read_;
};

std::vector<Size> lower_wired(PlanBuilder& builder, Arguments& model, ModelDescription& described) {
  Size width = 0;
  for (const Json& input : model.list("inputs")) {
    Arguments given("Input", input);
    described.inputs.push_back({given.text("name"), given.count("width")});
    width += std::min(described.inputs.back().width, builder.width(0) + 1);  // as much as it takes to be too wide
    if (width > builder.width(0)) break;
  }
  if (width != builder.width(0)) {
    refuse("Model: expected input_size as the widths of its inputs together, got " + std::to_string(builder.width(0)));
  }
  Wiring wiring(builder, model.list("layers"));
  wiring.add_inputs(described.inputs);
  for (const Json& wire : model.list("wires")) wiring.add_wire(wire);
  const Json& outputs = model.required("outputs");
  if (!outputs.is(Json::Kind::object)) refuse("Model: expected outputs by name, got " + shown(outputs));
  if (outputs.names().empty()) refuse("Model: expected at least 1 output, got 0");
  std::vector<Size> buffers;
  for (std::size_t i = 0; i < outputs.names().size(); ++i) {
    buffers.push_back(wiring.take(outputs.items()[i]));
    described.outputs.push_back({outputs.names()[i], builder.width(buffers.back())});
  }
  wiring.check_all_needed();
  return buffers;
}

// ---- the loss that a model was trained with

// A loss behind an activation, and the loss on what that one reads which equals it.
struct Fusion {
  const char *loss, *activation, *fused;
};
constexpr Fusion kFusions[] = {{"binary_cross_entropy", "sigmoid", "binary_cross_entropy_with_logits"},
                               {"cross_entropy", "softmax", "cross_entropy"}};

// The buffer that a loss on `output` reads; the loss becomes the one that reads it.
Size fuse(PrimitiveSpec& loss, const std::vector<Node>& nodes, Size output) {
  for (const Fusion& fusion : kFusions) {
    if (loss.primitive != fusion.loss) continue;
    for (const Node& node : nodes) {
      if (node.output != output || node.primitive != fusion.activation) continue;
      loss.primitive = fusion.fused;
      return node.inputs[0];
    }
  }
  return output;
}

std::vector<LossTerm> terms_of(const Json& loss, std::size_t outputs) {
  std::vector<LossTerm> terms(outputs);
  if (!loss.is(Json::Kind::object) || loss.find("sum") == nullptr) {
    for (LossTerm& term : terms) term.loss = chosen_of("model", "loss", loss);
    return terms;
  }
  Arguments given("model", loss);
  const std::vector<Json>& losses = given.list("sum");
  const Json& weights = given.required("weights");
  const bool weighted = weights.is(Json::Kind::array);
  if (!weighted && !weights.is(Json::Kind::null)) refuse("model: expected weights as an array or null");
  given.done();
  const std::size_t count = weighted && losses.size() == outputs ? weights.items().size() : losses.size();
  if (count != outputs) {
    refuse("model: expected a loss and a weight for each of " + std::to_string(outputs) + " outputs, got " +
           std::to_string(count));
  }
  bool positive = !weighted;
  for (std::size_t i = 0; i < outputs; ++i) {
    terms[i].loss = chosen_of("model", "loss", losses[i]);
    if (weighted) terms[i].weight = real_of("model", "weight of a loss", weights.items()[i], 0, kInfinite);
    positive |= terms[i].weight > 0;
  }
  if (!positive) refuse("model: expected a loss of positive weight, got " + std::to_string(outputs) + " of weight 0");
  return terms;
}

// The plan with its loss, if a file has one: of the one output, or a sum with a term for each.
Plan with_loss(PlanBuilder& builder, const std::vector<Size>& outputs, const Json& loss) {
  const Size output = builder.concatenate(outputs);
  Plan plan = builder.plan(output);
  if (loss.is(Json::Kind::null)) return plan;
  if (outputs.size() == 1 && loss.find("sum") == nullptr) {
    plan.loss = chosen_of("model", "loss", loss);
    plan.prediction = fuse(plan.loss, plan.nodes, output);
    return plan;
  }
  std::vector<LossTerm> terms = terms_of(loss, outputs.size());
  std::vector<Size> read;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    read.push_back(fuse(terms[i].loss, plan.nodes, outputs[i]));
    terms[i].columns = builder.width(read.back());
  }
  const Size prediction = read == outputs ? output : builder.concatenate(read);
  plan = builder.plan(output);
  plan.prediction = prediction;
  plan.terms = std::move(terms);
  return plan;
}

}  // namespace

ModelDescription describe(const Json& description) {
  Arguments top("model", description);
  check_format(top);
  Arguments model("model", top.required("model"));
  const std::string name = model.text("class");
  if (name != "Sequential" && name != "Model") refuse_choice("model", "model class", name, "Model, Sequential");
  ModelDescription described;
  described.dtype = model.text("dtype");
  if (described.dtype != "float32" && described.dtype != "float64") {
    refuse(name + ": expected dtype float32 or float64, got '" + described.dtype + "'");
  }
  const Json* seed = top.optional("noise_seed");
  const Size noise_seed = seed == nullptr ? 0 : count_of("model", "noise_seed", *seed, 0);
  PlanBuilder builder(model.count("input_size"), static_cast<double>(noise_seed));
  const std::vector<Size> outputs =
      name == "Model" ? lower_wired(builder, model, described) : lower_stack(builder, model, described);
  described.plan = with_loss(builder, outputs, top.required("loss"));
  described.slots = builder.slots();
  make_stages(described.plan);  // refuses what no network can run
  return described;
}

}  // namespace densegrad
