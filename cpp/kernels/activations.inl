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

// y = z where z > 0, slope z elsewhere. Attributes: slope
DENSEGRAD_FORWARD(leaky_relu) {
  const Vec<T> zero = Vec<T>::set(0), slope = Vec<T>::set(static_cast<T>(attributes[0]));
  map_forward(rows, columns, z, z_stride, y, y_stride, [=](Vec<T> v) { return select(less(zero, v), v, slope * v); });
}

// dz = dy where y > 0, else slope dy
DENSEGRAD_BACKWARD(leaky_relu) {
  const Vec<T> zero = Vec<T>::set(0), slope = Vec<T>::set(static_cast<T>(attributes[0]));
  map_backward(rows, columns, dy, dy_stride, y, y_stride, dz, dz_stride,
               [=](Vec<T> d, Vec<T> a) { return select(less(zero, a), d, slope * d); });
}

// y = z where z > 0, alpha (exp(z) - 1) elsewhere. Attributes: alpha
DENSEGRAD_FORWARD(elu) {
  const Vec<T> zero = Vec<T>::set(0), alpha = Vec<T>::set(static_cast<T>(attributes[0]));
  map_forward(rows, columns, z, z_stride, y, y_stride,
              [=](Vec<T> v) { return select(less(zero, v), v, alpha * expm1(v)); });
}

// dz = dy where y > 0, else dy (y + alpha)
DENSEGRAD_BACKWARD(elu) {
  const Vec<T> zero = Vec<T>::set(0), alpha = Vec<T>::set(static_cast<T>(attributes[0]));
  map_backward(rows, columns, dy, dy_stride, y, y_stride, dz, dz_stride,
               [=](Vec<T> d, Vec<T> a) { return select(less(zero, a), d, d * (a + alpha)); });
}

constexpr double kSeluAbove = 1.0507009873554804934, kSeluBelow = 1.7580993408473768600;  // scale, and scale alpha

// y = scale z where z > 0, scale alpha (exp(z) - 1) elsewhere
DENSEGRAD_FORWARD(selu) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) {
    return select(less(Vec<T>::set(0), v), Vec<T>::set(T(kSeluAbove)) * v, Vec<T>::set(T(kSeluBelow)) * expm1(v));
  });
}

// dz = dy scale where y > 0, else dy (y + scale alpha)
DENSEGRAD_BACKWARD(selu) {
  map_backward(rows, columns, dy, dy_stride, y, y_stride, dz, dz_stride, [](Vec<T> d, Vec<T> a) {
    return d * select(less(Vec<T>::set(0), a), Vec<T>::set(T(kSeluAbove)), a + Vec<T>::set(T(kSeluBelow)));
  });
}

// y = log(1 + exp(z))
DENSEGRAD_FORWARD(softplus) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) { return softplus(v); });
}

// dz = dy sigmoid(z), which is dy (1 - exp(-y))
DENSEGRAD_BACKWARD(softplus) {
  map_backward(rows, columns, dy, dy_stride, y, y_stride, dz, dz_stride, [](Vec<T> d, Vec<T> a) {
    const Vec<T> zero = Vec<T>::set(0);
    return (zero - d) * expm1(zero - a);
  });
}

// y = z sigmoid(beta z) = z / (1 + e), or z e / (1 + e) where beta z < 0; e = exp(-|beta z|). Attributes: beta
DENSEGRAD_FORWARD(swish) {
  const Vec<T> zero = Vec<T>::set(0), one = Vec<T>::set(1), beta = Vec<T>::set(static_cast<T>(attributes[0]));
  map_forward(rows, columns, z, z_stride, y, y_stride, [=](Vec<T> v) {
    const Vec<T> t = beta * min(Vec<T>::set(kLargest<T>), max(Vec<T>::set(-kLargest<T>), v)), x = zero - abs(t);
    const Reduced<T> power = reduce_exp(x);
    return select(less(t, zero), times_exp(v, x, power), v) / (one + exp(power));
  });
}

