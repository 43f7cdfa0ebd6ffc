#include "network/pass.hpp"

#include <algorithm>
#include <limits>
#include <new>
#include <set>
#include <utility>

namespace densegrad {
namespace {

constexpr Size kLoadRows = 64;  // that a task brings into panels

// Whether the way back through a stage reads what went into it.
bool reads_x(const Stage& stage) {
  switch (stage.kind) {
    case StageKind::dense:
    case StageKind::batch_norm:
    case StageKind::layer_norm:
    case StageKind::prelu:
    case StageKind::learned_swish:
      return true;
    default:
      return false;
  }
}

}  // namespace

template <class T>
Pass<T>::Pass(const NetworkContext<T>& context, const Plan& plan, Stages stages, Size output, PassMode mode)
    : context_(context), plan_(plan), stages_(std::move(stages)), mode_(mode), output_(output) {
  const std::size_t buffers = plan.widths.size();
  std::set<Size> offsets;
  readers_.resize(buffers);
  producer_.assign(buffers, -1);
  ++readers_[static_cast<std::size_t>(output)];  // whoever the pass is for
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    const Stage& stage = *stages_[i];
    runners_.push_back(make_stage_runner(context, stage));
    if (stage.kind == StageKind::dropout) drawing_.push_back(runners_.back().get());
    for (const Size source : stage.sources) ++readers_[static_cast<std::size_t>(source)];
    for (const Slot& slot : stage.slots) shares_slots_ |= !offsets.insert(slot.offset).second;
    producer_[static_cast<std::size_t>(stage.target)] = static_cast<int>(i);
  }
  needed_.resize(buffers);
  pieces_.resize(2 * buffers + 2 * stages_.size());
  gradient_.resize(buffers);
  contributions_.resize(2 * stages_.size());
  summed_.resize(stages_.size());
}

template <class T>
bool Pass<T>::prepare(Size rows, int threads, bool dx) {
  if (ready_ && rows == rows_ && dx == dx_ && threads <= threads_) return false;
  ready_ = false;  // until all of it is done: memory may be short
  const auto most = std::numeric_limits<Size>::max() / static_cast<Size>(sizeof(T)) / 16;
  Size columns = 0;  // of all matrices together
  for (const Size one : plan_.widths) columns += 4 * (one + kPanel<T>);
  if (rows > most / columns) throw std::bad_alloc();
  rows_ = rows;
  dx_ = dx;
  threads_ = threads;
  find_needs();
  find_sums();
  find_lifetimes();
  layout_.lay_out(pieces_);
  arena_.reserve(layout_.size());
  prefetch_.assign(static_cast<std::size_t>(threads), RowPrefetch{});
  bind();
  ready_ = true;
  return true;
}

// A gradient is wanted of what depends on trained parameters, or on an input whose gradient is wanted.
template <class T>
void Pass<T>::find_needs() {
  std::fill(needed_.begin(), needed_.end(), 0);
  needed_[static_cast<std::size_t>(plan_.input)] = dx_;
  for (const Stage* stage : stages_) {
    bool needed = stage->trainable();
    for (const Size source : stage->sources) needed |= needs_gradient(source);
    needed_[static_cast<std::size_t>(stage->target)] = needed;
  }
}

// Whoever shares a slot and goes back later adds its gradients to what is there.
template <class T>
void Pass<T>::find_sums() {
  if (!shares_slots_) return;
  seen_.clear();
  for (std::size_t i = stages_.size(); i-- > 0;) {
    summed_[i].clear();
    if (!goes_back_through(i)) continue;
    for (const Slot& slot : stages_[i]->slots) {
      if (std::find(seen_.begin(), seen_.end(), slot.offset) != seen_.end()) summed_[i].push_back(slot.offset);
    }
    for (const Slot& slot : stages_[i]->slots) seen_.push_back(slot.offset);
  }
}

// The stage whose derivative the product of stage i can apply to its dx while that is hot.
template <class T>
const Stage* Pass<T>::derivative_applied_by(std::size_t i) const {
  const Size source = stages_[i]->sources[0];
  const int producer = producer_[static_cast<std::size_t>(source)];
  if (!stages_[i]->dense() || producer < 0 || !goes_back_through(i)) return nullptr;
  if (!read_once(source) || !needs_gradient(source)) return nullptr;
  const Stage& before = *stages_[static_cast<std::size_t>(producer)];
  const bool activation = before.dense() || (before.kind == StageKind::activation && read_once(before.sources[0]));
  return activation && !before.by_row ? &before : nullptr;
}

