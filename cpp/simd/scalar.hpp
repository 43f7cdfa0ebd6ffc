#pragma once

// One number as a vector of one lane: any processor, and what the wider files are measured against.

#include <stddef.h>
#include <stdint.h>

namespace densegrad {
namespace {

template <class T>
struct Vec {
  static constexpr int kLanes = 1;
  static constexpr int kTileRows = 4;
  static constexpr int kUnroll = 2;
  using Mask = bool;
  using Lanes = bool;  // whether the one lane is there
  T v;

  static Vec load(const T* p) { return {*p}; }
  static Lanes first(ptrdiff_t n) { return n > 0; }
  static Vec load(const T* p, Lanes there) { return {there ? *p : T(0)}; }
  static Vec load_first(const T* p, ptrdiff_t n) { return {n > 0 ? *p : T(0)}; }
  static Vec set(T x) { return {x}; }
  void store(T* p) const { *p = v; }
  void store(T* p, Lanes there) const {
    if (there) *p = v;
  }
  void store_first(T* p, ptrdiff_t n) const { store(p, n > 0); }
};

using F = Vec<float>;
using D = Vec<double>;

template <class T>
Vec<T> operator+(Vec<T> a, Vec<T> b) {
  return {a.v + b.v};
}
template <class T>
Vec<T> operator-(Vec<T> a, Vec<T> b) {
  return {a.v - b.v};
}
template <class T>
Vec<T> operator*(Vec<T> a, Vec<T> b) {
  return {a.v * b.v};
}
template <class T>
Vec<T> operator/(Vec<T> a, Vec<T> b) {
  return {a.v / b.v};
}

// a b + c and c - a b, rounded twice: a processor without vectors has no fma of its own
template <class T>
Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return {a.v * b.v + c.v};
}
template <class T>
Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return {c.v - a.v * b.v};
}

// a b - product, exactly, where product is a b rounded: by halves of a and b (Dekker 1971)
template <class T>
Vec<T> product_rest(Vec<T> a, Vec<T> b, Vec<T> product) {
  const T splitter = sizeof(T) == 4 ? T(0x1p12 + 1) : T(0x1p27 + 1);
  const T a_scaled = splitter * a.v, b_scaled = splitter * b.v;
  const T a_high = a_scaled - (a_scaled - a.v), a_low = a.v - a_high;
  const T b_high = b_scaled - (b_scaled - b.v), b_low = b.v - b_high;
  return {(((a_high * b_high - product.v) + a_high * b_low) + a_low * b_high) + a_low * b_low};
}

// where one operand is NaN, the second is the result
template <class T>
Vec<T> max(Vec<T> a, Vec<T> b) {
  return {a.v > b.v ? a.v : b.v};
}
template <class T>
Vec<T> min(Vec<T> a, Vec<T> b) {
  return {a.v < b.v ? a.v : b.v};
}

template <class T>
Vec<T> select(bool m, Vec<T> a, Vec<T> b) {
  return m ? a : b;
}
inline bool any(bool m) { return m; }

// false where an operand is NaN
template <class T>
bool less(Vec<T> a, Vec<T> b) {
  return a.v < b.v;
}
template <class T>
bool equal(Vec<T> a, Vec<T> b) {
  return a.v == b.v;
}

inline F abs(F a) { return {__builtin_fabsf(a.v)}; }
inline D abs(D a) { return {__builtin_fabs(a.v)}; }
inline F sqrt(F a) { return {__builtin_sqrtf(a.v)}; }
inline D sqrt(D a) { return {__builtin_sqrt(a.v)}; }
inline F copy_sign(F magnitude, F sign) { return {__builtin_copysignf(magnitude.v, sign.v)}; }
inline D copy_sign(D magnitude, D sign) { return {__builtin_copysign(magnitude.v, sign.v)}; }

// to the nearest whole number, ties to even: adding 1.5 2^p leaves no fraction bits; NaN stays NaN
inline F round(F a) {
  const float magic = 0x1.8p23f;
  return {__builtin_fabsf(a.v) < 0x1p22f ? (a.v + magic) - magic : a.v};
}
inline D round(D a) {
  const double magic = 0x1.8p52;
  return {__builtin_fabs(a.v) < 0x1p51 ? (a.v + magic) - magic : a.v};
}

template <class To, class From>
To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "");
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

inline F power_of_two(F n) {  // -126 <= n <= 127; anything for NaN
  const bool usable = n.v >= -126.0f && n.v <= 127.0f;
  return {bits_as<float>(static_cast<uint32_t>(static_cast<int32_t>(usable ? n.v : 0.0f) + 127) << 23)};
}
inline D power_of_two(D n) {  // -1022 <= n <= 1023; anything for NaN
  const bool usable = n.v >= -1022.0 && n.v <= 1023.0;
  return {bits_as<double>(static_cast<uint64_t>(static_cast<int64_t>(usable ? n.v : 0.0) + 1023) << 52)};
}

// a 2^n for whole n of up to twice the exponent range, with gradual under- and overflow
template <class T>
Vec<T> scale_by_power(Vec<T> a, Vec<T> n) {
  const Vec<T> half = round(n * Vec<T>::set(T(0.5)));
  return a * power_of_two(half) * power_of_two(n - half);
}

// a = mantissa 2^exponent with 1 <= mantissa < 2, for normal a > 0
inline F exponent(F a) { return {static_cast<float>(static_cast<int32_t>(bits_as<uint32_t>(a.v) >> 23) - 127)}; }
inline D exponent(D a) { return {static_cast<double>(static_cast<int64_t>(bits_as<uint64_t>(a.v) >> 52) - 1023)}; }
inline F mantissa(F a) { return {bits_as<float>((bits_as<uint32_t>(a.v) & 0x007fffffu) | 0x3f800000u)}; }
inline D mantissa(D a) {
  return {bits_as<double>((bits_as<uint64_t>(a.v) & 0x000fffffffffffffu) | 0x3ff0000000000000u)};
}

template <class T>
T reduce_add(Vec<T> a) {
  return a.v;
}
template <class T>
T first_lane(Vec<T> a) {
  return a.v;
}

// kLanes rows become kLanes columns
template <class T>
void transpose(Vec<T> (&)[1]) {}

}  // namespace
}  // namespace densegrad
