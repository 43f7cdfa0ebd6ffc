// Layers beside the dense one, on panels: element (i, j) of a panel lies at i * kPanel + j. Those that work on columns
// take one panel of at most kPanel columns; layer_norm takes whole rows, their panels panel_size apart. An output may
// be the input of its shape.

namespace densegrad {
namespace {

// y = a + b
template <class T>
void add_panel(ptrdiff_t size, const T* a, const T* b, T* y) noexcept {
  for_each_vector<T>(
      size, [&](ptrdiff_t j, ptrdiff_t n) { store_some(load_some(a + j, n) + load_some(b + j, n), y + j, n); });
}

// Four words of 64 bits for a counter and a key; Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011),
// with 10 rounds and the words of NumPy's Philox.
struct Words {
  uint64_t word[4];
};

inline Words philox(uint64_t block, uint64_t step, uint64_t seed, uint64_t stream) {
  Words at = {{block, step, 0, 0}};
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const auto first = static_cast<unsigned __int128>(0xD2E7470EE14C6C93) * at.word[0];
    const auto third = static_cast<unsigned __int128>(0xCA5A826395121157) * at.word[2];
    at = {{static_cast<uint64_t>(third >> 64) ^ at.word[1] ^ seed, static_cast<uint64_t>(third),
           static_cast<uint64_t>(first >> 64) ^ at.word[3] ^ stream, static_cast<uint64_t>(first)}};
    seed += 0x9E3779B97F4A7C15;
    stream += 0xBB67AE8584CAA73B;
  }
  return at;
}

// Bit j of kept[i] is set where element (first_row + i, first_column + j) of a matrix of `width` columns is kept: where
// its 32 bits are at least `limit`. Numbers are counted row by row, each row filled up to whole blocks of eight. The
// counter starts at 1, as NumPy's does.
inline void draw_kept(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t first_row, ptrdiff_t first_column, ptrdiff_t width,
                      const Mask& mask, uint32_t* kept) noexcept {
  const ptrdiff_t blocks = (width + 7) / 8;
  for (ptrdiff_t i = 0; i < rows; ++i) {
    const ptrdiff_t block = (first_row + i) * blocks + first_column / 8 + 1;
    uint32_t bits = 0;
    for (ptrdiff_t j = 0; j < columns; j += 8) {
      const Words words = philox(static_cast<uint64_t>(block + j / 8), mask.step, mask.seed, mask.stream);
      uint32_t eight = 0;
      for (int k = 0; k < 4; ++k) {
        eight |= static_cast<uint32_t>(static_cast<uint32_t>(words.word[k]) >= mask.limit) << (2 * k);
        eight |= static_cast<uint32_t>(static_cast<uint32_t>(words.word[k] >> 32) >= mask.limit) << (2 * k + 1);
      }
      bits |= eight << j;
    }
    kept[i] = bits;
  }
}

// y = scale x where kept, else 0
template <class T>
void apply_kept(ptrdiff_t rows, const T* x, const uint32_t* kept, T scale, T* y) noexcept {
  constexpr ptrdiff_t lanes = Vec<T>::kLanes;
  for (ptrdiff_t i = 0; i < rows; ++i) {
    T factor[kPanel<T>];
    for (ptrdiff_t j = 0; j < kPanel<T>; ++j) factor[j] = (kept[i] >> j & 1) != 0 ? scale : T(0);
    for (ptrdiff_t j = 0; j < kPanel<T>; j += lanes) {
      const ptrdiff_t at = i * kPanel<T> + j;
      (Vec<T>::load(x + at) * Vec<T>::load(factor + j)).store(y + at);
    }
  }
}

// y = (x - mean) scale
template <class T>
void standardize_forward(ptrdiff_t rows, ptrdiff_t columns, const T* x, const T* mean, const T* scale, T* y) noexcept {
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> centre = load_some(mean + j, n), factor = load_some(scale + j, n);
    for (ptrdiff_t at = j; at < rows * kPanel<T>; at += kPanel<T>) {
      store_some((load_some(x + at, n) - centre) * factor, y + at, n);
    }
  });
}

// dx = dy scale
template <class T>
void standardize_backward(ptrdiff_t rows, ptrdiff_t columns, const T* dy, const T* scale, T* dx) noexcept {
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> factor = load_some(scale + j, n);
    for (ptrdiff_t at = j; at < rows * kPanel<T>; at += kPanel<T>)
      store_some(load_some(dy + at, n) * factor, dx + at, n);
  });
}

