#include "densegrad/network.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/generator.hpp"
#include "dispatch/dispatch.hpp"
#include "network/gradient_transform.hpp"
#include "network/initialize.hpp"
#include "network/pass.hpp"
#include "network/prediction.hpp"
#include "network/training.hpp"
#include "network/validate.hpp"
#include "ops/coefficients.hpp"
#include "ops/thread_choice.hpp"

namespace densegrad {
namespace {

// Memory of a network that nobody lends any.
template <class T>
struct Owned {
  AlignedBuffer<T> parameters, state;
  Size state_stride = 0;

  Owned() = default;
  explicit Owned(const Plan& plan) {
    make_stages(plan);  // which refuses a plan that makes no sense
    parameters.reserve(plan.parameter_count);
    if (plan.optimizer) {
      const int rows = find_primitive("optimizer", plan.optimizer.primitive).state + (plan.average > 0 ? 1 : 0);
      constexpr Size line = kAlignment / static_cast<Size>(sizeof(T));
      state_stride = (plan.parameter_count + line - 1) / line * line;
      state.reserve(rows * state_stride);
    }
  }
};

}  // namespace

template <class T>
class Network<T>::Implementation {
 public:
  // begin: the first parameters, drawn where it is null
  Implementation(const Plan& plan, Owned<T> owned, Seed seed, const T* begin)
      : Implementation(plan, owned.parameters.data(), owned.state.data(), owned.state_stride) {
    owned_ = std::move(owned);
    generator_ = Generator(seed.value);
    if (begin == nullptr) {
      initialize(plan_, generator_, context_.parameters);
    } else {
      std::copy_n(begin, plan_.parameter_count, context_.parameters);
    }
    if (plan_.average > 0) {
      std::copy_n(context_.parameters, plan_.parameter_count, context_.state + context_.states * context_.state_stride);
    }
  }

  Implementation(const Plan& plan, T* parameters, T* state, Size state_stride)
      : plan_(plan),
        stages_(make_stages(plan)),
        context_{kernels<T>(), parameters, plan.parameter_count, state,
                 state_stride == 0 ? plan.parameter_count : state_stride},
        prediction_(context_, plan_, stages_),
        transform_(context_, plan_),
        keeping_(context_, plan_, stages_for(stages_, plan_, plan_.output), plan_.output, PassMode::keep) {
    if (plan_.optimizer) prepare_optimizer();
    if (plan_.has_loss()) training_.emplace(context_, plan_, stages_);
  }

  bool predict(Size rows, const T* x, T* out, Accept accept) {
    const Call call;
    return prediction_.run(rows, x, out, accept);
  }

  void forward(Size rows, const T* x, T* out, Index step) {
    const Call call;
    forward_rows_ = 0;
    run_on_team(forward_choices_, rows, [&](const Team& team) {
      keeping_.prepare(rows, std::max(team.most(), backward_choices_.at(rows).most()), true);
      keeping_.run(team, x, out, step);
    });
    forward_rows_ = rows;
  }

  void backward(const T* dy, T* gradients, T* dx) {
    const Call call;
    if (forward_rows_ == 0) throw std::logic_error("Network::backward: expected a forward before it, got none");
    run_on_team(backward_choices_, forward_rows_, [&](const Team& team) {
      const Panels<T> d = keeping_.output_gradient();
      context_.kernels.pack_rows(d.rows, d.columns, dy, d.columns, nullptr, d.data, d.panel_size());
      keeping_.backward(team.with_at_most(keeping_.threads()), {gradients, nullptr, 0, true});
      if (dx != nullptr) unpack<T>(context_.kernels, keeping_.input_gradient(), dx);
    });
  }

  Size forward_rows() const { return forward_rows_; }

  double loss(const Batch<T>& batch) {
    const Call call;
    double value = batch.rows > 0 ? 0 : transform_.penalty(Team(), 1);
    Size first = 0;
    require(training_.has_value(), "a loss");
    const auto rows_left = [&] { return std::min(Training<T>::kLossRows, batch.rows - first); };
    run_on_teams(loss_choices_, rows_left(), [&](const Team& team) {
      value += training().loss(team, batch, first);
      first += rows_left();
      if (rows_left() == 0) value += transform_.penalty(team, training_->share());
      return rows_left();
    });
    return value;
  }

  double loss_and_gradients(const Batch<T>& batch, T* gradients, T* dx, Index step) {
    const Call call;
    require(training_.has_value(), "a loss");
    double value = 0;
    run_on_team(step_choices_, batch.rows, [&](const Team& team) {
      training().prepare(batch.rows, team, dx != nullptr);
      value = training_->run(team, batch, {gradients, nullptr, step, false});
      if (dx != nullptr) unpack<T>(context_.kernels, training_->input_gradient(), dx);
      value += transform_.penalize(team, gradients, training_->share());
    });
    return value;
  }

