#include "densegrad/network.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "dispatch/dispatch.hpp"
#include "network/accept.hpp"
#include "network/stages.hpp"
#include "ops/coefficients.hpp"
#include "ops/flush_denormals.hpp"
#include "ops/gemm.hpp"
#include "ops/loss.hpp"
#include "ops/panels.hpp"

namespace densegrad {
namespace {

constexpr Size kPredictRows = 1024;  // rows that one pass of predict holds activations for

int index_of(Activation activation) { return static_cast<int>(activation); }

}  // namespace

template <class T>
class Network<T>::Implementation {
 public:
  Implementation(const Plan& plan, T* parameters, T* state)
      : plan_(plan), parameters_(parameters), state_(state), stages_(make_stages(plan)), spans_(trainable_spans(plan)) {
    until_output_ = stages_until(stages_, plan_, plan_.output);
    if (plan_.loss) {
      loss_ = kernels_.loss[static_cast<int>(loss_named(plan_.loss.primitive))];
      loss_attributes_ = attribute_values(find_primitive("loss", plan_.loss.primitive), plan_.loss.attributes);
      target_kind_ = target_kind(plan_.loss.primitive);
      until_prediction_ = stages_until(stages_, plan_, plan_.prediction);
    }
    if (plan_.optimizer) {
      const PrimitiveRow& row = find_primitive("optimizer", plan_.optimizer.primitive);
      if (row.state > 0 && state == nullptr)
        throw std::invalid_argument("Network: expected a state for this optimizer");
      optimizer_ = optimizer_named(plan_.optimizer.primitive);
      optimizer_attributes_ = attribute_values(row, plan_.optimizer.attributes);
    }
    activations_.resize(plan_.widths.size());
  }

  void predict(Size rows, const T* x, T* out) {
    const FlushDenormals flush;
    for (Size first = 0; first < rows; first += kPredictRows) {
      const Size some = std::min(kPredictRows, rows - first);
      run(some, x + first * input_width(), nullptr, until_output_);
      unpack(panels(plan_.output), out + first * output_width(), output_width());
    }
    forward_rows_ = 0;  // what an earlier forward kept is gone
  }

  void forward(Size rows, const T* x, T* out) {
    const FlushDenormals flush;
    run(rows, x, nullptr, until_output_);
    unpack(panels(plan_.output), out, output_width());
    forward_rows_ = rows;
  }

  void backward(const T* dy, T* gradients, T* dx) {
    const FlushDenormals flush;
    if (forward_rows_ == 0) throw std::logic_error("Network::backward: expected a forward before it, got none");
    rows_ = forward_rows_;
    Panels<T> d = gradient_panels(output_width());
    kernels_.pack_rows(rows_, output_width(), dy, output_width(), nullptr, d.data, d.panel_size());
    if (until_output_ > 0) through_activation(stages_[until_output_ - 1], d);
    reverse(until_output_, d, gradients, dx);
  }

  Size forward_rows() const { return forward_rows_; }

  double loss(const Batch<T>& batch) {
    const FlushDenormals flush;
    forward_for_loss(batch, nullptr);
    return prediction_loss(batch).first;
  }

  double loss_and_gradients(const Batch<T>& batch, T* gradients, T* dx) {
    const FlushDenormals flush;
    forward_for_loss(batch, nullptr);
    const auto [value, d] = prediction_loss(batch);
    if (until_prediction_ > 0) through_activation(stages_[until_prediction_ - 1], d);
    reverse(until_prediction_, d, gradients, dx);
    return value;
  }

  void apply_gradients(const T* gradients, double learning_rate, Index updates) {
    const FlushDenormals flush;
    require(static_cast<bool>(plan_.optimizer), "an optimizer");
    update_coefficients(optimizer_, optimizer_attributes_, updates, learning_rate, coefficients_);
    for (const Span& span : spans_) update_span(span, gradients + span.offset);
  }

  double step(const Batch<T>& batch, double learning_rate, Index updates) {
    const FlushDenormals flush;
    return step_on(batch, nullptr, learning_rate, updates);
  }

  Size run_steps(const Batch<T>& data, const Steps& steps) {
    const FlushDenormals flush;
    for (Size i = 0; i < steps.count; ++i) {
      const Size first = (steps.first + i) * steps.batch_size;
      const Size rows = std::min(steps.batch_size, steps.rows - first);
      const Index* order = steps.order + first;
      const Batch<T> batch = gather(data, rows, order);
      steps.losses[i] = step_on(batch, order, steps.learning_rates[i], steps.updates + i);
      if (!std::isfinite(steps.losses[i])) return i + 1;
    }
    return steps.count;
  }

