#include "network/elementwise.hpp"

namespace densegrad {
namespace {

// y = f(z)
template <class T>
class ActivationStage final : public BoundStage<T> {
 public:
  ActivationStage(const Common<T>& common, const Stage& stage) : f_(common.kernels, stage) {}

  void bind(const Binding<T>& binding) override { at_ = binding; }
  Size scratch() const override { return f_.scratch(at_.x.columns, at_.threads); }
  void forward(const Team& team, const Help<T>& help) override { f_.forward(team, at_.z, at_.y, help.scratch); }
  void backward(const Team& team, const Help<T>& help, const Learning<T>&) override {
    if (!at_.dy_is_dz) f_.backward(team, at_.dy, at_.z, at_.y, at_.dx, help.scratch);  // else dy is dx
  }

 private:
  Elementwise<T> f_;
  Binding<T> at_;
};

}  // namespace

template <class T>
std::unique_ptr<BoundStage<T>> make_activation(const Common<T>& common, const Stage& stage) {
  return std::make_unique<ActivationStage<T>>(common, stage);
}

template std::unique_ptr<BoundStage<float>> make_activation(const Common<float>&, const Stage&);
template std::unique_ptr<BoundStage<double>> make_activation(const Common<double>&, const Stage&);

}  // namespace densegrad
