#include "network/accept.hpp"

#include <cmath>

namespace densegrad {
namespace {

// as far from 1 as the probabilities of a row may add up; _check.py has the same number
constexpr double kSumTolerance = 1e-4;

template <class T>
bool none_negative(Size size, const T* y) {
  bool good = true;
  for (Size i = 0; i < size; ++i) good &= y[i] >= 0;
  return good;
}

template <class T>
bool probabilities(Size rows, Size columns, const T* y, bool sum_to_one) {
  for (Size i = 0; i < rows; ++i) {
    double sum = 0;
    for (Size j = 0; j < columns; ++j) {
      const T value = y[i * columns + j];
      if (!(value >= 0 && value <= 1)) return false;
      sum += static_cast<double>(value);
    }
    if (sum_to_one && std::abs(sum - 1) > kSumTolerance) return false;
  }
  return true;
}

}  // namespace

bool labels_in_range(Size rows, const Index* labels, Size classes) {
  bool good = true;
  for (Size i = 0; i < rows; ++i) good &= labels[i] >= 0 && labels[i] < classes;
  return good;
}

template <class T>
bool accept_batch(const Kernels<T>& kernels, const TargetRule& rule, Size in, const Batch<T>& batch) {
  const auto [kind, width] = rule;
  if (batch.rows < 1 || !kernels.all_finite(batch.rows * in, batch.x)) return false;
  if (batch.y.labels != nullptr) {
    if (kind != TargetKind::classes || width < 2 || !labels_in_range(batch.rows, batch.y.labels, width)) return false;
  } else {
    const bool numbers = kind == TargetKind::values || kind == TargetKind::counts;
    if (numbers && !kernels.all_finite(batch.rows * width, batch.y.values)) return false;
    if (kind == TargetKind::counts && !none_negative(batch.rows * width, batch.y.values)) return false;
    if (kind == TargetKind::classes && width < 2) return false;
    if (!numbers && !probabilities(batch.rows, width, batch.y.values, kind == TargetKind::classes)) return false;
  }
  if (batch.weights == nullptr) return true;
  bool negative = false, positive = false;
  for (Size i = 0; i < batch.rows; ++i) {
    negative |= !(batch.weights[i] >= 0);
    positive |= batch.weights[i] > 0;
  }
  return positive && !negative && kernels.all_finite(batch.rows, batch.weights);
}

template bool accept_batch(const Kernels<float>&, const TargetRule&, Size, const Batch<float>&);
template bool accept_batch(const Kernels<double>&, const TargetRule&, Size, const Batch<double>&);

}  // namespace densegrad
