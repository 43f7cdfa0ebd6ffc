// One update of a block of parameters, in place. Each is named as its row of primitives.def, and begins with what its
// coefficients are (ops/coefficients.cpp). w is a parameter, dw its gradient, and s its numbers of state.

namespace densegrad {
namespace {

// Parameters, their gradients and their state, which lies as w does, its rows state_stride apart.
template <class T>
struct Block {
  ptrdiff_t rows;
  ptrdiff_t columns;
  T* w;
  ptrdiff_t w_stride;
  const T* dw;
  ptrdiff_t dw_stride;
  T* state;
  ptrdiff_t state_stride;
};

// The numbers of one update, each as a vector.
template <class T>
struct Coefficients {
  const double* value;
  Vec<T> operator[](int i) const { return Vec<T>::set(static_cast<T>(value[i])); }
};

// w <- f(w, dw, s), where f changes the kStates numbers s as well
template <int kStates, class T, class Function>
[[gnu::always_inline]] inline void update_each(const Block<T>& block, Function f) {
  const Extent extent = joined(block.rows, block.columns, block.w_stride, block.dw_stride);
  for (ptrdiff_t i = 0; i < extent.rows; ++i) {
    T* w = block.w + i * block.w_stride;
    const T* dw = block.dw + i * block.dw_stride;
    T* state = kStates > 0 ? block.state + i * block.w_stride : nullptr;
    for_each_vector<T>(extent.columns, [&](ptrdiff_t j, ptrdiff_t n) {
      Vec<T> s[kStates > 0 ? kStates : 1];
#pragma GCC unroll 4
      for (int k = 0; k < kStates; ++k) s[k] = load_some(state + k * block.state_stride + j, n);
      const Vec<T> next = f(load_some(w + j, n), load_some(dw + j, n), s);
#pragma GCC unroll 4
      for (int k = 0; k < kStates; ++k) store_some(s[k], state + k * block.state_stride + j, n);
      store_some(next, w + j, n);
    });
  }
}

// Begins the definition of name_update, which finds its arguments in `block` and `c`.
#define DENSEGRAD_UPDATE(name)                                                                                      \
  template <class T>                                                                                                \
  void name##_rule(const Block<T>& block, const Coefficients<T>& c);                                                \
  template <class T>                                                                                                \
  void name##_update(ptrdiff_t rows, ptrdiff_t columns, T* w, ptrdiff_t w_stride, const T* dw, ptrdiff_t dw_stride, \
                     T* state, ptrdiff_t state_stride, const double* coefficients) noexcept {                       \
    name##_rule<T>({rows, columns, w, w_stride, dw, dw_stride, state, state_stride}, {coefficients});               \
  }                                                                                                                 \
  template <class T>                                                                                                \
  void name##_rule(const Block<T>& block, const Coefficients<T>& c)

// lr: w <- w - lr dw
DENSEGRAD_UPDATE(sgd) {
  const Vec<T> lr = c[0];
  update_each<0>(block, [&](Vec<T> w, Vec<T> dw, Vec<T>*) { return fnma(lr, dw, w); });
}

// lr, decay: w <- w - lr (dw + decay w)
DENSEGRAD_UPDATE(sgd_weight_decay) {
  const Vec<T> lr = c[0], decay = c[1];
  update_each<0>(block, [&](Vec<T> w, Vec<T> dw, Vec<T>*) { return fnma(lr, fma(decay, w, dw), w); });
}

// lr, decay, keep, take: g = dw + decay w; b <- keep b + take g; w <- w - lr b
DENSEGRAD_UPDATE(sgd_momentum) {
  const Vec<T> lr = c[0], decay = c[1], keep = c[2], take = c[3];
  update_each<1>(block, [&](Vec<T> w, Vec<T> dw, Vec<T>* s) {
    Vec<T>& b = s[0];
    b = fma(keep, b, take * fma(decay, w, dw));
    return fnma(lr, b, w);
  });
}

// lr, decay, momentum: g = dw + decay w; b <- momentum b + g; w <- w - lr (g + momentum b)
DENSEGRAD_UPDATE(sgd_nesterov) {
  const Vec<T> lr = c[0], decay = c[1], momentum = c[2];
  update_each<1>(block, [&](Vec<T> w, Vec<T> dw, Vec<T>* s) {
    Vec<T>& b = s[0];
    const Vec<T> g = fma(decay, w, dw);
    b = fma(momentum, b, g);
    return fnma(lr, fma(momentum, b, g), w);
  });
}

// rate = lr / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t), eps, decay, keep, beta1, 1 - beta1, beta2, 1 - beta2:
// g = dw + decay w; m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2;
// w <- keep w - rate m / (root sqrt(v) + eps), with AMSGrad by the largest v so far instead of v
template <int kStates, class T>
[[gnu::always_inline]] inline void adam_like(const Block<T>& block, const Coefficients<T>& c) {
  const Vec<T> rate = c[0], root = c[1], eps = c[2], decay = c[3], keep = c[4];
  const Vec<T> beta1 = c[5], rest1 = c[6], beta2 = c[7], rest2 = c[8];
  update_each<kStates>(block, [&](Vec<T> w, Vec<T> dw, Vec<T>* s) {
    Vec<T>&m = s[0], &v = s[1], &scale = s[kStates - 1];
    const Vec<T> g = fma(decay, w, dw);
    m = fma(beta1, m, rest1 * g);
    v = fma(beta2, v, rest2 * (g * g));
    scale = kStates == 3 ? max(scale, v) : v;
    return fnma(rate, m / fma(sqrt(scale), root, eps), keep * w);
  });
}

DENSEGRAD_UPDATE(adam) { adam_like<2>(block, c); }
DENSEGRAD_UPDATE(adam_amsgrad) { adam_like<3>(block, c); }
DENSEGRAD_UPDATE(adam_eps_hat) { adam_like<2>(block, c); }
DENSEGRAD_UPDATE(adamw) { adam_like<2>(block, c); }
DENSEGRAD_UPDATE(adamw_amsgrad) { adam_like<3>(block, c); }

// lr, eps, decay, alpha, 1 - alpha, momentum:
// g = dw + decay w; v <- alpha v + (1 - alpha) g^2; a <- alpha a + (1 - alpha) g; d = g / (sqrt(v - a^2) + eps);
// b <- momentum b + d; w <- w - lr b. What is not centred has no a, and what has no momentum is b = d.
template <bool kCentered, bool kMomentum, class T>
[[gnu::always_inline]] inline void rmsprop_like(const Block<T>& block, const Coefficients<T>& c) {
  const Vec<T> lr = c[0], eps = c[1], decay = c[2], alpha = c[3], rest = c[4], momentum = c[5];
  update_each<1 + kCentered + kMomentum>(block, [&](Vec<T> w, Vec<T> dw, Vec<T>* s) {
    Vec<T>& v = s[0];
    const Vec<T> g = fma(decay, w, dw);
    Vec<T> variance = v = fma(alpha, v, rest * (g * g));
    if constexpr (kCentered) {
      Vec<T>& a = s[1];
      a = fma(alpha, a, rest * g);
      variance = max(Vec<T>::set(0), fnma(a, a, v));
    }
    Vec<T> d = g / (sqrt(variance) + eps);
    if constexpr (kMomentum) {
      Vec<T>& b = s[1 + kCentered];
      d = b = fma(momentum, b, d);
    }
    return fnma(lr, d, w);
  });
}

DENSEGRAD_UPDATE(rmsprop) { rmsprop_like<false, false>(block, c); }
DENSEGRAD_UPDATE(rmsprop_momentum) { rmsprop_like<false, true>(block, c); }
DENSEGRAD_UPDATE(rmsprop_centered) { rmsprop_like<true, false>(block, c); }
DENSEGRAD_UPDATE(rmsprop_centered_momentum) { rmsprop_like<true, true>(block, c); }

// rate = lr / (1 + (t - 1) lr_decay), eps, decay: g = dw + decay w; v <- v + g^2; w <- w - rate g / (sqrt(v) + eps)
DENSEGRAD_UPDATE(adagrad) {
  const Vec<T> rate = c[0], eps = c[1], decay = c[2];
  update_each<1>(block, [&](Vec<T> w, Vec<T> dw, Vec<T>* s) {
    Vec<T>& v = s[0];
    const Vec<T> g = fma(decay, w, dw);
    v = fma(g, g, v);
    return fnma(rate, g / (sqrt(v) + eps), w);
  });
}

// lr, eps, decay, rho, 1 - rho: g = dw + decay w; v <- rho v + (1 - rho) g^2; d = sqrt((u + eps) / (v + eps)) g;
// u <- rho u + (1 - rho) d^2; w <- w - lr d
DENSEGRAD_UPDATE(adadelta) {
  const Vec<T> lr = c[0], eps = c[1], decay = c[2], rho = c[3], rest = c[4];
  update_each<2>(block, [&](Vec<T> w, Vec<T> dw, Vec<T>* s) {
    Vec<T>&v = s[0], &u = s[1];
    const Vec<T> g = fma(decay, w, dw);
    v = fma(rho, v, rest * (g * g));
    const Vec<T> d = sqrt((u + eps) / (v + eps)) * g;
    u = fma(rho, u, rest * (d * d));
    return fnma(lr, d, w);
  });
}

// rate = lr / (1 - beta1^t), eps, decay, beta1, 1 - beta1, beta2:
// g = dw + decay w; m <- beta1 m + (1 - beta1) g; u <- max(beta2 u, |g| + eps); w <- w - rate m / u
DENSEGRAD_UPDATE(adamax) {
  const Vec<T> rate = c[0], eps = c[1], decay = c[2], beta1 = c[3], rest1 = c[4], beta2 = c[5];
  update_each<2>(block, [&](Vec<T> w, Vec<T> dw, Vec<T>* s) {
    Vec<T>&m = s[0], &u = s[1];
    const Vec<T> g = fma(decay, w, dw);
    m = fma(beta1, m, rest1 * g);
    u = max(beta2 * u, abs(g) + eps);
    return fnma(rate, m / u, w);
  });
}

// rate_g, rate_m, root = 1 / sqrt(1 - beta2^t), eps, decay, keep, beta1, 1 - beta1, beta2, 1 - beta2:
// g = dw + decay w; m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2;
// w <- keep w - (rate_g g + rate_m m) / (root sqrt(v) + eps)
template <class T>
[[gnu::always_inline]] inline void nadam_like(const Block<T>& block, const Coefficients<T>& c) {
  const Vec<T> rate_g = c[0], rate_m = c[1], root = c[2], eps = c[3], decay = c[4], keep = c[5];
  const Vec<T> beta1 = c[6], rest1 = c[7], beta2 = c[8], rest2 = c[9];
  update_each<2>(block, [&](Vec<T> w, Vec<T> dw, Vec<T>* s) {
    Vec<T>&m = s[0], &v = s[1];
    const Vec<T> g = fma(decay, w, dw);
    m = fma(beta1, m, rest1 * g);
    v = fma(beta2, v, rest2 * (g * g));
    return keep * w - fma(rate_m, m, rate_g * g) / fma(sqrt(v), root, eps);
  });
}

DENSEGRAD_UPDATE(nadam) { nadam_like(block, c); }
DENSEGRAD_UPDATE(nadam_decoupled) { nadam_like(block, c); }

// lr, keep, beta1, 1 - beta1, beta2, 1 - beta2:
// w <- keep w - lr sign(beta1 m + (1 - beta1) dw); m <- beta2 m + (1 - beta2) dw
DENSEGRAD_UPDATE(lion) {
  const Vec<T> lr = c[0], keep = c[1], beta1 = c[2], rest1 = c[3], beta2 = c[4], rest2 = c[5];
  const Vec<T> zero = Vec<T>::set(0), one = Vec<T>::set(1);
  update_each<1>(block, [&](Vec<T> w, Vec<T> dw, Vec<T>* s) {
    Vec<T>& m = s[0];
    const Vec<T> mean = fma(beta1, m, rest1 * dw);
    m = fma(beta2, m, rest2 * dw);
    const Vec<T> sign = select(less(zero, abs(mean)), copy_sign(one, mean), mean);  // of 0 is 0, of NaN is NaN
    return fnma(lr, sign, keep * w);
  });
}

#undef DENSEGRAD_UPDATE

}  // namespace
}  // namespace densegrad
