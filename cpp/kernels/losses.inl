// Losses: gives sum_i s_i l_i and writes dp = s_i dl_i/dp, where s_i = scale * weights[i]. dp may be p. Each is
// named as its row of primitives.def; l_i is the loss of row i.

namespace densegrad {
namespace {

#define DENSEGRAD_LOSS_KERNEL(name)                                                                   \
  template <class T>                                                                                  \
  double name##_loss(ptrdiff_t rows, ptrdiff_t columns, const T* p, ptrdiff_t p_stride, Targets<T> t, \
                     const T* weights, double scale, T* dp, ptrdiff_t dp_stride,                      \
                     [[maybe_unused]] const double* attributes) noexcept

// Sums f by row, where f takes p and t, gives the vector of losses and stores the gradient in its last argument. With
// N = 2 each of `columns` targets has two numbers of p, `columns` apart: f takes both and stores two gradients.
template <int N = 1, class T, class Function>
double sum_elements(ptrdiff_t rows, ptrdiff_t columns, const T* p, ptrdiff_t p_stride, Targets<T> t, const T* weights,
                    double scale, T* dp, ptrdiff_t dp_stride, Function f) {
  const auto apply = [&f](const Vec<T>(&a)[N], Vec<T> b, Vec<T>(&gradient)[N]) {
    if constexpr (N == 1) return f(a[0], b, gradient[0]);
    if constexpr (N == 2) return f(a[0], a[1], b, gradient[0], gradient[1]);
  };
  double total = 0;
  if (columns == 1) {  // one column: rows side by side in a vector
    constexpr ptrdiff_t lanes = Vec<T>::kLanes;
    for (ptrdiff_t i = 0; i < rows; i += lanes) {
      const ptrdiff_t n = rows - i < lanes ? rows - i : lanes;
      T column[N][lanes] = {}, target[lanes] = {}, share[lanes] = {}, losses[lanes];
      for (ptrdiff_t r = 0; r < n; ++r) {
        for (int k = 0; k < N; ++k) column[k][r] = p[(i + r) * p_stride + k];
        target[r] = t.values[(i + r) * t.stride];
        share[r] = static_cast<T>(weights != nullptr ? scale * static_cast<double>(weights[i + r]) : scale);
      }
      Vec<T> a[N], gradient[N];
      for (int k = 0; k < N; ++k) a[k] = Vec<T>::load(column[k]);
      apply(a, Vec<T>::load(target), gradient).store(losses);
      for (int k = 0; k < N; ++k) (gradient[k] * Vec<T>::load(share)).store(column[k]);
      for (ptrdiff_t r = 0; r < n; ++r) {
        for (int k = 0; k < N; ++k) dp[(i + r) * dp_stride + k] = column[k][r];
        total += static_cast<double>(share[r]) * static_cast<double>(losses[r]);
      }
    }
    return total;
  }
  for (ptrdiff_t i = 0; i < rows; ++i) {
    const double s = weights != nullptr ? scale * static_cast<double>(weights[i]) : scale;
    double row = 0;
    for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
      Vec<T> a[N], gradient[N];
      for (int k = 0; k < N; ++k) a[k] = load_some(p + i * p_stride + k * columns + j, n);
      const Vec<T> loss = apply(a, load_some(t.values + i * t.stride + j, n), gradient);
      for (int k = 0; k < N; ++k) {
        store_some(gradient[k] * Vec<T>::set(static_cast<T>(s)), dp + i * dp_stride + k * columns + j, n);
      }
      row += static_cast<double>(reduce_add(n == Vec<T>::kLanes ? loss : keep_first(loss, n)));
    });
    total += s * row;
  }
  return total;
}

// l = mean_j (p_j - t_j)^2
DENSEGRAD_LOSS_KERNEL(mse) {
  return sum_elements(rows, columns, p, p_stride, t, weights, scale / static_cast<double>(columns), dp, dp_stride,
                      [](Vec<T> a, Vec<T> b, Vec<T>& gradient) {
                        const Vec<T> d = a - b;
                        gradient = d + d;
                        return d * d;
                      });
}

