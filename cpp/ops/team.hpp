#pragma once

// Work shared out between threads. What a task computes never depends on how many threads there are, so neither do
// the results' bits.

#include <algorithm>
#include <atomic>
#include <exception>
#include <type_traits>

#include "densegrad/types.hpp"
#include "ops/flush_denormals.hpp"
#include "ops/shared_tasks.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace densegrad {

/// Threads that may be used: 1 in a child of fork(), where the parent's OpenMP threads do not exist, and 1 inside a
/// parallel region of the caller's.
int usable_threads();

/// Whether this thread leads a team, so that the parallel region it is in is ours.
inline thread_local bool leads_team = false;

/// How many of so many threads a parallel region of this thread's can have. OpenMP ends the process where it cannot
/// make one, so threads of our own are made first; those that OpenMP keeps from the region before need no such trial.
int startable_threads(int wanted);

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

/// Threads that a call may take: it shares those that may be used with the other calls.
inline int threads_for_call() {
  const int calls = calls_running.load(std::memory_order_relaxed);
  return calls <= 1 ? usable_threads() : std::max(1, usable_threads() / calls);
}

/// The threads that run something together. One of them, the leader, runs it; the others take part in its loops.
class Team {
 public:
  Team() = default;  // one thread alone
  Team(SharedTasks& tasks, int size) : tasks_(size > 1 ? &tasks : nullptr), size_(size) {}

  int size() const { return size_; }

  /// The most threads that a team may have at another time, for which plans and scratch are made.
  int most() const { return std::max(most_, size_); }

  /// The same team with at most so many threads for one step, in which the leader goes on alone once it has slept for
  /// so many seconds.
  Team with(int threads, int most, double patience) const {
    Team team = *this;
    team.size_ = std::min(threads, size_);
    team.most_ = std::max(most, size_);  // any thread of the region may come late and find tasks of this step
    if (tasks_ != nullptr) team.patience_ = tasks_->slept() + patience;
    return team;
  }

  /// The same team with at most so many threads.
  Team with_at_most(int threads) const {
    Team team = *this;
    team.size_ = std::min(threads, size_);
    return team;
  }

  /// Calls task(i), or task(i, rank) where it wants to know the thread's number, for each i in [0, count). A task
  /// throws nothing.
  template <class Task>
  void for_each(Size count, const Task& task) const {
    if (size_ == 1 || count <= 1 || tasks_->slept() > patience_) {
      for (Size i = 0; i < count; ++i) call(task, i, 0);
      return;
    }
    const auto one = [](const void* function, Size i, int rank) { call(*static_cast<const Task*>(function), i, rank); };
    tasks_->run(size_, count, one, &task);
  }

 private:
  template <class Task>
  static void call(const Task& task, Size i, [[maybe_unused]] int rank) {
    if constexpr (std::is_invocable_v<const Task&, Size, int>) {
      task(i, rank);
    } else {
      task(i);
    }
  }

  SharedTasks* tasks_ = nullptr;
  int size_ = 1;
  int most_ = 1;
  double patience_ = 0;
};

/// Calls body(team) on one thread, with a team of at most so many. What it throws comes out behind the parallel region.
template <class Body>
void run_team([[maybe_unused]] int threads, const Body& body) {
#ifdef _OPENMP
  if (threads > 1) threads = startable_threads(threads);
  if (threads > 1) {
    const KeepDenormals keep;
    SharedTasks tasks;
    std::exception_ptr thrown;
#pragma omp parallel num_threads(threads)
    {
      const FlushDenormals flush;
      if (omp_get_thread_num() == 0) {
        leads_team = true;
        try {
          body(Team(tasks, omp_get_num_threads()));  // which may be fewer than were asked for
        } catch (...) {
          thrown = std::current_exception();
        }
        leads_team = false;
        tasks.end();
      } else {
        tasks.help(omp_get_thread_num());
      }
    }
    if (thrown) std::rethrow_exception(thrown);
    return;
  }
#endif
  body(Team());
}

}  // namespace densegrad
