#include "network/copy_columns.hpp"
#include "network/stage_runner.hpp"

namespace densegrad {
namespace {

// y = (x, x2), side by side
template <class T>
class ConcatenateStage final : public StageRunner<T> {
 public:
  void bind(const StageBuffers<T>& buffers) override { at_ = buffers; }

  void forward(const Team& team, const Workspace<T>&) override {
    team.for_each(at_.y.count(), [&](Size p) {
      copy_columns<T>({at_.x}, {at_.y}, at_.x.columns, p);
      copy_columns<T>({at_.x2}, {at_.y, at_.x.columns}, at_.x2.columns, p);
    });
  }

  void backward(const Team& team, const Workspace<T>&, const BackwardOptions<T>&) override {
    const auto take = [&](const Panels<T>& dx, Size first) {
      if (dx.data == nullptr) return;
      team.for_each(dx.count(), [&](Size p) { copy_columns<T>({at_.dy, first}, {dx}, dx.columns, p); });
    };
    take(at_.dx, 0);
    take(at_.dx2, at_.x.columns);
  }

 private:
  StageBuffers<T> at_;
};

}  // namespace

template <class T>
std::unique_ptr<StageRunner<T>> make_concatenate(const NetworkContext<T>&, const Stage&) {
  return std::make_unique<ConcatenateStage<T>>();
}

template std::unique_ptr<StageRunner<float>> make_concatenate(const NetworkContext<float>&, const Stage&);
template std::unique_ptr<StageRunner<double>> make_concatenate(const NetworkContext<double>&, const Stage&);

}  // namespace densegrad
