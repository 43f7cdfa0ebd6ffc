#pragma once

// Stateless functions on row-major arrays, for T float or double. Inputs and outputs do not overlap except where
// it is said. Throws std::invalid_argument for an unknown name, std::bad_alloc where scratch cannot be had.

#include <string>

#include "densegrad/network.hpp"
#include "densegrad/plan.hpp"
#include "densegrad/types.hpp"

namespace densegrad {

/// z = x w + b. x (batch, in), w (in, out), b (out) or null, z (batch, out).
template <class T>
void dense_forward(Size batch, Size in, Size out, const T* x, const T* w, const T* b, T* z);

/// dx = dz w^T, dw = x^T dz, db = sum of dz over the batch. dz (batch, out), dx as x, dw as w, db (out).
template <class T>
void dense_backward(Size batch, Size in, Size out, const T* dz, const T* x, const T* w, T* dx, T* dw, T* db);

/// y = f(z) on (rows, columns). y may be z.
template <class T>
void activation_forward(const std::string& name, Size rows, Size columns, const T* z, T* y,
                        const Attributes& attributes = {});

/// dz = dy f'(z) on (rows, columns). dz may be dy.
template <class T>
void activation_backward(const std::string& name, Size rows, Size columns, const T* dy, const T* z, const T* y, T* dz,
                         const Attributes& attributes = {});

/// The mean loss over the rows, weighted where weights (rows) are given, and its gradient dp (rows, columns).
template <class T>
double loss(const std::string& name, Size rows, Size columns, const T* p, Target<T> target, const T* weights, T* dp,
            const Attributes& attributes = {});

/// One update of w (size) in place; state as the optimiser's row of the table says, `updates` made before.
template <class T>
void optimizer_update(const std::string& name, Size size, T* w, const T* dw, T* state, Index updates,
                      double learning_rate, const Attributes& attributes = {});

}  // namespace densegrad
