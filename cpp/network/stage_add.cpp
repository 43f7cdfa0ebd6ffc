#include <algorithm>

#include "network/stage_runner.hpp"

namespace densegrad {
namespace {

// y = x + x2
template <class T>
class AddStage final : public StageRunner<T> {
 public:
  AddStage(const NetworkContext<T>& context, const Stage&) : kernels_(context.kernels.layers) {}

  void bind(const StageBuffers<T>& buffers) override { at_ = buffers; }

  void forward(const Team& team, const Workspace<T>&) override {
    team.for_each(at_.y.count(), [&](Size p) {
      kernels_.add_panel(at_.y.rows * kPanel<T>, at_.x.panel(p), at_.x2.panel(p), at_.y.panel(p));
    });
  }

  void backward(const Team& team, const Workspace<T>&, const BackwardOptions<T>&) override {
    for (const Panels<T>& dx : {at_.dx, at_.dx2}) {
      if (dx.data == nullptr || dx.data == at_.dy.data) continue;
      team.for_each(dx.count(), [&](Size p) { std::copy_n(at_.dy.panel(p), dx.rows * kPanel<T>, dx.panel(p)); });
    }
  }

 private:
  const LayerKernels<T>& kernels_;
  StageBuffers<T> at_;
};

}  // namespace

template <class T>
std::unique_ptr<StageRunner<T>> make_add(const NetworkContext<T>& context, const Stage& stage) {
  return std::make_unique<AddStage<T>>(context, stage);
}

template std::unique_ptr<StageRunner<float>> make_add(const NetworkContext<float>&, const Stage&);
template std::unique_ptr<StageRunner<double>> make_add(const NetworkContext<double>&, const Stage&);

}  // namespace densegrad