  bool accepts(const Batch<T>& batch) const {
    return accept_batch(kernels_, target_kind_, input_width(), width(plan_.prediction), batch);
  }

 private:
  Size width(Size buffer) const { return plan_.widths[static_cast<std::size_t>(buffer)]; }
  Size input_width() const { return width(plan_.input); }
  Size output_width() const { return width(plan_.output); }

  static void require(bool present, const char* what) {
    if (!present) throw std::logic_error(std::string("Network: expected a plan with ") + what + ", got one without");
  }

  Panels<T> panels(Size buffer) {
    return {activations_[static_cast<std::size_t>(buffer)].data(), rows_, width(buffer)};
  }

  Fused<T> fused(const Stage& stage) const { return {index_of(stage.activation), stage.attributes.data()}; }

  // The next of two buffers that hold the gradients of a stage's target and of its source.
  Panels<T> gradient_panels(Size columns) {
    current_gradient_ = 1 - current_gradient_;
    return {gradients_[current_gradient_].reserve(panels_size<T>(rows_, columns)), rows_, columns};
  }

  void unpack(Panels<const T> from, T* to, Size stride) {
    kernels_.unpack_rows(from.rows, from.columns, from.data, from.panel_size(), to, stride);
  }

  // x into panels, then the first `count` stages.
  void run(Size rows, const T* x, const Index* order, std::size_t count) {
    rows_ = rows;
    reserve(plan_.input);
    const Panels<T> input = panels(plan_.input);
    kernels_.pack_rows(rows, input.columns, x, input.columns, order, input.data, input.panel_size());
    for (std::size_t i = 0; i < count; ++i) {
      const Stage& stage = stages_[i];
      reserve(stage.target);
      if (stage.dense) {
        const T* b = stage.b.size() > 0 ? parameters_ + stage.b.offset : nullptr;
        forward_product<T>(kernels_, panels(stage.source), parameters_ + stage.w.offset, b, panels(stage.target),
                           fused(stage), scratch_);
      } else {
        activate(stage);
      }
    }
  }

  void reserve(Size buffer) {
    activations_[static_cast<std::size_t>(buffer)].reserve(panels_size<T>(rows_, width(buffer)));
  }

  // Row-major rows of a matrix in panels: where they lie if one panel holds them, else a copy.
  struct Rows {
    T* data;
    Size stride;
  };

  Rows rows_of(Panels<T> matrix, AlignedBuffer<T>& copy) {
    if (matrix.count() == 1) return {matrix.data, kPanel<T>};
    T* rows = copy.reserve(matrix.rows * matrix.columns);
    unpack(matrix, rows, matrix.columns);
    return {rows, matrix.columns};
  }

  void back_to_panels(Rows rows, Panels<T> matrix) {
    if (rows.data == matrix.data) return;
    kernels_.pack_rows(matrix.rows, matrix.columns, rows.data, rows.stride, nullptr, matrix.data, matrix.panel_size());
  }

  void activate(const Stage& stage) {
    const Panels<T> z = panels(stage.source), y = panels(stage.target);
    const auto forward = kernels_.activation_forward[index_of(stage.activation)];
    if (!stage.by_row || z.count() == 1) {
      const Size lines = stage.by_row ? z.rows : z.lines(), columns = stage.by_row ? z.columns : kPanel<T>;
      forward(lines, columns, z.data, kPanel<T>, y.data, kPanel<T>, stage.attributes.data());
      return;
    }
    const Rows rows = rows_of(z, row_copies_[0]);
    forward(z.rows, z.columns, rows.data, rows.stride, rows.data, rows.stride, stage.attributes.data());
    back_to_panels(rows, y);
  }

  // d, the gradient of a stage's y, becomes that of its z.
  void through_activation(const Stage& stage, Panels<T> d) {
    if (stage.activation == Activation::identity) return;
    const Panels<T> z = panels(stage.source), y = panels(stage.target);
    const auto backward = kernels_.activation_backward[index_of(stage.activation)];
    if (!stage.by_row) {
      backward(d.lines(), kPanel<T>, d.data, kPanel<T>, z.data, kPanel<T>, y.data, kPanel<T>, d.data, kPanel<T>,
               stage.attributes.data());
      return;
    }
    const Rows dy = rows_of(d, row_copies_[0]), rows_z = rows_of(z, row_copies_[1]),
               rows_y = rows_of(y, row_copies_[2]);
    backward(d.rows, d.columns, dy.data, dy.stride, rows_z.data, rows_z.stride, rows_y.data, rows_y.stride, dy.data,
             dy.stride, stage.attributes.data());
    back_to_panels(dy, d);
  }

