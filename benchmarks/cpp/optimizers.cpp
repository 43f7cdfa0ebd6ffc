// name_update of every optimiser.

#include "harness.hpp"
#include "naive.hpp"
#include "ops/coefficients.hpp"

namespace densegrad::bench {
namespace {

constexpr double kLearningRate = 1e-3;

template <class T>
void update(benchmark::State& state, const InstructionSet& set, const PrimitiveRow& primitive, int place, Shape shape) {
  Random random;
  const Size size = shape.size();
  const Array<T> first = random.uniform<T>(size, -1, 1), dw = random.uniform<T>(size, -1, 1);
  Array<T> w = first, memory(size * primitive.state);
  const std::vector<double> attributes = attribute_values(primitive, {});
  std::vector<double> coefficients;
  const auto set_coefficients = [&](Index updates) {
    update_coefficients(static_cast<OptimizerKind>(place), attributes, updates, kLearningRate, coefficients);
  };
  const auto kernel = kernels<T>(set).update[place];
  const auto call = [&] {
    kernel(shape.rows, shape.columns, w.data(), shape.columns, dw.data(), shape.columns, memory.data(), size,
           coefficients.data());
  };
  set_coefficients(0);
  const double bytes = static_cast<double>(size) * sizeof(T), states = static_cast<double>(primitive.state);
  run(state, place_of<T>(set), {0, (2 + states) * bytes, (1 + states) * bytes}, call, [&] {
    w = first;
    memory.fill(0);
    for (Index updates = 0; updates < 2; ++updates) {  // the second one reads the state that the first has left
      set_coefficients(updates);
      call();
    }
    for (const Size i : sampled_rows(size, 1)) {
      Row naive_state(static_cast<std::size_t>(primitive.state));
      double want = static_cast<double>(first[i]);
      for (Index updates = 0; updates < 2; ++updates) {
        want = naive_update(primitive, place, want, static_cast<double>(dw[i]), naive_state, updates, kLearningRate);
      }
      const std::string wrong = difference(&w[i], {want}, kTolerance<T>);
      if (!wrong.empty()) return "parameter " + std::to_string(i) + ", " + wrong;
    }
    return std::string();
  });
}

}  // namespace

void add_optimizers() {
  for_each_table([](const InstructionSet& set, auto number) {
    using T = decltype(number);
    for_each_primitive("optimizer", [&](const PrimitiveRow& primitive, int place) {
      for (const Shape shape : kShapes) {
        add<T>(std::string(primitive.name) + "_update", set, shape.name(),
               [&set, &primitive, place, shape](benchmark::State& state) {
                 update<T>(state, set, primitive, place, shape);
               });
      }
    });
  });
}

}  // namespace densegrad::bench
