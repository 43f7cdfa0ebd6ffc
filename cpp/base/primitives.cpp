#include "base/primitives.hpp"

#include <limits>
#include <stdexcept>

namespace densegrad {
namespace {

template <class Enum>
Enum enum_named(const char* kind, const std::string& name) {
  int position = 0;
  for (const PrimitiveRow& row : primitives()) {
    if (row.kind != std::string(kind)) continue;
    if (row.name == name) return static_cast<Enum>(position);
    ++position;
  }
  throw std::invalid_argument("unknown " + std::string(kind) + " '" + name + "'");
}

}  // namespace

const std::vector<PrimitiveRow>& primitives() {
  [[maybe_unused]] constexpr double inf = std::numeric_limits<double>::infinity();
  [[maybe_unused]] constexpr double below_one = 1 - std::numeric_limits<double>::epsilon() / 2;
  static const std::vector<PrimitiveRow> rows = {
#define DENSEGRAD_LAYER(name, ...) {#name, "layer", "", 0, false, "", "", 0, 0, {__VA_ARGS__}},
#define DENSEGRAD_ACTIVATION(name, reads, ulp, by_row, init, ...) \
  {#name, "activation", reads, ulp, by_row, init, "", 0, 0, {__VA_ARGS__}},
#define DENSEGRAD_LOSS(name, target, predictions, ...) \
  {#name, "loss", "", 0, false, "", target, predictions, 0, {__VA_ARGS__}},
#define DENSEGRAD_OPTIMIZER(name, state, ...) {#name, "optimizer", "", 0, false, "", "", 0, state, {__VA_ARGS__}},
#include "base/primitives.def"
  };
  return rows;
}

const PrimitiveRow& find_primitive(const std::string& kind, const std::string& name) {
  for (const PrimitiveRow& row : primitives()) {
    if (row.kind == kind && row.name == name) return row;
  }
  throw std::invalid_argument("unknown " + kind + " '" + name + "'");
}

TargetRule target_rule(const std::string& loss, Size prediction_width) {
  const PrimitiveRow& row = find_primitive("loss", loss);
  if (prediction_width % row.predictions != 0) {
    throw std::invalid_argument(loss + ": expected " + std::to_string(row.predictions) +
                                " columns of the prediction for each one of a target, got " +
                                std::to_string(prediction_width) + " in all");
  }
  const std::string target = row.target;
  const TargetKind kind = target == "classes"         ? TargetKind::classes
                          : target == "probabilities" ? TargetKind::probabilities
                          : target == "counts"        ? TargetKind::counts
                                                      : TargetKind::values;
  return {kind, prediction_width / row.predictions};
}

Activation activation_named(const std::string& name) { return enum_named<Activation>("activation", name); }
LossKind loss_named(const std::string& name) { return enum_named<LossKind>("loss", name); }
OptimizerKind optimizer_named(const std::string& name) { return enum_named<OptimizerKind>("optimizer", name); }

std::vector<double> attribute_values(const PrimitiveRow& row, const std::map<std::string, double>& given) {
  std::vector<double> values;
  for (const Attribute& attribute : row.attributes) {
    const auto found = given.find(attribute.name);
    values.push_back(found == given.end() ? attribute.fallback : found->second);
  }
  return values;
}

}  // namespace densegrad