  void forward_for_loss(const Batch<T>& batch, const Index* order) {
    require(static_cast<bool>(plan_.loss), "a loss");
    run(batch.rows, batch.x, order, until_prediction_);
    forward_rows_ = 0;
  }

  // The mean loss and its gradient with respect to the prediction.
  std::pair<double, Panels<T>> prediction_loss(const Batch<T>& batch) {
    const Panels<T> p = panels(plan_.prediction);
    const Panels<T> d = gradient_panels(p.columns);
    const Rows rows = rows_of(p, row_copies_[0]);
    const bool one_panel = rows.data == p.data;
    const Rows dp = one_panel ? Rows{d.data, kPanel<T>} : rows;
    const double value =
        loss_(p.rows, p.columns, rows.data, rows.stride, {batch.y.values, p.columns, batch.y.labels}, batch.weights,
              mean_scale(p.rows, batch.weights), dp.data, dp.stride, loss_attributes_.data());
    back_to_panels(dp, d);
    return {value, d};
  }

  // From d, the gradient of the z of stage count - 1, back to the input. Fills `gradients`; where that is null each
  // parameter is updated as soon as its gradient is known.
  void reverse(std::size_t count, Panels<T> d, T* gradients, T* dx) {
    const std::size_t last = dx != nullptr ? 0 : first_trainable();
    for (std::size_t i = count; i-- > last;) {
      const Stage& stage = stages_[i];
      const Stage* before = i > 0 ? &stages_[i - 1] : nullptr;
      if (stage.dense) {
        Panels<T> next;
        if (i > last || dx != nullptr) {
          next = gradient_panels(width(stage.source));
          const bool fuses = before != nullptr && !before->by_row;
          backward_product<T>(kernels_, d, parameters_ + stage.w.offset, next,
                              fuses ? panels(stage.source) : Panels<T>(), fuses ? fused(*before) : Fused<T>(),
                              scratch_);
          if (before != nullptr && before->by_row) through_activation(*before, next);
        }
        if (gradients != nullptr) {
          dense_gradients(stage, d, gradients);
        } else {
          dense_update(stage, d);  // after dx, which needs w as it was
        }
        d = next;
      } else if (before != nullptr) {
        through_activation(*before, d);
      }
    }
    if (dx != nullptr) unpack(d, dx, d.columns);
  }

  void dense_gradients(const Stage& stage, Panels<T> d, T* gradients) {
    weight_product<T>(kernels_, panels(stage.source), d, gradients + stage.w.offset, {});
    if (stage.b.size() > 0) bias_gradient(d, gradients + stage.b.offset);
  }

  // One update of w and b, with the coefficients of this step.
  void dense_update(const Stage& stage, Panels<T> d) {
    if (stage.w.trainable) {
      WeightUpdate<T> update;
      if (optimizer_ == OptimizerKind::sgd) {
        update.finish = Finish::descend;
        update.rate = coefficients_[0];
      } else {
        update.finish = Finish::update;
        update.rule = {kernels_.update[static_cast<int>(optimizer_)], state_of(stage.w.offset), plan_.parameter_count,
                       coefficients_.data()};
      }
      weight_product<T>(kernels_, panels(stage.source), d, parameters_ + stage.w.offset, update);
    }
    if (stage.b.size() > 0 && stage.b.trainable) {
      T* db = bias_gradient_.reserve(stage.b.size());
      bias_gradient(d, db);
      update_span({stage.b.offset, stage.b.size()}, db);
    }
  }

  void bias_gradient(Panels<const T> d, T* db) {
    for (Size p = 0; p < d.count(); ++p) {
      const Size column = p * kPanel<T>;
      kernels_.column_sums(d.rows, std::min(kPanel<T>, d.columns - column), d.panel(p), kPanel<T>, db + column);
    }
  }

  // The first stage that has anything to learn; gradients need not go further back.
  std::size_t first_trainable() const {
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      if (stages_[i].dense && (stages_[i].w.trainable || (stages_[i].b.size() > 0 && stages_[i].b.trainable))) return i;
    }
    return stages_.size();
  }

  double step_on(const Batch<T>& batch, const Index* order, double learning_rate, Index updates) {
    require(static_cast<bool>(plan_.optimizer), "an optimizer");
    forward_for_loss(batch, order);
    const auto [value, d] = prediction_loss(batch);
    if (!std::isfinite(value) || until_prediction_ == 0) return value;
    through_activation(stages_[until_prediction_ - 1], d);
    update_coefficients(optimizer_, optimizer_attributes_, updates, learning_rate, coefficients_);
    reverse(until_prediction_, d, nullptr, nullptr);
    return value;
  }

