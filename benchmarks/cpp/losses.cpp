// name_loss of every loss; one on classes with labels and with a distribution for each row.

#include "harness.hpp"
#include "naive.hpp"

namespace densegrad::bench {
namespace {

constexpr Shape kLossShapes[] = {{33, 7}, {200, 1}, {200, 2}, {64, 10}, {256, 256}, {2048, 1024}};

// What a row's target is: a number for each column, or the number of one column.
enum class Form { values, labels };

template <class T>
void loss(benchmark::State& state, const InstructionSet& set, const PrimitiveRow& primitive, int place, Shape shape,
          Form form) {
  Random random;
  const bool free = std::string(primitive.target) == "values";
  const Shape wanted{shape.rows, shape.columns / primitive.predictions};  // of the targets
  const Array<T> p = random.uniform<T>(shape.size(), free ? -2 : 0.05, free ? 2 : 0.95);
  Array<T> t = random.uniform<T>(wanted.size(), 0.05, 0.95), dp(shape.size());
  Array<Index> labels(shape.rows);
  Targets<T> targets{t.data(), wanted.columns, nullptr};
  if (form == Form::labels) {
    t.fill(0);  // the naive loop reads the labels one-hot
    for (Size i = 0; i < shape.rows; ++i) {
      labels[i] = random.below(shape.columns);
      t[i * shape.columns + labels[i]] = 1;
    }
    targets = {nullptr, 0, labels.data()};
  } else if (std::string(primitive.target) == "classes") {
    for (T& share : t) share *= T(2) / static_cast<T>(shape.columns);  // a row then adds up to about 1
  }
  const double scale = 1 / static_cast<double>(shape.rows);
  const std::vector<double> attributes = attribute_values(primitive, {});
  const auto kernel = kernels<T>(set).loss[place];
  double total = 0;
  const auto call = [&] {
    total = kernel(shape.rows, shape.columns, p.data(), shape.columns, targets, nullptr, scale, dp.data(),
                   shape.columns, attributes.data());
  };
  const double bytes = static_cast<double>(shape.size()) * sizeof(T);
  const double target_bytes = form == Form::labels ? 0 : static_cast<double>(wanted.size()) * sizeof(T);
  run(state, place_of<T>(set), {0, bytes + target_bytes, bytes}, call, [&] {
    dp.fill(kUnwritten<T>);
    call();
    const auto row_of = [&](const Array<T>& matrix, Size i) {
      const Size columns = matrix.size() / shape.rows;
      return Row(matrix.data() + i * columns, matrix.data() + (i + 1) * columns);
    };
    double want = 0;
    for (Size i = 0; i < shape.rows; ++i) want += scale * naive_loss(primitive, place, row_of(p, i), row_of(t, i));
    const std::string wrong_total = difference(&total, {want}, kTolerance<T>);
    if (!wrong_total.empty()) return "loss, " + wrong_total;
    for (const Size i : sampled_rows(shape.rows, static_cast<double>(2 * shape.columns * shape.columns))) {
      const Row target = row_of(t, i);
      const auto of_row = [&](const Row& at) { return naive_loss(primitive, place, at, target); };
      Row gradient, got;
      for (Size j = 0; j < shape.columns; ++j) {
        gradient.push_back(slope(of_row, row_of(p, i), static_cast<std::size_t>(j)));
        got.push_back(static_cast<double>(dp[i * shape.columns + j]) / scale);
      }
      const std::string wrong = difference(got.data(), gradient, kSlopeTolerance<T>);
      if (!wrong.empty()) return "gradient of row " + std::to_string(i) + ", " + wrong;
    }
    return std::string();
  });
}

}  // namespace

void add_losses() {
  for_each_table([](const InstructionSet& set, auto number) {
    using T = decltype(number);
    for_each_primitive("loss", [&](const PrimitiveRow& primitive, int place) {
      const std::string name = std::string(primitive.name) + "_loss";
      const bool classes = std::string(primitive.target) == "classes";
      for (const Shape shape : kLossShapes) {
        if (shape.columns % primitive.predictions != 0) continue;
        const auto with = [&set, &primitive, place, shape](Form form) {
          return [&set, &primitive, place, shape, form](benchmark::State& state) {
            loss<T>(state, set, primitive, place, shape, form);
          };
        };
        add<T>(classes ? name + "/distributions" : name, set, shape.name(), with(Form::values));
        if (classes) add<T>(name + "/labels", set, shape.name(), with(Form::labels));
      }
    });
  });
}

}  // namespace densegrad::bench
