// C = A B by register tiles: up to kTileRows rows by two vectors of accumulators, all of them in registers from the
// first product to the store. Every loop over accumulators is unrolled; a rolled one would spill them.

namespace densegrad {
namespace {

// How a tile reads A, which lies in panels.
enum class Access {
  rows,     // A(i, k) = a[i kPanel + k], and k goes on in the next panel after kPanel steps
  columns,  // A(i, k) = a[k kPanel + i], rows within one panel
};

template <class T, int kRows, int kVectors>
struct Accumulators {
  Vec<T> sum[kRows][kVectors];
};

// Where a tile is in A and B. With `packed`, B is w itself: only `there` lanes of its rows exist, and what is read
// is left behind as a packed panel.
template <class T, int kVectors>
struct Operands {
  const T* a;
  const T* b;
  ptrdiff_t b_stride;
  T* packed;
  typename Vec<T>::Lanes there[kVectors];
};

// Vectors of a cache line.
template <class T>
constexpr int kVectorsOfLine = 64 / (Vec<T>::kLanes * static_cast<int>(sizeof(T)));

// What a tile needs at its end, asked for row by row while its products run: C, and matrices laid out as C (y, or an
// optimiser's state).
template <class T>
struct Ahead {
  static constexpr int kMost = 4;
  const T* row[kMost];
  int count;  // of matrices
  ptrdiff_t stride;
  int rows;  // still to be asked for
};

template <int kVectors, class T>
[[gnu::always_inline]] inline void prefetch_row(Ahead<T>& ahead) {
  for (int i = 0; i < ahead.count; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v += kVectorsOfLine<T>) __builtin_prefetch(ahead.row[i] + v * Vec<T>::kLanes, 1);
    ahead.row[i] += ahead.stride;
  }
  --ahead.rows;
}

constexpr int kRowsAhead = 8;  // of B, between what is multiplied and what is asked for

// sum(i, j) += A(i, k) B(k, j) for k = u
template <Access kAccess, bool kPack, class T, int kRows, int kVectors>
[[gnu::always_inline]] inline void multiply_add(Accumulators<T, kRows, kVectors>& c, const Operands<T, kVectors>& o,
                                                int u) {
  constexpr ptrdiff_t row_step = kAccess == Access::rows ? kPanel<T> : 1;
  constexpr ptrdiff_t k_step = kAccess == Access::rows ? 1 : kPanel<T>;
  __atomic_signal_fence(__ATOMIC_ACQ_REL);  // loads brought forward from the next product would push out accumulators
  const T* b = o.b + u * o.b_stride;
  Vec<T> row[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    row[v] = kPack ? Vec<T>::load(b + v * Vec<T>::kLanes, o.there[v]) : Vec<T>::load(b + v * Vec<T>::kLanes);
    if (v % kVectorsOfLine<T> == 0) __builtin_prefetch(b + v * Vec<T>::kLanes + kRowsAhead * o.b_stride);
    if (kPack) row[v].store(o.packed + u * kPanel<T> + v * Vec<T>::kLanes);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    const Vec<T> x = Vec<T>::set(o.a[u * k_step + i * row_step]);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) c.sum[i][v] = fma(x, row[v], c.sum[i][v]);
  }
}

template <Access kAccess, bool kPack, class T, int kVectors>
[[gnu::always_inline]] inline void advance(Operands<T, kVectors>& o, int steps) {
  o.a += steps * (kAccess == Access::rows ? 1 : kPanel<T>);
  o.b += steps * o.b_stride;
  if (kPack) o.packed += steps * kPanel<T>;
}

// `depth` products that lie within one panel of A
template <Access kAccess, bool kPack, class T, int kRows, int kVectors>
[[gnu::always_inline]] inline void accumulate(Accumulators<T, kRows, kVectors>& c, ptrdiff_t depth,
                                              Operands<T, kVectors>& o, Ahead<T>& ahead) {
  for (; depth >= Vec<T>::kUnroll && ahead.rows > 0; depth -= Vec<T>::kUnroll) {
    prefetch_row<kVectors>(ahead);
#pragma GCC unroll 4
    for (int u = 0; u < Vec<T>::kUnroll; ++u) multiply_add<kAccess, kPack>(c, o, u);
    advance<kAccess, kPack>(o, Vec<T>::kUnroll);
  }
  for (; depth >= Vec<T>::kUnroll; depth -= Vec<T>::kUnroll) {
#pragma GCC unroll 4
    for (int u = 0; u < Vec<T>::kUnroll; ++u) multiply_add<kAccess, kPack>(c, o, u);
    advance<kAccess, kPack>(o, Vec<T>::kUnroll);
  }
#pragma GCC unroll 1
  for (; depth > 0; --depth) {
    multiply_add<kAccess, kPack>(c, o, 0);
    advance<kAccess, kPack>(o, 1);
  }
}