// sum over rows of f(offset of a row, how many lanes count), in two chains that hide the latency of an addition
template <class T, class Function>
inline Vec<T> sum_rows(ptrdiff_t rows, ptrdiff_t j, Function f) {
  Vec<T> even = Vec<T>::set(0), odd = even;
  ptrdiff_t i = 0;
  for (; i + 2 <= rows; i += 2) {
    even = even + f(i * kPanel<T> + j);
    odd = odd + f((i + 1) * kPanel<T> + j);
  }
  if (i < rows) even = even + f(i * kPanel<T> + j);
  return even + odd;
}

// mean_j and variance_j (divided by rows) of each column, inverse = 1 / sqrt(variance + eps);
// y = (x - mean) inverse gamma + beta
template <class T>
void batch_norm_forward(ptrdiff_t rows, ptrdiff_t columns, const T* x, const T* gamma, const T* beta, T eps, T* y,
                        T* mean, T* variance, T* inverse) noexcept {
  const Vec<T> share = Vec<T>::set(T(1) / static_cast<T>(rows > 0 ? rows : 1));
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> centre = sum_rows<T>(rows, j, [&](ptrdiff_t at) { return load_some(x + at, n); }) * share;
    const Vec<T> spread = sum_rows<T>(rows, j,
                                      [&](ptrdiff_t at) {
                                        const Vec<T> d = load_some(x + at, n) - centre;
                                        return d * d;
                                      }) *
                          share;
    const Vec<T> scale = Vec<T>::set(1) / sqrt(spread + Vec<T>::set(eps));
    store_some(centre, mean + j, n);
    store_some(spread, variance + j, n);
    store_some(scale, inverse + j, n);
    const Vec<T> factor = scale * load_some(gamma + j, n), shift = load_some(beta + j, n);
    for (ptrdiff_t at = j; at < rows * kPanel<T>; at += kPanel<T>) {
      store_some(fma(load_some(x + at, n) - centre, factor, shift), y + at, n);
    }
  });
}

// y = (x - mean) / sqrt(variance + eps) gamma + beta
template <class T>
void batch_norm_predict(ptrdiff_t rows, ptrdiff_t columns, const T* x, const T* gamma, const T* beta, const T* mean,
                        const T* variance, T eps, T* y) noexcept {
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> centre = load_some(mean + j, n), shift = load_some(beta + j, n);
    const Vec<T> factor = load_some(gamma + j, n) / sqrt(load_some(variance + j, n) + Vec<T>::set(eps));
    for (ptrdiff_t at = j; at < rows * kPanel<T>; at += kPanel<T>) {
      store_some(fma(load_some(x + at, n) - centre, factor, shift), y + at, n);
    }
  });
}

// With h = (x - mean) inverse: dbeta = sum dy, dgamma = sum dy h over the rows, and
// dx = gamma inverse (dy - dbeta / rows - h dgamma / rows) unless dx is null
template <class T>
void batch_norm_backward(ptrdiff_t rows, ptrdiff_t columns, const T* dy, const T* x, const T* gamma, const T* mean,
                         const T* inverse, T* dx, T* dgamma, T* dbeta) noexcept {
  const Vec<T> share = Vec<T>::set(T(1) / static_cast<T>(rows > 0 ? rows : 1));
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> centre = load_some(mean + j, n), scale = load_some(inverse + j, n);
    const auto hat = [&](ptrdiff_t at) { return (load_some(x + at, n) - centre) * scale; };
    const Vec<T> sum = sum_rows<T>(rows, j, [&](ptrdiff_t at) { return load_some(dy + at, n); });
    const Vec<T> along = sum_rows<T>(rows, j, [&](ptrdiff_t at) { return load_some(dy + at, n) * hat(at); });
    store_some(along, dgamma + j, n);
    store_some(sum, dbeta + j, n);
    if (dx == nullptr) return;
    const Vec<T> factor = scale * load_some(gamma + j, n), shift = sum * share, slope = along * share;
    for (ptrdiff_t at = j; at < rows * kPanel<T>; at += kPanel<T>) {
      store_some(fnma(hat(at), slope, load_some(dy + at, n) - shift) * factor, dx + at, n);
    }
  });
}

