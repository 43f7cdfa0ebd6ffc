#include <algorithm>

#include "base/aligned_buffer.hpp"
#include "network/stage_runner.hpp"

namespace densegrad {
namespace {

// y = x / (1 - rate) where kept, else 0; y = x in a prediction. Srivastava et al., Dropout (2014).
template <class T>
class DropoutStage final : public StageRunner<T> {
 public:
  DropoutStage(const NetworkContext<T>& context, const Stage& stage)
      : kernels_(context.kernels.layers), scale_(static_cast<T>(1 / (1 - stage.attributes[0]))) {
    mask_.limit = static_cast<std::uint32_t>(stage.attributes[0] * 0x1p32);
    mask_.seed = static_cast<std::uint64_t>(stage.attributes[1]);
    mask_.stream = static_cast<std::uint64_t>(stage.attributes[2]);
  }

  void bind(const StageBuffers<T>& buffers) override {
    at_ = buffers;
    if (at_.mode != PassMode::infer) kept_.reserve(at_.y.rows * at_.y.count());
  }

  void begin(Index step) override { mask_.step = static_cast<std::uint64_t>(step); }

  void forward(const Team& team, const Workspace<T>&) override {
    const Size rows = at_.y.rows;
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      if (at_.mode == PassMode::infer) {
        std::copy_n(at_.x.panel(p), rows * kPanel<T>, at_.y.panel(p));
        return;
      }
      std::uint32_t* kept = kept_.data() + p * rows;
      kernels_.draw_kept(rows, columns, 0, first, at_.y.columns, mask_, kept);
      kernels_.apply_kept(rows, at_.x.panel(p), kept, scale_, at_.y.panel(p));
    });
  }

  void backward(const Team& team, const Workspace<T>&, const BackwardOptions<T>&) override {
    if (at_.dx.data == nullptr) return;
    const Size rows = at_.y.rows;
    team.for_each(at_.y.count(), [&](Size p) {
      kernels_.apply_kept(rows, at_.dy.panel(p), kept_.data() + p * rows, scale_, at_.dx.panel(p));
    });
  }

 private:
  const LayerKernels<T>& kernels_;
  T scale_;
  Mask mask_{};
  StageBuffers<T> at_;
  AlignedBuffer<std::uint32_t> kept_;  // bits by panel and row
};

}  // namespace

template <class T>
std::unique_ptr<StageRunner<T>> make_dropout(const NetworkContext<T>& context, const Stage& stage) {
  return std::make_unique<DropoutStage<T>>(context, stage);
}

template std::unique_ptr<StageRunner<float>> make_dropout(const NetworkContext<float>&, const Stage&);
template std::unique_ptr<StageRunner<double>> make_dropout(const NetworkContext<double>&, const Stage&);

}  // namespace densegrad