// Asks for some lines of the rows that the next step reads.
inline void prefetch_rows(RowPrefetch& u) {
  for (int n = u.lines; n > 0; --n) {
    if (u.line >= u.line_end) {
      if (u.row == u.end) return;
      const ptrdiff_t row = static_cast<ptrdiff_t>(*u.row++);
      u.line = u.x + row * u.x_size;
      u.line_end = u.line + u.x_size;
      u.line -= reinterpret_cast<uintptr_t>(u.line) % 64;
      __builtin_prefetch(u.y + row * u.y_size, 0, 3);
    }
    __builtin_prefetch(u.line, 0, 3);
    u.line += 64;
  }
}

// Asks for a tile's rows in the next panel of A: from one panel to the next the processor does not see a pattern.
template <int kRows, class T>
[[gnu::always_inline]] inline void prefetch_panel(const T* a) {
  for (int i = 0; i < kRows; ++i) {
    __builtin_prefetch(a + i * kPanel<T>);
    __builtin_prefetch(a + i * kPanel<T> + kPanel<T> / 2);
  }
}

// What becomes of a finished sum whose place is c, and y's beside it.
template <Epilogue kEpilogue, class T>
[[gnu::always_inline]] inline Vec<T> finished(Vec<T> sum, Vec<T> c, const T* y, Vec<T> rate) {
  const Vec<T> zero = Vec<T>::set(0);
  switch (kEpilogue) {
    case Epilogue::relu:
      return max(zero, sum);
    case Epilogue::relu_mask:
      return select(less(zero, Vec<T>::load(y)), sum, zero);
    case Epilogue::sgd:
      return fnma(rate, sum, c);
    case Epilogue::store:
    case Epilogue::optimizer:  // by a kernel of its own
      return sum;
  }
  return sum;
}

// Stores a tile from the registers; with kPart, only the lanes that are `there`.
template <Epilogue kEpilogue, bool kPart, class T, int kRows, int kVectors>
[[gnu::always_inline]] inline void store_sums(const Accumulators<T, kRows, kVectors>& sums, const GemmPanel<T>& s,
                                              ptrdiff_t offset, const typename Vec<T>::Lanes (&there)[kVectors]) {
  const Vec<T> rate = Vec<T>::set(s.rate);
  Vec<T> c = rate;
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const ptrdiff_t at = offset + i * s.c_stride + v * Vec<T>::kLanes;
      if (kEpilogue == Epilogue::sgd) c = kPart ? Vec<T>::load(s.c + at, there[v]) : Vec<T>::load(s.c + at);
      const T* y = kEpilogue == Epilogue::relu_mask ? s.y + at : nullptr;
      const Vec<T> result = finished<kEpilogue>(sums.sum[i][v], c, y, rate);
      if (kPart) {
        result.store(s.c + at, there[v]);
      } else {
        result.store(s.c + at);
      }
    }
  }
}

template <class T, int kRows, int kVectors>
[[gnu::always_inline]] inline void spill(const Accumulators<T, kRows, kVectors>& sums, T* buffer) {
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums.sum[i][v].store(buffer + (i * kVectors + v) * Vec<T>::kLanes);
  }
}

// Where B is read from: w itself on the way to `packed`, or a packed panel.
template <class T>
struct Source {
  const T* b;
  ptrdiff_t stride;
  T* packed;  // null: nothing is left behind
};