// l = 1/2 sum_j (p_j - t_j)^2
DENSEGRAD_LOSS_KERNEL(half_squared_error) {
  return sum_elements(rows, columns, p, p_stride, t, weights, scale, dp, dp_stride,
                      [](Vec<T> a, Vec<T> b, Vec<T>& gradient) {
                        gradient = a - b;
                        return gradient * gradient * Vec<T>::set(T(0.5));
                      });
}

// 1 with the sign of d; 0 for 0, NaN for NaN
template <class T>
Vec<T> sign_of(Vec<T> d) {
  return select(less(Vec<T>::set(0), abs(d)), copy_sign(Vec<T>::set(1), d), d);
}

// l = mean_j |p_j - t_j|
DENSEGRAD_LOSS_KERNEL(mae) {
  return sum_elements(rows, columns, p, p_stride, t, weights, scale / static_cast<double>(columns), dp, dp_stride,
                      [](Vec<T> a, Vec<T> b, Vec<T>& gradient) {
                        gradient = sign_of(a - b);
                        return abs(a - b);
                      });
}

// l = mean_j h (|d| - h / 2), where d = p_j - t_j and h = min(|d|, delta). Attributes: delta
DENSEGRAD_LOSS_KERNEL(huber) {
  const Vec<T> delta = Vec<T>::set(static_cast<T>(attributes[0]));
  return sum_elements(rows, columns, p, p_stride, t, weights, scale / static_cast<double>(columns), dp, dp_stride,
                      [delta](Vec<T> a, Vec<T> b, Vec<T>& gradient) {
                        const Vec<T> d = a - b, size = abs(d), held = min(delta, size);
                        gradient = copy_sign(held, d);
                        return held * fnma(Vec<T>::set(T(0.5)), held, size);
                      });
}

// l = mean_j log cosh d, where d = p_j - t_j. With s = exp(-|d|) - 1 it is log(1 + s^2 / (2 + 2 s)), which keeps its
// relative precision near 0, and |d| - log 2 + log(1 + (1 + s)^2), which does not overflow
DENSEGRAD_LOSS_KERNEL(log_cosh) {
  return sum_elements(rows, columns, p, p_stride, t, weights, scale / static_cast<double>(columns), dp, dp_stride,
                      [](Vec<T> a, Vec<T> b, Vec<T>& gradient) {
                        const Vec<T> d = a - b, size = abs(d), s = expm1(Vec<T>::set(0) - size);
                        const Vec<T> power = Vec<T>::set(1) + s, rest = s * (Vec<T>::set(2) + s);  // exp(-2 |d|) - 1
                        gradient = copy_sign(rest / (Vec<T>::set(2) + rest), d);
                        const Vec<T> near = log1p_unit(s * s / (power + power));
                        const Vec<T> far = (size - Vec<T>::set(T(0.69314718055994531))) + log1p_unit(power * power);
                        return select(less(size, Vec<T>::set(T(1.25))), near, far);
                      });
}

// l = mean_j max(q (t_j - p_j), (q - 1) (t_j - p_j)). Attributes: q
DENSEGRAD_LOSS_KERNEL(quantile) {
  const Vec<T> below = Vec<T>::set(static_cast<T>(attributes[0]));  // what a prediction below its target costs
  const Vec<T> above = Vec<T>::set(static_cast<T>(1 - attributes[0]));
  return sum_elements(rows, columns, p, p_stride, t, weights, scale / static_cast<double>(columns), dp, dp_stride,
                      [below, above](Vec<T> a, Vec<T> b, Vec<T>& gradient) {
                        const Vec<T> d = a - b, price = select(less(d, Vec<T>::set(0)), below, above);
                        gradient = price * sign_of(d);
                        return price * abs(d);
                      });
}