  T* state_of(Size offset) const { return state_ == nullptr ? nullptr : state_ + offset; }

  void update_span(const Span& span, const T* gradients) {
    kernels_.update[static_cast<int>(optimizer_)](1, span.size, parameters_ + span.offset, span.size, gradients,
                                                  span.size, state_of(span.offset), plan_.parameter_count,
                                                  coefficients_.data());
  }

  // The targets and weights of some rows; x itself is read by index.
  Batch<T> gather(const Batch<T>& data, Size rows, const Index* order) {
    Batch<T> batch;
    batch.rows = rows;
    batch.x = data.x;
    if (data.y.labels != nullptr) {
      Index* labels = labels_.reserve(rows);
      for (Size i = 0; i < rows; ++i) labels[i] = data.y.labels[order[i]];
      batch.y.labels = labels;
    } else {
      const Size columns = width(plan_.prediction);
      T* values = values_.reserve(rows * columns);
      for (Size i = 0; i < rows; ++i) {
        std::copy_n(data.y.values + static_cast<Size>(order[i]) * columns, columns, values + i * columns);
      }
      batch.y.values = values;
    }
    if (data.weights != nullptr) {
      T* weights = weights_.reserve(rows);
      for (Size i = 0; i < rows; ++i) weights[i] = data.weights[order[i]];
      batch.weights = weights;
    }
    return batch;
  }

  const Kernels<T>& kernels_ = kernels<T>();
  Plan plan_;
  T* parameters_;
  T* state_;
  std::vector<Stage> stages_;
  std::vector<Span> spans_;
  std::size_t until_output_ = 0;
  std::size_t until_prediction_ = 0;
  typename Kernels<T>::Loss loss_ = nullptr;
  std::vector<double> loss_attributes_;
  TargetKind target_kind_ = TargetKind::values;
  OptimizerKind optimizer_ = OptimizerKind::sgd;
  std::vector<double> optimizer_attributes_;
  std::vector<double> coefficients_;  // of the update being made

  Size rows_ = 0;          // of the batch that the buffers hold
  Size forward_rows_ = 0;  // of the last forward, while its activations are whole
  std::vector<AlignedBuffer<T>> activations_;
  AlignedBuffer<T> gradients_[2];
  int current_gradient_ = 0;
  AlignedBuffer<T> row_copies_[3];
  AlignedBuffer<T> bias_gradient_;
  PackScratch<T> scratch_;
  AlignedBuffer<Index> labels_;
  AlignedBuffer<T> values_;
  AlignedBuffer<T> weights_;
};

template <class T>
Network<T>::Network(const Plan& plan, T* parameters, T* state)
    : implementation_(std::make_unique<Implementation>(plan, parameters, state)) {}
template <class T>
Network<T>::~Network() = default;
template <class T>
Network<T>::Network(Network&&) noexcept = default;
template <class T>
Network<T>& Network<T>::operator=(Network&&) noexcept = default;

template <class T>
void Network<T>::predict(Size rows, const T* x, T* out) {
  implementation_->predict(rows, x, out);
}
template <class T>
void Network<T>::forward(Size rows, const T* x, T* out) {
  implementation_->forward(rows, x, out);
}
template <class T>
void Network<T>::backward(const T* dy, T* gradients, T* dx) {
  implementation_->backward(dy, gradients, dx);
}
template <class T>
Size Network<T>::forward_rows() const {
  return implementation_->forward_rows();
}
template <class T>
double Network<T>::loss(const Batch<T>& batch) {
  return implementation_->loss(batch);
}
template <class T>
double Network<T>::loss_and_gradients(const Batch<T>& batch, T* gradients, T* dx) {
  return implementation_->loss_and_gradients(batch, gradients, dx);
}
template <class T>
void Network<T>::apply_gradients(const T* gradients, double learning_rate, Index updates) {
  implementation_->apply_gradients(gradients, learning_rate, updates);
}
template <class T>
double Network<T>::step(const Batch<T>& batch, double learning_rate, Index updates) {
  return implementation_->step(batch, learning_rate, updates);
}
template <class T>
Size Network<T>::run_steps(const Batch<T>& data, const Steps& steps) {
  return implementation_->run_steps(data, steps);
}
template <class T>
bool Network<T>::accepts(const Batch<T>& batch) const {
  return implementation_->accepts(batch);
}

template class Network<float>;
template class Network<double>;

}  // namespace densegrad
