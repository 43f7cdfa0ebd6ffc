#include "network/initialize.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "base/primitives.hpp"

namespace densegrad {
namespace {

double variance(const std::string& scheme, double fan_in, double fan_out) {
  if (scheme == "glorot_uniform") return 2 / (fan_in + fan_out);
  if (scheme == "he_normal") return 2 / fan_in;
  if (scheme == "lecun_normal") return 1 / fan_in;
  throw std::logic_error("initialize: unknown scheme " + scheme);
}

// The scheme of the activation that reads the output of a dense node.
std::string scheme_behind(const Plan& plan, const Node& dense) {
  for (const Node& node : plan.nodes) {
    const bool reads = std::find(node.inputs.begin(), node.inputs.end(), dense.output) != node.inputs.end();
    if (!reads) continue;
    for (const PrimitiveRow& row : primitives()) {
      if (row.kind == std::string("activation") && row.name == node.primitive) return row.init;
    }
  }
  return find_primitive("activation", "identity").init;
}

template <class T>
void draw(const Slot& w, const std::string& scheme, Generator& generator, T* parameters) {
  const double std = std::sqrt(variance(scheme, static_cast<double>(w.rows), static_cast<double>(w.columns)));
  const bool normal = scheme.find("normal") != std::string::npos;
  const double limit = std::sqrt(3.0) * std;  // a uniform draw on [-a, a] has variance a^2 / 3
  std::generate_n(parameters + w.offset, w.size(), [&] {
    return static_cast<T>(normal ? std * generator.normal() : limit * (2 * generator.uniform() - 1));
  });
}

}  // namespace

template <class T>
void initialize(const Plan& plan, Generator& generator, T* parameters) {
  std::fill_n(parameters, plan.parameter_count, T(0));
  for (const Node& node : plan.nodes) {
    if (node.primitive == "dense") draw(node.slots[0], scheme_behind(plan, node), generator, parameters);
  }
}

template void initialize(const Plan&, Generator&, float*);
template void initialize(const Plan&, Generator&, double*);

}  // namespace densegrad