// dz = dy s (1 + beta z (1 - s)), where s = sigmoid(beta z)
DENSEGRAD_BACKWARD(swish) {
  const Vec<T> beta = Vec<T>::set(static_cast<T>(attributes[0]));
  const Vec<T> low = Vec<T>::set(Constants<T>::kExpLow), high = Vec<T>::set(-Constants<T>::kExpLow);
  map_backward(rows, columns, dy, dy_stride, z, z_stride, dz, dz_stride, [=](Vec<T> d, Vec<T> v) {
    const Vec<T> t = min(high, max(low, beta * v));  // beyond, s is 0 or 1
    const Sigmoids<T> s = sigmoids(t);
    return d * s.of_z * fma(t, s.of_minus_z, Vec<T>::set(1));
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

// y = z (1 + tanh(t / 2)) / 2 = z sigmoid(t), made as swish is, where t = sqrt(8 / pi) (z + 0.044715 z^3). An error
// of t becomes one of exp(t), so t has a rest: what rounding has cost.
DENSEGRAD_FORWARD(gelu_tanh) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) {
    using V = Vec<T>;
    using C = Constants<T>;
    const V zero = V::set(0), one = V::set(1), linear = V::set(C::kGeluLinearHigh), cubic = V::set(C::kGeluCubicHigh);
    const V u = min(V::set(40), abs(v));  // beyond, exp(-t) is 0
    const V square = u * u, square_low = product_rest(u, u, square);
    const V bend = cubic * square;
    const V bend_low = fma(cubic, square_low, fma(V::set(C::kGeluCubicLow), square, product_rest(cubic, square, bend)));
    const V sum = linear + bend, back = sum - linear;
    const V sum_low = ((linear - (sum - back)) + (bend - back)) + (bend_low + V::set(C::kGeluLinearLow));
    const V t = u * sum, rest = fma(u, sum_low, product_rest(u, sum, t));
    Reduced<T> power = reduce_exp(zero - t);
    power.tail = fnma(rest, one + power.tail, power.tail);
    return select(less(v, zero), times_exp(v, zero - t, power), v) / (one + exp(power));
  });
}

// dz = dy s (1 + z (1 - s) dt/dz), where s = sigmoid(t)
DENSEGRAD_BACKWARD(gelu_tanh) {
  map_backward(rows, columns, dy, dy_stride, z, z_stride, dz, dz_stride, [](Vec<T> d, Vec<T> v) {
    using V = Vec<T>;
    using C = Constants<T>;
    const V linear = V::set(C::kGeluLinearHigh);
    const V held = min(V::set(40), max(V::set(-40), v));  // beyond, s is 0 or 1
    const V bend = V::set(C::kGeluCubicHigh) * (held * held);
    const Sigmoids<T> s = sigmoids(held * (linear + bend));
    return d * s.of_z * fma(held * s.of_minus_z, fma(V::set(3), bend, linear), V::set(1));
  });
}

// y = z tanh(softplus(z)) = z n / d with e = exp(-|z|): n = 1 + 2 e and d = n + 2 e^2, or n = e (2 + e) and d = n + 2
// where z < 0; there e goes to z instead of n
DENSEGRAD_FORWARD(mish) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) {
    using V = Vec<T>;
    const V one = V::set(1), two = V::set(2), x = V::set(0) - abs(v);
    const Reduced<T> power = reduce_exp(x);
    const V e = exp(power);
    const auto falls = less(v, V::set(0));
    const V n = select(falls, two + e, fma(two, e, one));
    const V d = fma(e, fma(e, select(falls, one, two), two), select(falls, two, one));
    return select(falls, times_exp(v, x, power), v) * (n / d);
  });
}

// dz = dy (n / d + 4 z (1 + e) e / d^2), or e^2 instead of e where z > 0
DENSEGRAD_BACKWARD(mish) {
  map_backward(rows, columns, dy, dy_stride, z, z_stride, dz, dz_stride, [](Vec<T> d, Vec<T> v) {
    using V = Vec<T>;
    const V one = V::set(1), two = V::set(2);
    const V low = V::set(Constants<T>::kExpLow);
    const V held = min(V::set(0) - low, max(low, v));  // beyond, e is 0
    const V e = exp(V::set(0) - abs(held)), square = e * e;
    const auto falls = less(v, V::set(0));
    const V n = select(falls, fma(two, e, square), fma(two, e, one));
    const V share = one / (n + select(falls, two, two * square));
    const V bell = (V::set(4) * held) * (select(falls, e, square) * (one + e));
    return d * share * fma(bell, share, n);
  });
}

// y = z / (1 + |z|)
DENSEGRAD_FORWARD(softsign) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) {
    const Vec<T> held = min(Vec<T>::set(kLargest<T>), max(Vec<T>::set(-kLargest<T>), v));
    return held / (Vec<T>::set(1) + abs(held));
  });
}

// dz = dy (1 - |y|)^2
DENSEGRAD_BACKWARD(softsign) {
  map_backward(rows, columns, dy, dy_stride, y, y_stride, dz, dz_stride, [](Vec<T> d, Vec<T> a) {
    const Vec<T> rest = Vec<T>::set(1) - abs(a);
    return d * (rest * rest);
  });
}