// Calls f(offset of a vector within its row's panels, its column, how many lanes count) along a row.
template <class T, class Function>
inline void along_row(ptrdiff_t columns, ptrdiff_t panel_size, Function f) {
  for (ptrdiff_t first = 0, panel = 0; first < columns; first += kPanel<T>, panel += panel_size) {
    const ptrdiff_t left = columns - first < kPanel<T> ? columns - first : kPanel<T>;
    for_each_vector<T>(left, [&](ptrdiff_t j, ptrdiff_t n) { f(panel + j, first + j, n); });
  }
}

// The lanes that count, the others 0.
template <class T>
inline Vec<T> counted(Vec<T> v, ptrdiff_t n) {
  return n == Vec<T>::kLanes ? v : keep_first(v, n);
}

// mean_i and 1 / sqrt(variance_i + eps) of each row; y = (x - mean) inverse gamma + beta
template <class T>
void layer_norm_forward(ptrdiff_t rows, ptrdiff_t columns, const T* x, ptrdiff_t panel_size, const T* gamma,
                        const T* beta, T eps, T* y, T* mean, T* inverse) noexcept {
  const T share = T(1) / static_cast<T>(columns);
  for (ptrdiff_t i = 0; i < rows; ++i) {
    const T* row = x + i * kPanel<T>;
    Vec<T> sum = Vec<T>::set(0), square = sum;
    along_row<T>(columns, panel_size,
                 [&](ptrdiff_t at, ptrdiff_t, ptrdiff_t n) { sum = sum + load_some(row + at, n); });
    mean[i] = reduce_add(sum) * share;
    const Vec<T> centre = Vec<T>::set(mean[i]);
    along_row<T>(columns, panel_size, [&](ptrdiff_t at, ptrdiff_t, ptrdiff_t n) {
      const Vec<T> d = counted(load_some(row + at, n) - centre, n);
      square = fma(d, d, square);
    });
    const Vec<T> scale = Vec<T>::set(1) / sqrt(Vec<T>::set(reduce_add(square) * share + eps));
    scale.store_first(inverse + i, 1);
    along_row<T>(columns, panel_size, [&](ptrdiff_t at, ptrdiff_t j, ptrdiff_t n) {
      const Vec<T> hat = (load_some(row + at, n) - centre) * scale;
      store_some(fma(hat, load_some(gamma + j, n), load_some(beta + j, n)), y + i * kPanel<T> + at, n);
    });
  }
}

// With h = (x - mean) inverse and g = dy gamma: dx = inverse (g - mean of g - h mean of (g h)), means along the row
template <class T>
void layer_norm_backward(ptrdiff_t rows, ptrdiff_t columns, const T* dy, const T* x, ptrdiff_t panel_size,
                         const T* gamma, const T* mean, const T* inverse, T* dx) noexcept {
  const T share = T(1) / static_cast<T>(columns);
  for (ptrdiff_t i = 0; i < rows; ++i) {
    const T *d = dy + i * kPanel<T>, *row = x + i * kPanel<T>;
    const Vec<T> centre = Vec<T>::set(mean[i]), scale = Vec<T>::set(inverse[i]);
    Vec<T> sum = Vec<T>::set(0), along = sum;
    along_row<T>(columns, panel_size, [&](ptrdiff_t at, ptrdiff_t j, ptrdiff_t n) {
      const Vec<T> g = load_some(d + at, n) * load_some(gamma + j, n);  // 0 beyond the lanes that count
      sum = sum + g;
      along = fma(g, (load_some(row + at, n) - centre) * scale, along);
    });
    const Vec<T> shift = Vec<T>::set(reduce_add(sum) * share), slope = Vec<T>::set(reduce_add(along) * share);
    along_row<T>(columns, panel_size, [&](ptrdiff_t at, ptrdiff_t j, ptrdiff_t n) {
      const Vec<T> g = load_some(d + at, n) * load_some(gamma + j, n);
      const Vec<T> hat = (load_some(row + at, n) - centre) * scale;
      store_some(fnma(hat, slope, g - shift) * scale, dx + i * kPanel<T> + at, n);
    });
  }
}

