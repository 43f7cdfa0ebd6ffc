#include "network/stage_runner.hpp"

namespace densegrad {
namespace {

// y = (x - mean) scale, whose parameters nobody trains
template <class T>
class StandardizeStage final : public StageRunner<T> {
 public:
  StandardizeStage(const NetworkContext<T>& context, const Stage& stage)
      : context_(context), mean_(stage.slots[0]), scale_(stage.slots[1]) {}

  void bind(const StageBuffers<T>& buffers) override { at_ = buffers; }

  void forward(const Team& team, const Workspace<T>&) override {
    const T *mean = context_.at(mean_), *scale = context_.at(scale_);
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      context_.kernels.layers.standardize_forward(at_.y.rows, columns, at_.x.panel(p), mean + first, scale + first,
                                                  at_.y.panel(p));
    });
  }

  void backward(const Team& team, const Workspace<T>&, const BackwardOptions<T>& options) override {
    if (at_.dx.data == nullptr) return;
    const T* scale = context_.at(scale_);
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      store_or_update<T>(context_, mean_, first, columns, nullptr, options);
      store_or_update<T>(context_, scale_, first, columns, nullptr, options);
      context_.kernels.layers.standardize_backward(at_.y.rows, columns, at_.dy.panel(p), scale + first,
                                                   at_.dx.panel(p));
    });
  }

 private:
  const NetworkContext<T>& context_;
  Slot mean_, scale_;
  StageBuffers<T> at_;
};

}  // namespace

template <class T>
std::unique_ptr<StageRunner<T>> make_standardize(const NetworkContext<T>& context, const Stage& stage) {
  return std::make_unique<StandardizeStage<T>>(context, stage);
}

template std::unique_ptr<StageRunner<float>> make_standardize(const NetworkContext<float>&, const Stage&);
template std::unique_ptr<StageRunner<double>> make_standardize(const NetworkContext<double>&, const Stage&);

}  // namespace densegrad
