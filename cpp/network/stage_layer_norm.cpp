#include <algorithm>

#include "base/aligned_buffer.hpp"
#include "network/stage_runner.hpp"

namespace densegrad {
namespace {

constexpr Size kRows = 32;  // that a task normalises

// y = (x - mean) / sqrt(variance + eps) gamma + beta, row by row. Ba, Kiros and Hinton, Layer normalization (2016).
template <class T>
class LayerNormStage final : public StageRunner<T> {
 public:
  LayerNormStage(const NetworkContext<T>& context, const Stage& stage)
      : context_(context),
        kernels_(context.kernels.layers),
        gamma_(stage.slots[0]),
        beta_(stage.slots[1]),
        eps_(static_cast<T>(stage.attributes[0])) {}

  void bind(const StageBuffers<T>& buffers) override {
    at_ = buffers;
    kept_.reserve(2 * at_.y.rows + 2 * at_.y.columns);
  }

  void forward(const Team& team, const Workspace<T>&) override {
    for_each_block(team, [&](Size first, Size rows) {
      kernels_.layer_norm_forward(rows, at_.y.columns, at_.x.data + first * kPanel<T>, at_.x.panel_size(),
                                  context_.at(gamma_), context_.at(beta_), eps_, at_.y.data + first * kPanel<T>,
                                  mean() + first, inverse() + first);
    });
  }

  void backward(const Team& team, const Workspace<T>&, const BackwardOptions<T>& options) override {
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      kernels_.layer_norm_parameters(at_.y.rows, columns, at_.dy.panel(p), at_.x.panel(p), mean(), inverse(),
                                     dgamma() + first, dbeta() + first);
    });
    if (at_.dx.data != nullptr) {  // before the update: it needs gamma as it was
      for_each_block(team, [&](Size first, Size rows) {
        kernels_.layer_norm_backward(rows, at_.y.columns, at_.dy.data + first * kPanel<T>,
                                     at_.x.data + first * kPanel<T>, at_.x.panel_size(), context_.at(gamma_),
                                     mean() + first, inverse() + first, at_.dx.data + first * kPanel<T>);
      });
    }
    for_each_panel<T>(team, at_.y.columns, [&](Size, Size first, Size columns) {
      store_or_update(context_, gamma_, first, columns, dgamma() + first, options);
      store_or_update(context_, beta_, first, columns, dbeta() + first, options);
    });
  }

 private:
  template <class Function>
  void for_each_block(const Team& team, Function f) {
    team.for_each(divide_up(at_.y.rows, kRows),
                  [&](Size block) { f(block * kRows, std::min(kRows, at_.y.rows - block * kRows)); });
  }

  T* mean() { return kept_.data(); }
  T* inverse() { return mean() + at_.y.rows; }
  T* dgamma() { return inverse() + at_.y.rows; }
  T* dbeta() { return dgamma() + at_.y.columns; }

  const NetworkContext<T>& context_;
  const LayerKernels<T>& kernels_;
  Slot gamma_, beta_;
  T eps_;
  StageBuffers<T> at_;
  AlignedBuffer<T> kept_;  // mean and inverse by row, dgamma and dbeta by column
};

}  // namespace

template <class T>
std::unique_ptr<StageRunner<T>> make_layer_norm(const NetworkContext<T>& context, const Stage& stage) {
  return std::make_unique<LayerNormStage<T>>(context, stage);
}

template std::unique_ptr<StageRunner<float>> make_layer_norm(const NetworkContext<float>&, const Stage&);
template std::unique_ptr<StageRunner<double>> make_layer_norm(const NetworkContext<double>&, const Stage&);

}  // namespace densegrad
