#pragma once

// 256-bit vectors with FMA. The names are those of every file in this folder.

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

namespace densegrad {
namespace {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  static constexpr int kLanes = 8;
  static constexpr int kTileRows = 6;  // 6 x 2 accumulators, 2 columns of B, 1 broadcast: 15 of 16 registers
  static constexpr int kUnroll = 2;    // by 4, GCC 12 spills two accumulators
  using Mask = __m256;
  using Lanes = __m256i;  // which lanes of a row are there
  __m256 v;

  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vec load(const float* p, Lanes there) { return {_mm256_maskload_ps(p, there)}; }
  static Vec load_first(const float* p, ptrdiff_t n) { return load(p, first(n)); }
  static Vec set(float x) { return {_mm256_set1_ps(x)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store(float* p, Lanes there) const { _mm256_maskstore_ps(p, there, v); }
  void store_first(float* p, ptrdiff_t n) const { store(p, first(n)); }
  static Lanes first(ptrdiff_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n < 0 ? 0 : n < kLanes ? n : kLanes)), lane);
  }
};

template <>
struct Vec<double> {
  static constexpr int kLanes = 4;
  static constexpr int kTileRows = 6;
  static constexpr int kUnroll = 2;  // by 4, GCC 12 spills two accumulators
  using Mask = __m256d;
  using Lanes = __m256i;  // which lanes of a row are there
  __m256d v;

  static Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static Vec load(const double* p, Lanes there) { return {_mm256_maskload_pd(p, there)}; }
  static Vec load_first(const double* p, ptrdiff_t n) { return load(p, first(n)); }
  static Vec set(double x) { return {_mm256_set1_pd(x)}; }
  void store(double* p) const { _mm256_storeu_pd(p, v); }
  void store(double* p, Lanes there) const { _mm256_maskstore_pd(p, there, v); }
  void store_first(double* p, ptrdiff_t n) const { store(p, first(n)); }
  static Lanes first(ptrdiff_t n) { return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3)); }
};

using F = Vec<float>;
using D = Vec<double>;

