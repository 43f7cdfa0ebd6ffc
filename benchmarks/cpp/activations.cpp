// name_forward and name_backward of every activation.

#include "harness.hpp"
#include "naive.hpp"

namespace densegrad::bench {
namespace {

// Rows of a matrix that the naive loop takes one at a time: those of an activation that couples a row, else elements.
Shape independent(const PrimitiveRow& primitive, Shape shape) {
  return primitive.by_row ? shape : Shape{shape.size(), 1};
}

template <class T>
Row row_of(const Array<T>& matrix, Size columns, Size i) {
  return Row(matrix.data() + i * columns, matrix.data() + (i + 1) * columns);
}

template <class T>
void forward(benchmark::State& state, const InstructionSet& set, const PrimitiveRow& primitive, int place,
             Shape shape) {
  const Array<T> z = Random().uniform<T>(shape.size(), -4, 4);
  Array<T> y(shape.size());
  const std::vector<double> attributes = attribute_values(primitive, {});
  const auto kernel = kernels<T>(set).activation_forward[place];
  const auto call = [&] {
    kernel(shape.rows, shape.columns, z.data(), shape.columns, y.data(), shape.columns, attributes.data());
  };
  const double bytes = static_cast<double>(shape.size()) * sizeof(T);
  run(state, place_of<T>(set), {0, bytes, bytes}, call, [&] {
    y.fill(kUnwritten<T>);
    call();
    const Shape rows = independent(primitive, shape);
    for (const Size i : sampled_rows(rows.rows, static_cast<double>(rows.columns))) {
      const Row want = naive_activation(primitive, place, row_of(z, rows.columns, i));
      const std::string wrong = difference(y.data() + i * rows.columns, want, kTolerance<T>);
      if (!wrong.empty()) return "row " + std::to_string(i) + ", " + wrong;
    }
    return std::string();
  });
}

// dz_j = sum_k dy_k dy_k/dz_j, by differences of the naive forward
Row naive_backward(const PrimitiveRow& primitive, int place, const Row& dy, const Row& z) {
  const auto weighted = [&](const Row& at) {
    const Row y = naive_activation(primitive, place, at);
    double sum = 0;
    for (std::size_t k = 0; k < y.size(); ++k) sum += dy[k] * y[k];
    return sum;
  };
  Row dz;
  for (std::size_t j = 0; j < z.size(); ++j) dz.push_back(slope(weighted, z, j));
  return dz;
}

template <class T>
void backward(benchmark::State& state, const InstructionSet& set, const PrimitiveRow& primitive, int place,
              Shape shape) {
  Random random;
  const Array<T> z = random.uniform<T>(shape.size(), -4, 4), dy = random.uniform<T>(shape.size(), -1, 1);
  Array<T> y(shape.size()), dz(shape.size());
  const std::vector<double> attributes = attribute_values(primitive, {});
  const Shape rows = independent(primitive, shape);
  kernels<T>(set).activation_forward[place](shape.rows, shape.columns, z.data(), shape.columns, y.data(), shape.columns,
                                            attributes.data());
  const auto kernel = kernels<T>(set).activation_backward[place];
  const auto call = [&] {
    kernel(shape.rows, shape.columns, dy.data(), shape.columns, z.data(), shape.columns, y.data(), shape.columns,
           dz.data(), shape.columns, attributes.data());
  };
  const double bytes = static_cast<double>(shape.size()) * sizeof(T);
  const double arrays_read = 1 + static_cast<double>(std::string(primitive.reads).size());
  run(state, place_of<T>(set), {0, arrays_read * bytes, bytes}, call, [&] {
    dz.fill(kUnwritten<T>);
    call();
    for (const Size i : sampled_rows(rows.rows, static_cast<double>(2 * rows.columns * rows.columns))) {
      const Row want = naive_backward(primitive, place, row_of(dy, rows.columns, i), row_of(z, rows.columns, i));
      const std::string wrong = difference(dz.data() + i * rows.columns, want, kSlopeTolerance<T>);
      if (!wrong.empty()) return "row " + std::to_string(i) + ", " + wrong;
    }
    return std::string();
  });
}

}  // namespace

void add_activations() {
  for_each_table([](const InstructionSet& set, auto number) {
    using T = decltype(number);
    for_each_primitive("activation", [&](const PrimitiveRow& primitive, int place) {
      const std::string name = primitive.name;
      for (const Shape shape : kShapes) {
        add<T>(name + "_forward", set, shape.name(), [&set, &primitive, place, shape](benchmark::State& state) {
          forward<T>(state, set, primitive, place, shape);
        });
        add<T>(name + "_backward", set, shape.name(), [&set, &primitive, place, shape](benchmark::State& state) {
          backward<T>(state, set, primitive, place, shape);
        });
      }
    });
  });
}

}  // namespace densegrad::bench