// The stage whose product applies the derivative of stage i, or i itself.
template <class T>
std::size_t Pass<T>::who_applies_derivative_of(std::size_t i) const {
  for (std::size_t later = i + 1; later < stages_.size(); ++later) {
    if (derivative_applied_by(later) == stages_[i]) return later;
  }
  return i;
}

template <class T>
void Pass<T>::find_lifetimes() {
  const std::size_t buffers = plan_.widths.size();
  for (std::size_t b = 0; b < buffers; ++b) {
    const Size size = panels_size<T>(rows_, plan_.widths[b]);
    pieces_[b] = pieces_[buffers + b] = {size, 0, -1};
    gradient_[b] = buffers + b;
  }
  for (std::size_t i = 2 * buffers; i < pieces_.size(); ++i) pieces_[i] = {0, 0, -1};
  forward_lifetimes();
  if (goes_back()) backward_lifetimes();
  if (mode_ != PassMode::keep) return;
  for (Lifetime& piece : pieces_) {
    if (piece.first <= piece.last) piece = {piece.size, load_moment(), dw_moment(0)};
  }
}

template <class T>
void Pass<T>::forward_lifetimes() {
  const auto lives_at = [&](Size buffer, int moment) { pieces_[static_cast<std::size_t>(buffer)].lives_at(moment); };
  lives_at(plan_.input, load_moment());
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    const Stage& stage = *stages_[i];
    for (const Size source : stage.sources) lives_at(source, forward_moment(i));
    lives_at(z_of(stage), forward_moment(i));
    lives_at(stage.target, forward_moment(i));
  }
  lives_at(output_, output_moment());
}

template <class T>
void Pass<T>::backward_lifetimes() {
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    if (goes_back_through(i)) read_going_back(i);
  }
  // The loss may leave its gradient where the prediction was, unless somebody still needs that.
  const auto output = static_cast<std::size_t>(output_);
  if (mode_ == PassMode::train && pieces_[output].last == output_moment() && output_ != plan_.input) {
    gradient_[output] = output;
  }
  pieces_[gradient_[output]].lives_at(output_moment());
  for (std::size_t i = stages_.size(); i-- > 0;) {
    if (!goes_back_through(i)) continue;
    pieces_[gradient_[static_cast<std::size_t>(stages_[i]->target)]].lives_at(dw_moment(i));
    place_dx(i);
  }
}

// What stage i keeps for the way back.
template <class T>
void Pass<T>::read_going_back(std::size_t i) {
  const auto lives_at = [&](Size buffer, int moment) { pieces_[static_cast<std::size_t>(buffer)].lives_at(moment); };
  const Stage& stage = *stages_[i];
  if (reads_x(stage)) lives_at(stage.sources[0], dw_moment(i));
  const int moment = dx_moment(who_applies_derivative_of(i));
  if (stage.reads_z) lives_at(stage.z, moment);
  if (stage.reads_y) lives_at(stage.target, moment);
}

// Where stage i leaves the gradients of its sources. A stage that keeps the width may change the gradient of its
// output in place.
template <class T>
void Pass<T>::place_dx(std::size_t i) {
  const Stage& stage = *stages_[i];
  const std::size_t buffers = plan_.widths.size();
  bool in_place = keeps_width(stage.kind);
  for (std::size_t k = 0; k < stage.sources.size(); ++k) {
    const auto source = static_cast<std::size_t>(stage.sources[k]);
    if (!needs_gradient(stage.sources[k])) continue;
    const bool adds = pieces_[gradient_[source]].first <= pieces_[gradient_[source]].last;
    if (adds) {
      const std::size_t piece = 2 * buffers + 2 * i + k;
      pieces_[piece].size = pieces_[source].size;
      pieces_[piece].lives_at(dx_moment(i));
      pieces_[piece].lives_at(dw_moment(i));
      pieces_[gradient_[source]].lives_at(dw_moment(i));
      contribution(i, k) = {piece, true};
      continue;
    }
    if (in_place && read_once(stage.sources[k])) {
      gradient_[source] = gradient_[static_cast<std::size_t>(stage.target)];
      in_place = false;
    }
    pieces_[gradient_[source]].lives_at(dx_moment(i));
    contribution(i, k) = {gradient_[source], false};
  }
}

template <class T>
void Pass<T>::bind() {
  Size scratch = 0;
  prefetch_calls_ = 0;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    runners_[i]->bind(buffers_of(i));
    scratch = std::max(scratch, runners_[i]->scratch());
    prefetch_calls_ += runners_[i]->prefetch_calls();
  }
  scratch_.reserve(scratch);
}

