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
class DenseStage final : public BoundStage<T> {
 public:
  DenseStage(const Common<T>& common, const Stage& stage)
      : common_(common),
        stage_(stage),
        w_(stage.slots[0]),
        b_(stage.slots.size() > 1 ? stage.slots[1] : Slot()),
        f_(common.kernels, stage) {}

  void bind(const Binding<T>& binding) override {
    at_ = binding;
    const T* w = common_.at(w_);
    const T* b = b_.size() > 0 ? common_.at(b_) : nullptr;
    forward_.prepare(common_.kernels, at_.x, w, b, at_.z, at_.y, fused<T>(stage_), at_.threads);
    if (at_.dx.data != nullptr) {
      const Fused<T> f = at_.before == nullptr ? Fused<T>() : fused<T>(*at_.before);
      backward_.prepare(common_.kernels, at_.dy, w, at_.dx, at_.before_z, at_.before_y, f, at_.threads);
    }
    if (at_.dy.data != nullptr) weights_.prepare(common_.kernels, at_.x, at_.dy, at_.threads);
  }

  Size scratch() const override {
    return std::max(forward_.scratch(), at_.dx.data == nullptr ? 0 : backward_.scratch());
  }

  Size rounds() const override {
    return forward_.rounds() + (at_.dx.data == nullptr ? 0 : backward_.rounds()) +
           (at_.dy.data == nullptr ? 0 : weights_.rounds());
  }

  void forward(const Team& team, const Help<T>& help) override { forward_.run(team, help); }

  void backward(const Team& team, const Help<T>& help, const Learning<T>& learning) override {
    if (!at_.dy_is_dz) f_.backward(team, at_.dy, at_.z, at_.y, at_.dy, help.scratch);
    if (at_.dx.data != nullptr) backward_.run(team, help);  // before the update: it needs w as it was
    weights_.run(team, destination(common_, w_, learning), destination(common_, b_, learning), help);
  }

 private:
  const Common<T>& common_;
  const Stage& stage_;
  Slot w_, b_;  // b_ of no size where there is none
  Elementwise<T> f_;
  Binding<T> at_;
  ForwardProduct<T> forward_;
  BackwardProduct<T> backward_;
  WeightProduct<T> weights_;
};

}  // namespace

template <class T>
std::unique_ptr<BoundStage<T>> make_dense(const Common<T>& common, const Stage& stage) {
  return std::make_unique<DenseStage<T>>(common, stage);
}

template std::unique_ptr<BoundStage<float>> make_dense(const Common<float>&, const Stage&);
template std::unique_ptr<BoundStage<double>> make_dense(const Common<double>&, const Stage&);

}  // namespace densegrad
