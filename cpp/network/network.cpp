#include "densegrad/network.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "dispatch/dispatch.hpp"
#include "network/accept.hpp"
#include "network/pass.hpp"
#include "network/training.hpp"
#include "ops/coefficients.hpp"
#include "ops/flush_denormals.hpp"

namespace densegrad {
namespace {

// The most rows that one pass of predict holds activations for: as many as keep the widest buffer near.
template <class T>
Size predict_rows(const Plan& plan) {
  constexpr Size near = 512 * 1024 / static_cast<Size>(sizeof(T));
  return std::clamp<Size>(near / *std::max_element(plan.widths.begin(), plan.widths.end()), 56, 1024);
}

}  // namespace

template <class T>
class Network<T>::Implementation {
 public:
  Implementation(const Plan& plan, T* parameters, T* state)
      : plan_(plan),
        stages_(make_stages(plan)),
        common_{kernels<T>(), parameters, state, plan.parameter_count},
        predicting_(common_, plan_, stages_, stages_until(stages_, plan_, plan_.output), Purpose::predict),
        predict_rows_(predict_rows<T>(plan_)),
        keeping_(common_, plan_, stages_, stages_until(stages_, plan_, plan_.output), Purpose::keep) {
    if (plan_.optimizer) prepare_optimizer();
    if (plan_.loss) training_.emplace(common_, plan_, stages_);
  }

  bool predict(Size rows, const T* x, T* out, bool only_finite) {
    const FlushDenormals flush;
    const Size passes = divide_up(rows, predict_rows_), height = passes > 1 ? divide_up(rows, passes) : rows;
    for (Size first = 0; first < rows; first += height) {
      const Size some = std::min(height, rows - first);
      if (only_finite && !common_.kernels.all_finite(some * input_width(), x + first * input_width())) return false;
      predicting_.prepare(some);
      forward(predicting_, x + first * input_width());
      unpack(predicting_.output(), out + first * output_width());
    }
    return true;
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
    return training().loss(batch);
  }

  double loss_and_gradients(const Batch<T>& batch, T* gradients, T* dx) {
    const FlushDenormals flush;
    training().prepare(batch.rows, dx != nullptr);
    const double value = training_->run(batch, {gradients, nullptr});
    if (dx != nullptr) unpack(training_->input_gradient(), dx);
    return value;
  }

  void apply_gradients(const T* gradients, double learning_rate, Index updates) {
    const FlushDenormals flush;
    const double* coefficients = update(learning_rate, updates).coefficients;
    for (const Span& span : spans_) {
      common_.update(1, span.size, common_.parameters + span.offset, span.size, gradients + span.offset, span.size,
                     state_at(common_.state, span.offset), plan_.parameter_count, coefficients);
    }
  }

  double step(const Batch<T>& batch, double learning_rate, Index updates) {
    const FlushDenormals flush;
    training().prepare(batch.rows, false);
    return training_->run(batch, update(learning_rate, updates));
  }

  Size run_steps(const Batch<T>& data, const Steps& steps) {
    const FlushDenormals flush;
    Size first = steps.first * steps.batch_size, last = std::min(first + steps.batch_size, steps.rows);
    for (Size i = 0; i < steps.count; ++i) {
      const Size next = i + 1 < steps.count ? std::min(last + steps.batch_size, steps.rows) : last;
      training().prepare(last - first, false);
      steps.losses[i] = training_->run(data, steps.order + first, steps.order + next,
                                       update(steps.learning_rates[i], steps.updates + i));
      if (!std::isfinite(steps.losses[i])) return i + 1;
      first = last;
      last = next;
    }
    return steps.count;
  }

  bool accepts(const Batch<T>& batch) const {
    return accept_batch(common_.kernels, target_kind(plan_.loss.primitive), input_width(), width(plan_.prediction),
                        batch);
  }

 private:
  void prepare_optimizer() {
    const PrimitiveRow& row = find_primitive("optimizer", plan_.optimizer.primitive);
    if (row.state > 0 && common_.state == nullptr) {
      throw std::invalid_argument("Network: expected a state for this optimizer");
    }
    optimizer_ = optimizer_named(plan_.optimizer.primitive);
    optimizer_attributes_ = attribute_values(row, plan_.optimizer.attributes);
    common_.states = row.state;
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

  Training<T>& training() {
    require(training_.has_value(), "a loss");
    return *training_;
  }

  // One update of the parameters by their gradients.
  Learning<T> update(double learning_rate, Index updates) {
    require(static_cast<bool>(plan_.optimizer), "an optimizer");
    update_coefficients(optimizer_, optimizer_attributes_, updates, learning_rate, coefficients_);
    return {nullptr, coefficients_.data()};
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

  Plan plan_;
  std::vector<Stage> stages_;
  Common<T> common_;
  Pass<T> predicting_;
  Size predict_rows_;
  Pass<T> keeping_;
  std::optional<Training<T>> training_;  // where the plan has a loss
  OptimizerKind optimizer_ = OptimizerKind::sgd;
  std::vector<double> optimizer_attributes_;
  std::vector<double> coefficients_;  // of the update being made
  std::vector<Span> spans_;
  Size forward_rows_ = 0;  // of the last forward, while its activations are whole
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
  implementation_->predict(rows, x, out, false);
}
template <class T>
bool Network<T>::predict_finite(Size rows, const T* x, T* out) {
  return implementation_->predict(rows, x, out, true);
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
