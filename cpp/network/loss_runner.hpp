#pragma once

#include <vector>

#include "base/aligned_buffer.hpp"
#include "network/loss_terms.hpp"
#include "ops/panels.hpp"
#include "ops/team.hpp"

namespace densegrad {

/// A sum of losses bound to a prediction p in panels and to the place of its gradient dp, which may be p.
template <class T>
class LossRunner {
 public:
  LossRunner(const Kernels<T>& kernels, std::vector<Term> terms) : kernels_(kernels), terms_(std::move(terms)) {}

  void prepare(Panels<T> p, Panels<T> dp, int threads);

  /// The terms' sum over rows of scale weight_i l_i. Leaves the gradient of that in dp.
  double run(const Team& team, Targets<T> targets, const T* weights, double scale);

 private:
  const Kernels<T>& kernels_;
  std::vector<Term> terms_;
  Panels<T> p_, dp_;
  AlignedBuffer<T> scratch_;
  std::vector<double> sums_;  // of each block of rows
};

}  // namespace densegrad
