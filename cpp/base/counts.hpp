#pragma once

// How many primitives of each kind the table has, for headers that may include no standard library.

namespace densegrad {

inline constexpr int kActivationCount = 0
#define DENSEGRAD_ACTIVATION(...) +1
#include "base/primitives.def"
    ;
inline constexpr int kLossCount = 0
#define DENSEGRAD_LOSS(...) +1
#include "base/primitives.def"
    ;
inline constexpr int kOptimizerCount = 0
#define DENSEGRAD_OPTIMIZER(...) +1
#include "base/primitives.def"
    ;

}  // namespace densegrad
