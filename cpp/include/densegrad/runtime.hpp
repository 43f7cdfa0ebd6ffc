#pragma once

#include <string>

namespace densegrad {

/// Name of the instruction set in use: "avx512", "avx2" or "scalar".
std::string isa();

/// Threads that an operation may use.
int get_num_threads();

/// Name and version of the OpenMP runtime, "none" in a serial build.
std::string openmp_runtime();

}  // namespace densegrad
