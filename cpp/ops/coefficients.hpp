#pragma once

#include <vector>

#include "base/primitives.hpp"
#include "densegrad/types.hpp"

namespace densegrad {

/// The numbers that one update's kernel reads, for each optimiser in its own order (kernels/optimizers.inl): what
/// depends on the step and the learning rate, then what does not. `updates` were made before.
std::vector<double> update_coefficients(OptimizerKind kind, const std::vector<double>& attributes, Index updates,
                                        double learning_rate);

/// The same into a vector that has room for them, so that a training loop allocates nothing.
void update_coefficients(OptimizerKind kind, const std::vector<double>& attributes, Index updates, double learning_rate,
                         std::vector<double>& coefficients);

}  // namespace densegrad