inline F operator+(F a, F b) { return {_mm256_add_ps(a.v, b.v)}; }
inline D operator+(D a, D b) { return {_mm256_add_pd(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline D operator-(D a, D b) { return {_mm256_sub_pd(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline D operator*(D a, D b) { return {_mm256_mul_pd(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm256_div_ps(a.v, b.v)}; }
inline D operator/(D a, D b) { return {_mm256_div_pd(a.v, b.v)}; }

// a b + c and c - a b, rounded once
inline F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline D fma(D a, D b, D c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
inline F fnma(F a, F b, F c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
inline D fnma(D a, D b, D c) { return {_mm256_fnmadd_pd(a.v, b.v, c.v)}; }

// a b - product, exactly, where product is a b rounded
inline F product_rest(F a, F b, F product) { return {_mm256_fmsub_ps(a.v, b.v, product.v)}; }
inline D product_rest(D a, D b, D product) { return {_mm256_fmsub_pd(a.v, b.v, product.v)}; }

// where one operand is NaN, the second is the result
inline F max(F a, F b) { return {_mm256_max_ps(a.v, b.v)}; }
inline D max(D a, D b) { return {_mm256_max_pd(a.v, b.v)}; }
inline F min(F a, F b) { return {_mm256_min_ps(a.v, b.v)}; }
inline D min(D a, D b) { return {_mm256_min_pd(a.v, b.v)}; }

inline F abs(F a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline D abs(D a) { return {_mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v)}; }
inline F sqrt(F a) { return {_mm256_sqrt_ps(a.v)}; }
inline D sqrt(D a) { return {_mm256_sqrt_pd(a.v)}; }
inline F round(F a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline D round(D a) { return {_mm256_round_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }

// false where an operand is NaN
inline F::Mask less(F a, F b) { return _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ); }
inline D::Mask less(D a, D b) { return _mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ); }
inline F::Mask equal(F a, F b) { return _mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ); }
inline D::Mask equal(D a, D b) { return _mm256_cmp_pd(a.v, b.v, _CMP_EQ_OQ); }

inline F select(F::Mask m, F a, F b) { return {_mm256_blendv_ps(b.v, a.v, m)}; }
inline D select(D::Mask m, D a, D b) { return {_mm256_blendv_pd(b.v, a.v, m)}; }
inline bool any(F::Mask m) { return _mm256_movemask_ps(m) != 0; }
inline bool any(D::Mask m) { return _mm256_movemask_pd(m) != 0; }

inline F power_of_two(F n) {  // -126 <= n <= 127
  const __m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(bits, 23))};
}
inline D power_of_two(D n) {  // -1022 <= n <= 1023
  const __m256i bits = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(n.v)), _mm256_set1_epi64x(1023));
  return {_mm256_castsi256_pd(_mm256_slli_epi64(bits, 52))};
}

// a 2^n for whole n of up to twice the exponent range, with gradual under- and overflow
inline F scale_by_power(F a, F n) {
  const F half = round(n * F::set(0.5f));
  return a * power_of_two(half) * power_of_two(n - half);
}
inline D scale_by_power(D a, D n) {
  const D half = round(n * D::set(0.5));
  return a * power_of_two(half) * power_of_two(n - half);
}

// a = mantissa 2^exponent with 1 <= mantissa < 2, for normal a > 0
inline F exponent(F a) {
  const __m256i bits = _mm256_srli_epi32(_mm256_castps_si256(a.v), 23);
  return {_mm256_cvtepi32_ps(_mm256_sub_epi32(bits, _mm256_set1_epi32(127)))};
}
inline D exponent(D a) {
  const __m256i bits = _mm256_srli_epi64(_mm256_castpd_si256(a.v), 52);
  const __m256d magic = _mm256_set1_pd(0x1p52);  // its mantissa bits take the integer
  const __m256d whole = _mm256_castsi256_pd(_mm256_or_si256(bits, _mm256_castpd_si256(magic)));
  return {_mm256_sub_pd(whole, _mm256_set1_pd(0x1p52 + 1023))};
}
inline F mantissa(F a) {
  const __m256i kept = _mm256_and_si256(_mm256_castps_si256(a.v), _mm256_set1_epi32(0x007fffff));
  return {_mm256_castsi256_ps(_mm256_or_si256(kept, _mm256_set1_epi32(0x3f800000)))};
}
inline D mantissa(D a) {
  const __m256i kept = _mm256_and_si256(_mm256_castpd_si256(a.v), _mm256_set1_epi64x(0x000fffffffffffff));
  return {_mm256_castsi256_pd(_mm256_or_si256(kept, _mm256_set1_epi64x(0x3ff0000000000000)))};
}

inline F copy_sign(F magnitude, F sign) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_and_ps(bit, sign.v), _mm256_andnot_ps(bit, magnitude.v))};
}
inline D copy_sign(D magnitude, D sign) {
  const __m256d bit = _mm256_set1_pd(-0.0);
  return {_mm256_or_pd(_mm256_and_pd(bit, sign.v), _mm256_andnot_pd(bit, magnitude.v))};
}

inline float reduce_add(F a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
inline double reduce_add(D a) {
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}
inline float first_lane(F a) { return _mm256_cvtss_f32(a.v); }
inline double first_lane(D a) { return _mm256_cvtsd_f64(a.v); }

// kLanes rows become kLanes columns
inline void transpose(F (&r)[8]) {
  __m256 t[8], u[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    r[c].v = _mm256_permute2f128_ps(u[c], u[4 + c], 0x20);
    r[4 + c].v = _mm256_permute2f128_ps(u[c], u[4 + c], 0x31);
  }
}
inline void transpose(D (&r)[4]) {
  const __m256d a = _mm256_unpacklo_pd(r[0].v, r[1].v), b = _mm256_unpackhi_pd(r[0].v, r[1].v);
  const __m256d c = _mm256_unpacklo_pd(r[2].v, r[3].v), d = _mm256_unpackhi_pd(r[2].v, r[3].v);
  r[0].v = _mm256_permute2f128_pd(a, c, 0x20);
  r[1].v = _mm256_permute2f128_pd(b, d, 0x20);
  r[2].v = _mm256_permute2f128_pd(a, c, 0x31);
  r[3].v = _mm256_permute2f128_pd(b, d, 0x31);
}

}  // namespace
}  // namespace densegrad
