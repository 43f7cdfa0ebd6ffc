// gemm_panel and gemm_panel_transposed, a panel of a product, in each form of B and with each epilogue; gemv and
// gemv_transposed, the products with one column. Numbers are small and whole, so that sums must be exact.

#include "harness.hpp"
#include "naive.hpp"
#include "ops/coefficients.hpp"
#include "ops/panels.hpp"

namespace densegrad::bench {
namespace {

constexpr double kRate = 0.5;

// How B comes: row by row of a wider matrix, the same and left behind packed, or packed already.
enum class Form { rows, packing, packed };

const char* name_of(Form form) {
  switch (form) {
    case Form::rows:
      return "rows";
    case Form::packing:
      return "packing";
    case Form::packed:
      return "packed";
  }
  return "";
}

const char* name_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::store:
      return "store";
    case Epilogue::relu:
      return "relu";
    case Epilogue::relu_mask:
      return "relu_mask";
    case Epilogue::sgd:
      return "sgd";
    case Epilogue::optimizer:
      return "optimizer";
  }
  return "";
}

// Of C (rows, columns), a sum over `depth`.
struct Extents {
  Size rows;
  Size depth;
  Size columns;

  std::string name() const {
    return std::to_string(rows) + "x" + std::to_string(depth) + "x" + std::to_string(columns);
  }
  double flops() const { return 2.0 * static_cast<double>(rows * depth) * static_cast<double>(columns); }
};

template <class T>
std::vector<Extents> extents() {
  return {{13, 50, 10}, {32, 64, kPanel<T>}, {64, 784, kPanel<T>}, {256, 256, kPanel<T>}};
}

constexpr Extents kRowExtents[] = {{1, 8, 64}, {1, 50, 10}, {1, 784, 128}, {1, 512, 512}};
constexpr Extents kColumnExtents[] = {{33, 7, 1}, {200, 100, 1}, {64, 784, 1}};

// A matrix in panels.
template <class T>
struct Packed {
  Size rows, columns;
  Array<T> data;
  Size panel_size = panel_rows(rows) * kPanel<T>;

  Packed(Size r, Size c, Random& random) : rows(r), columns(c), data(random.small_integers<T>(panels_size<T>(r, c))) {}

  double at(Size i, Size j) const {
    return static_cast<double>(data[j / kPanel<T> * panel_size + i * kPanel<T> + j % kPanel<T>]);
  }
};

template <class T>
void gemm_panel(benchmark::State& state, const InstructionSet& set, Extents e, Form form, Epilogue epilogue) {
  Random random;
  const Size wide = form == Form::packed ? kPanel<T> : e.columns == kPanel<T> ? 3 * kPanel<T> : e.columns;
  const Packed<T> a(e.rows, e.depth, random);
  const Array<T> b = random.small_integers<T>(e.depth * wide), bias = random.small_integers<T>(e.columns),
                 y = random.small_integers<T>(e.rows * kPanel<T>);
  Array<T> c(e.rows * kPanel<T>), packed(e.depth * kPanel<T>);
  const bool has_bias = epilogue != Epilogue::relu_mask;  // what goes backward has none
  GemmPanel<T> s{};
  s.rows = e.rows;
  s.depth = e.depth;
  s.columns = e.columns;
  s.a = a.data.data();
  s.a_panel = a.panel_size;
  s.b = b.data();
  s.b_stride = wide;
  s.packed = form == Form::packing ? packed.data() : nullptr;
  s.bias = has_bias ? bias.data() : nullptr;
  s.c = c.data();
  s.c_stride = kPanel<T>;
  s.y = epilogue == Epilogue::relu_mask ? y.data() : nullptr;
  s.epilogue = epilogue;
  const auto call = [&] { kernels<T>(set).gemm_panel(s); };
  const auto wanted = [&](Size i, Size j) {
    double sum = has_bias ? static_cast<double>(bias[j]) : 0;
    for (Size k = 0; k < e.depth; ++k) sum += a.at(i, k) * static_cast<double>(b[k * wide + j]);
    if (epilogue == Epilogue::relu) return std::max(sum, 0.0);
    return epilogue == Epilogue::relu_mask && !(y[i * kPanel<T> + j] > 0) ? 0.0 : sum;
  };
  run(state, place_of<T>(set), {e.flops()}, call, [&] {
    c.fill(kUnwritten<T>);
    packed.fill(kUnwritten<T>);
    call();
    for (Size i = 0; i < e.rows; ++i) {
      std::vector<double> want;
      for (Size j = 0; j < e.columns; ++j) want.push_back(wanted(i, j));
      const std::string wrong = difference(c.data() + i * kPanel<T>, want, 0);
      if (!wrong.empty()) return "row " + std::to_string(i) + ", " + wrong;
    }
    for (Size k = 0; form == Form::packing && k < e.depth; ++k) {
      const std::vector<double> want(b.data() + k * wide, b.data() + k * wide + e.columns);
      const std::string wrong = difference(packed.data() + k * kPanel<T>, want, 0);
      if (!wrong.empty()) return "packed row " + std::to_string(k) + ", " + wrong;
    }
    return std::string();
  });
}

