#pragma once

#include <memory>

#include "network/stages.hpp"
#include "ops/panels.hpp"
#include "ops/products.hpp"

namespace densegrad {

/// What all stages of a network have in common.
template <class T>
struct Common {
  const Kernels<T>& kernels;
  T* parameters;
  T* state;  // of the optimiser, laid out as the parameters
  Size parameter_count;
  int states = 0;  // numbers of state for each parameter
  Update<T> update = nullptr;
  Finish finish = Finish::store;  // by which a tile updates the parameters it has the gradient of
};

/// Where a stage finds its matrices for a number of rows. Gradients are null in a pass that only goes forward, and dx
/// is where nobody wants it.
template <class T>
struct Binding {
  Panels<T> x, z, y, dy, dx;
  bool dy_is_dz = false;          // the stage behind has applied this one's derivative
  const Stage* before = nullptr;  // whose derivative this stage applies to dx, or null
  Panels<T> before_z, before_y;
  int threads = 1;
};

/// Where the gradients of parameters go: into `gradients`, or into an update at once where that is null.
template <class T>
struct Learning {
  T* gradients = nullptr;
  const double* coefficients = nullptr;  // of the update
};

/// A stage bound to matrices, ready to run any number of times.
template <class T>
class BoundStage {
 public:
  virtual ~BoundStage() = default;
  virtual void bind(const Binding<T>& binding) = 0;
  /// Elements of scratch that forward and backward need.
  virtual Size scratch() const = 0;
  /// How often they ask for upcoming rows.
  virtual Size rounds() const { return 0; }
  virtual void forward(const Team& team, const Help<T>& help) = 0;
  virtual void backward(const Team& team, const Help<T>& help, const Learning<T>& learning) = 0;
};

template <class T>
std::unique_ptr<BoundStage<T>> make_bound_stage(const Common<T>& common, const Stage& stage);

}  // namespace densegrad
