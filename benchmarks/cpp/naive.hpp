#pragma once

// The primitives in double, by their formulas. One that has no formula here is taken from the scalar float64
// kernel, one row at a time, so that a new row of the table needs nothing in this folder.

#include <vector>

#include "base/primitives.hpp"
#include "densegrad/types.hpp"

namespace densegrad::bench {

using Row = std::vector<double>;

/// y = f(z) for one row; `place` is that among the activations.
Row naive_activation(const PrimitiveRow& primitive, int place, const Row& z);

/// The loss of one row; t has one number for each column.
double naive_loss(const PrimitiveRow& primitive, int place, const Row& p, const Row& t);

/// w after one update; state has primitive.state numbers, updated in place, and `updates` were made before.
double naive_update(const PrimitiveRow& primitive, int place, double w, double dw, Row& state, Index updates,
                    double lr);

/// The derivative of f at x[j], by central differences.
template <class Function>
double slope(Function f, Row x, std::size_t j) {
  constexpr double h = 3e-6;  // nearer than the grid's numbers are to a kink
  const double middle = x[j];
  x[j] = middle + h;
  const double above = f(x);
  x[j] = middle - h;
  const double below = f(x);
  return (above - below) / (2 * h);
}

}  // namespace densegrad::bench