// Hands a tile's sums to the optimiser.
template <class T, int kRows, int kVectors>
[[gnu::always_inline]] inline void update_by(const Accumulators<T, kRows, kVectors>& sums, const GemmPanel<T>& s,
                                             ptrdiff_t corner, ptrdiff_t columns) {
  constexpr ptrdiff_t width = kVectors * Vec<T>::kLanes;
  alignas(64) T buffer[kRows * width];
  spill(sums, buffer);
  T* state = s.rule.state == nullptr ? nullptr : s.rule.state + corner;
  s.rule.kernel(kRows, columns < width ? columns : width, s.c + corner, s.c_stride, buffer, width, state,
                s.rule.state_stride, s.rule.coefficients);
}

// One tile: sums from the bias (or 0) on over all of depth, then the epilogue. a is A's first element for it, `row` and
// `column` its place in C.
template <Access kAccess, bool kPack, int kRows, int kVectors, class T>
[[gnu::noinline]] void tile(const GemmPanel<T>& s, const Source<T>& source, const T* a, ptrdiff_t row,
                            ptrdiff_t column) noexcept {
  Accumulators<T, kRows, kVectors> sums;
  const ptrdiff_t columns = s.columns - column, corner = row * s.c_stride + column;
  if (s.bias == nullptr) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums.sum[i][v] = Vec<T>::set(0);
    }
  } else {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> start = load_first_or_none(s.bias + column + v * Vec<T>::kLanes, columns - v * Vec<T>::kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) sums.sum[i][v] = start;
    }
  }
  Operands<T, kVectors> o;
  o.a = a;
  o.b = source.b + column;
  o.b_stride = source.stride;
  o.packed = kPack ? source.packed + column : nullptr;
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) o.there[v] = Vec<T>::first(columns - v * Vec<T>::kLanes);
  Ahead<T> ahead{{s.c + corner}, 1, s.c_stride, kRows};
  if (kAccess == Access::rows && s.y != nullptr) ahead.row[ahead.count++] = s.y + corner;
  if (kAccess == Access::columns && s.epilogue == Epilogue::optimizer) {
    for (int i = 0; i < s.rule.states && ahead.count < ahead.kMost; ++i) {
      ahead.row[ahead.count++] = s.rule.state + i * s.rule.state_stride + corner;
    }
  }
  for (ptrdiff_t left = s.depth; left > 0; left -= kPanel<T>) {
    if (s.prefetch != nullptr) prefetch_rows(*s.prefetch);
    if (kAccess == Access::rows && s.a_is_far && left > kPanel<T>) prefetch_panel<kRows>(o.a + s.a_panel);
    accumulate<kAccess, kPack>(sums, left < kPanel<T> ? left : kPanel<T>, o, ahead);
    if (kAccess == Access::rows) o.a += s.a_panel - kPanel<T>;  // on in the next panel
  }
  if constexpr (kAccess == Access::rows) {  // C is a panel, whose lanes beyond the matrix nobody reads
    switch (s.epilogue) {
      case Epilogue::relu:
        return store_sums<Epilogue::relu, false>(sums, s, corner, o.there);
      case Epilogue::relu_mask:
        return store_sums<Epilogue::relu_mask, false>(sums, s, corner, o.there);
      default:
        return store_sums<Epilogue::store, false>(sums, s, corner, o.there);
    }
  } else {
    const bool whole = columns >= kVectors * Vec<T>::kLanes;
    switch (s.epilogue) {
      case Epilogue::sgd:
        return whole ? store_sums<Epilogue::sgd, false>(sums, s, corner, o.there)
                     : store_sums<Epilogue::sgd, true>(sums, s, corner, o.there);
      case Epilogue::optimizer:
        return update_by(sums, s, corner, columns);
      default:
        return whole ? store_sums<Epilogue::store, false>(sums, s, corner, o.there)
                     : store_sums<Epilogue::store, true>(sums, s, corner, o.there);
    }
  }
}

