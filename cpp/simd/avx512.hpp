#pragma once

// 512-bit vectors. The names are those of every file in this folder.

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

namespace densegrad {
namespace {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  static constexpr int kLanes = 16;
  static constexpr int kTileRows = 14;  // 14 x 2 accumulators, 2 columns of B, 1 broadcast: 31 of 32 registers
  static constexpr int kUnroll = 4;
  using Mask = __mmask16;
  using Lanes = __mmask16;  // which lanes of a row are there
  __m512 v;

  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vec load(const float* p, Lanes there) { return {_mm512_maskz_loadu_ps(there, p)}; }
  static Vec load_first(const float* p, ptrdiff_t n) { return load(p, first(n)); }
  static Vec set(float x) { return {_mm512_set1_ps(x)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store(float* p, Lanes there) const { _mm512_mask_storeu_ps(p, there, v); }
  void store_first(float* p, ptrdiff_t n) const { store(p, first(n)); }
  static Lanes first(ptrdiff_t n) { return static_cast<Lanes>(n >= kLanes ? 0xffff : n <= 0 ? 0 : (1u << n) - 1u); }
};

template <>
struct Vec<double> {
  static constexpr int kLanes = 8;
  static constexpr int kTileRows = 14;
  static constexpr int kUnroll = 4;
  using Mask = __mmask8;
  using Lanes = __mmask8;  // which lanes of a row are there
  __m512d v;

  static Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static Vec load(const double* p, Lanes there) { return {_mm512_maskz_loadu_pd(there, p)}; }
  static Vec load_first(const double* p, ptrdiff_t n) { return load(p, first(n)); }
  static Vec set(double x) { return {_mm512_set1_pd(x)}; }
  void store(double* p) const { _mm512_storeu_pd(p, v); }
  void store(double* p, Lanes there) const { _mm512_mask_storeu_pd(p, there, v); }
  void store_first(double* p, ptrdiff_t n) const { store(p, first(n)); }
  static Lanes first(ptrdiff_t n) { return static_cast<Lanes>(n >= kLanes ? 0xff : n <= 0 ? 0 : (1u << n) - 1u); }
};

using F = Vec<float>;
using D = Vec<double>;

inline F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
inline D operator+(D a, D b) { return {_mm512_add_pd(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline D operator-(D a, D b) { return {_mm512_sub_pd(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline D operator*(D a, D b) { return {_mm512_mul_pd(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
inline D operator/(D a, D b) { return {_mm512_div_pd(a.v, b.v)}; }

// a b + c and c - a b, rounded once
inline F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline D fma(D a, D b, D c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
inline F fnma(F a, F b, F c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
inline D fnma(D a, D b, D c) { return {_mm512_fnmadd_pd(a.v, b.v, c.v)}; }

// a b - product, exactly, where product is a b rounded
inline F product_rest(F a, F b, F product) { return {_mm512_fmsub_ps(a.v, b.v, product.v)}; }
inline D product_rest(D a, D b, D product) { return {_mm512_fmsub_pd(a.v, b.v, product.v)}; }

// where one operand is NaN, the second is the result
inline F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
inline D max(D a, D b) { return {_mm512_max_pd(a.v, b.v)}; }
inline F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
inline D min(D a, D b) { return {_mm512_min_pd(a.v, b.v)}; }

inline F abs(F a) { return {_mm512_abs_ps(a.v)}; }
inline D abs(D a) { return {_mm512_abs_pd(a.v)}; }
inline F sqrt(F a) { return {_mm512_sqrt_ps(a.v)}; }
inline D sqrt(D a) { return {_mm512_sqrt_pd(a.v)}; }
inline F round(F a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline D round(D a) { return {_mm512_roundscale_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }

// false where an operand is NaN
inline F::Mask less(F a, F b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
inline D::Mask less(D a, D b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ); }
inline F::Mask equal(F a, F b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
inline D::Mask equal(D a, D b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ); }

inline F select(F::Mask m, F a, F b) { return {_mm512_mask_blend_ps(m, b.v, a.v)}; }
inline D select(D::Mask m, D a, D b) { return {_mm512_mask_blend_pd(m, b.v, a.v)}; }
inline bool any(F::Mask m) { return m != 0; }
inline bool any(D::Mask m) { return m != 0; }

// a 2^n for whole n of any size, with gradual under- and overflow
inline F scale_by_power(F a, F n) { return {_mm512_scalef_ps(a.v, n.v)}; }
inline D scale_by_power(D a, D n) { return {_mm512_scalef_pd(a.v, n.v)}; }

// a = mantissa 2^exponent with 1 <= mantissa < 2, for normal a > 0
inline F exponent(F a) { return {_mm512_getexp_ps(a.v)}; }
inline D exponent(D a) { return {_mm512_getexp_pd(a.v)}; }
inline F mantissa(F a) { return {_mm512_getmant_ps(a.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src)}; }
inline D mantissa(D a) { return {_mm512_getmant_pd(a.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src)}; }

inline F copy_sign(F magnitude, F sign) {
  const __m512i bit = _mm512_set1_epi32(INT32_MIN);
  return {_mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(bit, _mm512_castps_si512(sign.v), _mm512_castps_si512(magnitude.v), 0xca))};
}
inline D copy_sign(D magnitude, D sign) {
  const __m512i bit = _mm512_set1_epi64(INT64_MIN);
  return {_mm512_castsi512_pd(
      _mm512_ternarylogic_epi64(bit, _mm512_castpd_si512(sign.v), _mm512_castpd_si512(magnitude.v), 0xca))};
}

inline float reduce_add(F a) { return _mm512_reduce_add_ps(a.v); }
inline double reduce_add(D a) { return _mm512_reduce_add_pd(a.v); }
inline float first_lane(F a) { return _mm512_cvtss_f32(a.v); }
inline double first_lane(D a) { return _mm512_cvtsd_f64(a.v); }

// kLanes rows become kLanes columns
inline void transpose(F (&r)[16]) {
  __m512 t[16], u[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  const auto low = [](__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  };
  const auto high = [](__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  };
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    u[i] = low(t[i], t[i + 2]);
    u[i + 1] = high(t[i], t[i + 2]);
    u[i + 2] = low(t[i + 1], t[i + 3]);
    u[i + 3] = high(t[i + 1], t[i + 3]);
  }
  // quarter q of u[4 i + c] now is column 4 q + c of rows 4 i to 4 i + 3
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512 even_low = _mm512_shuffle_f32x4(u[c], u[4 + c], 0x88);
    const __m512 odd_low = _mm512_shuffle_f32x4(u[c], u[4 + c], 0xdd);
    const __m512 even_high = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0x88);
    const __m512 odd_high = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0xdd);
    r[c].v = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
    r[4 + c].v = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    r[8 + c].v = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
    r[12 + c].v = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
  }
}
inline void transpose(D (&r)[8]) {
  __m512d t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_pd(r[i].v, r[i + 1].v);
    t[i + 1] = _mm512_unpackhi_pd(r[i].v, r[i + 1].v);
  }
  // quarter q of t[2 i + c] now is column 2 q + c of rows 2 i and 2 i + 1
#pragma GCC unroll 2
  for (int c = 0; c < 2; ++c) {
    const __m512d even_low = _mm512_shuffle_f64x2(t[c], t[2 + c], 0x88);
    const __m512d odd_low = _mm512_shuffle_f64x2(t[c], t[2 + c], 0xdd);
    const __m512d even_high = _mm512_shuffle_f64x2(t[4 + c], t[6 + c], 0x88);
    const __m512d odd_high = _mm512_shuffle_f64x2(t[4 + c], t[6 + c], 0xdd);
    r[c].v = _mm512_shuffle_f64x2(even_low, even_high, 0x88);
    r[2 + c].v = _mm512_shuffle_f64x2(odd_low, odd_high, 0x88);
    r[4 + c].v = _mm512_shuffle_f64x2(even_low, even_high, 0xdd);
    r[6 + c].v = _mm512_shuffle_f64x2(odd_low, odd_high, 0xdd);
  }
}

}  // namespace
}  // namespace densegrad
