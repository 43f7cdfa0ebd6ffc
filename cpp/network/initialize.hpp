#pragma once

#include "base/generator.hpp"
#include "densegrad/plan.hpp"

namespace densegrad {

/// Draws the weights of each dense node by the scheme of the activation behind it, as densegrad.initializers does; the
/// other parameters become 0.
template <class T>
void initialize(const Plan& plan, Generator& generator, T* parameters);

}  // namespace densegrad
