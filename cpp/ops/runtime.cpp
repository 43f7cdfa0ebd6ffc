#include "densegrad/runtime.hpp"

#include <atomic>

#include "dispatch/dispatch.hpp"
#include "ops/team.hpp"

#if defined(_OPENMP) && defined(__unix__)
#include <pthread.h>
#endif

namespace densegrad {
namespace {

std::atomic<bool> forked{false};

#if defined(_OPENMP) && defined(__unix__)
// libgomp waits for ever for the parent's threads in a child that has forked
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif

}  // namespace

int usable_threads() {
#ifdef _OPENMP
  return forked || omp_in_parallel() ? 1 : omp_get_max_threads();
#else
  return 1;
#endif
}

std::string isa() { return instruction_set().name; }

int get_num_threads() { return usable_threads(); }

std::string openmp_runtime() {
#ifdef _OPENMP
  return "OpenMP " + std::to_string(_OPENMP);
#else
  return "none";
#endif
}

}  // namespace densegrad
