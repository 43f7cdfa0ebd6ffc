#pragma once

#include <cstdint>
#include <memory>

#include "densegrad/plan.hpp"
#include "densegrad/types.hpp"

namespace densegrad {

/// Targets of a batch: `values` (rows, width) row by row, or one label a row for a loss on classes. Those of a sum of
/// losses are values alone, side by side in the order of its terms.
template <class T>
struct Target {
  const T* values = nullptr;
  const Index* labels = nullptr;
};

/// A batch of rows in memory, row by row. `weights` (rows) may be null: every row then counts alike.
template <class T>
struct Batch {
  Size rows = 0;
  const T* x = nullptr;
  Target<T> y;
  const T* weights = nullptr;
};

/// Which steps of an epoch to run: step i trains on the rows order[i * batch_size] to order[(i + 1) * batch_size - 1].
struct Steps {
  const Index* order = nullptr;  ///< (rows) row numbers
  Size rows = 0;
  Size first = 0;
  Size count = 0;
  Size batch_size = 0;
  const double* learning_rates = nullptr;  ///< (count)
  double* losses = nullptr;                ///< (count), written
  Index updates = 0;                       ///< made before the first step
};

/// Where a network's random numbers begin.
struct Seed {
  std::uint64_t value = 0;
};

/// Runs a plan over a flat parameter buffer and updates it in place.
///
///     Network<float> network(stack(2, {{16, {"tanh"}}, {1}}, {"mse"}, {"adam"}), Seed{1});
///     Batch<float> data{rows, x, {y}};
///     for (int epoch = 0; epoch < 100; ++epoch) std::cout << network.run_epoch(data, 32, 1e-3) << '\n';
///
/// T is float or double. Working memory grows with the largest batch seen and is then reused: a training loop
/// allocates nothing after its first step. Several threads may predict at once, as long as nothing changes the
/// parameters; every other call has the object to itself.
template <class T>
class Network {
 public:
  /// Borrows `parameters` (plan.parameter_count) and the optimiser's `state` (rows of parameter_count numbers, or
  /// null where it has none). Rows of state are state_stride apart: 0 stands for parameter_count, and whole cache lines
  /// are fastest. Throws std::invalid_argument where the plan makes no sense.
  Network(const Plan& plan, T* parameters, T* state = nullptr, Size state_stride = 0);

  /// Owns its parameters and state. Weights are drawn by the scheme that suits the activation behind them (He, Glorot
  /// or LeCun), biases are 0; the orders of later epochs come from the same seed. Throws std::invalid_argument where
  /// the plan makes no sense, std::bad_alloc.
  Network(const Plan& plan, Seed seed);

  /// As above, but begins with a copy of `parameters` (plan.parameter_count); null where the plan has none.
  Network(const Plan& plan, const T* parameters, Seed seed);

  ~Network();
  Network(Network&&) noexcept;
  Network& operator=(Network&&) noexcept;

  /// out (rows, width of plan.output) = the plan's output for x (rows, width of plan.input), any number of rows.
  void predict(Size rows, const T* x, T* out) const;

  /// As predict, but false, with only some rows of out written, as soon as a number of x turns out not to be finite.
  bool predict_finite(Size rows, const T* x, T* out) const;

  /// For one batch in training, whose activations are kept for `backward` until the next forward: dropout draws the
  /// mask of that step, and batch norm takes mean and variance of the batch.
  void forward(Size rows, const T* x, T* out, Index step = 0);

  /// Gradients of a loss that lives elsewhere, from dy (rows, width of plan.output) of the last `forward`. Fills
  /// `gradients` (parameter_count), and dx (rows, width of plan.input) unless it is null. Moves the averages of batch
  /// norm.
  void backward(const T* dy, T* gradients, T* dx);

  /// Rows of the last `forward`, 0 where there was none.
  Size forward_rows() const;

  /// The mean loss of a batch as predict sees it.
  double loss(const Batch<T>& batch);

  /// The mean loss of a batch; fills `gradients` (parameter_count), and dx unless it is null. Without dx, what lies
  /// before the first trainable parameters is left as it was. The network is in training, as by `forward`.
  double loss_and_gradients(const Batch<T>& batch, T* gradients, T* dx = nullptr, Index step = 0);

  /// Updates every trainable parameter from `gradients`; `updates` were made before.
  void apply_gradients(const T* gradients, double learning_rate, Index updates);

  /// One training step; gives the loss before it. A loss that is not finite is given back without an update.
  double step(const Batch<T>& batch, double learning_rate, Index updates);

  /// Steps over rows read by index from the whole data set `data`; gives how many were run. A loss that is not
  /// finite ends the run before its update.
  Size run_steps(const Batch<T>& data, const Steps& steps);

  /// One epoch: steps over batches of the rows in a new order, the last one perhaps smaller. Gives the mean over the
  /// rows of the losses before each update, or the loss that was not finite, which ends the epoch before its update.
  /// Updates are counted from the first epoch on; the order comes from the seed (0 where parameters are borrowed).
  double run_epoch(const Batch<T>& data, Size batch_size, double learning_rate);

  /// Threads that the last training step ran on: found by measuring, at most get_num_threads().
  int threads() const;

  /// The flat buffer, plan.parameter_count numbers.
  T* parameters();
  const T* parameters() const;

  /// Whether every number of a batch is finite and every target in the loss's range.
  bool accepts(const Batch<T>& batch) const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

extern template class Network<float>;
extern template class Network<double>;

}  // namespace densegrad