// min(max(z + 3, 0), 6) / 6
template <class T>
Vec<T> ramp(Vec<T> z) {
  return min(Vec<T>::set(6), max(Vec<T>::set(0), z + Vec<T>::set(3))) * Vec<T>::set(T(1.0 / 6));
}

// y = min(max(z + 3, 0), 6) / 6
DENSEGRAD_FORWARD(hard_sigmoid) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) { return ramp(v); });
}

// dz = dy / 6 where 0 < y < 1, else 0
DENSEGRAD_BACKWARD(hard_sigmoid) {
  map_backward(rows, columns, dy, dy_stride, y, y_stride, dz, dz_stride, [](Vec<T> d, Vec<T> a) {
    const Vec<T> zero = Vec<T>::set(0);
    const Vec<T> below = select(less(a, Vec<T>::set(1)), d * Vec<T>::set(T(1.0 / 6)), zero);
    return select(less(zero, a), below, zero);
  });
}

// y = min(max(z, -1), 1)
DENSEGRAD_FORWARD(hard_tanh) {
  map_forward(rows, columns, z, z_stride, y, y_stride,
              [](Vec<T> v) { return min(Vec<T>::set(1), max(Vec<T>::set(-1), v)); });
}

// dz = dy where -1 < y < 1, else 0
DENSEGRAD_BACKWARD(hard_tanh) {
  map_backward(rows, columns, dy, dy_stride, y, y_stride, dz, dz_stride,
               [](Vec<T> d, Vec<T> a) { return select(less(abs(a), Vec<T>::set(1)), d, Vec<T>::set(0)); });
}

// y = z min(max(z + 3, 0), 6) / 6
DENSEGRAD_FORWARD(hard_swish) {
  map_forward(rows, columns, z, z_stride, y, y_stride, [](Vec<T> v) { return max(Vec<T>::set(-3), v) * ramp(v); });
}

// dz = dy where z >= 3, dy (z + 3/2) / 3 where z > -3, else 0
DENSEGRAD_BACKWARD(hard_swish) {
  map_backward(rows, columns, dy, dy_stride, z, z_stride, dz, dz_stride, [](Vec<T> d, Vec<T> v) {
    const Vec<T> slope = (v + Vec<T>::set(T(1.5))) * Vec<T>::set(T(1.0 / 3));
    const Vec<T> below = select(less(v, Vec<T>::set(3)), d * slope, d);
    return select(less(Vec<T>::set(-3), v), below, Vec<T>::set(0));
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

// y_j = (z_j - max z) - log sum_k exp(z_k - max z), by row. The largest adds 1 to that sum: what the others add is
// summed alone, so that the logarithm of a sum near 1 keeps its precision.
DENSEGRAD_FORWARD(log_softmax) {
  const Vec<T> zero = Vec<T>::set(0), one = Vec<T>::set(1);
  for (ptrdiff_t i = 0; i < rows; ++i) {
    const T* from = z + i * z_stride;
    const Vec<T> top = Vec<T>::set(row_max(columns, from));
    Vec<T> others = zero, tops = zero;
    for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
      const Vec<T> v = load_some(from + j, n);
      const auto largest = equal(v, top);
      const Vec<T> power = select(largest, zero, exp(v - top)), count = select(largest, one, zero);
      others = others + (n == Vec<T>::kLanes ? power : keep_first(power, n));
      tops = tops + (n == Vec<T>::kLanes ? count : keep_first(count, n));
    });
    const Vec<T> rest = Vec<T>::set(reduce_add(others) + (reduce_add(tops) - 1));
    const Vec<T> log_sum = select(less(rest, one), log1p_unit(rest), log(one + rest));
    for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
      const Vec<T> v = load_some(from + j, n);
      store_some(select(equal(v, top), zero, v - top) - log_sum, y + i * y_stride + j, n);
    });
  }
}

// dz_j = dy_j - exp(y_j) sum_k dy_k, by row
DENSEGRAD_BACKWARD(log_softmax) {
  for (ptrdiff_t i = 0; i < rows; ++i) {
    const T* d = dy + i * dy_stride;
    Vec<T> sum = Vec<T>::set(0);
    for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) { sum = sum + load_some(d + j, n); });
    const Vec<T> total = Vec<T>::set(reduce_add(sum));
    for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
      const Vec<T> power = exp(load_some(y + i * y_stride + j, n));
      store_some(fnma(power, total, load_some(d + j, n)), dz + i * dz_stride + j, n);
    });
  }
}

#undef DENSEGRAD_FORWARD
#undef DENSEGRAD_BACKWARD

}  // namespace
}  // namespace densegrad
