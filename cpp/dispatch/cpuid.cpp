#include "dispatch/cpuid.hpp"

#if defined(DENSEGRAD_X86)

#include <cpuid.h>

#include <cstdint>

namespace densegrad {
namespace {

struct Leaf {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
};

Leaf cpuid(std::uint32_t leaf) {
  Leaf result;
  __get_cpuid_count(leaf, 0, &result.a, &result.b, &result.c, &result.d);
  return result;
}

constexpr bool all_bits(std::uint64_t value, std::uint64_t bits) { return (value & bits) == bits; }

// The register state that the operating system saves (XCR0); 0 where it saves none.
std::uint64_t saved_state() {
  constexpr std::uint32_t osxsave = 1u << 27;
  if (!all_bits(cpuid(1).c, osxsave)) return 0;
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

}  // namespace

bool has_avx2() {
  constexpr std::uint64_t ymm = 0x6;
  constexpr std::uint32_t fma = 1u << 12, avx = 1u << 28, avx2 = 1u << 5;
  return all_bits(saved_state(), ymm) && all_bits(cpuid(1).c, fma | avx) && all_bits(cpuid(7).b, avx2);
}

bool has_avx512() {
  constexpr std::uint64_t zmm = 0xe6;
  constexpr std::uint32_t f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
  return has_avx2() && all_bits(saved_state(), zmm) && all_bits(cpuid(7).b, f | dq | bw | vl);
}

}  // namespace densegrad

#endif
