#pragma once

// Tasks shared out between threads. What a task computes never depends on how many threads there are, so neither
// do the results' bits.

#include "densegrad/types.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace densegrad {

/// Work, in multiply-adds, below which waking a second thread costs more than it saves.
inline constexpr double kParallelWork = 1e6;

/// Threads that run_tasks may use: 1 in a child of fork(), where the parent's OpenMP threads do not exist.
int usable_threads();

/// Calls task(i) for i in [0, count), on several threads where `work` pays for them. A task throws nothing.
template <class Task>
void run_tasks(Size count, [[maybe_unused]] double work, Task task) {
#ifdef _OPENMP
  const int threads = work < kParallelWork || count < 2 ? 1 : usable_threads();
  if (threads > 1 && !omp_in_parallel()) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (Size i = 0; i < count; ++i) task(i);
    return;
  }
#endif
  for (Size i = 0; i < count; ++i) task(i);
}

/// Which of usable_threads() a task runs on.
inline int this_thread() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

}  // namespace densegrad
