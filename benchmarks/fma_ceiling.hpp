#pragma once

// The most multiply-adds that a core can do with an instruction set: independent sums in registers, no memory.
// "scalar" stands for the baseline processor, with its 128-bit multiply and add.

#include <chrono>
#include <cstring>
#include <string>

namespace densegrad::bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

inline constexpr int kSums = 12;  // more than latency times units, fewer than the 16 registers of AVX2

// Each sum has a name of its own, because an array of them would go through memory.
#define DENSEGRAD_EACH_SUM(f) f(s0) f(s1) f(s2) f(s3) f(s4) f(s5) f(s6) f(s7) f(s8) f(s9) f(s10) f(s11)
#define DENSEGRAD_BEGIN(s) Vector s{};
#define DENSEGRAD_ADD(s) total += s;

#define DENSEGRAD_MULTIPLY_ADD(name, attributes, bytes, step) \
  template <class T>                                          \
  __attribute__(attributes) void name(long rounds, T* out) {  \
    typedef T Vector __attribute__((vector_size(bytes)));     \
    DENSEGRAD_EACH_SUM(DENSEGRAD_BEGIN)                       \
    Vector total{};                                           \
    const Vector x = total + T(0.999), y = total + T(1e-7);   \
    for (; rounds > 0; --rounds) {                            \
      DENSEGRAD_EACH_SUM(step)                                \
    }                                                         \
    DENSEGRAD_EACH_SUM(DENSEGRAD_ADD)                         \
    std::memcpy(out, &total, sizeof(T));                      \
  }

#define DENSEGRAD_STEP(s) s = s * x + y;
DENSEGRAD_MULTIPLY_ADD(multiply_add_baseline, (noinline), 16, DENSEGRAD_STEP)
#undef DENSEGRAD_STEP

#if defined(__x86_64__)
// volatile assembly with registers for operands: no compiler shortens or reorders it
#define DENSEGRAD_STEP(s)                                                  \
  if (sizeof(T) == 4) {                                                    \
    __asm__ volatile("vfmadd213ps %2, %1, %0" : "+v"(s) : "v"(x), "v"(y)); \
  } else {                                                                 \
    __asm__ volatile("vfmadd213pd %2, %1, %0" : "+v"(s) : "v"(x), "v"(y)); \
  }
DENSEGRAD_MULTIPLY_ADD(multiply_add_avx2, (noinline, target("avx2,fma")), 32, DENSEGRAD_STEP)
DENSEGRAD_MULTIPLY_ADD(multiply_add_avx512, (noinline, target("avx512f")), 64, DENSEGRAD_STEP)
#undef DENSEGRAD_STEP
#endif

#undef DENSEGRAD_EACH_SUM
#undef DENSEGRAD_BEGIN
#undef DENSEGRAD_ADD
#undef DENSEGRAD_MULTIPLY_ADD

/// GFLOP/s of one thread, the best of `runs` short runs. An unknown instruction set counts as the baseline.
template <class T>
double fma_gflops(const std::string& isa, int runs = 7) {
  void (*loop)(long, T*) = multiply_add_baseline<T>;
  int bytes = 16;
#if defined(__x86_64__)
  if (isa == "avx2") loop = multiply_add_avx2<T>, bytes = 32;
  if (isa == "avx512") loop = multiply_add_avx512<T>, bytes = 64;
#endif
  constexpr long rounds = 1000000;
  const double flops = 2.0 * rounds * kSums * bytes / sizeof(T);
  double best = 0;
  volatile T sink;
  for (int run = 0; run < runs; ++run) {
    T out;
    const Clock::time_point start = Clock::now();
    loop(rounds, &out);
    const double gflops = flops / seconds_since(start) / 1e9;
    sink = out;
    if (gflops > best) best = gflops;
  }
  (void)sink;
  return best;
}

}  // namespace densegrad::bench
