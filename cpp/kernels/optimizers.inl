// One update of a block of parameters, in place. Each is named as its row of primitives.def.

namespace densegrad {
namespace {

#define DENSEGRAD_UPDATE(name)                                                                                      \
  template <class T>                                                                                                \
  void name##_update(ptrdiff_t rows, ptrdiff_t columns, T* w, ptrdiff_t w_stride, const T* dw, ptrdiff_t dw_stride, \
                     [[maybe_unused]] T* state, [[maybe_unused]] ptrdiff_t state_size,                              \
                     const double* coefficients) noexcept

// w <- w - lr dw. Coefficients: lr
DENSEGRAD_UPDATE(sgd) {
  const Vec<T> rate = Vec<T>::set(static_cast<T>(coefficients[0]));
  const Extent extent = joined(rows, columns, w_stride, dw_stride);
  for (ptrdiff_t i = 0; i < extent.rows; ++i) {
    for_each_vector<T>(extent.columns, [&](ptrdiff_t j, ptrdiff_t n) {
      T* place = w + i * w_stride + j;
      store_some(fnma(rate, load_some(dw + i * dw_stride + j, n), load_some(place, n)), place, n);
    });
  }
}

// g = dw + decay w; m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2;
// w <- w - rate m / (sqrt(v) / root + eps). Coefficients: rate = lr / (1 - beta1^t), root = sqrt(1 - beta2^t), beta1,
// beta2, eps, decay
DENSEGRAD_UPDATE(adam) {
  const auto coefficient = [&](int i) { return Vec<T>::set(static_cast<T>(coefficients[i])); };
  const Vec<T> rate = coefficient(0), root = Vec<T>::set(static_cast<T>(1 / coefficients[1]));
  const Vec<T> beta1 = coefficient(2), rest1 = Vec<T>::set(static_cast<T>(1 - coefficients[2]));
  const Vec<T> beta2 = coefficient(3), rest2 = Vec<T>::set(static_cast<T>(1 - coefficients[3]));
  const Vec<T> eps = coefficient(4), decay = coefficient(5);
  const Extent extent = joined(rows, columns, w_stride, dw_stride);
  for (ptrdiff_t i = 0; i < extent.rows; ++i) {
    T* w_row = w + i * w_stride;
    T* m_row = state + i * w_stride;
    T* v_row = m_row + state_size;
    for_each_vector<T>(extent.columns, [&](ptrdiff_t j, ptrdiff_t n) {
      const Vec<T> place = load_some(w_row + j, n), m = load_some(m_row + j, n), v = load_some(v_row + j, n);
      const Vec<T> g = fma(decay, place, load_some(dw + i * dw_stride + j, n));
      const Vec<T> mean = fma(beta1, m, rest1 * g), square = fma(beta2, v, rest2 * (g * g));
      store_some(mean, m_row + j, n);
      store_some(square, v_row + j, n);
      store_some(fnma(rate, mean / fma(sqrt(square), root, eps), place), w_row + j, n);
    });
  }
}

#undef DENSEGRAD_UPDATE

}  // namespace
}  // namespace densegrad
