#include "densegrad/runtime.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <future>
#include <stdexcept>
#include <thread>
#include <vector>

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

// Asked before every step on several threads, so what needs the system is looked up once.
int usable_threads() {
#ifdef _OPENMP
  if (forked || (omp_in_parallel() && !leads_team)) return 1;
  static const int processors = omp_get_num_procs(), paid = cpu_limit();
  static const bool told = std::getenv("OMP_NUM_THREADS") != nullptr;
  const int most = omp_get_thread_limit(), allowed = std::min(omp_get_max_threads(), most);
  if (chosen > 0) return std::min<int>(chosen, allowed < allowed_then ? allowed : most);  // limited since then, or not
  if (told || allowed != processors) return allowed;                                      // somebody's choice
  return std::min(allowed, paid);
#else
  return 1;
#endif
}

int startable_threads([[maybe_unused]] int wanted) {
#ifdef _OPENMP
  thread_local int kept = 1;  // by OpenMP, which lets those go that a region does not take
  if (wanted > kept) {
    std::vector<std::thread> threads;
    std::promise<void> all;  // of them have to be there at once
    try {
      const std::shared_future<void> end = all.get_future();
      threads.reserve(static_cast<std::size_t>(wanted));
      while (static_cast<int>(threads.size()) < wanted - 1) threads.emplace_back([end] { end.wait(); });
    } catch (const std::exception&) {  // of std::system_error, std::bad_alloc: as many as there are
    }
    all.set_value();
    for (std::thread& thread : threads) thread.join();
    wanted = static_cast<int>(threads.size()) + 1;
  }
  return kept = wanted;
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
  allowed_then = std::min(omp_get_max_threads(), omp_get_thread_limit());
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
