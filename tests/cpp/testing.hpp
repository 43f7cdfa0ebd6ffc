#pragma once

// What the tests share: memory that notices a stray write, repeatable numbers, errors counted in units of their bound.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <ostream>
#include <random>
#include <type_traits>
#include <vector>

#include "densegrad/types.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace densegrad {

/// What results are measured in.
using Real = long double;
using Row = std::vector<Real>;

/// Lengths around each power of two that a vector, a tile or a panel may have, and some primes.
inline const std::vector<Size> kLengths = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  11, 13, 15,
                                           16, 17, 23, 31, 32, 33, 47, 63, 64, 65, 97, 127};

/// A NaN that carries a mark, so that it can be told from every other NaN.
template <class T>
T marked_nan(unsigned mark) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  T value = std::numeric_limits<T>::quiet_NaN();
  Bits bits;
  std::memcpy(&bits, &value, sizeof value);
  bits |= mark % 0x100000;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// A (rows, columns) matrix one element off a cache line. It, the gaps between its rows and a zone on both sides
/// hold NaN at first; the gaps and the zones must still hold it in the end.
template <class T>
class Matrix {
 public:
  Matrix(Size rows, Size columns, Size stride)
      : rows_(rows), columns_(columns), stride_(stride), mark_(marked_nan<T>(next_mark())) {
    const Size body = rows > 0 ? (rows - 1) * stride + columns : 0;
    memory_.assign(static_cast<std::size_t>(2 * kZone + kLine + body), mark_);
    const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(memory_.data());
    const std::uintptr_t past = address % 64 / sizeof(T);
    begin_ = kZone + static_cast<Size>(past == 0 ? 0 : kLine - static_cast<Size>(past)) + 1;
    end_ = begin_ + body;
    for (Size i = 0; i < rows; ++i) {
      for (Size j = 0; j < columns; ++j) (*this)(i, j) = std::numeric_limits<T>::quiet_NaN();
    }
    guard(true);
  }
  Matrix(Size rows, Size columns) : Matrix(rows, columns, columns) {}
  ~Matrix() { guard(false); }
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  T* data() { return memory_.data() + begin_; }
  const T* data() const { return memory_.data() + begin_; }
  T& operator()(Size i, Size j) { return data()[i * stride_ + j]; }
  const T& operator()(Size i, Size j) const { return data()[i * stride_ + j]; }
  T& operator[](Size i) { return data()[i]; }
  const T& operator[](Size i) const { return data()[i]; }
  Size rows() const { return rows_; }
  Size columns() const { return columns_; }
  Size stride() const { return stride_; }

  template <class Function>
  void fill(Function f) {
    for (Size i = 0; i < rows_; ++i) {
      for (Size j = 0; j < columns_; ++j) (*this)(i, j) = static_cast<T>(f());
    }
  }

  void copy(const Matrix& other) {
    for (Size i = 0; i < rows_; ++i) {
      for (Size j = 0; j < columns_; ++j) (*this)(i, j) = other(i, j);
    }
  }

  bool same_bits_as(const Matrix& other) const {
    bool same = rows_ == other.rows_ && columns_ == other.columns_;
    for (Size i = 0; same && i < rows_; ++i) {
      for (Size j = 0; j < columns_; ++j) same &= same_bits((*this)(i, j), other(i, j));
    }
    return same;
  }

  /// Whether nothing was written but the matrix itself.
  bool rest_untouched() {
    guard(false);
    bool untouched = true;
    const Size size = static_cast<Size>(memory_.size());
    for (Size at = 0; at < size; ++at) {
      const Size inside = at - begin_;
      const bool ours = at >= begin_ && at < end_ && inside % (stride_ > 0 ? stride_ : 1) < columns_;
      if (!ours) untouched &= same_bits(memory_[static_cast<std::size_t>(at)], mark_);
    }
    guard(true);
    return untouched;
  }

 private:
  static constexpr Size kLine = 64 / static_cast<Size>(sizeof(T));
  static constexpr Size kZone = 4 * kLine;

  static unsigned next_mark() {
    static unsigned mark = 0;
    return ++mark;
  }

  // Under the address sanitizer even a read of the zones is an error.
  void guard([[maybe_unused]] bool on) {
#if defined(__SANITIZE_ADDRESS__)
    const std::size_t before = static_cast<std::size_t>(begin_) * sizeof(T);
    const std::size_t after = (memory_.size() - static_cast<std::size_t>(end_)) * sizeof(T);
    if (on) {
      ASAN_POISON_MEMORY_REGION(memory_.data(), before);
      ASAN_POISON_MEMORY_REGION(memory_.data() + end_, after);
    } else {
      ASAN_UNPOISON_MEMORY_REGION(memory_.data(), memory_.size() * sizeof(T));
    }
#endif
  }

  Size rows_, columns_, stride_, begin_ = 0, end_ = 0;
  T mark_;
  std::vector<T> memory_;
};

template <class T>
Row row_of(const Matrix<T>& matrix, Size i) {
  Row row;
  for (Size j = 0; j < matrix.columns(); ++j) row.push_back(matrix(i, j));
  return row;
}

/// The same numbers on each run and each machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t bits() { return engine_(); }
  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(engine_() >> 11) * 0x1p-53;
  }
  Size whole(Size low, Size high) {
    return low + static_cast<Size>(engine_() % static_cast<std::uint64_t>(high - low + 1));
  }

 private:
  std::mt19937_64 engine_;
};

template <class T>
inline constexpr Real kEpsilon = std::numeric_limits<T>::epsilon();

template <class T>
inline constexpr Real kSmallest = std::numeric_limits<T>::min();

/// The distance between neighbouring numbers of T around a value.
template <class T>
Real ulp(Real value) {
  int exponent = 0;
  std::frexp(value, &exponent);
  const int least = std::numeric_limits<T>::min_exponent;
  return std::ldexp(1.0L, (exponent > least ? exponent : least) - std::numeric_limits<T>::digits);
}

/// The largest error met, in units of its bound. A NaN is right where NaN is wanted and infinitely wrong elsewhere.
class Worst {
 public:
  template <class T>
  void see(T got, Real want, Real bound, Real at = 0) {
    double ratio = 0;
    if (std::isnan(want)) {
      ratio = std::isnan(got) ? 0 : kHopeless;
    } else if (!(static_cast<Real>(got) == want)) {
      const Real error = std::fabs(static_cast<Real>(got) - want);
      ratio = error <= bound || error / bound < kHopeless ? static_cast<double>(error / bound) : kHopeless;
    }
    if (ratio > ratio_) {
      ratio_ = ratio;
      got_ = got;
      want_ = want;
      at_ = at;
    }
  }
  bool within_bound() const { return ratio_ <= 1; }

  friend std::ostream& operator<<(std::ostream& out, const Worst& worst) {
    out.precision(20);
    return out << worst.ratio_ << " times the bound: got " << worst.got_ << ", want " << worst.want_ << ", at "
               << worst.at_;
  }

 private:
  static constexpr double kHopeless = 1e300;
  double ratio_ = 0;
  Real got_ = 0, want_ = 0, at_ = 0;
};

#define CHECK_WORST(worst) CHECK_MESSAGE((worst).within_bound(), (worst))

}  // namespace densegrad