// l = mean_j exp(p_j) - t_j p_j
DENSEGRAD_LOSS_KERNEL(poisson) {
  return sum_elements(rows, columns, p, p_stride, t, weights, scale / static_cast<double>(columns), dp, dp_stride,
                      [](Vec<T> a, Vec<T> b, Vec<T>& gradient) {
                        const Vec<T> zero = Vec<T>::set(0), infinite = Vec<T>::set(kInfinity<T>), rate = exp(a);
                        gradient = rate - b;
                        const Vec<T> loss = rate - select(equal(b, zero), zero, b * a);
                        return select(equal(rate, infinite), infinite, loss);  // exp outgrows t p
                      });
}

// l = mean_j 1/2 (s_j + (m_j - t_j)^2 exp(-s_j)), where p = (m, s), twice as wide as t
DENSEGRAD_LOSS_KERNEL(gaussian_nll) {
  const ptrdiff_t targets = columns / 2;
  return sum_elements<2>(rows, targets, p, p_stride, t, weights, scale / static_cast<double>(targets), dp, dp_stride,
                         [](Vec<T> m, Vec<T> s, Vec<T> b, Vec<T>& dm, Vec<T>& ds) {
                           const Vec<T> zero = Vec<T>::set(0), half = Vec<T>::set(T(0.5)), d = m - b;
                           const Vec<T> infinite = Vec<T>::set(kInfinity<T>), precise = exp(zero - half * s);
                           const auto hit = equal(d, zero);  // 0 times infinity is 0 here
                           const Vec<T> z = d * select(hit, min(Vec<T>::set(1), precise), precise), square = z * z;
                           dm = select(hit, z, z * precise);
                           ds = fnma(half, square, half);
                           return select(equal(square, infinite), infinite, half * (s + square));
                         });
}

// l = mean_j -t log p - (1 - t) log(1 - p); logarithms at least -100, p (1 - p) at least 1e-12, as in PyTorch
DENSEGRAD_LOSS_KERNEL(binary_cross_entropy) {
  return sum_elements(rows, columns, p, p_stride, t, weights, scale / static_cast<double>(columns), dp, dp_stride,
                      [](Vec<T> a, Vec<T> b, Vec<T>& gradient) {
                        const Vec<T> one = Vec<T>::set(1), floor = Vec<T>::set(-100);
                        const Vec<T> rest = one - a;
                        gradient = (a - b) / max(Vec<T>::set(T(1e-12)), a * rest);
                        const Vec<T> near_zero = log1p_unit(Vec<T>::set(0) - a);  // 1 - p would round p away
                        const Vec<T> log_rest = select(less(a, Vec<T>::set(T(0.25))), near_zero, log(rest));
                        const Vec<T> log_p = max(floor, log(a)), log_q = max(floor, log_rest);
                        return Vec<T>::set(0) - fma(b, log_p, (one - b) * log_q);
                      });
}

// l = mean_j t softplus(-p) + (1 - t) softplus(p)
DENSEGRAD_LOSS_KERNEL(binary_cross_entropy_with_logits) {
  return sum_elements(rows, columns, p, p_stride, t, weights, scale / static_cast<double>(columns), dp, dp_stride,
                      [](Vec<T> a, Vec<T> b, Vec<T>& gradient) {
                        const Vec<T> zero = Vec<T>::set(0), one = Vec<T>::set(1);
                        gradient = sigmoid(a) - b;
                        const Vec<T> tail = log1p_unit(exp(zero - abs(a)));
                        const Vec<T> low = b * (max(zero, zero - a) + tail);
                        const Vec<T> high = (one - b) * (max(zero, a) + tail);
                        return select(equal(b, zero), zero, low) + select(equal(b, one), zero, high);
                      });
}

// 0 log 0 = 0
inline double times(double factor, double value) { return factor == 0 ? 0 : factor * value; }