// tile<..., rows, ...> for a number of rows known only now
template <Access kAccess, bool kPack, int kVectors, class T>
inline void tile_of(ptrdiff_t rows, const GemmPanel<T>& s, const Source<T>& source, const T* a, ptrdiff_t row,
                    ptrdiff_t column) {
  switch (rows) {
#define DENSEGRAD_TILE(n)                                                                               \
  case n:                                                                                               \
    if constexpr (n <= Vec<T>::kTileRows) tile<kAccess, kPack, n, kVectors>(s, source, a, row, column); \
    break;
    DENSEGRAD_TILE(1)
    DENSEGRAD_TILE(2)
    DENSEGRAD_TILE(3)
    DENSEGRAD_TILE(4)
    DENSEGRAD_TILE(5)
    DENSEGRAD_TILE(6)
    DENSEGRAD_TILE(7)
    DENSEGRAD_TILE(8)
    DENSEGRAD_TILE(9)
    DENSEGRAD_TILE(10)
    DENSEGRAD_TILE(11)
    DENSEGRAD_TILE(12)
    DENSEGRAD_TILE(13)
    DENSEGRAD_TILE(14)
#undef DENSEGRAD_TILE
  }
}

// The tiles of `some` rows side by side, so that what they read of A is still near for the second.
template <Access kAccess, bool kPack, class T>
inline void tiles_beside(ptrdiff_t some, const GemmPanel<T>& s, const Source<T>& source, const T* a, ptrdiff_t row) {
  constexpr ptrdiff_t wide = 2 * Vec<T>::kLanes;
  for (ptrdiff_t j = 0; j < s.columns; j += wide) {
    if (s.columns - j <= Vec<T>::kLanes) {
      tile_of<kAccess, kPack, 1>(some, s, source, a, row, j);
    } else {
      tile_of<kAccess, kPack, 2>(some, s, source, a, row, j);
    }
  }
}

// The tiles of the rows [row, row + rows), as equal in height as they can be, so that no short tile is left over; a is
// A's first element for them.
template <Access kAccess, class T>
void tiles_below(const GemmPanel<T>& s, const T* a, ptrdiff_t row, ptrdiff_t rows) {
  constexpr ptrdiff_t row_step = kAccess == Access::rows ? kPanel<T> : 1;
  const bool several = rows > Vec<T>::kTileRows;
  const ptrdiff_t tiles = several ? (rows + Vec<T>::kTileRows - 1) / Vec<T>::kTileRows : 1;
  const ptrdiff_t height = several ? rows / tiles : rows;
  ptrdiff_t taller = rows - tiles * height;  // so many tiles are one row taller
  Source<T> source{s.b, s.b_stride, s.packed};
  for (const ptrdiff_t end = row + rows; row < end; --taller) {
    const ptrdiff_t some = height + (taller > 0 ? 1 : 0);
    if (kAccess == Access::rows && source.packed != nullptr) {  // the first leaves B behind, packed
      tiles_beside<kAccess, kAccess == Access::rows>(some, s, source, a, row);
      source = {s.packed, kPanel<T>, nullptr};
    } else {
      tiles_beside<kAccess, false>(some, s, source, a, row);
    }
    row += some;
    a += some * row_step;
  }
}

// C(i, j) = epilogue(sum_k A(i, k) B(k, j) + bias_j)
template <class T>
void gemm_panel(const GemmPanel<T>& s) noexcept {
  tiles_below<Access::rows>(s, s.a, 0, s.rows);
}

// C(i, j) = epilogue(sum_k A(k, i) B(k, j)); a tile's rows lie within one panel of A
template <class T>
void gemm_panel_transposed(const GemmPanel<T>& s) noexcept {
  const T* a = s.a;
  for (ptrdiff_t row = 0; row < s.rows; row += kPanel<T>, a += s.a_panel) {
    tiles_below<Access::columns>(s, a, row, s.rows - row < kPanel<T> ? s.rows - row : kPanel<T>);
  }
}

// kVectors vectors of C(0, j), of whose last only some lanes are there
template <int kVectors, class T>
inline void row_block(const GemmPanel<T>& s, ptrdiff_t column) {
  constexpr ptrdiff_t lanes = Vec<T>::kLanes;
  constexpr ptrdiff_t rows_ahead = 4;
  const ptrdiff_t left = s.columns - column - (kVectors - 1) * lanes;
  const typename Vec<T>::Lanes there = Vec<T>::first(left < lanes ? left : lanes);
  Vec<T> sum[kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    const T* bias = s.bias + column + v * lanes;
    sum[v] = s.bias == nullptr ? Vec<T>::set(0) : v + 1 < kVectors ? Vec<T>::load(bias) : Vec<T>::load(bias, there);
  }
  const T* b = s.b + column;
  for (ptrdiff_t k = 0; k < s.depth; ++k, b += s.b_stride) {
    const Vec<T> x = Vec<T>::set(s.a[k]);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> row = v + 1 < kVectors ? Vec<T>::load(b + v * lanes) : Vec<T>::load(b + v * lanes, there);
      if (v % kVectorsOfLine<T> == 0) __builtin_prefetch(b + rows_ahead * s.b_stride + v * lanes);
      sum[v] = fma(x, row, sum[v]);
    }
  }
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    if (s.epilogue == Epilogue::relu) sum[v] = max(Vec<T>::set(0), sum[v]);
    sum[v].store(s.c + column + v * lanes);
  }
}

