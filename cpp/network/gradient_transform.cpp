#include "network/gradient_transform.hpp"

#include <algorithm>
#include <cmath>

namespace densegrad {
namespace {

constexpr Size kPiece = 16384;

}  // namespace

template <class T>
GradientTransform<T>::GradientTransform(const NetworkContext<T>& context, const Plan& plan)
    : context_(context),
      clip_norm_(plan.clip_norm),
      clip_value_(plan.clip_value),
      average_(plan.average),
      shared_(plan.batch_shares_penalty) {
  penalized_ = false;
  const TrainableSlots trainable = trainable_slots(plan);
  for (const Slot& slot : trainable.slots) {
    penalized_ |= slot.l1 > 0 || slot.l2 > 0;
    for (Size first = 0; first < slot.size(); first += kPiece) {
      pieces_.push_back({slot.offset + first, std::min(kPiece, slot.size() - first), static_cast<T>(slot.l1),
                         static_cast<T>(slot.l2)});
    }
  }
  needed_ = trainable.shared || penalized_ || clip_norm_ > 0 || clip_value_ > 0 || average_ > 0;
  sums_.resize(pieces_.size());
}

template <class T>
template <class Function>
double GradientTransform<T>::sum(const Team& team, const Function& f) {
  team.for_each(static_cast<Size>(pieces_.size()),
                [&](Size i) { sums_[static_cast<std::size_t>(i)] = f(pieces_[static_cast<std::size_t>(i)]); });
  double total = 0;
  for (const double one : sums_) total += one;
  return total;
}

template <class T>
double GradientTransform<T>::penalize(const Team& team, T* gradients, double share) {
  if (!penalized_) return 0;
  const T part = shared_ ? static_cast<T>(share) : T(1);
  return sum(team, [&](const Piece& piece) {
    if (piece.l1 == 0 && piece.l2 == 0) return 0.0;
    return context_.kernels.penalize(piece.size, context_.parameters + piece.offset, part * piece.l1, part * piece.l2,
                                     gradients + piece.offset);
  });
}

template <class T>
double GradientTransform<T>::penalty(const Team& team, double share) {
  return penalized_ ? penalize(team, unused_.reserve(context_.parameter_count), share) : 0;
}

template <class T>
void GradientTransform<T>::apply(const Team& team, T* gradients, const double* coefficients) {
  const Kernels<T>& k = context_.kernels;
  T factor = 1;
  if (clip_value_ > 0 || clip_norm_ > 0) {
    const double squares = sum(team, [&](const Piece& piece) {
      T* g = gradients + piece.offset;
      if (clip_value_ > 0) k.clip_values(piece.size, static_cast<T>(clip_value_), g);
      return clip_norm_ > 0 ? k.sum_of_squares(piece.size, g) : 0.0;
    });
    if (clip_norm_ > 0) factor = static_cast<T>(std::min(1.0, clip_norm_ / (std::sqrt(squares) + 1e-6)));
  }
  T* average = average_ > 0 ? context_.state + context_.states * context_.state_stride : nullptr;
  sum(team, [&](const Piece& piece) {
    T *w = context_.parameters + piece.offset, *g = gradients + piece.offset;
    if (factor < 1) k.scale_values(piece.size, factor, g);
    context_.update(1, piece.size, w, piece.size, g, piece.size, state_at(context_.state, piece.offset),
                    context_.state_stride, coefficients);
    if (average != nullptr) k.moving_average(piece.size, w, static_cast<T>(1 - average_), average + piece.offset);
    return 0.0;
  });
}

template class GradientTransform<float>;
template class GradientTransform<double>;

}  // namespace densegrad
