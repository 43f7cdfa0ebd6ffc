#include "network/bound_loss.hpp"

#include "ops/row_blocks.hpp"

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
        kernel_(p.rows(), p_.columns, p.data(), p.stride(), some, weights == nullptr ? nullptr : weights + first, scale,
                dp.data(), dp.stride(), attributes_.data());
    dp.write();
  });
  double total = 0;
  for (const double sum : sums_) total += sum;
  return total;
}

template class BoundLoss<float>;
template class BoundLoss<double>;

}  // namespace densegrad
