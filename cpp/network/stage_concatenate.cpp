#include "network/bound_stage.hpp"
#include "network/copy_columns.hpp"

namespace densegrad {
namespace {

// y = (x, x2), side by side
template <class T>
class ConcatenateStage final : public BoundStage<T> {
 public:
  void bind(const Binding<T>& binding) override { at_ = binding; }

  void forward(const Team& team, const Help<T>&) override {
    team.for_each(at_.y.count(), [&](Size p) {
      copy_columns<T>({at_.x}, {at_.y}, at_.x.columns, p);
      copy_columns<T>({at_.x2}, {at_.y, at_.x.columns}, at_.x2.columns, p);
    });
  }

  void backward(const Team& team, const Help<T>&, const Learning<T>&) override {
    const auto take = [&](const Panels<T>& dx, Size first) {
      if (dx.data == nullptr) return;
      team.for_each(dx.count(), [&](Size p) { copy_columns<T>({at_.dy, first}, {dx}, dx.columns, p); });
    };
    take(at_.dx, 0);
    take(at_.dx2, at_.x.columns);
  }

 private:
  Binding<T> at_;
};

}  // namespace

template <class T>
std::unique_ptr<BoundStage<T>> make_concatenate(const Common<T>&, const Stage&) {
  return std::make_unique<ConcatenateStage<T>>();
}

template std::unique_ptr<BoundStage<float>> make_concatenate(const Common<float>&, const Stage&);
template std::unique_ptr<BoundStage<double>> make_concatenate(const Common<double>&, const Stage&);

}  // namespace densegrad
