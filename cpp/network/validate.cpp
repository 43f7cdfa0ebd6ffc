#include "network/validate.hpp"

#include <algorithm>
#include <cmath>

namespace densegrad {
namespace {

// as far from 1 as the probabilities of a row may add up; _base/check.py has the same number
constexpr double kSumTolerance = 1e-4;

template <class T>
bool none_negative(Size rows, Size columns, const T* y, Size stride) {
  bool good = true;
  for (Size i = 0; i < rows; ++i) {
    for (Size j = 0; j < columns; ++j) good &= y[i * stride + j] >= 0;
  }
  return good;
}

template <class T>
bool probabilities(Size rows, Size columns, const T* y, Size stride, bool sum_to_one) {
  for (Size i = 0; i < rows; ++i) {
    double sum = 0;
    for (Size j = 0; j < columns; ++j) {
      const T value = y[i * stride + j];
      if (!(value >= 0 && value <= 1)) return false;
      sum += static_cast<double>(value);
    }
    if (sum_to_one && std::abs(sum - 1) > kSumTolerance) return false;
  }
  return true;
}

// Whether values, finite where that matters, are in the range of their loss.
template <class T>
bool accept_values(const Term& term, Size rows, const T* y, Size stride) {
  const auto [kind, width] = term.rule;
  if (kind == TargetKind::values) return true;
  if (kind == TargetKind::counts) return none_negative(rows, width, y, stride);
  if (kind == TargetKind::classes && width < 2) return false;
  return probabilities(rows, width, y, stride, kind == TargetKind::classes);
}

}  // namespace

bool labels_in_range(Size rows, const Index* labels, Size classes) {
  bool good = true;
  for (Size i = 0; i < rows; ++i) good &= labels[i] >= 0 && labels[i] < classes;
  return good;
}

template <class T>
bool validate_batch(const Kernels<T>& kernels, const std::vector<Term>& terms, Size in, const Batch<T>& batch) {
  const Size width = target_width(terms);
  if (batch.rows < 1 || !kernels.all_finite(batch.rows * in, batch.x)) return false;
  if (batch.y.labels != nullptr) {
    if (!takes_labels(terms) || width < 2 || !labels_in_range(batch.rows, batch.y.labels, width)) return false;
  } else {
    const bool numbers = std::any_of(terms.begin(), terms.end(), [](const Term& term) {
      return term.rule.kind == TargetKind::values || term.rule.kind == TargetKind::counts;
    });
    if (numbers && !kernels.all_finite(batch.rows * width, batch.y.values)) return false;
    for (const Term& term : terms) {
      if (!accept_values(term, batch.rows, batch.y.values + term.target, width)) return false;
    }
  }
  if (batch.weights == nullptr) return true;
  bool negative = false, positive = false;
  for (Size i = 0; i < batch.rows; ++i) {
    negative |= !(batch.weights[i] >= 0);
    positive |= batch.weights[i] > 0;
  }
  return positive && !negative && kernels.all_finite(batch.rows, batch.weights);
}

template bool validate_batch(const Kernels<float>&, const std::vector<Term>&, Size, const Batch<float>&);
template bool validate_batch(const Kernels<double>&, const std::vector<Term>&, Size, const Batch<double>&);

}  // namespace densegrad
