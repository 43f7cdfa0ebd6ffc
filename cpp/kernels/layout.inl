// Copies between row-major matrices and panels, and sums over columns.

namespace densegrad {
namespace {

// panels(i, j) = source(order[i], j), or source(i, j) without an order
template <class T>
void pack_rows(ptrdiff_t rows, ptrdiff_t columns, const T* source, ptrdiff_t stride, const int64_t* order, T* panels,
               ptrdiff_t panel_size) noexcept {
  constexpr ptrdiff_t group = 8;  // rows read side by side, so that what is written to a panel is contiguous
  for (ptrdiff_t first = 0; first < rows; first += group) {
    const ptrdiff_t last = first + group < rows ? first + group : rows;
    T* target = panels;
    for (ptrdiff_t j = 0; j < columns; j += kPanel<T>, target += panel_size) {
      const ptrdiff_t left = columns - j;
      for (ptrdiff_t i = first; i < last; ++i) {
        const T* row = source + (order != nullptr ? static_cast<ptrdiff_t>(order[i]) : i) * stride + j;
        for_each_vector<T>(left < kPanel<T> ? left : kPanel<T>, [&](ptrdiff_t at, ptrdiff_t n) {
          store_some(load_some(row + at, n), target + i * kPanel<T> + at, n);
        });
      }
    }
  }
}

// target(i, j) = panels(i, j)
template <class T>
void unpack_rows(ptrdiff_t rows, ptrdiff_t columns, const T* panels, ptrdiff_t panel_size, T* target,
                 ptrdiff_t stride) noexcept {
  for (ptrdiff_t i = 0; i < rows; ++i) {
    const T* source = panels + i * kPanel<T>;
    for (ptrdiff_t j = 0; j < columns; j += kPanel<T>, source += panel_size) {
      const ptrdiff_t left = columns - j;
      for_each_vector<T>(left < kPanel<T> ? left : kPanel<T>, [&](ptrdiff_t at, ptrdiff_t n) {
        store_some(load_some(source + at, n), target + i * stride + j + at, n);
      });
    }
  }
}

// A block of at most kLanes rows and columns: target(j, i) = source(i, j)
template <class T>
inline void transpose_block(ptrdiff_t rows, ptrdiff_t columns, const T* source, ptrdiff_t stride, T* target,
                            ptrdiff_t target_stride) {
  constexpr int lanes = Vec<T>::kLanes;
  Vec<T> block[lanes];
  if (rows == lanes && columns == lanes) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) block[i] = Vec<T>::load(source + i * stride);
    transpose(block);
#pragma GCC unroll 16
    for (int j = 0; j < lanes; ++j) block[j].store(target + j * target_stride);
    return;
  }
  for (int i = 0; i < lanes; ++i) block[i] = i < rows ? load_some(source + i * stride, columns) : Vec<T>::set(0);
  transpose(block);
  for (int j = 0; j < columns; ++j) store_some(block[j], target + j * target_stride, rows);
}

// target(j, i) = source(i, j)
template <class T>
void pack_transposed(ptrdiff_t rows, ptrdiff_t columns, const T* source, ptrdiff_t stride, T* target,
                     ptrdiff_t target_stride) noexcept {
  constexpr ptrdiff_t lanes = Vec<T>::kLanes;
  for (ptrdiff_t j = 0; j < columns; j += lanes) {
    for (ptrdiff_t i = 0; i < rows; i += lanes) {
      transpose_block(rows - i < lanes ? rows - i : lanes, columns - j < lanes ? columns - j : lanes,
                      source + i * stride + j, stride, target + j * target_stride + i, target_stride);
    }
  }
}

// sums_j = sum_i source(i, j)
template <class T>
void column_sums(ptrdiff_t rows, ptrdiff_t columns, const T* source, ptrdiff_t stride, T* sums) noexcept {
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    Vec<T> even = Vec<T>::set(0), odd = even;  // two chains hide the latency of an addition
    ptrdiff_t i = 0;
    for (; i + 2 <= rows; i += 2) {
      even = even + load_some(source + i * stride + j, n);
      odd = odd + load_some(source + (i + 1) * stride + j, n);
    }
    if (i < rows) even = even + load_some(source + i * stride + j, n);
    store_some(even + odd, sums + j, n);
  });
}

// whether no element is infinite or NaN: x - x is 0 for every other
template <class T>
bool all_finite(ptrdiff_t size, const T* source) noexcept {
  constexpr ptrdiff_t lanes = Vec<T>::kLanes;
  constexpr int chains = 4;  // one sum would wait for each addition
  const Vec<T> zero = Vec<T>::set(0);
  Vec<T> sum[chains] = {zero, zero, zero, zero};
  ptrdiff_t j = 0;
  for (; j + chains * lanes <= size; j += chains * lanes) {
#pragma GCC unroll 4
    for (int c = 0; c < chains; ++c) {
      const Vec<T> v = Vec<T>::load(source + j + c * lanes);
      sum[c] = sum[c] + (v - v);
    }
  }
  for_each_vector<T>(size - j, [&](ptrdiff_t at, ptrdiff_t n) {
    const Vec<T> v = load_some(source + j + at, n);
    sum[0] = sum[0] + (v - v);
  });
  return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3])) == T(0);
}

}  // namespace
}  // namespace densegrad
