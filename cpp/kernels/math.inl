// exp, log, expm1 and the functions made of them, on vectors. At most 4 ULP in float (measured in tests/cpp over
// the whole range) and 1e-14 relative in double. Infinities give the limit, NaN gives NaN, results below the
// smallest normal may be zero.

namespace densegrad {
namespace {

template <class T>
constexpr T kInfinity = static_cast<T>(__builtin_inf());

// c_0 + x (c_1 + x (c_2 + ...))
template <class T, int N>
Vec<T> polynomial(Vec<T> x, const T (&c)[N]) {
  Vec<T> sum = Vec<T>::set(c[N - 1]);
#pragma GCC unroll 16
  for (int i = N - 2; i >= 0; --i) sum = fma(sum, x, Vec<T>::set(c[i]));
  return sum;
}

template <class T>
struct Constants;

template <>
struct Constants<float> {
  static constexpr float kExpLow = -104.0f, kExpHigh = 89.0f;                 // beyond, the result is 0 or infinite
  static constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 0x1.7f7d1cp-20f;  // high: 14 bits, so n high is exact
  // (exp(r) - 1 - r) / r^2 = sum r^i / (i + 2)!, |r| <= ln 2 / 2: next term below 2^-26
  static constexpr float kExp[] = {0.5f, 1.6666667e-1f, 4.1666667e-2f, 8.3333333e-3f, 1.3888889e-3f, 1.9841270e-4f};
  // atanh(s) / s - 1 over s^2 = sum s^2i / (2i + 3), s^2 <= 1/9
  static constexpr float kAtanh[] = {1.0f / 3, 1.0f / 5, 1.0f / 7, 1.0f / 9, 1.0f / 11, 1.0f / 13, 1.0f / 15};
};

template <>
struct Constants<double> {
  static constexpr double kExpLow = -746.0, kExpHigh = 711.0;
  static constexpr double kLn2High = 0x1.62e42fee00000p-1, kLn2Low = 0x1.a39ef35793c76p-33;
  static constexpr double kExp[] = {1.0 / 2,       1.0 / 6,        1.0 / 24,        1.0 / 120,
                                    1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                                    1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
  static constexpr double kAtanh[] = {1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11, 1.0 / 13, 1.0 / 15, 1.0 / 17,
                                      1.0 / 19, 1.0 / 21, 1.0 / 23, 1.0 / 25, 1.0 / 27, 1.0 / 29, 1.0 / 31, 1.0 / 33};
};

// x = n ln 2 + r with whole n and |r| <= ln 2 / 2; tail = exp(r) - 1. NaN passes through.
template <class T>
struct Reduced {
  Vec<T> n;
  Vec<T> tail;
};

template <class T>
Reduced<T> reduce_exp(Vec<T> x) {
  using V = Vec<T>;
  using C = Constants<T>;
  x = min(V::set(C::kExpHigh), max(V::set(C::kExpLow), x));
  const V n = round(x * V::set(T(1.4426950408889634)));
  const V r = fnma(n, V::set(C::kLn2Low), fnma(n, V::set(C::kLn2High), x));
  return {n, fma(r * r, polynomial(r, C::kExp), r)};
}

template <class T>
Vec<T> exp(Vec<T> x) {
  const Reduced<T> reduced = reduce_exp(x);
  return scale_by_power(Vec<T>::set(1) + reduced.tail, reduced.n);
}

// exp(x) - 1, exact to the last places near 0 too
template <class T>
Vec<T> expm1(Vec<T> x) {
  const Vec<T> one = Vec<T>::set(1);
  const Reduced<T> reduced = reduce_exp(x);
  const Vec<T> power = scale_by_power(one, reduced.n);
  return fma(power, reduced.tail, power - one);
}

// log(1 + u) = 2 atanh(u / (2 + u)), for -0.3 <= u <= 1
template <class T>
Vec<T> log1p_unit(Vec<T> u) {
  const Vec<T> s = u / (Vec<T>::set(2) + u);
  const Vec<T> square = s * s;
  const Vec<T> twice = s + s;
  return fma(twice * square, polynomial(square, Constants<T>::kAtanh), twice);
}

template <class T>
Vec<T> log(Vec<T> x) {
  using V = Vec<T>;
  using C = Constants<T>;
  const V root = V::set(T(1.4142135623730951));
  V e = exponent(x);
  V m = mantissa(x);
  const auto large = less(root, m);
  m = select(large, m * V::set(T(0.5)), m);
  e = select(large, e + V::set(1), e);
  const V inside = fma(e, V::set(C::kLn2High), fma(e, V::set(C::kLn2Low), log1p_unit(m - V::set(1))));
  const V smallest = V::set(sizeof(T) == 4 ? T(0x1p-126) : T(0x1p-1022));
  const V nan = V::set(static_cast<T>(__builtin_nan("")));
  V y = select(less(x, smallest), V::set(-kInfinity<T>), inside);
  y = select(less(x, V::set(0)), nan, y);
  y = select(equal(x, V::set(kInfinity<T>)), x, y);
  return select(equal(x, x), y, x);
}

template <class T>
Vec<T> sigmoid(Vec<T> z) {
  const Vec<T> one = Vec<T>::set(1);
  return one / (one + exp(Vec<T>::set(0) - z));
}

template <class T>
Vec<T> tanh(Vec<T> z) {
  const Vec<T> t = expm1(Vec<T>::set(-2) * abs(z));  // -1 < t <= 0
  return copy_sign((Vec<T>::set(0) - t) / (Vec<T>::set(2) + t), z);
}

}  // namespace
}  // namespace densegrad
