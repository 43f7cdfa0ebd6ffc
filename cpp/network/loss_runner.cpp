#include "network/loss_runner.hpp"

#include "ops/row_blocks.hpp"

namespace densegrad {

template <class T>
void LossRunner<T>::prepare(Panels<T> p, Panels<T> dp, int threads) {
  p_ = p;
  dp_ = dp;
  sums_.resize(static_cast<std::size_t>(block_count(p.rows, p.columns)));
  if (p.count() > 1) scratch_.reserve(block_size(p.columns) * threads);
}

template <class T>
double LossRunner<T>::run(const Team& team, Targets<T> targets, const T* weights, double scale) {
  team.for_each(static_cast<Size>(sums_.size()), [&](Size block, int rank) {
    T* own = scratch_.data() + rank * block_size(p_.columns);
    const RowBlock<T> p(kernels_, p_, block, own), dp(kernels_, dp_, block, own);
    const Size first = p.first();
    const T* own_weights = weights == nullptr ? nullptr : weights + first;
    double sum = 0;
    p.read();
    for (const Term& term : terms_) {
      const T* values = targets.values == nullptr ? nullptr : targets.values + first * targets.stride + term.target;
      const Targets<T> some = {values, targets.stride, targets.labels == nullptr ? nullptr : targets.labels + first};
      sum += kernels_.loss[static_cast<int>(term.kind)](p.rows(), term.columns, p.data() + term.column, p.stride(),
                                                        some, own_weights, scale * term.weight, dp.data() + term.column,
                                                        dp.stride(), term.attributes.data());
    }
    sums_[static_cast<std::size_t>(block)] = sum;
    dp.write();
  });
  double total = 0;
  for (const double sum : sums_) total += sum;
  return total;
}

template class LossRunner<float>;
template class LossRunner<double>;

}  // namespace densegrad
