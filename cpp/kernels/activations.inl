// y = f(z) and dz = dy f'(z). y may be z, dz may be dy. Each pair is named as its row of primitives.def.

namespace densegrad {
namespace {

#define DENSEGRAD_FORWARD(name)                                                                                    \
  template <class T>                                                                                               \
  void name##_forward(ptrdiff_t rows, ptrdiff_t columns, const T* z, ptrdiff_t z_stride, T* y, ptrdiff_t y_stride, \
                      [[maybe_unused]] const double* attributes) noexcept
#define DENSEGRAD_BACKWARD(name)                                                                                      \
  template <class T>                                                                                                  \
  void name##_backward(ptrdiff_t rows, ptrdiff_t columns, const T* dy, ptrdiff_t dy_stride,                           \
                       [[maybe_unused]] const T* z, [[maybe_unused]] ptrdiff_t z_stride, [[maybe_unused]] const T* y, \
                       [[maybe_unused]] ptrdiff_t y_stride, T* dz, ptrdiff_t dz_stride,                               \
                       [[maybe_unused]] const double* attributes) noexcept

// y = z
DENSEGRAD_FORWARD(identity) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) { return v; });
}

// dz = dy
DENSEGRAD_BACKWARD(identity) {
  map_forward(rows, columns, dy, dy_stride, dz, dz_stride, [](Vec<T> d) { return d; });
}

// y = 1 / (1 + exp(-z))
DENSEGRAD_FORWARD(sigmoid) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) { return sigmoid(v); });
}

// dz = dy y (1 - y)
DENSEGRAD_BACKWARD(sigmoid) {
  map_backward(rows, columns, dy, dy_stride, y, y_stride, dz, dz_stride,
               [](Vec<T> d, Vec<T> a) { return d * a * (Vec<T>::set(1) - a); });
}

// y = tanh(z)
DENSEGRAD_FORWARD(tanh) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) { return tanh(v); });
}

// dz = dy (1 - y) (1 + y)
DENSEGRAD_BACKWARD(tanh) {
  map_backward(rows, columns, dy, dy_stride, y, y_stride, dz, dz_stride,
               [](Vec<T> d, Vec<T> a) { return d * ((Vec<T>::set(1) - a) * (Vec<T>::set(1) + a)); });
}

// y = max(z, 0)
DENSEGRAD_FORWARD(relu) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) { return max(Vec<T>::set(0), v); });
}

// dz = dy where y > 0, else 0
DENSEGRAD_BACKWARD(relu) {
  map_backward(rows, columns, dy, dy_stride, y, y_stride, dz, dz_stride, [](Vec<T> d, Vec<T> a) {
    const Vec<T> zero = Vec<T>::set(0);
    return select(less(zero, a), d, zero);
  });
}

// y = z Phi(z), where Phi(z) = (1 + erf(z / sqrt 2)) / 2
DENSEGRAD_FORWARD(gelu) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) {
    const Normal<T> at = normal(abs(v));
    const Vec<T> below = max(Vec<T>::set(-40), v) * at.mills * at.bell;  // 0, not NaN, for an infinite z
    return select(less(v, Vec<T>::set(0)), below, v * fnma(at.mills, at.bell, Vec<T>::set(1)));
  });
}

// dz = dy (Phi(z) + z phi(z)), where phi(z) = exp(-z^2 / 2) / sqrt(2 pi)
DENSEGRAD_BACKWARD(gelu) {
  map_backward(rows, columns, dy, dy_stride, z, z_stride, dz, dz_stride, [](Vec<T> d, Vec<T> v) {
    const Normal<T> at = normal(abs(v));
    const Vec<T> phi = at.bell * Vec<T>::set(T(0.39894228040143268));
    const Vec<T> held = min(Vec<T>::set(40), max(Vec<T>::set(-40), v));
    const Vec<T> upper = at.mills * at.bell;
    return d * fma(held, phi, select(less(v, Vec<T>::set(0)), upper, Vec<T>::set(1) - upper));
  });
}

// The largest element of a row. NaN is passed over: its exponential makes the row's sum NaN.
template <class T>
T row_max(ptrdiff_t columns, const T* z) {
  constexpr ptrdiff_t lanes = Vec<T>::kLanes;
  Vec<T> top = Vec<T>::set(-kInfinity<T>);
  ptrdiff_t j = 0;
  for (; j + lanes <= columns; j += lanes) top = max(Vec<T>::load(z + j), top);
  T tops[lanes];
  top.store(tops);
  T highest = tops[0];
  for (ptrdiff_t i = 1; i < lanes; ++i) highest = tops[i] > highest ? tops[i] : highest;
  for (; j < columns; ++j) highest = z[j] > highest ? z[j] : highest;
  return highest;
}

// e_j = exp(z_j - top), 1 where z_j is the top even if that is infinite; gives their sum. e may be z.
template <class T>
T exp_shifted(ptrdiff_t columns, const T* z, T top, T* e) {
  Vec<T> sum = Vec<T>::set(0);
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> v = load_some(z + j, n);
    const Vec<T> highest = Vec<T>::set(top);
    const Vec<T> shifted = select(equal(v, highest), Vec<T>::set(0), v - highest);
    const Vec<T> power = exp(shifted);
    store_some(power, e + j, n);
    sum = sum + (n == Vec<T>::kLanes ? power : load_some(e + j, n));
  });
  return reduce_add(sum);
}

// y_j = exp(z_j - max z) / sum_k exp(z_k - max z), by row
DENSEGRAD_FORWARD(softmax) {
  for (ptrdiff_t i = 0; i < rows; ++i) {
    T* row = y + i * y_stride;
    const T sum = exp_shifted(columns, z + i * z_stride, row_max(columns, z + i * z_stride), row);
    for_each_vector<T>(
        columns, [&](ptrdiff_t j, ptrdiff_t n) { store_some(load_some(row + j, n) / Vec<T>::set(sum), row + j, n); });
  }
}

// dz_j = y_j (dy_j - sum_k dy_k y_k), by row
DENSEGRAD_BACKWARD(softmax) {
  for (ptrdiff_t i = 0; i < rows; ++i) {
    const T* d = dy + i * dy_stride;
    const T* a = y + i * y_stride;
    Vec<T> sum = Vec<T>::set(0);
    for_each_vector<T>(columns,
                       [&](ptrdiff_t j, ptrdiff_t n) { sum = fma(load_some(d + j, n), load_some(a + j, n), sum); });
    const Vec<T> mean = Vec<T>::set(reduce_add(sum));
    for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
      store_some(load_some(a + j, n) * (load_some(d + j, n) - mean), dz + i * dz_stride + j, n);
    });
  }
}

#undef DENSEGRAD_FORWARD
#undef DENSEGRAD_BACKWARD

}  // namespace
}  // namespace densegrad
