#pragma once

// What one core of this machine can do at most, measured when the program starts.

#include <map>
#include <string>

#include "densegrad/types.hpp"

namespace densegrad::bench {

/// Which memory holds data of a size: as large as the first-level cache, as the second, or larger than both.
enum class Level { l1, l2, large };

inline constexpr int kLevels = 3;

/// The level at which `bytes` of data find room.
Level level_of(double bytes);

/// The ceilings of one instruction set, one thread.
struct Ceiling {
  double float32 = 0;  // GFLOP/s of multiply-adds
  double float64 = 0;
  double read[kLevels] = {};  // GB/s read
  double copy[kLevels] = {};  // GB/s read and written, one for one
};

/// Ceilings by name of instruction set, for each that this machine supports.
const std::map<std::string, Ceiling>& ceilings();

}  // namespace densegrad::bench