// sum_j z_j - top, where an infinite top is as far from itself as any other
template <class T>
T sum_shifted(ptrdiff_t columns, const T* z, T top) {
  const Vec<T> zero = Vec<T>::set(0), highest = Vec<T>::set(top);
  Vec<T> sum = zero;
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> v = load_some(z + j, n), shifted = select(equal(v, highest), zero, v - highest);
    sum = sum + (n == Vec<T>::kLanes ? shifted : keep_first(shifted, n));
  });
  return reduce_add(sum);
}

// The labelled rows of cross_entropy where a vector is as wide as a row or wider: the block is turned over, so that a
// vector holds one class of many rows, and no sum runs across lanes.
template <class T>
double labelled_block(ptrdiff_t rows, ptrdiff_t columns, const T* p, ptrdiff_t p_stride, const int64_t* labels,
                      const T* weights, double scale, T* dp, ptrdiff_t dp_stride, double smoothing) {
  constexpr int lanes = Vec<T>::kLanes;
  const Vec<T> zero = Vec<T>::set(0);
  Vec<T> z[lanes];
  for (int i = 0; i < lanes; ++i) z[i] = i < rows ? load_some(p + i * p_stride, columns) : zero;
  transpose(z);
  Vec<T> top = z[0], sum = zero, shift_sum = zero;
  for (ptrdiff_t c = 1; c < columns; ++c) top = max(z[c], top);
  for (ptrdiff_t c = 0; c < columns; ++c) {
    const Vec<T> shifted = select(equal(z[c], top), zero, z[c] - top);
    shift_sum = shift_sum + shifted;
    z[c] = exp(shifted);
    sum = sum + z[c];
  }
  const double kept = 1 - smoothing, spread = smoothing / static_cast<double>(columns);
  T tops[lanes], log_sums[lanes], shift_sums[lanes], shares[lanes] = {};
  top.store(tops);
  log(sum).store(log_sums);
  shift_sum.store(shift_sums);
  double total = 0;
  for (ptrdiff_t i = 0; i < rows; ++i) {
    const double s = weights != nullptr ? scale * static_cast<double>(weights[i]) : scale;
    const T logit = p[i * p_stride + labels[i]];
    const T shift = logit == tops[i] ? T(0) : logit - tops[i];
    const double mean_shift = times(kept, shift) + times(spread, shift_sums[i]);
    total += s * (static_cast<double>(log_sums[i]) - mean_shift);
    shares[i] = static_cast<T>(s);
  }
  const Vec<T> share = Vec<T>::load(shares) / sum, low = Vec<T>::load(shares) * Vec<T>::set(static_cast<T>(spread));
  for (ptrdiff_t c = 0; c < columns; ++c) z[c] = z[c] * share - low;
  transpose(z);
  for (ptrdiff_t i = 0; i < rows; ++i) {
    store_some(z[i], dp + i * dp_stride, columns);
    dp[i * dp_stride + labels[i]] -= shares[i] * static_cast<T>(kept);
  }
  return total;
}

