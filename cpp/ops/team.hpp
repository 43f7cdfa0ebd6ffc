#pragma once

// Work shared out between threads. What a task computes never depends on how many threads there are, so neither do
// the results' bits.

#include <algorithm>
#include <atomic>

#include "densegrad/types.hpp"
#include "ops/barrier.hpp"
#include "ops/flush_denormals.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace densegrad {

/// Multiply-adds below which waking a second thread costs more than it saves.
inline constexpr double kParallelWork = 1e6;

/// Threads that may be used: 1 in a child of fork(), where the parent's OpenMP threads do not exist, and 1 inside a
/// parallel region of the caller's.
int usable_threads();

/// How many calls into the engine are running, whatever thread of the program made them.
inline std::atomic<int> calls_running{0};

/// A call into the engine, while it runs: numbers below the smallest normal count as zero on its thread.
class Call {
 public:
  Call() { calls_running.fetch_add(1, std::memory_order_relaxed); }
  ~Call() { calls_running.fetch_sub(1, std::memory_order_relaxed); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  FlushDenormals flush_;
};

/// Threads that a call takes for so many multiply-adds; it shares those that may be used with the other calls.
inline int threads_for(double work) {
  if (work < kParallelWork) return 1;
  const int calls = calls_running.load(std::memory_order_relaxed);
  return calls <= 1 ? usable_threads() : std::max(1, usable_threads() / calls);
}

/// One of the threads that run something together. Each of them calls the same functions in the same order.
class Team {
 public:
  Team() = default;  // one thread alone
  Team(int rank, int size, Barrier& barrier) : rank_(rank), size_(size), barrier_(&barrier) {}

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// Calls task(i) for this thread's share of [0, count), then waits for the others. A task throws nothing.
  template <class Task>
  void for_each(Size count, Task task) const {
    if (size_ == 1) {  // without the divisions
      for (Size i = 0; i < count; ++i) task(i);
      return;
    }
    const Size last = count * (rank_ + 1) / size_;
    for (Size i = count * rank_ / size_; i < last; ++i) task(i);
    wait();
  }

  /// Returns when every thread of the team has called it.
  void wait() const {
    if (size_ > 1) barrier_->wait(size_);
  }

 private:
  int rank_ = 0;
  int size_ = 1;
  Barrier* barrier_ = nullptr;
};

/// Calls body(team) on each of at most so many threads. It throws nothing where there are several.
template <class Body>
void run_team([[maybe_unused]] int threads, Body body) {
#ifdef _OPENMP
  if (threads > 1) {
    const KeepDenormals keep;
    Barrier barrier;
#pragma omp parallel num_threads(threads)
    {
      const FlushDenormals flush;
      const Team team(omp_get_thread_num(), omp_get_num_threads(), barrier);  // which may be fewer than were asked for
      body(team);
      team.wait();  // so that nobody has to at the end of the region
    }
    return;
  }
#endif
  body(Team());
}

}  // namespace densegrad