// dgamma_j = sum over rows of dy h, dbeta_j = sum of dy, on one panel
template <class T>
void layer_norm_parameters(ptrdiff_t rows, ptrdiff_t columns, const T* dy, const T* x, const T* mean, const T* inverse,
                           T* dgamma, T* dbeta) noexcept {
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    Vec<T> along = Vec<T>::set(0), sum = along;
    for (ptrdiff_t i = 0; i < rows; ++i) {
      const Vec<T> d = load_some(dy + i * kPanel<T> + j, n);
      const Vec<T> hat = (load_some(x + i * kPanel<T> + j, n) - Vec<T>::set(mean[i])) * Vec<T>::set(inverse[i]);
      along = fma(d, hat, along);
      sum = sum + d;
    }
    store_some(along, dgamma + j, n);
    store_some(sum, dbeta + j, n);
  });
}

// A parameter for each column, or one for all of them.
template <class T>
inline Vec<T> parameter_at(const T* a, ParameterSharing sharing, ptrdiff_t j, ptrdiff_t n) {
  return sharing == ParameterSharing::all_columns ? Vec<T>::set(*a) : load_some(a + j, n);
}

// y = z where z > 0, else a z
template <class T>
void prelu_forward(ptrdiff_t rows, ptrdiff_t columns, const T* z, const T* a, ParameterSharing sharing, T* y) noexcept {
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> slope = parameter_at(a, sharing, j, n), zero = Vec<T>::set(0);
    for (ptrdiff_t at = j; at < rows * kPanel<T>; at += kPanel<T>) {
      const Vec<T> v = load_some(z + at, n);
      store_some(select(less(zero, v), v, slope * v), y + at, n);
    }
  });
}

// dz = dy where z > 0, else a dy; da_j = sum over rows of dy z where z <= 0
template <class T>
void prelu_backward(ptrdiff_t rows, ptrdiff_t columns, const T* dy, const T* z, const T* a, ParameterSharing sharing,
                    T* dz, T* da) noexcept {
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> slope = parameter_at(a, sharing, j, n), zero = Vec<T>::set(0);
    Vec<T> sum = zero;
    for (ptrdiff_t at = j; at < rows * kPanel<T>; at += kPanel<T>) {
      const Vec<T> d = load_some(dy + at, n), v = load_some(z + at, n);
      sum = fma(d, select(less(zero, v), zero, v), sum);
      store_some(select(less(zero, v), d, slope * d), dz + at, n);
    }
    store_some(sum, da + j, n);
  });
}

// v s, 0 for an infinite v of which nothing is left
template <class T>
inline Vec<T> times_share(Vec<T> v, Vec<T> s) {
  const Vec<T> zero = Vec<T>::set(0);
  return select(equal(s, zero), zero, v * s);
}

// y = z s, where s = 1 / (1 + exp(-a z))
template <class T>
void learned_swish_forward(ptrdiff_t rows, ptrdiff_t columns, const T* z, const T* a, ParameterSharing sharing,
                           T* y) noexcept {
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> beta = parameter_at(a, sharing, j, n);
    for (ptrdiff_t at = j; at < rows * kPanel<T>; at += kPanel<T>) {
      const Vec<T> v = load_some(z + at, n);
      store_some(times_share(v, sigmoid(beta * v)), y + at, n);
    }
  });
}

// dz = dy (s + a z s (1 - s)); da_j = sum over rows of dy z^2 s (1 - s)
template <class T>
void learned_swish_backward(ptrdiff_t rows, ptrdiff_t columns, const T* dy, const T* z, const T* a,
                            ParameterSharing sharing, T* dz, T* da) noexcept {
  for_each_vector<T>(columns, [&](ptrdiff_t j, ptrdiff_t n) {
    const Vec<T> beta = parameter_at(a, sharing, j, n), one = Vec<T>::set(1);
    Vec<T> sum = Vec<T>::set(0);
    for (ptrdiff_t at = j; at < rows * kPanel<T>; at += kPanel<T>) {
      const Vec<T> d = load_some(dy + at, n), v = load_some(z + at, n);
      const Vec<T> s = sigmoid(beta * v), bend = times_share(v, s * (one - s));
      sum = fma(d * v, bend, sum);
      store_some(d * fma(beta, bend, s), dz + at, n);
    }
    store_some(sum, da + j, n);
  });
}

}  // namespace
}  // namespace densegrad
