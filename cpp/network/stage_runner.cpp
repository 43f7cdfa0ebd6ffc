#include "network/stage_runner.hpp"

#include <algorithm>

namespace densegrad {

template <class T>
std::unique_ptr<StageRunner<T>> make_stage_runner(const NetworkContext<T>& context, const Stage& stage) {
  switch (stage.kind) {
    case StageKind::activation:
      return make_activation<T>(context, stage);
    case StageKind::dense:
      return make_dense<T>(context, stage);
    case StageKind::add:
      return make_add<T>(context, stage);
    case StageKind::concatenate:
      return make_concatenate<T>(context, stage);
    case StageKind::columns:
      return make_columns<T>(context, stage);
    case StageKind::standardize:
      return make_standardize<T>(context, stage);
    case StageKind::dropout:
      return make_dropout<T>(context, stage);
    case StageKind::batch_norm:
      return make_batch_norm<T>(context, stage);
    case StageKind::layer_norm:
      return make_layer_norm<T>(context, stage);
    case StageKind::prelu:
    case StageKind::learned_swish:
      return make_parametric<T>(context, stage);
  }
  return nullptr;
}

namespace {

// A gradient is added where a stage that shares the slot has been before.
template <class T>
GradientTarget<T> stored(const NetworkContext<T>& context, const Slot& slot, const BackwardOptions<T>& options) {
  static constexpr double rate = -1;  // g - rate dw = g + dw
  T* target = options.gradients + slot.offset;
  const std::vector<Size>& summed = *options.summed;
  if (std::find(summed.begin(), summed.end(), slot.offset) == summed.end()) return {target, Epilogue::store, {}};
  const Update<T> sgd = context.kernels.update[static_cast<int>(OptimizerKind::sgd)];
  return {target, Epilogue::sgd, {sgd, nullptr, 0, 0, &rate}};
}

}  // namespace

template <class T>
GradientTarget<T> gradient_target(const NetworkContext<T>& context, const Slot& slot,
                                  const BackwardOptions<T>& options) {
  if (slot.size() == 0) return {};
  if (options.gradients != nullptr) return stored(context, slot, options);
  if (!slot.trainable) return {};
  return {context.at(slot),
          context.epilogue,
          {context.update, state_at(context.state, slot.offset), context.state_stride, context.states,
           options.coefficients}};
}

template <class T>
void store_or_update(const NetworkContext<T>& context, const Slot& slot, Size first, Size count, const T* gradient,
                     const BackwardOptions<T>& options) {
  const GradientTarget<T> to = gradient_target(context, slot, options);
  if (to.target == nullptr) return;
  if (to.epilogue == Epilogue::store) {
    if (gradient == nullptr) {
      std::fill_n(to.target + first, count, T(0));
    } else {
      std::copy_n(gradient, count, to.target + first);
    }
    return;
  }
  if (gradient == nullptr) return;  // nothing to add
  to.rule.kernel(1, count, to.target + first, count, gradient, count, state_at(to.rule.state, first),
                 to.rule.state_stride, to.rule.coefficients);
}

#define DENSEGRAD_INSTANTIATE(T)                                                                                \
  template std::unique_ptr<StageRunner<T>> make_stage_runner(const NetworkContext<T>&, const Stage&);           \
  template GradientTarget<T> gradient_target(const NetworkContext<T>&, const Slot&, const BackwardOptions<T>&); \
  template void store_or_update(const NetworkContext<T>&, const Slot&, Size, Size, const T*, const BackwardOptions<T>&);
DENSEGRAD_INSTANTIATE(float)
DENSEGRAD_INSTANTIATE(double)
#undef DENSEGRAD_INSTANTIATE

}  // namespace densegrad
