#include "network/pass.hpp"

#include <algorithm>
#include <limits>
#include <new>

namespace densegrad {
namespace {

constexpr Size kLoadRows = 64;  // that a task brings into panels

double multiply_adds(Size rows, const std::vector<Stage>& stages, std::size_t count) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += static_cast<double>(stages[i].w.size());
  return sum * static_cast<double>(rows);
}

std::size_t first_trainable(const std::vector<Stage>& stages) {
  std::size_t i = 0;
  while (i < stages.size() && !stages[i].trainable()) ++i;
  return i;
}

}  // namespace

template <class T>
Pass<T>::Pass(const Common<T>& common, const Plan& plan, const std::vector<Stage>& stages, std::size_t count,
              Purpose purpose)
    : common_(common),
      plan_(plan),
      stages_(stages),
      count_(count),
      purpose_(purpose),
      output_(count == 0 ? plan.input : stages[count - 1].target),
      first_trainable_(first_trainable(stages)) {
  for (std::size_t i = 0; i < count; ++i) bound_.push_back(make_bound_stage(common, stages[i]));
  pieces_.resize(2 * plan.widths.size());
  gradient_.resize(plan.widths.size());
}

template <class T>
bool Pass<T>::prepare(Size rows, bool dx) {
  const int threads = threads_for(multiply_adds(rows, stages_, count_));
  if (ready_ && rows == rows_ && dx == dx_ && threads == threads_) return false;
  ready_ = false;  // until all of it is done: memory may be short
  const auto most = std::numeric_limits<Size>::max() / static_cast<Size>(sizeof(T)) / 16;
  Size columns = 0;  // of all matrices together
  for (const Size one : plan_.widths) columns += 2 * (one + kPanel<T>);
  if (rows > most / columns) throw std::bad_alloc();
  rows_ = rows;
  dx_ = dx;
  threads_ = threads;
  first_back_ = dx ? 0 : std::min(first_trainable_, count_);
  for (std::size_t b = 0; b < plan_.widths.size(); ++b) {
    const Size size = panels_size<T>(rows, plan_.widths[b]);
    pieces_[b] = pieces_[plan_.widths.size() + b] = {size, 0, -1};
    gradient_[b] = plan_.widths.size() + b;
  }
  find_lifetimes();
  layout_.lay_out(pieces_);
  arena_.reserve(layout_.size());
  upcoming_.assign(static_cast<std::size_t>(threads), Upcoming{});
  bind();
  ready_ = true;
  return true;
}

// Whether the stage is a product that can apply the derivative of the stage before it to its dx while that is hot.
template <class T>
bool Pass<T>::applies_derivative_of_the_stage_before(std::size_t stage) const {
  return stage > 0 && stages_[stage].dense && !stages_[stage - 1].by_row && wants_dx(stage);
}

template <class T>
void Pass<T>::find_lifetimes() {
  forward_lifetimes();
  if (goes_back()) backward_lifetimes();
  if (purpose_ != Purpose::keep) return;
  for (Lifetime& piece : pieces_) {
    if (piece.first <= piece.last) piece = {piece.size, load_moment(), dw_moment(0)};
  }
}

template <class T>
void Pass<T>::forward_lifetimes() {
  const auto lives_at = [&](Size buffer, int moment) { pieces_[static_cast<std::size_t>(buffer)].lives_at(moment); };
  lives_at(plan_.input, load_moment());
  for (std::size_t i = 0; i < count_; ++i) {
    for (const Size buffer : {stages_[i].source, z_of(stages_[i]), stages_[i].target}) {
      lives_at(buffer, forward_moment(i));
    }
  }
  lives_at(output_, output_moment());
}

template <class T>
void Pass<T>::backward_lifetimes() {
  const auto lives_at = [&](Size buffer, int moment) { pieces_[static_cast<std::size_t>(buffer)].lives_at(moment); };
  for (std::size_t i = first_back_; i < count_; ++i) {
    const Stage& stage = stages_[i];
    if (stage.dense) lives_at(stage.source, dw_moment(i));
    const bool later = i + 1 < count_ && applies_derivative_of_the_stage_before(i + 1);
    const int moment = later ? dx_moment(i + 1) : dx_moment(i);
    if (stage.reads_z) lives_at(stage.z, moment);
    if (stage.reads_y) lives_at(stage.target, moment);
  }
  // The loss may leave its gradient where the prediction was, unless somebody still needs that.
  const auto output = static_cast<std::size_t>(output_);
  if (purpose_ == Purpose::train && pieces_[output].last == output_moment() && output_ != plan_.input) {
    gradient_[output] = output;
  }
  pieces_[gradient_[output]].lives_at(output_moment());
  for (std::size_t i = count_; i-- > first_back_;) {
    const auto source = static_cast<std::size_t>(stages_[i].source),
               target = static_cast<std::size_t>(stages_[i].target);
    pieces_[gradient_[target]].lives_at(dw_moment(i));
    if (!wants_dx(i)) continue;
    if (!stages_[i].dense) gradient_[source] = gradient_[target];  // an activation changes it in place
    pieces_[gradient_[source]].lives_at(dx_moment(i));
  }
}

