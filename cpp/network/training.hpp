#pragma once

#include "base/aligned_buffer.hpp"
#include "network/loss_runner.hpp"
#include "network/pass.hpp"
#include "network/validate.hpp"

namespace densegrad {

/// Forward, loss and backward on one batch: what a network with a loss does.
template <class T>
class Training {
 public:
  Training(const NetworkContext<T>& context, const Plan& plan, const std::vector<Stage>& stages);

  const std::vector<Term>& terms() const { return terms_; }

  /// Rows of a batch that its loss is computed on at a time, so that their activations stay near.
  static constexpr Size kLossRows = 1024;

  /// What the rows from `first` on, kLossRows of them at most, have to add to the mean loss of a batch.
  double loss(const Team& team, const Batch<T>& batch, Size first);

  /// Lays out memory for batches of so many rows and a team; dx: the gradient of the input is wanted, too.
  void prepare(Size rows, const Team& team, bool dx);
  Panels<T> input_gradient() { return pass_.input_gradient(); }

  /// The mean loss; then the way back, but for an update from a loss that is not finite.
  double run(const Team& team, const Batch<T>& batch, const BackwardOptions<T>& options) {
    return run(team, batch, nullptr, options);
  }

  /// The same for the rows of a data set with the numbers in `order`, as many as were prepared for; those from there
  /// to `next` are asked for while it computes. A label out of range makes the loss NaN.
  double run(const Team& team, const Batch<T>& data, const Index* order, const Index* next,
             const BackwardOptions<T>& options);

  /// 1 over the rows of the last batch, or over their weights: what a row's loss counts in the mean.
  double share() const { return share_; }

 private:
  double run(const Team& team, const Batch<T>& batch, const Index* order, const BackwardOptions<T>& options);
  Targets<T> targets_of(const Batch<T>& batch) const { return {batch.y.values, targets_, batch.y.labels}; }
  Batch<T> part_of(const Batch<T>& batch, Size first, Size rows) const;
  bool gather_labels(const Index* labels, const Index* order);
  Batch<T> gather(const Batch<T>& data, const Index* order);

  Pass<T> pass_;
  Pass<T> evaluation_;
  std::vector<Term> terms_;
  LossRunner<T> loss_;
  Size inputs_, targets_;  // columns of x and of y
  double share_ = 0;
  bool loss_is_bound_ = false;  // to pass_ as it is laid out
  AlignedBuffer<Index> labels_;
  AlignedBuffer<T> values_;
  AlignedBuffer<T> weights_;
};

}  // namespace densegrad
