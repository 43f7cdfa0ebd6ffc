#include "densegrad/network.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "dispatch/dispatch.hpp"
#include "network/accept.hpp"
#include "network/bound_loss.hpp"
#include "network/pass.hpp"
#include "ops/coefficients.hpp"
#include "ops/flush_denormals.hpp"
#include "ops/loss.hpp"

namespace densegrad {
namespace {

constexpr Size kPredictRows = 1024;  // rows that one pass of predict holds activations for

}  // namespace

template <class T>
class Network<T>::Implementation {
 public:
  Implementation(const Plan& plan, T* parameters, T* state)
      : plan_(plan),
        stages_(make_stages(plan)),
        common_{kernels<T>(), parameters, state, plan.parameter_count},
        predicting_(common_, plan_, stages_, stages_until(stages_, plan_, plan_.output), Purpose::predict),
        keeping_(common_, plan_, stages_, stages_until(stages_, plan_, plan_.output), Purpose::keep) {
    if (plan_.optimizer) prepare_optimizer();
    if (plan_.loss) training_.emplace(common_, plan_, stages_);
  }

  void predict(Size rows, const T* x, T* out) {
    const FlushDenormals flush;
    for (Size first = 0; first < rows; first += kPredictRows) {
      predicting_.prepare(std::min(kPredictRows, rows - first));
      forward(predicting_, x + first * input_width());
      unpack(predicting_.output(), out + first * output_width());
    }
  }

  void forward(Size rows, const T* x, T* out) {
    const FlushDenormals flush;
    forward_rows_ = 0;
    keeping_.prepare(rows, true);
    forward(keeping_, x);
    unpack(keeping_.output(), out);
    forward_rows_ = rows;
  }

  void backward(const T* dy, T* gradients, T* dx) {
    const FlushDenormals flush;
    if (forward_rows_ == 0) throw std::logic_error("Network::backward: expected a forward before it, got none");
    const Panels<T> d = keeping_.output_gradient();
    common_.kernels.pack_rows(d.rows, d.columns, dy, d.columns, nullptr, d.data, d.panel_size());
    run_team(keeping_.threads(), [&](const Team& team) { keeping_.backward(team, {gradients, nullptr}); });
    if (dx != nullptr) unpack(keeping_.input_gradient(), dx);
  }

  Size forward_rows() const { return forward_rows_; }

  double loss(const Batch<T>& batch) {
    const FlushDenormals flush;
    Training& training = with_loss();
    const double scale = mean_scale(batch.rows, batch.weights);
    double sum = 0;
    for (Size first = 0; first < batch.rows; first += kPredictRows) {
      const Batch<T> some = rows_of(batch, first, std::min(kPredictRows, batch.rows - first));
      training.evaluating.prepare(some.rows);
      const Panels<T> p = training.evaluating.output();
      training.loss.prepare(p, p, training.evaluating.threads());
      training.prepared_rows = 0;  // another pass has the loss now
      double part = 0;
      run_team(training.evaluating.threads(), [&](const Team& team) {
        training.evaluating.load(team, some.x, nullptr);
        training.evaluating.forward(team);
        const double value = training.loss.run(team, targets_of(some), some.weights, scale);
        if (team.rank() == 0) part = value;
      });
      sum += part;
    }
    return sum;
  }

  double loss_and_gradients(const Batch<T>& batch, T* gradients, T* dx) {
    const FlushDenormals flush;
    prepare_training(batch.rows, dx != nullptr);
    const double value = run_training(batch, nullptr, {gradients, nullptr});
    if (dx != nullptr) unpack(training_->pass.input_gradient(), dx);
    return value;
  }

  void apply_gradients(const T* gradients, double learning_rate, Index updates) {
    const FlushDenormals flush;
    require(static_cast<bool>(plan_.optimizer), "an optimizer");
    update_coefficients(optimizer_, optimizer_attributes_, updates, learning_rate, coefficients_);
    for (const Span& span : spans_) {
      T* state = common_.state == nullptr ? nullptr : common_.state + span.offset;
      common_.update(1, span.size, common_.parameters + span.offset, span.size, gradients + span.offset, span.size,
                     state, plan_.parameter_count, coefficients_.data());
    }
  }

  double step(const Batch<T>& batch, double learning_rate, Index updates) {
    const FlushDenormals flush;
    prepare_training(batch.rows, false);
    return step_on(batch, nullptr, learning_rate, updates);
  }

  Size run_steps(const Batch<T>& data, const Steps& steps) {
    const FlushDenormals flush;
    for (Size i = 0; i < steps.count; ++i) {
      const Size first = (steps.first + i) * steps.batch_size, last = std::min(first + steps.batch_size, steps.rows);
      const Index* order = steps.order + first;
      prepare_training(last - first, false);
      const Size next = i + 1 < steps.count ? std::min(last + steps.batch_size, steps.rows) : last;
      training_->pass.expect(data, steps.order + last, steps.order + next);
      const Batch<T> batch = gather(data, last - first, order);
      steps.losses[i] = step_on(batch, order, steps.learning_rates[i], steps.updates + i);
      if (!std::isfinite(steps.losses[i])) return i + 1;
    }
    return steps.count;
  }