template <class T>
void Pass<T>::bind() {
  Size scratch = 0;
  rounds_ = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const Stage& stage = stages_[i];
    const auto buffer = [&](Size b) { return panels(static_cast<std::size_t>(b), b); };
    const auto gradient = [&](Size b) { return panels(gradient_[static_cast<std::size_t>(b)], b); };
    Binding<T> binding;
    binding.x = buffer(stage.source);
    binding.z = buffer(z_of(stage));
    binding.y = buffer(stage.target);
    binding.threads = threads_;
    if (goes_back() && i >= first_back_) {
      binding.dy = gradient(stage.target);
      if (wants_dx(i)) binding.dx = gradient(stage.source);
      binding.dy_is_dz = i + 1 < count_ && applies_derivative_of_the_stage_before(i + 1);
    }
    if (applies_derivative_of_the_stage_before(i)) {
      const Stage& before = stages_[i - 1];
      binding.before = &before;
      if (before.reads_z) binding.before_z = buffer(before.z);
      if (before.reads_y) binding.before_y = buffer(before.target);
    }
    bound_[i]->bind(binding);
    scratch = std::max(scratch, bound_[i]->scratch());
    rounds_ += bound_[i]->rounds();
  }
  scratch_.reserve(scratch);
}

template <class T>
void Pass<T>::expect(const Batch<T>& data, const Index* first, const Index* last) {
  constexpr Size line = 64;
  const bool labelled = data.y.labels != nullptr;
  const Size x_size = width(plan_.input) * static_cast<Size>(sizeof(T));
  const Size y_size = labelled ? static_cast<Size>(sizeof(Index)) : width(output_) * static_cast<Size>(sizeof(T));
  const Size lines = (last - first) * (divide_up(x_size, line) + 1);
  for (int rank = 0; rank < threads_; ++rank) {
    Upcoming& u = upcoming_[static_cast<std::size_t>(rank)];
    u.row = first + (last - first) * rank / threads_;
    u.end = first + (last - first) * (rank + 1) / threads_;
    u.x = reinterpret_cast<const char*>(data.x);
    u.x_size = x_size;
    u.y = labelled ? reinterpret_cast<const char*>(data.y.labels) : reinterpret_cast<const char*>(data.y.values);
    u.y_size = y_size;
    u.line = u.line_end = nullptr;
    u.lines = static_cast<int>(divide_up(lines, std::max<Size>(rounds_, 1)));
  }
}

template <class T>
void Pass<T>::run(const T* x, T* out) {
  run_team(threads_, [&](const Team& team) {
    load(team, x, nullptr);
    forward(team);
  });
  unpack<T>(common_.kernels, output(), out);
}

template <class T>
void Pass<T>::load(const Team& team, const T* x, const Index* order) {
  const Panels<T> input = panels(static_cast<std::size_t>(plan_.input), plan_.input);
  team.for_each(divide_up(rows_, kLoadRows), [&](Size block) {
    const Size first = block * kLoadRows;
    common_.kernels.pack_rows(
        std::min(kLoadRows, rows_ - first), input.columns, order == nullptr ? x + first * input.columns : x,
        input.columns, order == nullptr ? nullptr : order + first, input.data + first * kPanel<T>, input.panel_size());
  });
}

template <class T>
void Pass<T>::forward(const Team& team) {
  for (std::size_t i = 0; i < count_; ++i) bound_[i]->forward(team, help(team));
}

template <class T>
void Pass<T>::backward(const Team& team, const Learning<T>& learning) {
  for (std::size_t i = count_; i-- > first_back_;) bound_[i]->backward(team, help(team), learning);
}

template class Pass<float>;
template class Pass<double>;

}  // namespace densegrad
