#include "network/training.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/loss.hpp"

namespace densegrad {

template <class T>
Training<T>::Training(const NetworkContext<T>& context, const Plan& plan, const std::vector<Stage>& stages)
    : pass_(context, plan, stages_for(stages, plan, plan.prediction), plan.prediction, PassMode::train),
      evaluation_(context, plan, stages_for(stages, plan, plan.prediction), plan.prediction, PassMode::infer),
      terms_(loss_terms(plan)),
      loss_(context.kernels, terms_),
      inputs_(plan.widths[static_cast<std::size_t>(plan.input)]),
      targets_(target_width(terms_)) {}

template <class T>
double Training<T>::loss(const Team& team, const Batch<T>& batch, Size first) {
  if (first == 0) share_ = mean_scale(batch.rows, batch.weights);
  const Batch<T> part = part_of(batch, first, std::min(kLossRows, batch.rows - first));
  loss_is_bound_ = false;
  evaluation_.prepare(part.rows, team.most());
  loss_.prepare(evaluation_.output(), evaluation_.output(), evaluation_.threads());
  evaluation_.load(team, part.x, nullptr);
  evaluation_.forward(team);
  return loss_.run(team, targets_of(part), part.weights, share_);
}

template <class T>
void Training<T>::prepare(Size rows, const Team& team, bool dx) {
  if (!pass_.prepare(rows, team.most(), dx) && loss_is_bound_) return;
  loss_is_bound_ = false;
  loss_.prepare(pass_.output(), pass_.output_gradient(), pass_.threads());
  loss_is_bound_ = true;
}

template <class T>
double Training<T>::run(const Team& team, const Batch<T>& data, const Index* order, const Index* next,
                        const BackwardOptions<T>& options) {
  if (data.y.labels != nullptr && !gather_labels(data.y.labels, order)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  pass_.prefetch(team, data, targets_, order + pass_.rows(), next);
  return run(team, gather(data, order), order, options);
}

template <class T>
double Training<T>::run(const Team& team, const Batch<T>& batch, const Index* order,
                        const BackwardOptions<T>& options) {
  share_ = mean_scale(pass_.rows(), batch.weights);
  pass_.begin(options.step);
  pass_.load(team, batch.x, order);
  pass_.forward(team);
  const double loss = loss_.run(team, targets_of(batch), batch.weights, share_);
  if (std::isfinite(loss) || !options.updates_running_statistics) pass_.backward(team, options);
  pass_.end_prefetch();
  return loss;
}

template <class T>
Batch<T> Training<T>::part_of(const Batch<T>& batch, Size first, Size rows) const {
  Batch<T> part;
  part.rows = rows;
  part.x = batch.x + first * inputs_;
  if (batch.y.values != nullptr) part.y.values = batch.y.values + first * targets_;
  if (batch.y.labels != nullptr) part.y.labels = batch.y.labels + first;
  if (batch.weights != nullptr) part.weights = batch.weights + first;
  return part;
}

// Whether they all are in range.
template <class T>
bool Training<T>::gather_labels(const Index* labels, const Index* order) {
  Index* gathered = labels_.reserve(pass_.rows());
  bool good = true;
  for (Size i = 0; i < pass_.rows(); ++i) {
    gathered[i] = labels[order[i]];
    good &= gathered[i] >= 0 && gathered[i] < targets_;
  }
  return good;
}

// The targets and weights of some rows; x itself is read by their numbers.
template <class T>
Batch<T> Training<T>::gather(const Batch<T>& data, const Index* order) {
  Batch<T> batch;
  batch.rows = pass_.rows();
  batch.x = data.x;
  if (data.y.labels != nullptr) {
    batch.y.labels = labels_.data();
  } else {
    T* values = values_.reserve(pass_.rows() * targets_);
    for (Size i = 0; i < pass_.rows(); ++i) {
      std::copy_n(data.y.values + static_cast<Size>(order[i]) * targets_, targets_, values + i * targets_);
    }
    batch.y.values = values;
  }
  if (data.weights != nullptr) {
    T* weights = weights_.reserve(pass_.rows());
    for (Size i = 0; i < pass_.rows(); ++i) weights[i] = data.weights[order[i]];
    batch.weights = weights;
  }
  return batch;
}

template class Training<float>;
template class Training<double>;

}  // namespace densegrad
