// Loops over (rows, columns) that apply a function of vectors.

namespace densegrad {
namespace {

// Calls f(offset into a row, how many lanes count) for each vector of a row of `columns`.
template <class T, class Function>
inline void for_each_vector(ptrdiff_t columns, Function f) {
  constexpr ptrdiff_t lanes = Vec<T>::kLanes;
  ptrdiff_t j = 0;
  for (; j + lanes <= columns; j += lanes) f(j, lanes);
  if (j < columns) f(j, columns - j);
}

template <class T>
inline Vec<T> load_some(const T* p, ptrdiff_t n) {
  return n == Vec<T>::kLanes ? Vec<T>::load(p) : Vec<T>::load_first(p, n);
}

template <class T>
inline void store_some(Vec<T> value, T* p, ptrdiff_t n) {
  if (n == Vec<T>::kLanes) {
    value.store(p);
  } else {
    value.store_first(p, n);
  }
}

// The first n lanes, none for n <= 0.
template <class T>
inline Vec<T> load_first_or_none(const T* p, ptrdiff_t n) {
  return n > 0 ? load_some(p, n < Vec<T>::kLanes ? n : Vec<T>::kLanes) : Vec<T>::set(0);
}

// The first n lanes, zero behind them.
template <class T>
Vec<T> keep_first(Vec<T> v, ptrdiff_t n) {
  T lanes[Vec<T>::kLanes];
  v.store(lanes);
  return Vec<T>::load_first(lanes, n);
}

// Rows that lie one behind the other are one long row.
struct Extent {
  ptrdiff_t rows;
  ptrdiff_t columns;
};

template <class... Strides>
inline Extent joined(ptrdiff_t rows, ptrdiff_t columns, Strides... strides) {
  const bool contiguous = ((strides == columns) && ...);
  return contiguous ? Extent{rows > 0 ? 1 : 0, rows * columns} : Extent{rows, columns};
}

template <class T, class Function>
void map_forward(ptrdiff_t rows, ptrdiff_t columns, const T* z, ptrdiff_t z_stride, T* y, ptrdiff_t y_stride,
                 Function f) {
  const Extent extent = joined(rows, columns, z_stride, y_stride);
  for (ptrdiff_t i = 0; i < extent.rows; ++i) {
    for_each_vector<T>(extent.columns, [&](ptrdiff_t j, ptrdiff_t n) {
      store_some(f(load_some(z + i * z_stride + j, n)), y + i * y_stride + j, n);
    });
  }
}

// dz = f(dy, y)
template <class T, class Function>
void map_backward(ptrdiff_t rows, ptrdiff_t columns, const T* dy, ptrdiff_t dy_stride, const T* y, ptrdiff_t y_stride,
                  T* dz, ptrdiff_t dz_stride, Function f) {
  const Extent extent = joined(rows, columns, dy_stride, y_stride, dz_stride);
  for (ptrdiff_t i = 0; i < extent.rows; ++i) {
    for_each_vector<T>(extent.columns, [&](ptrdiff_t j, ptrdiff_t n) {
      store_some(f(load_some(dy + i * dy_stride + j, n), load_some(y + i * y_stride + j, n)), dz + i * dz_stride + j,
                 n);
    });
  }
}

}  // namespace
}  // namespace densegrad
