#include "densegrad/runtime.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "dispatch/dispatch.hpp"
#include "ops/cpu_limit.hpp"
#include "ops/team.hpp"

#if defined(_OPENMP) && defined(__unix__)
#include <pthread.h>
#endif

namespace densegrad {
namespace {

std::atomic<bool> forked{false};

// By set_num_threads: how many, 0 where nobody has chosen, and what OpenMP allowed then.
[[maybe_unused]] std::atomic<int> chosen{0}, allowed_then{0};

#if defined(_OPENMP) && defined(__unix__)
// libgomp waits for ever for the parent's threads in a child that has forked
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif

}  // namespace

int usable_threads() {
#ifdef _OPENMP
  if (forked || omp_in_parallel()) return 1;
  const int allowed = omp_get_max_threads();
  if (chosen > 0) return allowed < allowed_then ? std::min<int>(chosen, allowed) : chosen.load();  // limited since then
  if (allowed != omp_get_num_procs() || std::getenv("OMP_NUM_THREADS") != nullptr) return allowed;  // somebody's choice
  static const int limit = cpu_limit();
  return std::min(allowed, limit);
#else
  return 1;
#endif
}

std::string isa() { return instruction_set().name; }

void set_num_threads(int threads) {
  if (threads < 1) {
    throw std::invalid_argument("set_num_threads: expected at least 1 thread, got " + std::to_string(threads));
  }
#ifdef _OPENMP
  allowed_then = omp_get_max_threads();
  chosen = threads;
#endif
}

int get_num_threads() { return usable_threads(); }

std::string openmp_runtime() {
#ifdef _OPENMP
  return "OpenMP " + std::to_string(_OPENMP);
#else
  return "none";
#endif
}

}  // namespace densegrad
