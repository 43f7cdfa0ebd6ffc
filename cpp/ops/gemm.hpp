#pragma once

// The three products of a dense layer, on panels.

#include "base/aligned_buffer.hpp"
#include "kernels/table.hpp"
#include "ops/panels.hpp"

namespace densegrad {

/// An elementwise activation that a product applies to what it has just computed.
template <class T>
struct Fused {
  int activation = 0;  // its place in the table
  const double* attributes = nullptr;
};

/// Scratch for a packed panel of w a thread, or for all of w^T; grows, and is then reused.
template <class T>
class PackScratch {
 public:
  /// Room for `depth` rows a worker.
  void reserve(Size depth, int workers);
  T* of_worker(int worker);
  /// Room for `panels` panels of `depth` rows.
  T* reserve_all(Size depth, Size panels);

 private:
  AlignedBuffer<T> buffer_;
  Size depth_ = 0;
};

/// y = f(x w + b). w (x.columns, y.columns) row-major, b (y.columns) or null.
template <class T>
void forward_product(const Kernels<T>& kernels, Panels<const T> x, const T* w, const T* b, Panels<T> y, Fused<T> f,
                     PackScratch<T>& scratch);

/// dx = (dz w^T) f'(y): the gradient before the activation f that gave y. y.data may be null: dx = dz w^T then.
template <class T>
void backward_product(const Kernels<T>& kernels, Panels<const T> dz, const T* w, Panels<T> dx, Panels<const T> y,
                      Fused<T> f, PackScratch<T>& scratch);

/// What becomes of the gradient dw: stored in its place, or used up at once by an update of w, in which case it never
/// exists in memory.
template <class T>
struct WeightUpdate {
  Finish finish = Finish::store;  // store, descend or update
  double rate = 0;                // for descend
  UpdateRule<T> rule = {};        // for update, with the state of w
};

/// target = x^T dz, row-major, or target updated by it.
template <class T>
void weight_product(const Kernels<T>& kernels, Panels<const T> x, Panels<const T> dz, T* target,
                    const WeightUpdate<T>& update);

}  // namespace densegrad
