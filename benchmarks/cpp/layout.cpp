// Copies between row-major matrices and panels, sums over columns, and the search for what is not finite.

#include "harness.hpp"
#include "ops/panels.hpp"

namespace densegrad::bench {
namespace {

constexpr Shape kMatrices[] = {{33, 7}, {64, 50}, {64, 784}, {512, 512}, {2048, 2048}};

// From one panel to the next, as the ops lay them.
template <class T>
Size panel_size(Shape shape) {
  return panel_rows(shape.rows) * kPanel<T>;
}

// Where element (i, j) lies in panels.
template <class T>
Size in_panels(Shape shape, Size i, Size j) {
  return j / kPanel<T> * panel_size<T>(shape) + i * kPanel<T> + j % kPanel<T>;
}

template <class T>
Work copy_of(Shape shape) {
  const double bytes = static_cast<double>(shape.size()) * sizeof(T);
  return {0, bytes, bytes};
}

// Compares got(i, j) with want(i, j) for every element.
template <class Got, class Want>
std::string compare(Shape shape, Got got, Want want) {
  for (Size i = 0; i < shape.rows; ++i) {
    for (Size j = 0; j < shape.columns; ++j) {
      const double value = static_cast<double>(got(i, j));
      const std::string wrong = difference(&value, {static_cast<double>(want(i, j))}, 0);
      if (!wrong.empty()) return "row " + std::to_string(i) + ", column " + std::to_string(j) + ", " + wrong;
    }
  }
  return "";
}

// Whether a matrix is packed in its own order of rows or in that of a shuffle.
enum class Order { own, shuffled };

template <class T>
void pack_rows(benchmark::State& state, const InstructionSet& set, Shape shape, Order order) {
  Random random;
  const Array<T> source = random.uniform<T>(shape.size(), -1, 1);
  Array<T> panels(panels_size<T>(shape.rows, shape.columns));
  Array<Index> rows(shape.rows);
  for (Size i = 0; i < shape.rows; ++i) rows[i] = order == Order::own ? i : random.below(shape.rows);
  const Index* const rows_or_null = order == Order::own ? nullptr : rows.data();
  const auto call = [&] {
    kernels<T>(set).pack_rows(shape.rows, shape.columns, source.data(), shape.columns, rows_or_null, panels.data(),
                              panel_size<T>(shape));
  };
  run(state, place_of<T>(set), copy_of<T>(shape), call, [&] {
    panels.fill(kUnwritten<T>);
    call();
    return compare(
        shape, [&](Size i, Size j) { return panels[in_panels<T>(shape, i, j)]; },
        [&](Size i, Size j) { return source[rows[i] * shape.columns + j]; });
  });
}

template <class T>
void unpack_rows(benchmark::State& state, const InstructionSet& set, Shape shape) {
  const Array<T> panels = Random().uniform<T>(panels_size<T>(shape.rows, shape.columns), -1, 1);
  Array<T> target(shape.size());
  const auto call = [&] {
    kernels<T>(set).unpack_rows(shape.rows, shape.columns, panels.data(), panel_size<T>(shape), target.data(),
                                shape.columns);
  };
  run(state, place_of<T>(set), copy_of<T>(shape), call, [&] {
    target.fill(kUnwritten<T>);
    call();
    return compare(
        shape, [&](Size i, Size j) { return target[i * shape.columns + j]; },
        [&](Size i, Size j) { return panels[in_panels<T>(shape, i, j)]; });
  });
}

template <class T>
void pack_transposed(benchmark::State& state, const InstructionSet& set, Shape shape) {
  const Array<T> source = Random().uniform<T>(shape.size(), -1, 1);
  Array<T> target(shape.size());
  const auto call = [&] {
    kernels<T>(set).pack_transposed(shape.rows, shape.columns, source.data(), shape.columns, target.data(), shape.rows);
  };
  run(state, place_of<T>(set), copy_of<T>(shape), call, [&] {
    target.fill(kUnwritten<T>);
    call();
    return compare(
        shape, [&](Size i, Size j) { return target[j * shape.rows + i]; },
        [&](Size i, Size j) { return source[i * shape.columns + j]; });
  });
}

template <class T>
void column_sums(benchmark::State& state, const InstructionSet& set, Shape shape) {
  const Array<T> source = Random().small_integers<T>(shape.size());
  Array<T> sums(shape.columns);
  const auto call = [&] {
    kernels<T>(set).column_sums(shape.rows, shape.columns, source.data(), shape.columns, sums.data());
  };
  const Work work{0, copy_of<T>(shape).bytes_read, 0};
  run(state, place_of<T>(set), work, call, [&] {
    sums.fill(kUnwritten<T>);
    call();
    std::vector<double> want(static_cast<std::size_t>(shape.columns));
    for (Size k = 0; k < shape.size(); ++k) {
      want[static_cast<std::size_t>(k % shape.columns)] += static_cast<double>(source[k]);
    }
    return difference(sums.data(), want, 0);
  });
}

template <class T>
void all_finite(benchmark::State& state, const InstructionSet& set, Shape shape) {
  Array<T> source = Random().uniform<T>(shape.size(), -1, 1);
  bool finite = false;
  const auto call = [&] { finite = kernels<T>(set).all_finite(source.size(), source.data()); };
  const Work work{0, copy_of<T>(shape).bytes_read, 0};
  run(state, place_of<T>(set), work, call, [&]() -> std::string {
    call();
    if (!finite) return "expected finite numbers to be found finite";
    for (const T intruder : {std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
      for (const Size i : {Size{0}, source.size() / 2, source.size() - 1}) {
        const T kept = std::exchange(source[i], intruder);
        call();
        source[i] = kept;
        if (finite) return "expected element " + std::to_string(i) + " to be noticed, which is not finite";
      }
    }
    return "";
  });
}

}  // namespace

void add_layout() {
  for_each_table([](const InstructionSet& set, auto number) {
    using T = decltype(number);
    for (const Shape shape : kMatrices) {
      const auto add_one = [&](const std::string& kernel, auto function) {
        add<T>(kernel, set, shape.name(),
               [&set, shape, function](benchmark::State& state) { function(state, set, shape); });
      };
      for (const Order order : {Order::own, Order::shuffled}) {
        add_one(order == Order::own ? "pack_rows" : "pack_rows/shuffled",
                [order](benchmark::State& state, const InstructionSet& isa, Shape matrix) {
                  pack_rows<T>(state, isa, matrix, order);
                });
      }
      add_one("unpack_rows", unpack_rows<T>);
      add_one("pack_transposed", pack_transposed<T>);
      add_one("column_sums", column_sums<T>);
      add_one("all_finite", all_finite<T>);
    }
  });
}

}  // namespace densegrad::bench
