// What happens to whole gradients between the way back and an update.

namespace densegrad {
namespace {

// sum over vectors of f(offset, how many lanes count), in chains that hide the latency of an addition
template <class T, class Function>
inline double sum_vectors(ptrdiff_t size, Function f) {
  constexpr ptrdiff_t lanes = Vec<T>::kLanes;
  Vec<T> even = Vec<T>::set(0), odd = even;
  ptrdiff_t j = 0;
  for (; j + 2 * lanes <= size; j += 2 * lanes) {
    even = even + f(j, lanes);
    odd = odd + f(j + lanes, lanes);
  }
  for_each_vector<T>(size - j, [&](ptrdiff_t at, ptrdiff_t n) { even = even + f(j + at, n); });
  return static_cast<double>(reduce_add(even + odd));
}

// sum of g^2
template <class T>
double sum_of_squares(ptrdiff_t size, const T* g) noexcept {
  return sum_vectors<T>(size, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> v = load_some(g + j, n);
    return v * v;
  });
}

// g <- g + l1 sign(w) + l2 w; gives the sum of l1 |w| + l2 w^2 / 2
template <class T>
double penalize(ptrdiff_t size, const T* w, T l1, T l2, T* g) noexcept {
  const Vec<T> first = Vec<T>::set(l1), second = Vec<T>::set(l2), half = Vec<T>::set(l2 / 2), zero = Vec<T>::set(0);
  return sum_vectors<T>(size, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> v = load_some(w + j, n);
    const Vec<T> sign = select(equal(v, zero), zero, copy_sign(first, v));
    store_some(fma(second, v, load_some(g + j, n) + sign), g + j, n);
    return fma(half * v, v, first * abs(v));
  });
}

// g <- at least -limit, at most limit
template <class T>
void clip_values(ptrdiff_t size, T limit, T* g) noexcept {
  for_each_vector<T>(size, [&](ptrdiff_t j, ptrdiff_t n) {
    store_some(min(Vec<T>::set(limit), max(Vec<T>::set(-limit), load_some(g + j, n))), g + j, n);
  });
}

// g <- factor g
template <class T>
void scale_values(ptrdiff_t size, T factor, T* g) noexcept {
  for_each_vector<T>(
      size, [&](ptrdiff_t j, ptrdiff_t n) { store_some(Vec<T>::set(factor) * load_some(g + j, n), g + j, n); });
}

// a <- a + share (w - a)
template <class T>
void moving_average(ptrdiff_t size, const T* w, T share, T* a) noexcept {
  for_each_vector<T>(size, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> mean = load_some(a + j, n);
    store_some(fma(Vec<T>::set(share), load_some(w + j, n) - mean, mean), a + j, n);
  });
}

}  // namespace
}  // namespace densegrad