  void apply_gradients(const T* gradients, double learning_rate, Index updates) {
    const Call call;
    const double* coefficients = update(learning_rate, updates).coefficients;
    if (transform_.needed()) {
      T* own = transform_.gradients();
      std::copy_n(gradients, plan_.parameter_count, own);
      run_on_team(update_choices_, 1, [&](const Team& team) { transform_.apply(team, own, coefficients); });
      return;
    }
    for (const Span& span : spans_) {
      context_.update(1, span.size, context_.parameters + span.offset, span.size, gradients + span.offset, span.size,
                      state_at(context_.state, span.offset), context_.state_stride, coefficients);
    }
  }

  double step(const Batch<T>& batch, double learning_rate, Index updates) {
    const Call call;
    require(training_.has_value(), "a loss");
    require(static_cast<bool>(plan_.optimizer), "an optimizer");
    double loss = 0;
    run_on_team(step_choices_, batch.rows, [&](const Team& team) {
      training().prepare(batch.rows, team, false);
      loss = learn_from(team, learning_rate, updates,
                        [&](const BackwardOptions<T>& options) { return training_->run(team, batch, options); });
    });
    return loss;
  }

  Size run_steps(const Batch<T>& data, const Steps& steps) {
    const Call call;
    Size first = steps.first * steps.batch_size, last = std::min(first + steps.batch_size, steps.rows), done = 0;
    if (steps.count == 0) return 0;
    run_on_teams(step_choices_, last - first, [&](const Team& team) {
      const Size next = done + 1 < steps.count ? std::min(last + steps.batch_size, steps.rows) : last;
      training().prepare(last - first, team, false);
      const double loss = steps.losses[done] =
          learn_from(team, steps.learning_rates[done], steps.updates + done, [&](const BackwardOptions<T>& options) {
            return training_->run(team, data, steps.order + first, steps.order + next, options);
          });
      ++done;
      first = last;
      last = next;
      return std::isfinite(loss) ? last - first : Size(0);
    });
    return done;
  }

  double run_epoch(const Batch<T>& data, Size batch_size, double learning_rate) {
    if (batch_size < 1) {
      throw std::invalid_argument("run_epoch: expected batch_size >= 1, got " + std::to_string(batch_size));
    }
    shuffle(data.rows);
    Steps steps;
    steps.order = order_.data();
    steps.rows = data.rows;
    steps.count = divide_up(data.rows, batch_size);
    steps.batch_size = batch_size;
    rates_.assign(static_cast<std::size_t>(steps.count), learning_rate);
    losses_.resize(static_cast<std::size_t>(steps.count));
    steps.learning_rates = rates_.data();
    steps.losses = losses_.data();
    steps.updates = updates_;
    const Size ran = run_steps(data, steps);
    const double last = ran == 0 ? 0 : losses_[static_cast<std::size_t>(ran - 1)];
    updates_ += std::isfinite(last) ? ran : ran - 1;
    return std::isfinite(last) ? epoch_mean(data, batch_size) : last;
  }

  int threads() const { return threads_; }

  T* parameters() { return context_.parameters; }

  bool accepts(const Batch<T>& batch) const {
    require(training_.has_value(), "a loss");
    return validate_batch(context_.kernels, training_->terms(), input_width(), batch);
  }

 private:
  // A step by run(options), with its update inside or, where that needs all gradients first, behind it.
  template <class Run>
  double learn_from(const Team& team, double learning_rate, Index updates, const Run& run) {
    threads_ = team.size();
    const BackwardOptions<T> options = update(learning_rate, updates);
    if (!transform_.needed()) return run(options);
    const double loss = run({transform_.gradients(), nullptr, updates, true});
    if (!std::isfinite(loss)) return loss;
    const double penalty = transform_.penalize(team, transform_.gradients(), training_->share());
    transform_.apply(team, transform_.gradients(), options.coefficients);
    return loss + penalty;
  }

  void prepare_optimizer() {
    const PrimitiveRow& row = find_primitive("optimizer", plan_.optimizer.primitive);
    if ((row.state > 0 || plan_.average > 0) && plan_.parameter_count > 0 && context_.state == nullptr) {
      throw std::invalid_argument("Network: expected a state for this optimizer");
    }
    optimizer_ = optimizer_named(plan_.optimizer.primitive);
    optimizer_attributes_ = attribute_values(row, plan_.optimizer.attributes);
    context_.states = row.state;
    context_.update = context_.kernels.update[static_cast<int>(optimizer_)];
    context_.epilogue = optimizer_ == OptimizerKind::sgd ? Epilogue::sgd : Epilogue::optimizer;
    spans_ = trainable_spans(plan_);
  }