// `optimizer` is for Epilogue::optimizer, and `place` its number in the table.
template <class T>
void gemm_panel_transposed(benchmark::State& state, const InstructionSet& set, Extents e, Epilogue epilogue,
                           const PrimitiveRow* optimizer = nullptr, int place = 0) {
  Random random;
  const Size wide = 3 * kPanel<T>;  // C is a part of a wider matrix
  const Packed<T> a(e.depth, e.rows, random);
  const Array<T> b = random.small_integers<T>(e.depth * kPanel<T>), first = random.small_integers<T>(e.rows * wide);
  const Size states = optimizer == nullptr ? 0 : optimizer->state;
  Array<T> c = first, memory(states * c.size());
  std::vector<double> coefficients;
  GemmPanel<T> s{};
  s.rows = e.rows;
  s.depth = e.depth;
  s.columns = e.columns;
  s.a = a.data.data();
  s.a_panel = a.panel_size;
  s.b = b.data();
  s.b_stride = kPanel<T>;
  s.c = c.data();
  s.c_stride = wide;
  s.rate = static_cast<T>(kRate);
  s.epilogue = epilogue;
  if (optimizer != nullptr) {
    coefficients = update_coefficients(static_cast<OptimizerKind>(place), attribute_values(*optimizer, {}), 0, kRate);
    s.rule = {kernels<T>(set).update[place], states > 0 ? memory.data() : nullptr, c.size(), optimizer->state,
              coefficients.data()};
  }
  const auto call = [&] { kernels<T>(set).gemm_panel_transposed(s); };
  const auto wanted = [&](Size i, Size j, double before) {
    double sum = 0;
    for (Size k = 0; k < e.depth; ++k) sum += a.at(k, i) * static_cast<double>(b[k * kPanel<T> + j]);
    if (epilogue == Epilogue::sgd) return before - kRate * sum;
    if (epilogue == Epilogue::store) return sum;
    Row nothing_yet(static_cast<std::size_t>(states));
    return naive_update(*optimizer, place, before, sum, nothing_yet, 0, kRate);
  };
  run(state, place_of<T>(set), {e.flops()}, call, [&] {
    c = first;
    memory.fill(0);
    call();
    for (Size i = 0; i < e.rows; ++i) {
      std::vector<double> want(first.data() + i * wide, first.data() + (i + 1) * wide);  // the columns beside it stay
      for (Size j = 0; j < e.columns; ++j) {
        double& element = want[static_cast<std::size_t>(j)];
        element = wanted(i, j, element);
      }
      const std::string wrong = difference(c.data() + i * wide, want, optimizer == nullptr ? 0 : kTolerance<T>);
      if (!wrong.empty()) return "row " + std::to_string(i) + ", " + wrong;
    }
    return std::string();
  });
}

// One row: C (1, columns) from B as it lies.
template <class T>
void gemm_row(benchmark::State& state, const InstructionSet& set, Extents e) {
  Random random;
  const Array<T> a = random.small_integers<T>(e.depth), b = random.small_integers<T>(e.depth * e.columns),
                 bias = random.small_integers<T>(e.columns);
  Array<T> c(panels_size<T>(1, e.columns));
  GemmPanel<T> s{};
  s.rows = 1;
  s.depth = e.depth;
  s.columns = e.columns;
  s.a = a.data();
  s.b = b.data();
  s.b_stride = e.columns;
  s.bias = bias.data();
  s.c = c.data();
  s.epilogue = Epilogue::relu;
  const auto call = [&] { kernels<T>(set).gemm_row(s); };
  run(state, place_of<T>(set), {e.flops()}, call, [&] {
    c.fill(kUnwritten<T>);
    call();
    std::vector<double> want;
    for (Size j = 0; j < e.columns; ++j) {
      double sum = static_cast<double>(bias[j]);
      for (Size k = 0; k < e.depth; ++k) sum += static_cast<double>(a[k]) * static_cast<double>(b[k * e.columns + j]);
      want.push_back(std::max(sum, 0.0));
    }
    return difference(c.data(), want, 0);
  });
}

