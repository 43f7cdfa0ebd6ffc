#pragma once

#include "base/primitives.hpp"
#include "densegrad/network.hpp"
#include "kernels/table.hpp"

namespace densegrad {

/// Whether x (rows, in) is finite, y in the loss's range, and no weight negative or all of them zero.
template <class T>
bool accept_batch(const Kernels<T>& kernels, const TargetRule& rule, Size in, const Batch<T>& batch);

/// Whether every label lies in [0, classes).
bool labels_in_range(Size rows, const Index* labels, Size classes);

}  // namespace densegrad
