#include "ceiling.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>

#include "../fma_ceiling.hpp"
#include "base/aligned_buffer.hpp"
#include "dispatch/dispatch.hpp"

namespace densegrad::bench {
namespace {

constexpr Size kLargeBytes = 64 << 20;

// Bytes of a data cache of this machine.
Size cache_bytes(int level, Size fallback) {
  for (const benchmark::CPUInfo::CacheInfo& cache : benchmark::CPUInfo::Get().caches) {
    if (cache.level == level && cache.type != "Instruction") return cache.size;
  }
  return fallback;
}

// Reads `count` vectors, a multiple of 4, from `a`; or writes them to `b`, each plus 1.
#define DENSEGRAD_BANDWIDTH(isa, attributes, bytes)                                           \
  __attribute__(attributes) void read_##isa(Size count, const float* a, float* b) {           \
    typedef float Vector __attribute__((vector_size(bytes)));                                 \
    const Vector* from = reinterpret_cast<const Vector*>(a);                                  \
    Vector s0{}, s1{}, s2{}, s3{};                                                            \
    for (Size i = 0; i < count; i += 4) {                                                     \
      s0 += from[i], s1 += from[i + 1], s2 += from[i + 2], s3 += from[i + 3];                 \
    }                                                                                         \
    *reinterpret_cast<Vector*>(b) = (s0 + s1) + (s2 + s3);                                    \
  }                                                                                           \
  __attribute__(attributes) void copy_##isa(Size count, const float* a, float* b) {           \
    typedef float Vector __attribute__((vector_size(bytes)));                                 \
    const Vector* from = reinterpret_cast<const Vector*>(a);                                  \
    Vector* to = reinterpret_cast<Vector*>(b);                                                \
    for (Size i = 0; i < count; i += 4) {                                                     \
      const Vector v0 = from[i], v1 = from[i + 1], v2 = from[i + 2], v3 = from[i + 3];        \
      to[i] = v0 + 1.0f, to[i + 1] = v1 + 1.0f, to[i + 2] = v2 + 1.0f, to[i + 3] = v3 + 1.0f; \
    }                                                                                         \
  }
DENSEGRAD_BANDWIDTH(baseline, (noinline), 16)
#if defined(__x86_64__)
DENSEGRAD_BANDWIDTH(avx2, (noinline, target("avx2")), 32)
DENSEGRAD_BANDWIDTH(avx512, (noinline, target("avx512f")), 64)
#endif
#undef DENSEGRAD_BANDWIDTH

using Loop = void (*)(Size count, const float* a, float* b);

struct Loops {
  Loop read;
  Loop copy;
  Size bytes;  // of a vector
};

Loops loops_of([[maybe_unused]] const std::string& isa) {
#if defined(__x86_64__)
  if (isa == "avx512") return {read_avx512, copy_avx512, 64};
  if (isa == "avx2") return {read_avx2, copy_avx2, 32};
#endif
  return {read_baseline, copy_baseline, 16};
}

// GB/s of the best of several passes, each over at least 16 MiB.
double bandwidth(Loop loop, Size vector_bytes, Size array_bytes, Size moved_bytes, const float* a, float* b) {
  const Size count = array_bytes / vector_bytes / 4 * 4;
  const Size calls = std::max<Size>(1, (Size{16} << 20) / array_bytes);
  double best = 0;
  for (int pass = 0; pass < 6; ++pass) {
    const Clock::time_point start = Clock::now();
    for (Size i = 0; i < calls; ++i) {
      loop(count, a, b);
      benchmark::ClobberMemory();
    }
    best = std::max(best, static_cast<double>(calls * moved_bytes) / seconds_since(start) / 1e9);
  }
  return best;
}

Ceiling measured(const std::string& isa) {
  Ceiling ceiling;
  ceiling.float32 = fma_gflops<float>(isa);
  ceiling.float64 = fma_gflops<double>(isa);
  const Loops loops = loops_of(isa);
  // half of each cache, so that everything else finds room too
  const Size sizes[kLevels] = {cache_bytes(1, 32 << 10) / 2, cache_bytes(2, 512 << 10) / 2, kLargeBytes};
  AlignedBuffer<float> memory;
  float* a = memory.reserve(kLargeBytes / static_cast<Size>(sizeof(float)));
  for (int level = 0; level < kLevels; ++level) {
    const Size bytes = sizes[level] / 1024 * 1024, half = bytes / 2;
    ceiling.read[level] = bandwidth(loops.read, loops.bytes, bytes, bytes, a, a);
    ceiling.copy[level] = bandwidth(loops.copy, loops.bytes, half, bytes, a, a + half / 4);
  }
  return ceiling;
}

}  // namespace

Level level_of(double bytes) {
  if (bytes <= static_cast<double>(cache_bytes(1, 32 << 10))) return Level::l1;
  return bytes <= static_cast<double>(cache_bytes(2, 512 << 10)) ? Level::l2 : Level::large;
}

const std::map<std::string, Ceiling>& ceilings() {
  static const std::map<std::string, Ceiling> all = [] {
    std::map<std::string, Ceiling> result;
    for (const std::string& isa : supported_instruction_sets()) result[isa] = measured(isa);
    return result;
  }();
  return all;
}

}  // namespace densegrad::bench