// l = sum_j u_j (log sum_k exp(p_k) - p_j), where u = (1 - smoothing) t + smoothing / columns; one label instead of t
// stands for 1 at one j. Attributes: smoothing
DENSEGRAD_LOSS_KERNEL(cross_entropy) {
  constexpr ptrdiff_t lanes = Vec<T>::kLanes;
  const double smoothing = attributes[0], kept = 1 - smoothing, spread = smoothing / static_cast<double>(columns);
  double total = 0;
  if (t.labels != nullptr && columns <= lanes) {
    for (ptrdiff_t i = 0; i < rows; i += lanes) {
      total +=
          labelled_block(rows - i < lanes ? rows - i : lanes, columns, p + i * p_stride, p_stride, t.labels + i,
                         weights == nullptr ? nullptr : weights + i, scale, dp + i * dp_stride, dp_stride, smoothing);
    }
    return total;
  }
  for (ptrdiff_t i = 0; i < rows; ++i) {
    const double s = weights != nullptr ? scale * static_cast<double>(weights[i]) : scale;
    const T* z = p + i * p_stride;
    T* d = dp + i * dp_stride;
    const T top = row_max(columns, z);
    const Vec<T> zero = Vec<T>::set(0), highest = Vec<T>::set(top);
    const Vec<T> kept_share = Vec<T>::set(static_cast<T>(kept)), low = Vec<T>::set(static_cast<T>(spread));
    if (t.labels != nullptr) {
      const ptrdiff_t label = static_cast<ptrdiff_t>(t.labels[i]);
      const T shift = z[label] == top ? T(0) : z[label] - top;
      const double mean_shift = times(kept, shift) + (smoothing > 0 ? times(spread, sum_shifted(columns, z, top)) : 0);
      const T sum = exp_shifted(columns, z, top, d);
      const Vec<T> share = Vec<T>::set(static_cast<T>(s) / sum), taken = low * Vec<T>::set(static_cast<T>(s));
      for_each_vector<T>(columns,
                         [&](ptrdiff_t j, ptrdiff_t n) { store_some(load_some(d + j, n) * share - taken, d + j, n); });
      d[label] -= static_cast<T>(s * kept);
      total += s * (static_cast<double>(first_lane(log(Vec<T>::set(sum)))) - mean_shift);
      continue;
    }
    const T* target = t.values + i * t.stride;
    const auto smoothed = [&](ptrdiff_t j, ptrdiff_t n) { return fma(load_some(target + j, n), kept_share, low); };
    // the loss needs p and log sum exp p at once; dp may be p, so the sum comes first
    Vec<T> exps = zero, mass = zero;
    for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
      const Vec<T> v = load_some(z + j, n);
      const Vec<T> power = exp(select(equal(v, highest), zero, v - highest));
      exps = exps + (n == Vec<T>::kLanes ? power : keep_first(power, n));
      mass = mass + load_some(target + j, n);
    });
    const Vec<T> sum = Vec<T>::set(reduce_add(exps)), log_sum = log(sum);
    const Vec<T> whole = fma(Vec<T>::set(reduce_add(mass)), kept_share, Vec<T>::set(static_cast<T>(smoothing)));
    const Vec<T> share = whole / sum, weight = Vec<T>::set(static_cast<T>(s));
    double row = 0;
    for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
      const Vec<T> v = load_some(z + j, n), b = smoothed(j, n);
      const Vec<T> shifted = select(equal(v, highest), zero, v - highest);
      const Vec<T> loss = select(equal(b, zero), zero, b * (log_sum - shifted));
      store_some((exp(shifted) * share - b) * weight, d + j, n);
      row += static_cast<double>(reduce_add(n == Vec<T>::kLanes ? loss : keep_first(loss, n)));
    });
    total += s * row;
  }
  return total;
}

// l = -sum_j t_j p_j; one label instead of t stands for 1 at one j. A NaN makes its row NaN even where t is 0
DENSEGRAD_LOSS_KERNEL(nll) {
  const Vec<T> zero = Vec<T>::set(0);
  double total = 0;
  for (ptrdiff_t i = 0; i < rows; ++i) {
    const double s = weights != nullptr ? scale * static_cast<double>(weights[i]) : scale;
    const T* z = p + i * p_stride;
    T* d = dp + i * dp_stride;
    const Vec<T> weight = Vec<T>::set(static_cast<T>(s));
    const T labelled = t.labels != nullptr ? z[t.labels[i]] : T(0);
    Vec<T> sum = zero;
    for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
      const Vec<T> v = load_some(z + j, n);
      const Vec<T> b = t.labels != nullptr ? zero : load_some(t.values + i * t.stride + j, n);
      const Vec<T> nothing = select(equal(v, v), zero, v);
      sum = sum + select(equal(b, zero), nothing, b * v);
      store_some(nothing - b * weight, d + j, n);
    });
    if (t.labels != nullptr) d[t.labels[i]] -= static_cast<T>(s);
    total -= s * static_cast<double>(reduce_add(sum) + labelled);
  }
  return total;
}

#undef DENSEGRAD_LOSS_KERNEL

}  // namespace
}  // namespace densegrad
