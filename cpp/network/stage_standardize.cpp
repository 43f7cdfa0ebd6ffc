#include "network/bound_stage.hpp"

namespace densegrad {
namespace {

// y = (x - mean) scale, whose parameters nobody trains
template <class T>
class StandardizeStage final : public BoundStage<T> {
 public:
  StandardizeStage(const Common<T>& common, const Stage& stage)
      : common_(common), mean_(stage.slots[0]), scale_(stage.slots[1]) {}

  void bind(const Binding<T>& binding) override { at_ = binding; }

  void forward(const Team& team, const Help<T>&) override {
    const T *mean = common_.at(mean_), *scale = common_.at(scale_);
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      common_.kernels.layers.standardize_forward(at_.y.rows, columns, at_.x.panel(p), mean + first, scale + first,
                                                 at_.y.panel(p));
    });
  }

  void backward(const Team& team, const Help<T>&, const Learning<T>& learning) override {
    if (at_.dx.data == nullptr) return;
    const T* scale = common_.at(scale_);
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      learn<T>(common_, mean_, first, columns, nullptr, learning);
      learn<T>(common_, scale_, first, columns, nullptr, learning);
      common_.kernels.layers.standardize_backward(at_.y.rows, columns, at_.dy.panel(p), scale + first, at_.dx.panel(p));
    });
  }

 private:
  const Common<T>& common_;
  Slot mean_, scale_;
  Binding<T> at_;
};

}  // namespace

template <class T>
std::unique_ptr<BoundStage<T>> make_standardize(const Common<T>& common, const Stage& stage) {
  return std::make_unique<StandardizeStage<T>>(common, stage);
}

template std::unique_ptr<BoundStage<float>> make_standardize(const Common<float>&, const Stage&);
template std::unique_ptr<BoundStage<double>> make_standardize(const Common<double>&, const Stage&);

}  // namespace densegrad
