#pragma once

#include <cmath>
#include <cstdint>
#include <random>

#include "densegrad/types.hpp"

namespace densegrad {

/// Numbers from a seed, the same with every standard library: its own distributions differ from one to the next.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : bits_(seed) {}

  /// Uniform on [0, 1), in steps of 2^-53.
  double uniform() { return static_cast<double>(bits_() >> 11) * 0x1p-53; }

  /// Standard normal; Box and Muller, A note on the generation of random normal deviates (1958).
  double normal() {
    constexpr double two_pi = 6.283185307179586;
    const double radius = std::sqrt(-2 * std::log1p(-uniform()));
    return radius * std::cos(two_pi * uniform());
  }

  /// A whole number on [0, count), each as likely as the others.
  Index below(Index count) {
    const auto n = static_cast<std::uint64_t>(count);
    const std::uint64_t uneven = -n % n;  // so many draws would favour the first numbers: 2^64 mod n
    std::uint64_t draw = bits_();
    while (draw < uneven) draw = bits_();
    return static_cast<Index>(draw % n);
  }

 private:
  std::mt19937_64 bits_;
};

}  // namespace densegrad