  bool accepts(const Batch<T>& batch) const {
    return accept_batch(common_.kernels, target_kind(plan_.loss.primitive), input_width(), width(plan_.prediction),
                        batch);
  }

 private:
  // What a plan with a loss has.
  struct Training {
    Training(const Common<T>& common, const Plan& plan, const std::vector<Stage>& stages)
        : pass(common, plan, stages, stages_until(stages, plan, plan.prediction), Purpose::train),
          evaluating(common, plan, stages, stages_until(stages, plan, plan.prediction), Purpose::predict),
          loss(common.kernels, static_cast<int>(loss_named(plan.loss.primitive)),
               attribute_values(find_primitive("loss", plan.loss.primitive), plan.loss.attributes)) {}
    Pass<T> pass;
    Pass<T> evaluating;
    BoundLoss<T> loss;
    Size prepared_rows = 0;  // for which the loss is bound to `pass`
    bool prepared_dx = false;
  };

  void prepare_optimizer() {
    const PrimitiveRow& row = find_primitive("optimizer", plan_.optimizer.primitive);
    if (row.state > 0 && common_.state == nullptr) {
      throw std::invalid_argument("Network: expected a state for this optimizer");
    }
    optimizer_ = optimizer_named(plan_.optimizer.primitive);
    optimizer_attributes_ = attribute_values(row, plan_.optimizer.attributes);
    common_.update = common_.kernels.update[static_cast<int>(optimizer_)];
    common_.finish = optimizer_ == OptimizerKind::sgd ? Finish::descend : Finish::update;
    spans_ = trainable_spans(plan_);
  }

  Size width(Size buffer) const { return plan_.widths[static_cast<std::size_t>(buffer)]; }
  Size input_width() const { return width(plan_.input); }
  Size output_width() const { return width(plan_.output); }

  static void require(bool present, const char* what) {
    if (!present) throw std::logic_error(std::string("Network: expected a plan with ") + what + ", got one without");
  }

  Training& with_loss() {
    require(static_cast<bool>(plan_.loss), "a loss");
    return *training_;
  }

  Targets<T> targets_of(const Batch<T>& batch) const {
    return {batch.y.values, width(plan_.prediction), batch.y.labels};
  }

  Batch<T> rows_of(const Batch<T>& batch, Size first, Size rows) const {
    Batch<T> some;
    some.rows = rows;
    some.x = batch.x + first * input_width();
    if (batch.y.values != nullptr) some.y.values = batch.y.values + first * width(plan_.prediction);
    if (batch.y.labels != nullptr) some.y.labels = batch.y.labels + first;
    if (batch.weights != nullptr) some.weights = batch.weights + first;
    return some;
  }

  void unpack(Panels<const T> from, T* to) {
    common_.kernels.unpack_rows(from.rows, from.columns, from.data, from.panel_size(), to, from.columns);
  }

  static void forward(Pass<T>& pass, const T* x) {
    run_team(pass.threads(), [&](const Team& team) {
      pass.load(team, x, nullptr);
      pass.forward(team);
    });
  }

  void prepare_training(Size rows, bool dx) {
    Training& training = with_loss();
    Pass<T>& pass = training.pass;
    pass.prepare(rows, dx);
    if (training.prepared_rows == rows && training.prepared_dx == dx) return;
    training.loss.prepare(pass.output(), pass.output_gradient(), pass.threads());
    training.prepared_rows = rows;
    training.prepared_dx = dx;
  }

  double step_on(const Batch<T>& batch, const Index* order, double learning_rate, Index updates) {
    require(static_cast<bool>(plan_.optimizer), "an optimizer");
    update_coefficients(optimizer_, optimizer_attributes_, updates, learning_rate, coefficients_);
    return run_training(batch, order, {nullptr, coefficients_.data()});
  }

  // Forward, loss, and backward if the loss is finite. x is read by the numbers in `order` unless they are null.
  double run_training(const Batch<T>& batch, const Index* order, const Learning<T>& learning) {
    Training& training = *training_;
    const double scale = mean_scale(batch.rows, batch.weights);
    double loss = 0;
    run_team(training.pass.threads(), [&](const Team& team) {
      training.pass.load(team, batch.x, order);
      training.pass.forward(team);
      const double value = training.loss.run(team, targets_of(batch), batch.weights, scale);
      if (team.rank() == 0) loss = value;
      if (std::isfinite(value) || learning.gradients != nullptr) training.pass.backward(team, learning);
    });
    return loss;
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

  Plan plan_;
  std::vector<Stage> stages_;
  Common<T> common_;
  Pass<T> predicting_;
  Pass<T> keeping_;
  std::optional<Training> training_;
  OptimizerKind optimizer_ = OptimizerKind::sgd;
  std::vector<double> optimizer_attributes_;
  std::vector<double> coefficients_;  // of the update being made
  std::vector<Span> spans_;
  Size forward_rows_ = 0;  // of the last forward, while its activations are whole
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
