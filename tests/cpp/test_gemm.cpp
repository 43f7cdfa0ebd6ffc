// The tiles of C = A B: exact on whole numbers for every size around a tile, a vector and a panel, bounded on others.

#include <algorithm>
#include <string>

#include "base/primitives.hpp"
#include "dispatch/dispatch.hpp"
#include "testing.hpp"

namespace densegrad {
namespace {

const std::vector<Size> kRows = {0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 19, 27, 28, 29, 31, 32, 33, 43, 57, 65};
const std::vector<Size> kDepths = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 19, 31, 32, 33, 35, 63, 64, 65, 67};

template <class T>
std::vector<Size> widths() {
  std::vector<Size> some;
  for (const Size width : {0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19, 23, 24, 25, 29, 31, 32}) {
    if (width <= kPanel<T>) some.push_back(width);
  }
  return some;
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

template <class T>
Size panel_count(Size columns) {
  return (columns + kPanel<T> - 1) / kPanel<T>;
}

// A (rows, columns) matrix in panels, each a few rows away from the next; NaN where the matrix has no columns.
template <class T>
struct InPanels {
  InPanels(Size rows, Size columns)
      : panel_size((rows + 2) * kPanel<T>), memory(panel_count<T>(columns), rows * kPanel<T>, panel_size) {}
  T& operator()(Size i, Size j) { return memory.data()[j / kPanel<T> * panel_size + i * kPanel<T> + j % kPanel<T>]; }

  Size panel_size;
  Matrix<T> memory;
};

// One product and all that it may need; sums holds A B exactly or in long double.
template <class T>
struct Product {
  // `transposed`: A is kept as (depth, rows)
  Product(Size rows_, Size depth_, Size columns_, bool transposed_, bool whole, Random& random)
      : rows(rows_),
        depth(depth_),
        columns(columns_),
        transposed(transposed_),
        a(transposed ? depth : rows, transposed ? rows : depth),
        b(depth, kPanel<T>),
        far_b(depth, columns, columns + 7),
        bias(1, columns),
        sums(static_cast<std::size_t>(rows * columns)),
        sizes(sums.size()) {
    const auto number = [&] { return whole ? static_cast<double>(random.whole(-8, 8)) : random.uniform(-1, 1); };
    for (Size i = 0; i < rows; ++i) {
      for (Size k = 0; k < depth; ++k) at(i, k) = static_cast<T>(number());
    }
    for (Size k = 0; k < depth; ++k) {
      for (Size j = 0; j < columns; ++j) b(k, j) = static_cast<T>(number());
    }
    for (Size k = 0; k < depth; ++k) std::copy_n(&b(k, 0), columns, &far_b(k, 0));
    bias.fill(number);
    std::vector<Real> row(static_cast<std::size_t>(columns)), size(row.size());
    for (Size i = 0; i < rows; ++i) {
      std::fill(row.begin(), row.end(), 0);
      std::fill(size.begin(), size.end(), 0);
      for (Size k = 0; k < depth; ++k) {
        for (std::size_t j = 0; j < row.size(); ++j) {
          const Real term = Real(at(i, k)) * Real(b(k, static_cast<Size>(j)));
          row[j] += term;
          size[j] += std::fabs(term);
        }
      }
      std::copy(row.begin(), row.end(), sums.begin() + i * columns);
      std::copy(size.begin(), size.end(), sizes.begin() + i * columns);
    }
  }

  T& at(Size i, Size k) { return transposed ? a(k, i) : a(i, k); }

  Size rows, depth, columns;
  bool transposed;
  InPanels<T> a;
  Matrix<T> b;      // one panel
  Matrix<T> far_b;  // the same as columns of a wider matrix
  Matrix<T> bias;
  std::vector<Real> sums, sizes;
};

struct Variant {
  Epilogue epilogue;
  bool far = false;     // B as columns of a wider matrix; where nothing is packed only a whole panel may lie so
  bool packed = false;  // B left behind in a panel
  bool biased = false;
  Size gap = 0;  // between the rows of C, where it is no panel
};

// An update to tell whether each w meets its own gradient and state: w becomes w - 2 dw, and the state m = 3 dw + w
// as it was and v = 10 v + m as it was.
template <class T>
void traced_update(Size rows, Size columns, T* w, Size w_stride, const T* dw, Size dw_stride, T* state,
                   Size state_stride, const double* coefficients) noexcept {
  for (Size i = 0; i < rows; ++i) {
    for (Size j = 0; j < columns; ++j) {
      T &place = w[i * w_stride + j], &m = state[i * w_stride + j], &v = (&m)[state_stride];
      const T gradient = dw[i * dw_stride + j], before = place;
      place -= static_cast<T>(coefficients[0]) * gradient;
      v = 10 * v + m;
      m = static_cast<T>(coefficients[1]) * gradient + before;
    }
  }
}

// How often a sum of `depth` products may round, with its bias and its epilogue.
constexpr Real roundings(Size depth) { return static_cast<Real>(depth) + 4; }

template <class T>
void check(Product<T>& product, const Variant& v, bool whole, Random& random) {
  const Size rows = product.rows, columns = product.columns, depth = product.depth;
  CAPTURE(rows);
  CAPTURE(depth);
  CAPTURE(columns);
  CAPTURE(std::string(name_of(v.epilogue)));
  CAPTURE(v.far);
  CAPTURE(v.packed);
  CAPTURE(v.biased);
  CAPTURE(v.gap);
  const T rate = whole ? T(0.5) : T(0.1);
  const Size width = product.transposed ? columns : kPanel<T>, gap = product.transposed ? v.gap : 0;  // else a panel
  Matrix<T> c(rows, width, width + gap), before(rows, columns), y(rows, width, width + gap);
  Matrix<T> packed(depth, kPanel<T>);
  const Size state_stride = rows * (columns + v.gap) + 3;  // m and v in one memory, as a network's state lies
  Matrix<T> state(2, rows > 0 ? (rows - 1) * (columns + v.gap) + columns : 0, state_stride);
  const double coefficients[] = {2, 3};
  if (v.epilogue == Epilogue::relu_mask) y.fill([&] { return random.whole(-1, 1); });
  const bool changes_c = v.epilogue == Epilogue::sgd || v.epilogue == Epilogue::optimizer;
  if (changes_c) {
    before.fill([&] { return random.whole(-8, 8); });
    c.copy(before);
  }
  if (v.epilogue == Epilogue::optimizer) {
    for (Size i = 0; i < rows; ++i) {
      for (Size j = 0; j < columns; ++j) {
        state(0, i * c.stride() + j) = static_cast<T>(i + 1);
        state(1, i * c.stride() + j) = static_cast<T>(j + 1);
      }
    }
  }
  GemmPanel<T> s{};
  s.rows = rows;
  s.depth = depth;
  s.columns = columns;
  s.a = product.a.memory.data();
  s.a_panel = product.a.panel_size;
  s.b = v.far ? product.far_b.data() : product.b.data();
  s.b_stride = v.far ? product.far_b.stride() : kPanel<T>;
  s.packed = v.packed ? packed.data() : nullptr;
  s.bias = v.biased ? product.bias.data() : nullptr;
  s.c = c.data();
  s.c_stride = c.stride();
  s.y = v.epilogue == Epilogue::relu_mask ? y.data() : nullptr;
  s.rate = rate;
  if (v.epilogue == Epilogue::optimizer) s.rule = {traced_update<T>, state.data(), state_stride, 2, coefficients};
  s.epilogue = v.epilogue;
  if (product.transposed) {
    kernels<T>().gemm_panel_transposed(s);
  } else {
    kernels<T>().gemm_panel(s);
  }

  Worst worst;
  bool states_right = true;
  for (Size i = 0; i < rows; ++i) {
    for (Size j = 0; j < columns; ++j) {
      const std::size_t place = static_cast<std::size_t>(i * columns + j);
      Real want = product.sums[place] + (v.biased ? Real(product.bias[j]) : 0);
      Real size = product.sizes[place] + (v.biased ? std::fabs(Real(product.bias[j])) : 0);
      if (v.epilogue == Epilogue::relu && want < 0) want = 0;
      if (v.epilogue == Epilogue::relu_mask && !(y(i, j) > 0)) want = 0;
      if (v.epilogue == Epilogue::optimizer) {
        const Size at = i * c.stride() + j;
        states_right &= state(0, at) == static_cast<T>(3 * want + before(i, j));
        states_right &= state(1, at) == static_cast<T>(10 * (j + 1) + i + 1);
      }
      if (changes_c) {
        const Real factor = v.epilogue == Epilogue::optimizer ? 2 : Real(rate);
        want = before(i, j) - factor * want;
        size = std::fabs(Real(before(i, j))) + factor * size;
      }
      worst.see(c(i, j), want, whole ? 0 : roundings(depth) * kEpsilon<T> * size, static_cast<Real>(place));
    }
  }
  CHECK_WORST(worst);
  CHECK(states_right);
  CHECK(c.rest_untouched());
  CHECK(state.rest_untouched());
  if (v.packed && rows > 0) {
    bool same = true;
    for (Size k = 0; k < depth; ++k) {
      for (Size j = 0; j < columns; ++j) same &= packed(k, j) == product.b(k, j);
    }
    CHECK_MESSAGE(same, "what is packed is B");
    CHECK(packed.rest_untouched());
  }
}

// Every size, with the variants taking turns.
template <class T>
void check_all(bool transposed, const std::vector<Variant>& variants) {
  Random random(1);
  std::size_t turn = 0;
  for (const Size columns : widths<T>()) {
    for (const Size rows : kRows) {
      for (const Size depth : kDepths) {
        Product<T> product(rows, depth, columns, transposed, true, random);
        for (int i = 0; i < 3; ++i) {
          Variant v = variants[turn++ % variants.size()];
          v.far = v.far && (v.packed || columns == kPanel<T>);
          check(product, v, true, random);
        }
      }
    }
  }
}

const std::vector<Variant> kForwardVariants = {
    {Epilogue::store, false, false, false, 0},     {Epilogue::relu, true, true, true, 3},
    {Epilogue::relu_mask, false, false, false, 5}, {Epilogue::store, true, true, true, 0},
    {Epilogue::relu, false, false, true, 0},       {Epilogue::relu_mask, false, true, false, 0},
    {Epilogue::store, true, false, true, 7},       {Epilogue::relu, false, true, false, 0},
    {Epilogue::relu_mask, true, false, true, 0},   {Epilogue::store, false, true, false, 1},
};

TEST_CASE_TEMPLATE("gemm_panel is exact on whole numbers for every size and epilogue", T, float, double) {
  check_all<T>(false, kForwardVariants);
}

TEST_CASE_TEMPLATE("gemm_panel_transposed is exact on whole numbers for every size and epilogue", T, float, double) {
  check_all<T>(true, {{Epilogue::store, false, false, false, 0},
                      {Epilogue::sgd, false, false, false, 3},
                      {Epilogue::optimizer, false, false, false, 0},
                      {Epilogue::store, true, false, false, 5},
                      {Epilogue::sgd, true, false, false, 0},
                      {Epilogue::optimizer, true, false, false, 4}});
}

TEST_CASE_TEMPLATE("every epilogue meets every width", T, float, double) {
  Random random(2);
  for (const Size columns : widths<T>()) {
    for (const bool transposed : {false, true}) {
      Product<T> product(29, 35, columns, transposed, true, random);
      for (const Epilogue epilogue :
           {Epilogue::store, Epilogue::relu, Epilogue::relu_mask, Epilogue::sgd, Epilogue::optimizer}) {
        const bool forward_only = epilogue == Epilogue::relu || epilogue == Epilogue::relu_mask;
        const bool weights_only = epilogue == Epilogue::sgd || epilogue == Epilogue::optimizer;
        if (transposed ? forward_only : weights_only) continue;
        for (const bool packed : {false, true}) {
          for (const bool biased : {false, true}) {
            for (const Size gap : {0, 1}) {
              if (transposed && (packed || biased)) continue;
              check(product, {epilogue, false, packed, biased, gap}, true, random);
            }
          }
        }
      }
    }
  }
}

// One column of B, x, and the sums it makes of A (rows, depth).
template <class T>
void check_column(Size rows, Size depth, bool whole, Random& random) {
  CAPTURE(rows);
  CAPTURE(depth);
  CAPTURE(whole);
  const auto number = [&] { return whole ? static_cast<double>(random.whole(-8, 8)) : random.uniform(-1, 1); };
  InPanels<T> a(rows, depth);
  for (Size i = 0; i < rows; ++i) {
    for (Size k = 0; k < depth; ++k) a(i, k) = static_cast<T>(number());
  }
  // the sum over one index of A, each product and all of them by their size
  const auto sums = [&](bool over_rows, Size fixed, const Matrix<T>& x) {
    Real sum = 0, size = 0;
    for (Size other = 0; other < (over_rows ? rows : depth); ++other) {
      const Real term = Real(over_rows ? a(other, fixed) : a(fixed, other)) * Real(over_rows ? x(other, 0) : x[other]);
      sum += term;
      size += std::fabs(term);
    }
    return std::make_pair(sum, size);
  };

  Matrix<T> x(1, depth), bias(1, 1);
  x.fill(number);
  bias.fill(number);
  for (const bool biased : {false, true}) {
    Matrix<T> y(rows, 1, biased ? kPanel<T> : 1);
    kernels<T>().gemv(rows, depth, a.memory.data(), a.panel_size, x.data(), biased ? bias.data() : nullptr, y.data(),
                      y.stride());
    Worst worst;
    for (Size i = 0; i < rows; ++i) {
      const auto [sum, size] = sums(false, i, x);
      const Real start = biased ? Real(bias[0]) : 0;
      worst.see(y(i, 0), sum + start, whole ? 0 : roundings(depth) * kEpsilon<T> * (size + std::fabs(start)));
    }
    CHECK_WORST(worst);
    CHECK(y.rest_untouched());
  }

  for (const Size stride : {Size{1}, kPanel<T>}) {
    for (const Epilogue epilogue : {Epilogue::store, Epilogue::sgd}) {
      Matrix<T> column(rows, 1, stride), y(1, depth), before(1, depth);
      column.fill(number);
      before.fill(number);
      if (epilogue == Epilogue::sgd) y.copy(before);
      const T rate = T(0.5);
      kernels<T>().gemv_transposed(rows, depth, a.memory.data(), a.panel_size, column.data(), stride, y.data(),
                                   epilogue, rate);
      Worst worst;
      for (Size k = 0; k < depth; ++k) {
        const auto [sum, size] = sums(true, k, column);
        const bool descends = epilogue == Epilogue::sgd;
        worst.see(y[k], descends ? before[k] - rate * sum : sum,
                  whole ? 0 : roundings(rows) * kEpsilon<T> * (size + (descends ? std::fabs(Real(before[k])) : 0)));
      }
      CHECK_WORST(worst);
      CHECK(y.rest_untouched());
    }
  }
}

TEST_CASE_TEMPLATE("gemv and gemv_transposed keep to one column of B at every size", T, float, double) {
  Random random(5);
  for (const Size rows : kRows) {
    for (const Size depth : kLengths) {
      for (const bool whole : {false, true}) check_column<T>(rows, depth, whole, random);
    }
  }
}

TEST_CASE_TEMPLATE("gemm_row is exact on whole numbers for every number of columns", T, float, double) {
  Random random(6);
  const auto number = [&] { return random.whole(-8, 8); };
  for (const Size columns : {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 250, 257, 301}) {
    for (const Size depth : {0, 1, 2, 5, 33}) {
      for (const bool biased : {false, true}) {
        for (const Epilogue epilogue : {Epilogue::store, Epilogue::relu}) {
          Matrix<T> a(1, depth), b(depth, columns, columns + 3), bias(1, columns),
              c(1, panel_count<T>(columns) * kPanel<T>);
          for (Matrix<T>* matrix : {&a, &b, &bias}) matrix->fill(number);
          GemmPanel<T> s{};
          s.rows = 1;
          s.depth = depth;
          s.columns = columns;
          s.a = a.data();
          s.b = b.data();
          s.b_stride = b.stride();
          s.bias = biased ? bias.data() : nullptr;
          s.c = c.data();
          s.epilogue = epilogue;
          kernels<T>().gemm_row(s);
          Worst worst;
          for (Size j = 0; j < columns; ++j) {
            Real want = biased ? Real(bias[j]) : 0;
            for (Size k = 0; k < depth; ++k) want += Real(a[k]) * Real(b(k, j));
            worst.see(c[j], epilogue == Epilogue::relu ? std::max<Real>(want, 0) : want, 0, static_cast<Real>(j));
          }
          CAPTURE(columns);
          CAPTURE(depth);
          CHECK_WORST(worst);
          CHECK(c.rest_untouched());
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("a product of other numbers keeps its error bound", T, float, double) {
  Random random(3);
  for (const Size depth : {1, 5, 64, 300, 1000}) {
    for (const Size columns : {Size{1}, Size{7}, kPanel<T> - 1, kPanel<T>}) {
      for (const bool transposed : {false, true}) {
        Product<T> product(33, depth, columns, transposed, false, random);
        const Epilogue last = transposed ? Epilogue::sgd : Epilogue::relu;
        check(product, {Epilogue::store, false, false, false, 0}, false, random);
        check(product, {last, false, false, !transposed, 2}, false, random);
        if (!transposed) check(product, {Epilogue::relu_mask, false, true, true, 0}, false, random);
      }
    }
  }
}

TEST_CASE_TEMPLATE("a sum that is not finite stays in its row and comes through every epilogue", T, float, double) {
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  Random random(4);
  const Size rows = 17, depth = 9, columns = kPanel<T> - 3;
  for (Size bad = 0; bad < rows; ++bad) {
    for (const T value : {infinity, nan}) {
      for (const Epilogue epilogue : {Epilogue::store, Epilogue::relu}) {
        Product<T> product(rows, depth, columns, false, true, random);
        product.b.fill([] { return 1; });
        product.at(bad, depth / 2) = value;
        Matrix<T> c(rows, kPanel<T>);
        GemmPanel<T> s{};
        s.rows = rows;
        s.depth = depth;
        s.columns = columns;
        s.a = product.a.memory.data();
        s.a_panel = product.a.panel_size;
        s.b = product.b.data();
        s.b_stride = kPanel<T>;
        s.c = c.data();
        s.c_stride = kPanel<T>;
        s.epilogue = epilogue;
        kernels<T>().gemm_panel(s);
        bool right = true;
        for (Size i = 0; i < rows; ++i) {
          for (Size j = 0; j < columns; ++j) {
            right &= i != bad ? std::isfinite(c(i, j)) : std::isnan(value) ? std::isnan(c(i, j)) : c(i, j) == value;
          }
        }
        CAPTURE(bad);
        CAPTURE(std::string(name_of(epilogue)));
        CHECK(right);
      }
    }
  }
}

}  // namespace
}  // namespace densegrad
