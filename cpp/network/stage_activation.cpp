#include "network/elementwise.hpp"

namespace densegrad {
namespace {

// y = f(z)
template <class T>
class ActivationStage final : public StageRunner<T> {
 public:
  ActivationStage(const NetworkContext<T>& context, const Stage& stage) : f_(context.kernels, stage) {}

  void bind(const StageBuffers<T>& buffers) override { at_ = buffers; }
  Size scratch() const override { return f_.scratch(at_.x.columns, at_.threads); }
  void forward(const Team& team, const Workspace<T>& workspace) override {
    f_.forward(team, at_.z, at_.y, workspace.scratch);
  }
  void backward(const Team& team, const Workspace<T>& workspace, const BackwardOptions<T>&) override {
    if (!at_.dy_is_dz) f_.backward(team, at_.dy, at_.z, at_.y, at_.dx, workspace.scratch);  // else dy is dx
  }

 private:
  Elementwise<T> f_;
  StageBuffers<T> at_;
};

}  // namespace

template <class T>
std::unique_ptr<StageRunner<T>> make_activation(const NetworkContext<T>& context, const Stage& stage) {
  return std::make_unique<ActivationStage<T>>(context, stage);
}

template std::unique_ptr<StageRunner<float>> make_activation(const NetworkContext<float>&, const Stage&);
template std::unique_ptr<StageRunner<double>> make_activation(const NetworkContext<double>&, const Stage&);

}  // namespace densegrad