template <class T>
StageBuffers<T> Pass<T>::buffers_of(std::size_t i) {
  const Stage& stage = *stages_[i];
  const auto buffer = [&](Size b) { return panels(static_cast<std::size_t>(b), b); };
  StageBuffers<T> buffers;
  buffers.mode = mode_;
  buffers.threads = threads_;
  buffers.x = buffer(stage.sources[0]);
  if (stage.sources.size() > 1) buffers.x2 = buffer(stage.sources[1]);
  buffers.z = buffer(z_of(stage));
  buffers.y = buffer(stage.target);
  if (!goes_back_through(i)) return buffers;
  buffers.dy = panels(gradient_[static_cast<std::size_t>(stage.target)], stage.target);
  for (std::size_t k = 0; k < stage.sources.size(); ++k) {
    if (!needs_gradient(stage.sources[k])) continue;
    (k == 0 ? buffers.dx : buffers.dx2) = panels(contribution(i, k).piece, stage.sources[k]);
  }
  buffers.dy_is_dz = who_applies_derivative_of(i) != i;
  buffers.before = derivative_applied_by(i);
  if (buffers.before != nullptr) {
    if (buffers.before->reads_z) buffers.before_z = buffer(buffers.before->z);
    if (buffers.before->reads_y) buffers.before_y = buffer(buffers.before->target);
  }
  return buffers;
}

template <class T>
void Pass<T>::prefetch(const Team& team, const Batch<T>& data, Size y_width, const Index* first, const Index* last) {
  constexpr Size line = 64;
  const bool labelled = data.y.labels != nullptr;
  const Size x_size = width(plan_.input) * static_cast<Size>(sizeof(T));
  const Size y_size = labelled ? static_cast<Size>(sizeof(Index)) : y_width * static_cast<Size>(sizeof(T));
  const Size lines = (last - first) * (divide_up(x_size, line) + 1);
  for (int rank = 0; rank < team.size(); ++rank) {
    RowPrefetch& u = prefetch_[static_cast<std::size_t>(rank)];
    u.row = first + (last - first) * rank / team.size();
    u.end = first + (last - first) * (rank + 1) / team.size();
    u.x = reinterpret_cast<const char*>(data.x);
    u.x_size = x_size;
    u.y = labelled ? reinterpret_cast<const char*>(data.y.labels) : reinterpret_cast<const char*>(data.y.values);
    u.y_size = y_size;
    u.line = u.line_end = nullptr;
    u.lines = static_cast<int>(divide_up(lines, std::max<Size>(prefetch_calls_, 1)));
  }
}

template <class T>
void Pass<T>::run(const Team& team, const T* x, T* out, Index step) {
  begin(step);
  load(team, x, nullptr);
  forward(team);
  unpack<T>(context_.kernels, output(), out);
}

template <class T>
void Pass<T>::load(const Team& team, const T* x, const Index* order) {
  const Panels<T> input = panels(static_cast<std::size_t>(plan_.input), plan_.input);
  team.for_each(divide_up(rows_, kLoadRows), [&](Size block) {
    const Size first = block * kLoadRows;
    context_.kernels.pack_rows(
        std::min(kLoadRows, rows_ - first), input.columns, order == nullptr ? x + first * input.columns : x,
        input.columns, order == nullptr ? nullptr : order + first, input.data + first * kPanel<T>, input.panel_size());
  });
}

template <class T>
void Pass<T>::forward(const Team& team) {
  for (const auto& stage : runners_) stage->forward(team, workspace());
}

template <class T>
void Pass<T>::backward(const Team& team, const BackwardOptions<T>& options) {
  BackwardOptions<T> own = options;
  for (std::size_t i = stages_.size(); i-- > 0;) {
    if (!goes_back_through(i)) continue;
    own.summed = &summed_[i];
    runners_[i]->backward(team, workspace(), own);
    for (std::size_t k = 0; k < stages_[i]->sources.size(); ++k) {
      const Size source = stages_[i]->sources[k];
      if (!needs_gradient(source) || !contribution(i, k).adds) continue;
      const Panels<T> sum = panels(gradient_[static_cast<std::size_t>(source)], source);
      const Panels<T> more = panels(contribution(i, k).piece, source);
      team.for_each(sum.count(), [&](Size p) {
        context_.kernels.layers.add_panel(rows_ * kPanel<T>, sum.panel(p), more.panel(p), sum.panel(p));
      });
    }
  }
}

template class Pass<float>;
template class Pass<double>;

}  // namespace densegrad
