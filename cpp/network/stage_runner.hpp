#pragma once

#include <memory>
#include <vector>

#include "network/stages.hpp"
#include "ops/panels.hpp"
#include "ops/products.hpp"

namespace densegrad {

/// What a pass is for, and so what it keeps: nothing, everything until the next pass, or what one way back needs.
enum class PassMode { infer, keep, train };

/// What all stages of a network have in common.
template <class T>
struct NetworkContext {
  const Kernels<T>& kernels;
  T* parameters;
  Size parameter_count;
  T* state;           // of the optimiser, laid out as the parameters
  Size state_stride;  // from one number of a parameter's state to the next
  int states = 0;     // numbers of state for each parameter
  Update<T> update = nullptr;
  Epilogue epilogue = Epilogue::store;  // by which a tile updates the parameters it has the gradient of

  T* at(const Slot& slot) const { return parameters + slot.offset; }
};

/// Where a stage finds its matrices for a number of rows. Gradients are null in a pass that only goes forward, and dx
/// is where nobody wants it. dx of a stage that is not dense may be dy where it is as wide.
template <class T>
struct StageBuffers {
  Panels<T> x, x2, z, y, dy, dx, dx2;
  PassMode mode = PassMode::infer;
  bool dy_is_dz = false;          // the stage behind has applied this one's derivative
  const Stage* before = nullptr;  // whose derivative this stage applies to dx, or null
  Panels<T> before_z, before_y;
  int threads = 1;
};

/// What the way back does with the gradients of parameters: they go into `gradients`, or into an update at once where
/// that is null.
template <class T>
struct BackwardOptions {
  T* gradients = nullptr;
  const double* coefficients = nullptr;       // of the update
  Index step = 0;                             // whose number dropout draws by
  bool updates_running_statistics = false;    // a batch norm's, towards those of the batch
  const std::vector<Size>* summed = nullptr;  // offsets of slots whose gradients a stage behind has left in `gradients`
};

/// A stage bound to matrices, ready to run any number of times, by a team of at most so many threads as it was bound
/// for.
template <class T>
class StageRunner {
 public:
  virtual ~StageRunner() = default;
  virtual void bind(const StageBuffers<T>& buffers) = 0;
  /// Elements of scratch that forward and backward need.
  virtual Size scratch() const { return 0; }
  /// How often they ask for rows of the next step.
  virtual Size prefetch_calls() const { return 0; }
  /// Before the run of a step with that number.
  virtual void begin(Index) {}
  virtual void forward(const Team& team, const Workspace<T>& workspace) = 0;
  virtual void backward(const Team& team, const Workspace<T>& workspace, const BackwardOptions<T>& options) = 0;
};

template <class T>
std::unique_ptr<StageRunner<T>> make_stage_runner(const NetworkContext<T>& context, const Stage& stage);

/// One maker for each kind.
#define DENSEGRAD_MAKER(name) \
  template <class T>          \
  std::unique_ptr<StageRunner<T>> name(const NetworkContext<T>& context, const Stage& stage)
DENSEGRAD_MAKER(make_activation);
DENSEGRAD_MAKER(make_add);
DENSEGRAD_MAKER(make_batch_norm);
DENSEGRAD_MAKER(make_columns);
DENSEGRAD_MAKER(make_concatenate);
DENSEGRAD_MAKER(make_dense);
DENSEGRAD_MAKER(make_dropout);
DENSEGRAD_MAKER(make_layer_norm);
DENSEGRAD_MAKER(make_parametric);
DENSEGRAD_MAKER(make_standardize);
#undef DENSEGRAD_MAKER

/// What becomes of the gradient of a slot's elements.
template <class T>
GradientTarget<T> gradient_target(const NetworkContext<T>& context, const Slot& slot,
                                  const BackwardOptions<T>& options);

/// Brings a gradient that has been computed, of `count` elements of a slot from `first` on, where it goes; null is the
/// gradient of what nobody trains.
template <class T>
void store_or_update(const NetworkContext<T>& context, const Slot& slot, Size first, Size count, const T* gradient,
                     const BackwardOptions<T>& options);

/// Calls f(panel, its first column, its columns) for each panel of a matrix of so many columns.
template <class T, class Function>
void for_each_panel(const Team& team, Size columns, Function f) {
  team.for_each(divide_up(columns, kPanel<T>), [&](Size p) {
    const Size first = p * kPanel<T>;
    f(p, first, columns - first < kPanel<T> ? columns - first : kPanel<T>);
  });
}

}  // namespace densegrad
