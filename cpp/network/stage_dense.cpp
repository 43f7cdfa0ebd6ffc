#include <algorithm>

#include "network/elementwise.hpp"

namespace densegrad {
namespace {

template <class T>
Fused<T> fused(const Stage& stage) {
  return {static_cast<int>(stage.activation), stage.activation_attributes.data()};
}

// y = f(x w + b)
template <class T>
class DenseStage final : public StageRunner<T> {
 public:
  DenseStage(const NetworkContext<T>& context, const Stage& stage)
      : context_(context),
        stage_(stage),
        w_(stage.slots[0]),
        b_(stage.slots.size() > 1 ? stage.slots[1] : Slot()),
        f_(context.kernels, stage) {}

  void bind(const StageBuffers<T>& buffers) override {
    at_ = buffers;
    const T* w = context_.at(w_);
    const T* b = b_.size() > 0 ? context_.at(b_) : nullptr;
    forward_.prepare(context_.kernels, at_.x, w, b, at_.z, at_.y, fused<T>(stage_), at_.threads);
    if (at_.dx.data != nullptr) {
      const Fused<T> f = at_.before == nullptr ? Fused<T>() : fused<T>(*at_.before);
      backward_.prepare(context_.kernels, at_.dy, w, at_.dx, at_.before_z, at_.before_y, f, at_.threads);
    }
    if (at_.dy.data != nullptr) weights_.prepare(context_.kernels, at_.x, at_.dy, at_.threads);
  }

  Size scratch() const override {
    return std::max(forward_.scratch(), at_.dx.data == nullptr ? 0 : backward_.scratch());
  }

  Size prefetch_calls() const override {
    return forward_.prefetch_calls() + (at_.dx.data == nullptr ? 0 : backward_.prefetch_calls()) +
           (at_.dy.data == nullptr ? 0 : weights_.prefetch_calls());
  }

  void forward(const Team& team, const Workspace<T>& workspace) override { forward_.run(team, workspace); }

  void backward(const Team& team, const Workspace<T>& workspace, const BackwardOptions<T>& options) override {
    if (!at_.dy_is_dz) f_.backward(team, at_.dy, at_.z, at_.y, at_.dy, workspace.scratch);
    if (at_.dx.data != nullptr) backward_.run(team, workspace);  // before the update: it needs w as it was
    weights_.run(team, gradient_target(context_, w_, options), gradient_target(context_, b_, options), workspace);
  }

 private:
  const NetworkContext<T>& context_;
  const Stage& stage_;
  Slot w_, b_;  // b_ of no size where there is none
  Elementwise<T> f_;
  StageBuffers<T> at_;
  ForwardProduct<T> forward_;
  BackwardProduct<T> backward_;
  WeightProduct<T> weights_;
};

}  // namespace

template <class T>
std::unique_ptr<StageRunner<T>> make_dense(const NetworkContext<T>& context, const Stage& stage) {
  return std::make_unique<DenseStage<T>>(context, stage);
}

template std::unique_ptr<StageRunner<float>> make_dense(const NetworkContext<float>&, const Stage&);
template std::unique_ptr<StageRunner<double>> make_dense(const NetworkContext<double>&, const Stage&);

}  // namespace densegrad
