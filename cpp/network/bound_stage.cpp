#include "network/bound_stage.hpp"

#include <algorithm>

namespace densegrad {

template <class T>
std::unique_ptr<BoundStage<T>> make_bound_stage(const Common<T>& common, const Stage& stage) {
  switch (stage.kind) {
    case StageKind::activation:
      return make_activation<T>(common, stage);
    case StageKind::dense:
      return make_dense<T>(common, stage);
    case StageKind::add:
      return make_add<T>(common, stage);
    case StageKind::concatenate:
      return make_concatenate<T>(common, stage);
    case StageKind::columns:
      return make_columns<T>(common, stage);
    case StageKind::standardize:
      return make_standardize<T>(common, stage);
    case StageKind::dropout:
      return make_dropout<T>(common, stage);
    case StageKind::batch_norm:
      return make_batch_norm<T>(common, stage);
    case StageKind::layer_norm:
      return make_layer_norm<T>(common, stage);
    case StageKind::prelu:
    case StageKind::learned_swish:
      return make_parametric<T>(common, stage);
  }
  return nullptr;
}

namespace {

// A gradient is added where a stage that shares the slot has been before.
template <class T>
Destination<T> stored(const Common<T>& common, const Slot& slot, const Learning<T>& learning) {
  static constexpr double rate = -1;  // g - rate dw = g + dw
  T* target = learning.gradients + slot.offset;
  const std::vector<Size>& summed = *learning.summed;
  if (std::find(summed.begin(), summed.end(), slot.offset) == summed.end()) return {target, Finish::store, {}};
  const Update<T> descend = common.kernels.update[static_cast<int>(OptimizerKind::sgd)];
  return {target, Finish::descend, {descend, nullptr, 0, 0, &rate}};
}

}  // namespace

template <class T>
Destination<T> destination(const Common<T>& common, const Slot& slot, const Learning<T>& learning) {
  if (slot.size() == 0) return {};
  if (learning.gradients != nullptr) return stored(common, slot, learning);
  if (!slot.trainable) return {};
  return {
      common.at(slot),
      common.finish,
      {common.update, state_at(common.state, slot.offset), common.state_stride, common.states, learning.coefficients}};
}

template <class T>
void learn(const Common<T>& common, const Slot& slot, Size first, Size count, const T* gradient,
           const Learning<T>& learning) {
  const Destination<T> to = destination(common, slot, learning);
  if (to.target == nullptr) return;
  if (to.finish == Finish::store) {
    if (gradient == nullptr) {
      std::fill_n(to.target + first, count, T(0));
    } else {
      std::copy_n(gradient, count, to.target + first);
    }
    return;
  }
  if (gradient == nullptr) return;  // nothing to add
  to.rule.kernel(1, count, to.target + first, count, gradient, count, state_at(to.rule.state, first),
                 to.rule.state_size, to.rule.coefficients);
}

#define DENSEGRAD_INSTANTIATE(T)                                                            \
  template std::unique_ptr<BoundStage<T>> make_bound_stage(const Common<T>&, const Stage&); \
  template Destination<T> destination(const Common<T>&, const Slot&, const Learning<T>&);   \
  template void learn(const Common<T>&, const Slot&, Size, Size, const T*, const Learning<T>&);
DENSEGRAD_INSTANTIATE(float)
DENSEGRAD_INSTANTIATE(double)
#undef DENSEGRAD_INSTANTIATE

}  // namespace densegrad
