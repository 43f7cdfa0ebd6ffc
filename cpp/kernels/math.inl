// exp, log, expm1, erfc (as the normal distribution) and the functions made of them, on vectors. At most 4 ULP in
// float (measured in tests/cpp over the whole range) and 1e-14 relative in double; what is made of erfc 8 and 2e-14.
// Infinities give the limit, NaN gives NaN, results below the smallest normal may be zero.

namespace densegrad {
namespace {

template <class T>
constexpr T kInfinity = static_cast<T>(__builtin_inf());
template <class T>
constexpr T kLargest = static_cast<T>(sizeof(T) == 4 ? 0x1.fffffep127 : 0x1.fffffffffffffp1023);

// c_0 + x (c_1 + x (c_2 + ...))
template <class T, int N>
Vec<T> polynomial(Vec<T> x, const T (&c)[N]) {
  Vec<T> sum = Vec<T>::set(c[N - 1]);
#pragma GCC unroll 32
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
  // (1 + 5/4 u) Phi(-u) exp(u^2 / 2) = sum t^i, t = (u - 3) / (u + 3), interpolated between Chebyshev's nodes: 3e-8
  static constexpr float kTailCentre = 3.0f;
  static constexpr float kTail[] = {5.7719125e-1f,  -6.9057740e-2f, -5.1346640e-2f, 6.8007087e-2f,
                                    -2.9941751e-2f, 7.3171992e-4f,  3.9889225e-3f,  -3.7754906e-4f,
                                    -6.3420686e-4f, 3.5405992e-5f,  8.1360618e-5f};
  // atanh(s) / s - 1 over s^2 = sum s^2i / (2i + 3), s^2 <= 1/9
  static constexpr float kAtanh[] = {1.0f / 3, 1.0f / 5, 1.0f / 7, 1.0f / 9, 1.0f / 11, 1.0f / 13, 1.0f / 15};
  // sqrt(8 / pi) and 0.044715 of it, each as a sum of two numbers
  static constexpr float kGeluLinearHigh = 0x1.988454p+0f, kGeluLinearLow = -0x1.857936p-25f;
  static constexpr float kGeluCubicHigh = 0x1.2444f2p-4f, kGeluCubicLow = 0x1.49b16ap-29f;
};

template <>
struct Constants<double> {
  static constexpr double kExpLow = -746.0, kExpHigh = 711.0;
  static constexpr double kLn2High = 0x1.62e42fee00000p-1, kLn2Low = 0x1.a39ef35793c76p-33;
  static constexpr double kExp[] = {1.0 / 2,       1.0 / 6,        1.0 / 24,        1.0 / 120,
                                    1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                                    1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
  // as above, t = (u - 5) / (u + 5): 7e-16
  static constexpr double kTailCentre = 5.0;
  static constexpr double kTail[] = {
      0.55766496106879548681,    -0.078575963476508432957,   0.0097707575609912424747,   0.032723909797619269882,
      -0.044965141780419167402,  0.036524679174355546166,    -0.021210861867619107813,   0.0087472119585017301093,
      -0.0021499782997002313968, -2.3829993903832495403e-05, 0.00024302540954887687089,  -6.7248490198448860918e-05,
      -1.403370815620254482e-05, 1.1638472739225775597e-05,  8.5438818728922966209e-08,  -1.6879978754327456517e-06,
      1.3509833507633257638e-07, 2.4657663313120021781e-07,  -2.6082172949082124503e-08, -3.3758746121814920566e-08,
      2.412473817570552166e-09,  2.9882790141984930137e-09};
  static constexpr double kAtanh[] = {1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11, 1.0 / 13, 1.0 / 15, 1.0 / 17,
                                      1.0 / 19, 1.0 / 21, 1.0 / 23, 1.0 / 25, 1.0 / 27, 1.0 / 29, 1.0 / 31, 1.0 / 33};
  static constexpr double kGeluLinearHigh = 0x1.9884533d43651p+0, kGeluLinearLow = -0x1.cbc0d30ebfd15p-54;
  static constexpr double kGeluCubicHigh = 0x1.2444f2a4d8b4bp-4, kGeluCubicLow = -0x1.6c843a29d1c70p-61;
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
Vec<T> exp(Reduced<T> reduced) {
  return scale_by_power(Vec<T>::set(1) + reduced.tail, reduced.n);
}

template <class T>
Vec<T> exp(Vec<T> x) {
  return exp(reduce_exp(x));
}

// z exp(x) for x <= 0, reduced before, with all its places even where exp(x) alone would underflow
template <class T>
Vec<T> times_exp(Vec<T> z, Vec<T> x, Reduced<T> reduced) {
  const Vec<T> product = scale_by_power(z * (Vec<T>::set(1) + reduced.tail), reduced.n);
  return select(less(x, Vec<T>::set(Constants<T>::kExpLow)), Vec<T>::set(0), product);
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

// The normal distribution at u >= 0: bell = exp(-u^2 / 2), and bell mills = Phi(-u) = erfc(u / sqrt 2) / 2. Both keep
// their relative precision until they underflow.
template <class T>
struct Normal {
  Vec<T> bell;
  Vec<T> mills;
};

template <class T>
Normal<T> normal(Vec<T> u) {
  using V = Vec<T>;
  using C = Constants<T>;
  u = min(V::set(40), u);  // beyond, both are 0
  const V square = u * u, rest = product_rest(u, u, square);
  const V bell = exp(V::set(T(-0.5)) * square) * fnma(V::set(T(0.5)), rest, V::set(1));
  const V centre = V::set(C::kTailCentre);
  return {bell, polynomial((u - centre) / (u + centre), C::kTail) / fma(V::set(T(1.25)), u, V::set(1))};
}

template <class T>
Vec<T> sigmoid(Vec<T> z) {
  const Vec<T> one = Vec<T>::set(1);
  return one / (one + exp(Vec<T>::set(0) - z));
}

// sigmoid(z) and sigmoid(-z) = 1 - sigmoid(z), each with all its places
template <class T>
struct Sigmoids {
  Vec<T> of_z;
  Vec<T> of_minus_z;
};

template <class T>
Sigmoids<T> sigmoids(Vec<T> z) {
  const Vec<T> zero = Vec<T>::set(0), one = Vec<T>::set(1);
  const Vec<T> e = exp(zero - abs(z)), large = one / (one + e), small = e * large;
  const auto negative = less(z, zero);
  return {select(negative, small, large), select(negative, large, small)};
}

// log(1 + exp(z))
template <class T>
Vec<T> softplus(Vec<T> z) {
  const Vec<T> zero = Vec<T>::set(0);
  return max(zero, z) + log1p_unit(exp(zero - abs(z)));
}

template <class T>
Vec<T> tanh(Vec<T> z) {
  const Vec<T> t = expm1(Vec<T>::set(-2) * abs(z));  // -1 < t <= 0
  return copy_sign((Vec<T>::set(0) - t) / (Vec<T>::set(2) + t), z);
}

}  // namespace
}  // namespace densegrad