// C(0, j) = epilogue(sum_k A(0, k) B(k, j) + bias_j) for any number of columns: one row, for which packing B, or
// reading a panel of it at a time, would cost more than the products. A and C lie one number behind the other, B as it
// lies.
template <class T>
void gemm_row(const GemmPanel<T>& s) noexcept {
  constexpr ptrdiff_t lanes = Vec<T>::kLanes;
  for (ptrdiff_t j = 0; j < s.columns;) {
    const ptrdiff_t vectors = (s.columns - j + lanes - 1) / lanes;
    if (vectors >= 8) {
      row_block<8>(s, j);
      j += 8 * lanes;
    } else if (vectors >= 4) {
      row_block<4>(s, j);
      j += 4 * lanes;
    } else if (vectors >= 2) {
      row_block<2>(s, j);
      j += 2 * lanes;
    } else {
      row_block<1>(s, j);
      j += lanes;
    }
  }
}

// y_i = sum_k A(i, k) x_k + bias: a layer of one output, which would leave all but one lane of a tile idle
template <class T>
void gemv(ptrdiff_t rows, ptrdiff_t depth, const T* a, ptrdiff_t a_panel, const T* x, const T* bias, T* y,
          ptrdiff_t y_stride) noexcept {
  const T start = bias == nullptr ? T(0) : *bias;
  for (ptrdiff_t i = 0; i < rows; ++i) {
    Vec<T> sum = Vec<T>::set(0);
    const T* row = a + i * kPanel<T>;
    for (ptrdiff_t k = 0; k < depth; k += kPanel<T>, row += a_panel) {
      for_each_vector<T>(depth - k < kPanel<T> ? depth - k : kPanel<T>, [&](ptrdiff_t at, ptrdiff_t n) {
        sum = fma(load_some(row + at, n), load_some(x + k + at, n), sum);
      });
    }
    y[i * y_stride] = reduce_add(sum) + start;
  }
}

// y_k = sum_i A(i, k) x_i, or y_k - rate times that: the weights of a layer of one output
template <class T>
void gemv_transposed(ptrdiff_t rows, ptrdiff_t depth, const T* a, ptrdiff_t a_panel, const T* x, ptrdiff_t x_stride,
                     T* y, Epilogue epilogue, T rate) noexcept {
  constexpr int chains = 4;  // sums over every fourth row: one chain would wait for each addition
  for (ptrdiff_t k = 0; k < depth; k += kPanel<T>, a += a_panel) {
    for_each_vector<T>(depth - k < kPanel<T> ? depth - k : kPanel<T>, [&](ptrdiff_t at, ptrdiff_t n) {
      Vec<T> sum[chains] = {Vec<T>::set(0), Vec<T>::set(0), Vec<T>::set(0), Vec<T>::set(0)};
      ptrdiff_t i = 0;
      for (; i + chains <= rows; i += chains) {
#pragma GCC unroll 4
        for (int c = 0; c < chains; ++c) {
          sum[c] = fma(Vec<T>::set(x[(i + c) * x_stride]), Vec<T>::load(a + (i + c) * kPanel<T> + at), sum[c]);
        }
      }
      for (; i < rows; ++i) sum[0] = fma(Vec<T>::set(x[i * x_stride]), Vec<T>::load(a + i * kPanel<T> + at), sum[0]);
      const Vec<T> total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
      T* target = y + k + at;
      store_some(epilogue == Epilogue::sgd ? fnma(Vec<T>::set(rate), total, load_some(target, n)) : total, target, n);
    });
  }
}

}  // namespace
}  // namespace densegrad
