#pragma once

#include <cstddef>
#include <cstdint>

namespace densegrad {

/// Sizes, strides and indices: signed, as wide as a pointer.
using Size = std::ptrdiff_t;

/// A class label, or the number of a row.
using Index = std::int64_t;

}  // namespace densegrad
