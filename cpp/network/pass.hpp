#pragma once

#include <memory>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "densegrad/network.hpp"
#include "network/bound_stage.hpp"
#include "network/layout.hpp"

namespace densegrad {

/// What a pass is for, and so what it keeps: nothing, everything until the next pass, or what one way back needs.
enum class Purpose { predict, keep, train };

/// The first stages of a network over one arena. It is laid out for a number of rows and then runs any number of times
/// without allocating.
template <class T>
class Pass {
 public:
  Pass(const Common<T>& common, const Plan& plan, const std::vector<Stage>& stages, std::size_t count, Purpose purpose);

  /// Lays out memory for so many rows; dx: the gradient of the input is wanted, too. Gives whether anything had to
  /// change, in which case output and gradients may lie elsewhere. Throws std::bad_alloc.
  bool prepare(Size rows, bool dx = false);

  Size rows() const { return rows_; }
  int threads() const { return threads_; }

  Panels<T> output() { return panels(static_cast<std::size_t>(output_), output_); }
  Panels<T> output_gradient() { return panels(gradient_[static_cast<std::size_t>(output_)], output_); }
  Panels<T> input_gradient() { return panels(gradient_[static_cast<std::size_t>(plan_.input)], plan_.input); }

  /// Rows that will be loaded after this run, by their numbers: it asks for them while it computes.
  void expect(const Batch<T>& data, const Index* first, const Index* last);

  /// out (rows, width of the output) for x (rows, width of the input), by a team of its own.
  void run(const T* x, T* out);

  /// Each is called by every thread of a team. load takes the rows of x, or those with the numbers `order`.
  void load(const Team& team, const T* x, const Index* order);
  void forward(const Team& team);
  void backward(const Team& team, const Learning<T>& learning);

 private:
  int load_moment() const { return 0; }
  int forward_moment(std::size_t stage) const { return 1 + static_cast<int>(stage); }
  int output_moment() const { return forward_moment(count_); }
  int dx_moment(std::size_t stage) const { return output_moment() + 1 + 2 * static_cast<int>(count_ - 1 - stage); }
  int dw_moment(std::size_t stage) const { return dx_moment(stage) + 1; }

  bool goes_back() const { return purpose_ != Purpose::predict; }
  Size width(Size buffer) const { return plan_.widths[static_cast<std::size_t>(buffer)]; }
  Size z_of(const Stage& stage) const { return goes_back() || !stage.dense ? stage.z : stage.target; }
  bool applies_derivative_of_the_stage_before(std::size_t stage) const;
  bool wants_dx(std::size_t stage) const { return goes_back() && (stage > first_back_ || dx_); }

  void find_lifetimes();
  void forward_lifetimes();
  void backward_lifetimes();
  void bind();
  Panels<T> panels(std::size_t piece, Size buffer) {
    return {arena_.data() + layout_.offset(piece), rows_, width(buffer)};
  }
  Help<T> help(const Team& team) { return {scratch_.data(), upcoming_.data() + team.rank()}; }

  const Common<T>& common_;
  const Plan& plan_;
  const std::vector<Stage>& stages_;
  std::size_t count_;
  Purpose purpose_;
  Size output_;
  std::size_t first_trainable_;
  std::vector<std::unique_ptr<BoundStage<T>>> bound_;

  bool ready_ = false;  // for what follows
  Size rows_ = 0;
  int threads_ = 1;
  bool dx_ = false;
  std::size_t first_back_ = 0;         // the way back ends at this stage
  std::vector<Lifetime> pieces_;       // the buffers, then their gradients
  std::vector<std::size_t> gradient_;  // the piece that holds each buffer's gradient
  Layout layout_;
  AlignedBuffer<T> arena_;
  AlignedBuffer<T> scratch_;
  std::vector<Upcoming> upcoming_;  // for each thread
  Size rounds_ = 0;
};

}  // namespace densegrad