  // A new order of the rows; Durstenfeld, Algorithm 235: random permutation (1964).
  void shuffle(Size rows) {
    order_.resize(static_cast<std::size_t>(rows));
    std::iota(order_.begin(), order_.end(), Index(0));
    for (std::size_t i = order_.size(); i > 1; --i) {
      std::swap(order_[i - 1], order_[static_cast<std::size_t>(generator_.below(static_cast<Index>(i)))]);
    }
  }

  // Of the losses of an epoch, each of which is a mean over the rows of its batch, or over their weights.
  double epoch_mean(const Batch<T>& data, Size batch_size) const {
    double sum = 0, total = 0;
    for (std::size_t i = 0; i < losses_.size(); ++i) {
      const Size first = static_cast<Size>(i) * batch_size, last = std::min(first + batch_size, data.rows);
      double weight = static_cast<double>(last - first);
      if (data.weights != nullptr) {
        weight = 0;
        for (Size k = first; k < last; ++k) weight += data.weights[order_[static_cast<std::size_t>(k)]];
      }
      sum += weight * losses_[i];
      total += weight;
    }
    return total > 0 ? sum / total : 0;
  }

  Size width(Size buffer) const { return plan_.widths[static_cast<std::size_t>(buffer)]; }
  Size input_width() const { return width(plan_.input); }

  static void require(bool present, const char* what) {
    if (!present) throw std::logic_error(std::string("Network: expected a plan with ") + what + ", got one without");
  }

  Training<T>& training() {
    require(training_.has_value(), "a loss");
    return *training_;
  }

  // One update of the parameters by their gradients.
  BackwardOptions<T> update(double learning_rate, Index updates) {
    require(static_cast<bool>(plan_.optimizer), "an optimizer");
    update_coefficients(optimizer_, optimizer_attributes_, updates, learning_rate, coefficients_);
    return {nullptr, coefficients_.data(), updates, true};
  }

  Plan plan_;
  std::vector<Stage> stages_;
  Owned<T> owned_;
  NetworkContext<T> context_;
  Prediction<T> prediction_;
  GradientTransform<T> transform_;
  Pass<T> keeping_;
  std::optional<Training<T>> training_;  // where the plan has a loss
  OptimizerKind optimizer_ = OptimizerKind::sgd;
  std::vector<double> optimizer_attributes_;
  std::vector<double> coefficients_;  // of the update being made
  std::vector<Span> spans_;
  ThreadChoices forward_choices_, backward_choices_, loss_choices_, step_choices_, update_choices_;
  int threads_ = 1;        // of the last step
  Size forward_rows_ = 0;  // of the last forward, while its activations are whole
  Generator generator_{0};
  Index updates_ = 0;  // made by run_epoch
  std::vector<Index> order_;
  std::vector<double> rates_, losses_;
};

template <class T>
Network<T>::Network(const Plan& plan, T* parameters, T* state, Size state_stride)
    : implementation_(std::make_unique<Implementation>(plan, parameters, state, state_stride)) {}
template <class T>
Network<T>::Network(const Plan& plan, Seed seed)
    : implementation_(std::make_unique<Implementation>(plan, Owned<T>(plan), seed, nullptr)) {}
template <class T>
Network<T>::Network(const Plan& plan, const T* parameters, Seed seed)
    : implementation_(std::make_unique<Implementation>(plan, Owned<T>(plan), seed, parameters)) {}
template <class T>
Network<T>::~Network() = default;
template <class T>
Network<T>::Network(Network&&) noexcept = default;
template <class T>
Network<T>& Network<T>::operator=(Network&&) noexcept = default;

template <class T>
void Network<T>::predict(Size rows, const T* x, T* out) const {
  implementation_->predict(rows, x, out, Accept::all);
}
template <class T>
bool Network<T>::predict_finite(Size rows, const T* x, T* out) const {
  return implementation_->predict(rows, x, out, Accept::finite);
}
template <class T>
void Network<T>::forward(Size rows, const T* x, T* out, Index step) {
  implementation_->forward(rows, x, out, step);
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
double Network<T>::loss_and_gradients(const Batch<T>& batch, T* gradients, T* dx, Index step) {
  return implementation_->loss_and_gradients(batch, gradients, dx, step);
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
double Network<T>::run_epoch(const Batch<T>& data, Size batch_size, double learning_rate) {
  return implementation_->run_epoch(data, batch_size, learning_rate);
}
template <class T>
int Network<T>::threads() const {
  return implementation_->threads();
}
template <class T>
T* Network<T>::parameters() {
  return implementation_->parameters();
}
template <class T>
const T* Network<T>::parameters() const {
  return implementation_->parameters();
}
template <class T>
bool Network<T>::accepts(const Batch<T>& batch) const {
  return implementation_->accepts(batch);
}

template class Network<float>;
template class Network<double>;

}  // namespace densegrad
