#pragma once

// A plan made ready to run. Each file of this folder does one thing: stages.cpp turns nodes into stages and refuses
// plans that make no sense, layout.cpp finds places in memory for what lives for a while, pass.cpp runs stages over one
// batch in memory, prediction.cpp for several threads at once, training.cpp the way there and back, loss_terms.cpp
// and loss_runner.cpp the loss in between, gradient_transform.cpp what is done to all gradients together, validate.cpp
// tests a batch, network.cpp is the door to it all. stage_*.cpp are the stages themselves, bound to memory, one kind a
// file.

#include <vector>

#include "base/primitives.hpp"
#include "densegrad/plan.hpp"

namespace densegrad {

enum class StageKind {
  activation,
#define DENSEGRAD_LAYER(name, ...) name,
#include "base/primitives.def"
};

/// What the network does in one go: a layer, or an activation. A dense one has the activation behind it within.
struct Stage {
  StageKind kind = StageKind::activation;
  std::vector<Size> sources;  // buffers
  Size z = 0;                 // what goes into the activation; the target, too, where nobody needs it after that
  Size target = 0;
  std::vector<Slot> slots;         // the parameters
  std::vector<double> attributes;  // of the layer
  Activation activation = Activation::identity;
  bool by_row = false;   // the activation couples the elements of a row
  bool reads_z = false;  // and its backward reads z, y or both
  bool reads_y = false;
  std::vector<double> activation_attributes;

  bool dense() const { return kind == StageKind::dense; }
  bool trainable() const;
};

/// Whether a stage's output is as wide as each of its inputs.
bool keeps_width(StageKind kind);

/// The stages of a plan in order. Throws std::invalid_argument where the plan makes no sense.
std::vector<Stage> make_stages(const Plan& plan);

/// Those that `buffer` depends on, in order.
using Stages = std::vector<const Stage*>;
Stages stages_for(const std::vector<Stage>& stages, const Plan& plan, Size buffer);

/// What training updates, each once however many nodes have it, in the order of the nodes.
struct TrainableSlots {
  std::vector<Slot> slots;
  bool shared = false;  // several nodes have one of them
};
TrainableSlots trainable_slots(const Plan& plan);

/// The trainable parts of the flat buffer as (offset, size), neighbours merged.
struct Span {
  Size offset;
  Size size;
};
std::vector<Span> trainable_spans(const Plan& plan);

}  // namespace densegrad
