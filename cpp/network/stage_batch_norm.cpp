#include "base/aligned_buffer.hpp"
#include "network/bound_stage.hpp"

namespace densegrad {
namespace {

// y = (x - mean) / sqrt(variance + eps) gamma + beta, column by column. Mean and variance are those of the batch, whose
// moving averages serve a prediction. Ioffe and Szegedy, Batch normalization (2015).
template <class T>
class BatchNormStage final : public BoundStage<T> {
 public:
  BatchNormStage(const Common<T>& common, const Stage& stage)
      : common_(common),
        kernels_(common.kernels.layers),
        gamma_(stage.slots[0]),
        beta_(stage.slots[1]),
        mean_(stage.slots[2]),
        variance_(stage.slots[3]),
        eps_(static_cast<T>(stage.attributes[0])),
        momentum_(static_cast<T>(stage.attributes[1])) {}

  void bind(const Binding<T>& binding) override {
    at_ = binding;
    batch_.reserve(5 * at_.y.columns);
  }

  void forward(const Team& team, const Help<T>&) override {
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      const T *gamma = common_.at(gamma_) + first, *beta = common_.at(beta_) + first;
      if (at_.purpose == Purpose::predict) {
        kernels_.batch_norm_predict(at_.y.rows, columns, at_.x.panel(p), gamma, beta, common_.at(mean_) + first,
                                    common_.at(variance_) + first, eps_, at_.y.panel(p));
        return;
      }
      kernels_.batch_norm_forward(at_.y.rows, columns, at_.x.panel(p), gamma, beta, eps_, at_.y.panel(p), mean(first),
                                  variance(first), inverse(first));
    });
  }

  void backward(const Team& team, const Help<T>&, const Learning<T>& learning) override {
    for_each_panel<T>(team, at_.y.columns, [&](Size p, Size first, Size columns) {
      kernels_.batch_norm_backward(at_.y.rows, columns, at_.dy.panel(p), at_.x.panel(p), common_.at(gamma_) + first,
                                   mean(first), inverse(first), at_.dx.data == nullptr ? nullptr : at_.dx.panel(p),
                                   dgamma(first), dbeta(first));
      learn(common_, gamma_, first, columns, dgamma(first), learning);
      learn(common_, beta_, first, columns, dbeta(first), learning);
      learn<T>(common_, mean_, first, columns, nullptr, learning);
      learn<T>(common_, variance_, first, columns, nullptr, learning);
      if (learning.moves_averages) move_averages(first, columns);
    });
  }

 private:
  T* mean(Size first) { return batch_.data() + first; }
  T* variance(Size first) { return mean(first) + at_.y.columns; }
  T* inverse(Size first) { return mean(first) + 2 * at_.y.columns; }
  T* dgamma(Size first) { return mean(first) + 3 * at_.y.columns; }
  T* dbeta(Size first) { return mean(first) + 4 * at_.y.columns; }

  // average <- average + momentum (of the batch - average); the variance of the batch is divided by rows - 1 here
  void move_averages(Size first, Size columns) {
    const Size rows = at_.y.rows;
    const T unbiased = rows > 1 ? static_cast<T>(rows) / static_cast<T>(rows - 1) : T(1);
    T *means = common_.at(mean_) + first, *variances = common_.at(variance_) + first;
    for (Size j = 0; j < columns; ++j) {
      means[j] += momentum_ * (mean(first)[j] - means[j]);
      variances[j] += momentum_ * (unbiased * variance(first)[j] - variances[j]);
    }
  }

  const Common<T>& common_;
  const LayerKernels<T>& kernels_;
  Slot gamma_, beta_, mean_, variance_;
  T eps_, momentum_;
  Binding<T> at_;
  AlignedBuffer<T> batch_;  // mean, variance, inverse, dgamma, dbeta by column
};

}  // namespace

template <class T>
std::unique_ptr<BoundStage<T>> make_batch_norm(const Common<T>& common, const Stage& stage) {
  return std::make_unique<BatchNormStage<T>>(common, stage);
}

template std::unique_ptr<BoundStage<float>> make_batch_norm(const Common<float>&, const Stage&);
template std::unique_ptr<BoundStage<double>> make_batch_norm(const Common<double>&, const Stage&);

}  // namespace densegrad
