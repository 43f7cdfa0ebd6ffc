#pragma once

// The three products of a dense layer, on panels. Each is prepared once for matrices that stay where they are, as a
// list of tasks that may be shared by so many threads; running it on these or fewer takes neither a division nor an
// allocation.

#include <vector>

#include "kernels/table.hpp"
#include "ops/panels.hpp"
#include "ops/team.hpp"

namespace densegrad {

/// An elementwise activation that a product applies to what it has just computed.
template <class T>
struct Fused {
  int activation = 0;  // its place in the table
  const double* attributes = nullptr;
};

/// Memory that a running product may use, `scratch` elements of it for all threads together, and the rows that each
/// thread asks for meanwhile. How often a product asks is its number of prefetch calls.
template <class T>
struct Workspace {
  T* scratch = nullptr;
  RowPrefetch* prefetch = nullptr;  // by thread, or null

  RowPrefetch* prefetch_of(int rank) const { return prefetch == nullptr ? nullptr : prefetch + rank; }
};

/// y = f(z), z = x w + b. w (x.columns, z.columns) row-major, b (z.columns) or null; y may be z.
template <class T>
class ForwardProduct {
 public:
  void prepare(const Kernels<T>& kernels, Panels<const T> x, const T* w, const T* b, Panels<T> z, Panels<T> y,
               Fused<T> f, int threads);
  Size scratch() const { return packed_size_ * threads_; }
  Size prefetch_calls() const { return prefetch_calls_; }
  void run(const Team& team, const Workspace<T>& workspace);

 private:
  struct Task {
    GemmPanel<T> gemm;
    T* y;
  };

  const Kernels<T>* kernels_ = nullptr;
  std::vector<Task> tasks_;
  Fused<T> f_;  // identity where the GEMM panels apply it
  bool one_row_ = false;
  Size packed_size_ = 0;  // of a panel of w
  Size prefetch_calls_ = 0;
  int threads_ = 1;
};

/// dx = (dz w^T) f'(z): the gradient before the activation f that gave y from z. Where z.data and y.data are null, so
/// is f: dx = dz w^T then. f reads z, y or both; the one it does not read may be null.
template <class T>
class BackwardProduct {
 public:
  void prepare(const Kernels<T>& kernels, Panels<const T> dz, const T* w, Panels<T> dx, Panels<const T> z,
               Panels<const T> y, Fused<T> f, int threads);
  Size scratch() const { return packed_size_ * (shared_ ? panels_ : threads_); }
  Size prefetch_calls() const { return prefetch_calls_; }
  void run(const Team& team, const Workspace<T>& workspace);

 private:
  struct Task {
    GemmPanel<T> gemm;
    Size panel;  // of w^T
    const T* z;
    const T* y;
  };
  void pack(Size panel, T* target) const;

  const Kernels<T>* kernels_ = nullptr;
  std::vector<Task> tasks_;
  const T* w_ = nullptr;
  Size in_ = 0, out_ = 0;
  Fused<T> f_;            // identity where the GEMM panels apply it
  Size packed_size_ = 0;  // of a panel of w^T
  Size panels_ = 0;
  Size prefetch_calls_ = 0;
  bool shared_ = false;  // several tasks read the same panel of w^T
  int threads_ = 1;
};

/// The optimiser's state of the parameters from `offset` on; null where it has none.
template <class T>
T* state_at(T* state, Size offset) {
  return state == nullptr ? nullptr : state + offset;
}

/// What becomes of a gradient: it is stored at `target`, or used up at once by an update of the parameters there, in
/// which case it never exists in memory.
template <class T>
struct GradientTarget {
  T* target = nullptr;                  // null: nobody wants it
  Epilogue epilogue = Epilogue::store;  // store, sgd or optimizer
  UpdateRule<T> rule = {};              // for sgd and optimizer, with the state of target
};

/// dw = x^T dz and db = sum over rows of dz.
template <class T>
class WeightProduct {
 public:
  void prepare(const Kernels<T>& kernels, Panels<const T> x, Panels<const T> dz, int threads);
  Size prefetch_calls() const { return prefetch_calls_; }
  void run(const Team& team, const GradientTarget<T>& dw, const GradientTarget<T>& db, const Workspace<T>& workspace);

 private:
  struct Task {
    GemmPanel<T> gemm;
    Size offset;  // of the panel's C in dw
    Size column;  // of its first column; below 0 where another task sums db there
  };
  void weights(Task& task, const GradientTarget<T>& dw, RowPrefetch* prefetch) const;
  void bias(const Task& task, const GradientTarget<T>& db) const;

  const Kernels<T>* kernels_ = nullptr;
  std::vector<Task> tasks_;
  Size prefetch_calls_ = 0;
};

}  // namespace densegrad
