#include <algorithm>

#include "network/bound_stage.hpp"

namespace densegrad {
namespace {

// y = x + x2
template <class T>
class AddStage final : public BoundStage<T> {
 public:
  AddStage(const Common<T>& common, const Stage&) : kernels_(common.kernels.layers) {}

  void bind(const Binding<T>& binding) override { at_ = binding; }

  void forward(const Team& team, const Help<T>&) override {
    team.for_each(at_.y.count(), [&](Size p) {
      kernels_.add_panel(at_.y.rows * kPanel<T>, at_.x.panel(p), at_.x2.panel(p), at_.y.panel(p));
    });
  }

  void backward(const Team& team, const Help<T>&, const Learning<T>&) override {
    for (const Panels<T>& dx : {at_.dx, at_.dx2}) {
      if (dx.data == nullptr || dx.data == at_.dy.data) continue;
      team.for_each(dx.count(), [&](Size p) { std::copy_n(at_.dy.panel(p), dx.rows * kPanel<T>, dx.panel(p)); });
    }
  }

 private:
  const LayerKernels<T>& kernels_;
  Binding<T> at_;
};

}  // namespace

template <class T>
std::unique_ptr<BoundStage<T>> make_add(const Common<T>& common, const Stage& stage) {
  return std::make_unique<AddStage<T>>(common, stage);
}

template std::unique_ptr<BoundStage<float>> make_add(const Common<float>&, const Stage&);
template std::unique_ptr<BoundStage<double>> make_add(const Common<double>&, const Stage&);

}  // namespace densegrad
