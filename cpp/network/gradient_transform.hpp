#pragma once

#include <vector>

#include "base/aligned_buffer.hpp"
#include "network/stage_runner.hpp"

namespace densegrad {

/// Penalties, clipping and averages: what is done to all gradients together, where an update cannot be made of each as
/// soon as it is known. Nor can it be of what several nodes share, before all of them have been gone back through. Sums
/// are taken over pieces of a size of their own, so that no number of threads changes a bit.
template <class T>
class GradientTransform {
 public:
  GradientTransform(const NetworkContext<T>& context, const Plan& plan);

  /// Whether a plan asks for any of it.
  bool needed() const { return needed_; }

  /// Adds the gradients of the penalties; gives their value. `share` is 1 over the weight of the batch, and counts
  /// where the plan says that its rows share them.
  double penalize(const Team& team, T* gradients, double share);
  double penalty(const Team& team, double share);

  /// Clips the gradients, updates the parameters by them, moves the average.
  void apply(const Team& team, T* gradients, const double* coefficients);

  T* gradients() { return gradients_.reserve(context_.parameter_count); }

 private:
  struct Piece {
    Size offset;
    Size size;
    T l1, l2;
  };
  template <class Function>
  double sum(const Team& team, const Function& f);

  const NetworkContext<T>& context_;
  double clip_norm_, clip_value_, average_;
  bool needed_, penalized_, shared_;
  std::vector<Piece> pieces_;  // of what is trained
  std::vector<double> sums_;
  AlignedBuffer<T> gradients_, unused_;
};

}  // namespace densegrad
