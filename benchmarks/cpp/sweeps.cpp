// sweep and sweep_transposed: a panel of a product, in each form of B and with each finish.

#include "harness.hpp"
#include "ops/panels.hpp"

namespace densegrad::bench {
namespace {

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

const char* name_of(Finish finish) {
  switch (finish) {
    case Finish::store:
      return "store";
    case Finish::relu:
      return "relu";
    case Finish::relu_mask:
      return "relu_mask";
    case Finish::descend:
      return "descend";
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
  return {{13, 50, 10}, {200, 100, 1}, {32, 64, kPanel<T>}, {64, 784, kPanel<T>}, {256, 256, kPanel<T>}};
}

// What a finish makes of a sum in C; all numbers here are exact.
double finished(Finish finish, double sum, double c, double y, double rate) {
  switch (finish) {
    case Finish::store:
      return sum;
    case Finish::relu:
      return std::max(sum, 0.0);
    case Finish::relu_mask:
      return y > 0 ? sum : 0;
    case Finish::descend:
      return c - rate * sum;
  }
  return sum;
}

template <class T>
void sweep(benchmark::State& state, const InstructionSet& set, Extents e, Form form, Finish finish) {
  Random random;
  const Size wide = form == Form::packed ? kPanel<T> : 3 * kPanel<T>;
  const Array<T> a = random.small_integers<T>(panels_size<T>(e.rows, e.depth)),
                 b = random.small_integers<T>(e.depth * wide), bias = random.small_integers<T>(e.columns),
                 y = random.small_integers<T>(e.rows * kPanel<T>);
  Array<T> c(e.rows * kPanel<T>), packed(e.depth * kPanel<T>);
  const bool forward = finish != Finish::relu_mask;  // what goes backward has no bias
  Sweep<T> s{};
  s.rows = e.rows;
  s.depth = e.depth;
  s.columns = e.columns;
  s.a = a.data();
  s.a_panel = e.rows * kPanel<T>;
  s.b = b.data();
  s.b_stride = wide;
  s.packed = form == Form::packing ? packed.data() : nullptr;
  s.bias = forward ? bias.data() : nullptr;
  s.c = c.data();
  s.c_stride = kPanel<T>;
  s.y = y.data();
  s.finish = finish;
  const auto call = [&] { kernels<T>(set).sweep(s); };
  run(state, place_of<T>(set), {e.flops()}, call, [&] {
    c.fill(kUnwritten<T>);
    packed.fill(kUnwritten<T>);
    call();
    for (Size i = 0; i < e.rows; ++i) {
      std::vector<double> want;
      for (Size j = 0; j < e.columns; ++j) {
        double sum = forward ? static_cast<double>(bias[j]) : 0;
        for (Size k = 0; k < e.depth; ++k) {
          const T element = a[k / kPanel<T> * s.a_panel + i * kPanel<T> + k % kPanel<T>];
          sum += static_cast<double>(element) * static_cast<double>(b[k * wide + j]);
        }
        want.push_back(finished(finish, sum, 0, static_cast<double>(y[i * kPanel<T> + j]), 0));
      }
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

template <class T>
void sweep_transposed(benchmark::State& state, const InstructionSet& set, Extents e, Finish finish) {
  Random random;
  const Size wide = 3 * kPanel<T>;  // C is a part of a wider matrix
  const Array<T> a = random.small_integers<T>(panels_size<T>(e.depth, e.rows)),
                 b = random.small_integers<T>(e.depth * kPanel<T>), first = random.small_integers<T>(e.rows * wide);
  Array<T> c = first;
  Sweep<T> s{};
  s.rows = e.rows;
  s.depth = e.depth;
  s.columns = e.columns;
  s.a = a.data();
  s.a_panel = e.depth * kPanel<T>;
  s.b = b.data();
  s.b_stride = kPanel<T>;
  s.c = c.data();
  s.c_stride = wide;
  s.rate = T(0.5);
  s.finish = finish;
  const auto call = [&] { kernels<T>(set).sweep_transposed(s); };
  run(state, place_of<T>(set), {e.flops()}, call, [&] {
    c = first;
    call();
    for (Size i = 0; i < e.rows; ++i) {
      std::vector<double> want(first.data() + i * wide, first.data() + (i + 1) * wide);  // the columns beside it stay
      for (Size j = 0; j < e.columns; ++j) {
        double sum = 0;
        for (Size k = 0; k < e.depth; ++k) {
          const T element = a[i / kPanel<T> * s.a_panel + k * kPanel<T> + i % kPanel<T>];
          sum += static_cast<double>(element) * static_cast<double>(b[k * kPanel<T> + j]);
        }
        double& element = want[static_cast<std::size_t>(j)];
        element = finished(finish, sum, element, 0, static_cast<double>(s.rate));
      }
      const std::string wrong = difference(c.data() + i * wide, want, 0);
      if (!wrong.empty()) return "row " + std::to_string(i) + ", " + wrong;
    }
    return std::string();
  });
}

}  // namespace

void add_sweeps() {
  for_each_table([](const InstructionSet& set, auto number) {
    using T = decltype(number);
    for (const Extents e : extents<T>()) {
      for (const Finish finish : {Finish::store, Finish::relu, Finish::relu_mask}) {
        for (const Form form : {Form::rows, Form::packing, Form::packed}) {
          if (form != Form::packed && e.columns < kPanel<T>) continue;  // whole vectors would read beyond the last row
          add<T>(std::string("sweep/") + name_of(finish) + "/" + name_of(form), set, e.name(),
                 [&set, e, form, finish](benchmark::State& state) { sweep<T>(state, set, e, form, finish); });
        }
      }
      for (const Finish finish : {Finish::store, Finish::descend}) {
        add<T>(std::string("sweep_transposed/") + name_of(finish), set, e.name(),
               [&set, e, finish](benchmark::State& state) { sweep_transposed<T>(state, set, e, finish); });
      }
    }
  });
}

}  // namespace densegrad::bench
