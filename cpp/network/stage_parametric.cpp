#include <numeric>

#include "base/aligned_buffer.hpp"
#include "network/stage_runner.hpp"

namespace densegrad {
namespace {

// y = f(z, a), an activation with a parameter for each column, or one for all. He et al., Delving deep into rectifiers
// (2015); Ramachandran, Zoph and Le, Searching for activation functions (2017).
template <class T>
class ParametricStage final : public StageRunner<T> {
 public:
  ParametricStage(const NetworkContext<T>& context, const Stage& stage)
      : context_(context),
        a_(stage.slots[0]),
        sharing_(a_.size() == 1 ? ParameterSharing::all_columns : ParameterSharing::none) {
    const LayerKernels<T>& kernels = context.kernels.layers;
    const bool prelu = stage.kind == StageKind::prelu;
    forward_ = prelu ? kernels.prelu_forward : kernels.learned_swish_forward;
    backward_ = prelu ? kernels.prelu_backward : kernels.learned_swish_backward;
  }

  void bind(const StageBuffers<T>& buffers) override {
    at_ = buffers;
    // where nobody wants dx, it is written all the same
    da_.reserve(at_.y.columns + (at_.dx.data == nullptr ? at_.y.lines() * kPanel<T> : 0));
  }

  void forward(const Team& team, const Workspace<T>&) override {
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      forward_(at_.y.rows, columns, at_.x.panel(p), a(first), sharing_, at_.y.panel(p));
    });
  }

  void backward(const Team& team, const Workspace<T>&, const BackwardOptions<T>& options) override {
    const bool shared = sharing_ == ParameterSharing::all_columns;
    Panels<T> dz = at_.dx;
    if (dz.data == nullptr) dz = {da_.data() + at_.y.columns, at_.y.rows, at_.y.columns};
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      T* da = da_.data() + first;
      backward_(at_.y.rows, columns, at_.dy.panel(p), at_.x.panel(p), a(first), sharing_, dz.panel(p), da);
      if (!shared) store_or_update(context_, a_, first, columns, da, options);
    });
    if (shared) {
      const T sum = std::accumulate(da_.data(), da_.data() + at_.y.columns, T(0));
      store_or_update(context_, a_, 0, 1, &sum, options);
    }
  }

 private:
  const T* a(Size first) const { return context_.at(a_) + (sharing_ == ParameterSharing::none ? first : 0); }

  const NetworkContext<T>& context_;
  Slot a_;
  ParameterSharing sharing_;
  typename LayerKernels<T>::Forward forward_;
  typename LayerKernels<T>::Backward backward_;
  StageBuffers<T> at_;
  AlignedBuffer<T> da_;  // by column
};

}  // namespace

template <class T>
std::unique_ptr<StageRunner<T>> make_parametric(const NetworkContext<T>& context, const Stage& stage) {
  return std::make_unique<ParametricStage<T>>(context, stage);
}

template std::unique_ptr<StageRunner<float>> make_parametric(const NetworkContext<float>&, const Stage&);
template std::unique_ptr<StageRunner<double>> make_parametric(const NetworkContext<double>&, const Stage&);

}  // namespace densegrad
