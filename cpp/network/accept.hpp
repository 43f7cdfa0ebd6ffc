#pragma once

#include <string>

#include "densegrad/network.hpp"
#include "kernels/table.hpp"

namespace densegrad {

/// What a loss asks of its targets.
enum class TargetKind { values, counts, probabilities, classes };

TargetKind target_kind(const std::string& loss);

/// Whether x (rows, in) is finite, y (rows, out) in the loss's range, and no weight negative or all of them zero.
template <class T>
bool accept_batch(const Kernels<T>& kernels, TargetKind kind, Size in, Size out, const Batch<T>& batch);

/// Whether every label lies in [0, classes).
bool labels_in_range(Size rows, const Index* labels, Size classes);

}  // namespace densegrad
