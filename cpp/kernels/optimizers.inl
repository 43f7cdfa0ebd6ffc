// One update of a block of parameters, in place. Each is named as its row of primitives.def.

namespace densegrad {
namespace {

#define DENSEGRAD_UPDATE(name)                                                                                        \
  template <class T>                                                                                                  \
  void name##_update(ptrdiff_t rows, ptrdiff_t columns, T* w, ptrdiff_t w_stride, const T* dw, ptrdiff_t dw_stride,   \
                     [[maybe_unused]] T* state, [[maybe_unused]] ptrdiff_t state_size, [[maybe_unused]] int64_t step, \
                     double lr, [[maybe_unused]] const double* attributes) noexcept

// w <- w - lr dw
DENSEGRAD_UPDATE(sgd) {
  const Vec<T> rate = Vec<T>::set(static_cast<T>(lr));
  const Extent extent = joined(rows, columns, w_stride, dw_stride);
  for (ptrdiff_t i = 0; i < extent.rows; ++i) {
    for_each_vector<T>(extent.columns, [&](ptrdiff_t j, ptrdiff_t n) {
      T* place = w + i * w_stride + j;
      store_some(fnma(rate, load_some(dw + i * dw_stride + j, n), load_some(place, n)), place, n);
    });
  }
}

#undef DENSEGRAD_UPDATE

}  // namespace
}  // namespace densegrad
