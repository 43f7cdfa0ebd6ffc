#include "network/bound_loss.hpp"

namespace densegrad {

template <class T>
void BoundLoss<T>::prepare(Panels<T> p, Panels<T> dp, int threads) {
  p_ = p;
  dp_ = dp;
  sums_.resize(static_cast<std::size_t>(block_count(p.rows, p.columns)));
  if (p.count() > 1) scratch_.reserve(block_size(p.columns) * threads);
}

template <class T>
double BoundLoss<T>::run(const Team& team, Targets<T> targets, const T* weights, double scale) {
  T* own = scratch_.data() + team.rank() * block_size(p_.columns);
  team.for_each(static_cast<Size>(sums_.size()), [&](Size block) {
    const RowBlock<T> p(kernels_, p_, block, own), dp(kernels_, dp_, block, own);
    const Size first = p.first();
    const Targets<T> some = {targets.values == nullptr ? nullptr : targets.values + first * targets.stride,
                             targets.stride, targets.labels == nullptr ? nullptr : targets.labels + first};
    p.read();
    sums_[static_cast<std::size_t>(block)] =
        run_block(p, dp, some, weights == nullptr ? nullptr : weights + first, scale);
    dp.write();
  });
  double total = 0;
  for (const double sum : sums_) total += sum;
  return total;
}

template <class T>
double BoundLoss<T>::run_block(const RowBlock<T>& p, const RowBlock<T>& dp, Targets<T> targets, const T* weights,
                               double scale) const {
  double sum = 0;
  for (const Term& term : terms_) {
    const Targets<T> own = {targets.values == nullptr ? nullptr : targets.values + term.target, targets.stride,
                            targets.labels};
    sum += kernels_.loss[static_cast<int>(term.kind)](p.rows(), term.columns, p.data() + term.column, p.stride(), own,
                                                      weights, scale * term.weight, dp.data() + term.column,
                                                      dp.stride(), term.attributes.data());
  }
  return sum;
}

template class BoundLoss<float>;
template class BoundLoss<double>;

}  // namespace densegrad
