#pragma once

#include "densegrad/types.hpp"

namespace densegrad {

/// What each row's loss is multiplied by to give the mean: 1 / rows, or 1 / sum(weights); 0 where they sum to 0.
template <class T>
double mean_scale(Size rows, const T* weights) {
  if (weights == nullptr) return 1.0 / static_cast<double>(rows);
  double sum = 0;
  for (Size i = 0; i < rows; ++i) sum += static_cast<double>(weights[i]);
  return sum == 0 ? 0 : 1.0 / sum;
}

}  // namespace densegrad
