#pragma once

#include "densegrad/network.hpp"
#include "kernels/table.hpp"
#include "network/loss_terms.hpp"

namespace densegrad {

/// Whether x (rows, in) is finite, y in the range of each loss, and no weight negative or all of them zero.
template <class T>
bool validate_batch(const Kernels<T>& kernels, const std::vector<Term>& terms, Size in, const Batch<T>& batch);

/// Whether every label lies in [0, classes).
bool labels_in_range(Size rows, const Index* labels, Size classes);

}  // namespace densegrad
