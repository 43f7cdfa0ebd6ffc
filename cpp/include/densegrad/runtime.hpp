#pragma once

#include <string>

namespace densegrad {

/// Name of the instruction set in use: "avx512", "avx2" or "scalar".
std::string isa();

/// Threads that an operation may use from now on, whatever the environment says. OpenMP's own settings stay as they
/// are; a lower limit that is set there later holds. A build without OpenMP stays at one.
void set_num_threads(int threads);

/// Threads that an operation may use: what set_num_threads said, else OMP_NUM_THREADS, else the processors that the
/// process may run on, at most as many as its control group pays for. One in a child of fork() and inside a parallel
/// region of the caller's.
int get_num_threads();

/// Name and version of the OpenMP runtime, "none" in a serial build.
std::string openmp_runtime();

}  // namespace densegrad
