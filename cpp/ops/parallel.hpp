#pragma once

// Tasks shared out between threads. What a task computes never depends on how many threads there are, so neither
// do the results' bits.

#include "densegrad/types.hpp"
#include "ops/flush_denormals.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace densegrad {

/// Work, in multiply-adds, below which waking a second thread costs more than it saves.
inline constexpr double kParallelWork = 1e6;

/// Threads that run_tasks may use: 1 in a child of fork(), where the parent's OpenMP threads do not exist, and 1
/// inside a parallel region of the caller's.
int usable_threads();

/// Threads that run_tasks will use.
inline int workers_for(Size count, double work) { return work < kParallelWork || count < 2 ? 1 : usable_threads(); }

/// Calls task(i, worker) for i in [0, count), on several threads where `work` pays for them; worker counts from 0 and
/// stays below workers_for(count, work). A task throws nothing.
template <class Task>
void run_tasks(Size count, [[maybe_unused]] double work, Task task) {
#ifdef _OPENMP
  const int threads = workers_for(count, work);
  if (threads > 1) {
    const KeepDenormals keep;
#pragma omp parallel num_threads(threads)
    {
      const FlushDenormals flush;
      const int worker = omp_get_thread_num();
#pragma omp for schedule(static)
      for (Size i = 0; i < count; ++i) task(i, worker);
    }
    return;
  }
#endif
  for (Size i = 0; i < count; ++i) task(i, 0);
}

}  // namespace densegrad
