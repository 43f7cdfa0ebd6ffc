#include <algorithm>

#include "network/copy_columns.hpp"
#include "network/stage_runner.hpp"

namespace densegrad {
namespace {

// y = as many columns of x as it has itself, from `first` on
template <class T>
class ColumnsStage final : public StageRunner<T> {
 public:
  explicit ColumnsStage(const Stage& stage) : first_(static_cast<Size>(stage.attributes[0])) {}

  void bind(const StageBuffers<T>& buffers) override { at_ = buffers; }

  void forward(const Team& team, const Workspace<T>&) override {
    team.for_each(at_.y.count(), [&](Size p) { copy_columns<T>({at_.x, first_}, {at_.y}, at_.y.columns, p); });
  }

  // 0 for the columns that y has not
  void backward(const Team& team, const Workspace<T>&, const BackwardOptions<T>&) override {
    if (at_.dx.data == nullptr) return;
    team.for_each(at_.dx.count(), [&](Size p) {
      std::fill_n(at_.dx.panel(p), at_.dx.rows * kPanel<T>, T(0));
      copy_columns<T>({at_.dy}, {at_.dx, first_}, at_.dy.columns, p);
    });
  }

 private:
  Size first_;
  StageBuffers<T> at_;
};

}  // namespace

template <class T>
std::unique_ptr<StageRunner<T>> make_columns(const NetworkContext<T>&, const Stage& stage) {
  return std::make_unique<ColumnsStage<T>>(stage);
}

template std::unique_ptr<StageRunner<float>> make_columns(const NetworkContext<float>&, const Stage&);
template std::unique_ptr<StageRunner<double>> make_columns(const NetworkContext<double>&, const Stage&);

}  // namespace densegrad
