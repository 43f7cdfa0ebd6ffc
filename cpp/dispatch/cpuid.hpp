#pragma once

// What the processor can do and the operating system saves across a switch of threads.

namespace densegrad {

/// AVX2 and FMA.
bool has_avx2();

/// AVX-512 F, VL, BW and DQ, as on every server since Skylake and Zen 4.
bool has_avx512();

}  // namespace densegrad
