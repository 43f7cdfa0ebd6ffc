#pragma once

// A plan made ready to run. Each file of this folder does one thing: stages.cpp turns nodes into stages and refuses
// plans that make no sense, layout.cpp finds places in memory for what lives for a while, bound_stage.cpp runs a stage
// on a batch in memory and bound_loss.cpp a loss, pass.cpp runs a row of stages, prediction.cpp the way there
// for several threads at once, training.cpp the way there and back, accept.cpp tests a batch, network.cpp is the door
// to it all.

#include <vector>

#include "base/primitives.hpp"
#include "densegrad/plan.hpp"

namespace densegrad {

/// What the network does in one go: a dense node with the activation behind it, or an activation alone.
struct Stage {
  bool dense = false;
  Size source = 0;  // buffers
  Size z = 0;       // what goes into the activation; the target, too, where nobody needs it after that
  Size target = 0;
  Slot w;  // of a dense stage
  Slot b;  // its size is 0 where there is none
  Activation activation = Activation::identity;
  bool by_row = false;   // the activation couples the elements of a row
  bool reads_z = false;  // and its backward reads z, y or both
  bool reads_y = false;
  std::vector<double> attributes;  // of the activation

  bool trainable() const { return dense && (w.trainable || (b.size() > 0 && b.trainable)); }
};

/// The stages of a plan in order. Throws std::invalid_argument where the plan makes no sense.
std::vector<Stage> make_stages(const Plan& plan);

/// How many of the first stages give `buffer`.
std::size_t stages_until(const std::vector<Stage>& stages, const Plan& plan, Size buffer);

/// The trainable parts of the flat buffer as (offset, size), neighbours merged.
struct Span {
  Size offset;
  Size size;
};
std::vector<Span> trainable_spans(const Plan& plan);

}  // namespace densegrad
