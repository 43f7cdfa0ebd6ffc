#include "base/aligned_buffer.hpp"
#include "network/stage_runner.hpp"

namespace densegrad {
namespace {

// y = (x - mean) / sqrt(variance + eps) gamma + beta, column by column. Mean and variance are those of the batch, whose
// moving averages serve a prediction. Ioffe and Szegedy, Batch normalization (2015).
template <class T>
class BatchNormStage final : public StageRunner<T> {
 public:
  BatchNormStage(const NetworkContext<T>& context, const Stage& stage)
      : context_(context),
        kernels_(context.kernels.layers),
        gamma_(stage.slots[0]),
        beta_(stage.slots[1]),
        mean_(stage.slots[2]),
        variance_(stage.slots[3]),
        eps_(static_cast<T>(stage.attributes[0])),
        momentum_(static_cast<T>(stage.attributes[1])) {}

  void bind(const StageBuffers<T>& buffers) override {
    at_ = buffers;
    batch_.reserve(5 * at_.y.columns);
  }

  void forward(const Team& team, const Workspace<T>&) override {
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      const T *gamma = context_.at(gamma_) + first, *beta = context_.at(beta_) + first;
      if (at_.mode == PassMode::infer) {
        kernels_.batch_norm_predict(at_.y.rows, columns, at_.x.panel(p), gamma, beta, context_.at(mean_) + first,
                                    context_.at(variance_) + first, eps_, at_.y.panel(p));
        return;
      }
      kernels_.batch_norm_forward(at_.y.rows, columns, at_.x.panel(p), gamma, beta, eps_, at_.y.panel(p), mean(first),
                                  variance(first), inverse(first));
    });
  }

  void backward(const Team& team, const Workspace<T>&, const BackwardOptions<T>& options) override {
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      kernels_.batch_norm_backward(at_.y.rows, columns, at_.dy.panel(p), at_.x.panel(p), context_.at(gamma_) + first,
                                   mean(first), inverse(first), at_.dx.data == nullptr ? nullptr : at_.dx.panel(p),
                                   dgamma(first), dbeta(first));
      store_or_update(context_, gamma_, first, columns, dgamma(first), options);
      store_or_update(context_, beta_, first, columns, dbeta(first), options);
      store_or_update<T>(context_, mean_, first, columns, nullptr, options);
      store_or_update<T>(context_, variance_, first, columns, nullptr, options);
      if (options.updates_running_statistics) update_running_statistics(first, columns);
    });
  }

 private:
  T* mean(Size first) { return batch_.data() + first; }
  T* variance(Size first) { return mean(first) + at_.y.columns; }
  T* inverse(Size first) { return mean(first) + 2 * at_.y.columns; }
  T* dgamma(Size first) { return mean(first) + 3 * at_.y.columns; }
  T* dbeta(Size first) { return mean(first) + 4 * at_.y.columns; }

  // average <- average + momentum (of the batch - average); the variance of the batch is divided by rows - 1 here
  void update_running_statistics(Size first, Size columns) {
    const Size rows = at_.y.rows;
    const T unbiased = rows > 1 ? static_cast<T>(rows) / static_cast<T>(rows - 1) : T(1);
    T *means = context_.at(mean_) + first, *variances = context_.at(variance_) + first;
    for (Size j = 0; j < columns; ++j) {
      means[j] += momentum_ * (mean(first)[j] - means[j]);
      variances[j] += momentum_ * (unbiased * variance(first)[j] - variances[j]);
    }
  }

  const NetworkContext<T>& context_;
  const LayerKernels<T>& kernels_;
  Slot gamma_, beta_, mean_, variance_;
  T eps_, momentum_;
  StageBuffers<T> at_;
  AlignedBuffer<T> batch_;  // mean, variance, inverse, dgamma, dbeta by column
};

}  // namespace

template <class T>
std::unique_ptr<StageRunner<T>> make_batch_norm(const NetworkContext<T>& context, const Stage& stage) {
  return std::make_unique<BatchNormStage<T>>(context, stage);
}

template std::unique_ptr<StageRunner<float>> make_batch_norm(const NetworkContext<float>&, const Stage&);
template std::unique_ptr<StageRunner<double>> make_batch_norm(const NetworkContext<double>&, const Stage&);

}  // namespace densegrad
