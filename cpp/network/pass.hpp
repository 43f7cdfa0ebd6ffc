#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "densegrad/network.hpp"
#include "network/layout.hpp"
#include "network/stage_runner.hpp"

namespace densegrad {

/// The stages that one buffer depends on, over one arena. It is laid out for a number of rows and then runs any number
/// of times without allocating.
template <class T>
class Pass {
 public:
  Pass(const NetworkContext<T>& context, const Plan& plan, Stages stages, Size output, PassMode mode);

  /// Lays out memory for so many rows and a team of at most so many threads; dx: the gradient of the input is wanted,
  /// too. Gives whether anything had to change, in which case output and gradients may lie elsewhere. Throws
  /// std::bad_alloc.
  bool prepare(Size rows, int threads, bool dx = false);

  Size rows() const { return rows_; }
  int threads() const { return threads_; }

  Panels<T> output() { return panels(static_cast<std::size_t>(output_), output_); }
  Panels<T> output_gradient() { return panels(gradient_[static_cast<std::size_t>(output_)], output_); }
  Panels<T> input_gradient() { return panels(gradient_[static_cast<std::size_t>(plan_.input)], plan_.input); }

  /// Rows that will be loaded after this run, by their numbers: its threads ask for them while they compute. y is so
  /// wide.
  void prefetch(const Team& team, const Batch<T>& data, Size y_width, const Index* first, const Index* last);

  /// Nothing more: what has not been asked for may be gone when the next run comes.
  void end_prefetch() { std::fill(prefetch_.begin(), prefetch_.end(), RowPrefetch{}); }

  /// out (rows, width of the output) for x (rows, width of the input).
  void run(const Team& team, const T* x, T* out, Index step = 0);

  /// Before the run of a step with that number, which dropout draws its mask by.
  void begin(Index step) {
    for (StageRunner<T>* stage : drawing_) stage->begin(step);
  }

  /// The parts of a run. load takes the rows of x, or those with the numbers `order`.
  void load(const Team& team, const T* x, const Index* order);
  void forward(const Team& team);
  void backward(const Team& team, const BackwardOptions<T>& options);

 private:
  int load_moment() const { return 0; }
  int forward_moment(std::size_t stage) const { return 1 + static_cast<int>(stage); }
  int output_moment() const { return forward_moment(stages_.size()); }
  int dx_moment(std::size_t stage) const {
    return output_moment() + 1 + 2 * static_cast<int>(stages_.size() - 1 - stage);
  }
  int dw_moment(std::size_t stage) const { return dx_moment(stage) + 1; }

  bool goes_back() const { return mode_ != PassMode::infer; }
  Size width(Size buffer) const { return plan_.widths[static_cast<std::size_t>(buffer)]; }
  Size z_of(const Stage& stage) const { return goes_back() || !stage.dense() ? stage.z : stage.target; }
  bool needs_gradient(Size buffer) const { return needed_[static_cast<std::size_t>(buffer)]; }
  bool goes_back_through(std::size_t i) const { return goes_back() && needs_gradient(stages_[i]->target); }
  bool read_once(Size buffer) const { return readers_[static_cast<std::size_t>(buffer)] == 1; }
  const Stage* derivative_applied_by(std::size_t i) const;
  std::size_t who_applies_derivative_of(std::size_t i) const;

  void find_needs();
  void find_sums();
  void find_lifetimes();
  void forward_lifetimes();
  void backward_lifetimes();
  void read_going_back(std::size_t i);
  void place_dx(std::size_t i);
  void bind();
  StageBuffers<T> buffers_of(std::size_t i);
  Panels<T> panels(std::size_t piece, Size buffer) {
    return {arena_.data() + layout_.offset(piece), rows_, width(buffer)};
  }
  Workspace<T> workspace() { return {scratch_.data(), prefetch_.data()}; }

  // The gradient of one source of a stage: where it goes, and whether it is added to what is there. Then it first comes
  // into a piece of its own.
  struct Contribution {
    std::size_t piece;
    bool adds;
  };
  Contribution& contribution(std::size_t i, std::size_t source) { return contributions_[2 * i + source]; }

  const NetworkContext<T>& context_;
  const Plan& plan_;
  Stages stages_;
  PassMode mode_;
  Size output_;
  std::vector<std::unique_ptr<StageRunner<T>>> runners_;
  std::vector<StageRunner<T>*> drawing_;  // those that want to know the step
  std::vector<int> readers_;              // of each buffer, among the stages
  std::vector<int> producer_;             // the stage that gives each buffer, -1 for the input
  bool shares_slots_ = false;             // between stages

  bool ready_ = false;  // for what follows
  Size rows_ = 0;
  int threads_ = 1;
  bool dx_ = false;
  std::vector<char> needed_;                 // whether somebody wants the gradient of each buffer
  std::vector<Size> seen_;                   // offsets of slots on the way back
  std::vector<std::vector<Size>> summed_;    // of each stage's slots those whose gradients it adds to what is there
  std::vector<Lifetime> pieces_;             // the buffers, their gradients, what is added to gradients
  std::vector<std::size_t> gradient_;        // the piece that holds each buffer's gradient
  std::vector<Contribution> contributions_;  // by stage and source
  Layout layout_;
  AlignedBuffer<T> arena_;
  AlignedBuffer<T> scratch_;
  std::vector<RowPrefetch> prefetch_;  // for each thread
  Size prefetch_calls_ = 0;
};

}  // namespace densegrad