template <class T>
void gemv(benchmark::State& state, const InstructionSet& set, Extents e) {
  Random random;
  const Packed<T> a(e.rows, e.depth, random);
  const Array<T> x = random.small_integers<T>(e.depth), bias = random.small_integers<T>(1);
  Array<T> y(e.rows * kPanel<T>);
  const auto call = [&] {
    kernels<T>(set).gemv(e.rows, e.depth, a.data.data(), a.panel_size, x.data(), bias.data(), y.data(), kPanel<T>);
  };
  run(state, place_of<T>(set), {e.flops()}, call, [&] {
    y.fill(kUnwritten<T>);
    call();
    for (Size i = 0; i < e.rows; ++i) {
      double sum = static_cast<double>(bias[0]);
      for (Size k = 0; k < e.depth; ++k) sum += a.at(i, k) * static_cast<double>(x[k]);
      const std::string wrong = difference(&y[i * kPanel<T>], {sum}, 0);
      if (!wrong.empty()) return "row " + std::to_string(i) + ", " + wrong;
    }
    return std::string();
  });
}

template <class T>
void gemv_transposed(benchmark::State& state, const InstructionSet& set, Extents e, Epilogue epilogue) {
  Random random;
  const Packed<T> a(e.rows, e.depth, random);
  const Array<T> x = random.small_integers<T>(e.rows * kPanel<T>), first = random.small_integers<T>(e.depth);
  Array<T> y = first;
  const auto call = [&] {
    kernels<T>(set).gemv_transposed(e.rows, e.depth, a.data.data(), a.panel_size, x.data(), kPanel<T>, y.data(),
                                    epilogue, static_cast<T>(kRate));
  };
  run(state, place_of<T>(set), {e.flops()}, call, [&] {
    y = first;
    call();
    std::vector<double> want;
    for (Size k = 0; k < e.depth; ++k) {
      double sum = 0;
      for (Size i = 0; i < e.rows; ++i) sum += a.at(i, k) * static_cast<double>(x[i * kPanel<T>]);
      want.push_back(epilogue == Epilogue::sgd ? static_cast<double>(first[k]) - kRate * sum : sum);
    }
    return difference(y.data(), want, 0);
  });
}

}  // namespace

void add_gemm() {
  for_each_table([](const InstructionSet& set, auto number) {
    using T = decltype(number);
    for (const Extents e : extents<T>()) {
      for (const Epilogue epilogue : {Epilogue::store, Epilogue::relu, Epilogue::relu_mask}) {
        for (const Form form : {Form::rows, Form::packing, Form::packed}) {
          add<T>(std::string("gemm_panel/") + name_of(epilogue) + "/" + name_of(form), set, e.name(),
                 [&set, e, form, epilogue](benchmark::State& state) { gemm_panel<T>(state, set, e, form, epilogue); });
        }
      }
      for (const Epilogue epilogue : {Epilogue::store, Epilogue::sgd}) {
        add<T>(std::string("gemm_panel_transposed/") + name_of(epilogue), set, e.name(),
               [&set, e, epilogue](benchmark::State& state) { gemm_panel_transposed<T>(state, set, e, epilogue); });
      }
      for_each_primitive("optimizer", [&](const PrimitiveRow& optimizer, int place) {
        add<T>(std::string("gemm_panel_transposed/") + optimizer.name + "_update", set, e.name(),
               [&set, e, &optimizer, place](benchmark::State& state) {
                 gemm_panel_transposed<T>(state, set, e, Epilogue::optimizer, &optimizer, place);
               });
      });
    }
    for (const Extents e : kRowExtents) {
      add<T>("gemm_row/relu", set, e.name(), [&set, e](benchmark::State& state) { gemm_row<T>(state, set, e); });
    }
    for (const Extents e : kColumnExtents) {
      add<T>("gemv", set, e.name(), [&set, e](benchmark::State& state) { gemv<T>(state, set, e); });
      for (const Epilogue epilogue : {Epilogue::store, Epilogue::sgd}) {
        add<T>(std::string("gemv_transposed/") + name_of(epilogue), set, e.name(),
               [&set, e, epilogue](benchmark::State& state) { gemv_transposed<T>(state, set, e, epilogue); });
      }
    }
  });
}

}  // namespace densegrad::bench
