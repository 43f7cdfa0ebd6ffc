#pragma once

#include <vector>

#include "base/primitives.hpp"
#include "densegrad/plan.hpp"

namespace densegrad {

/// One loss of a sum, ready to run: where its columns of the prediction and of the targets are.
struct Term {
  LossKind kind = LossKind::mse;
  std::vector<double> attributes;
  double weight = 1;
  Size column = 0;  // the first of the prediction
  Size columns = 0;
  Size target = 0;  // the first of the targets
  TargetRule rule;
};

/// The terms of a plan's loss, in the order of their columns; none where it has no loss. Throws std::invalid_argument
/// where they do not share out the prediction.
std::vector<Term> loss_terms(const Plan& plan);

/// Columns of the targets of all terms.
Size target_width(const std::vector<Term>& terms);

/// Whether labels may stand for the targets.
bool takes_labels(const std::vector<Term>& terms);

}  // namespace densegrad
