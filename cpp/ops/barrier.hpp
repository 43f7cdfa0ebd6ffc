#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace densegrad {

/// Where the threads of a team wait for each other. They look again for as long as a product may take, then sleep: on a
/// machine that others use a thread may be off its processor for milliseconds, and may need this one to go on. OpenMP's
/// own barrier looks on, which made a step of 0.2 ms take 50 beside one busy process.
class Barrier {
 public:
  Barrier() = default;
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;

  /// Returns when so many threads have called it.
  void wait(int size) {
    const unsigned turn = turn_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      arrived_.store(0, std::memory_order_relaxed);
      turn_.store(turn + 1, std::memory_order_seq_cst);
      if (sleeping_.load(std::memory_order_seq_cst) > 0) {
        const std::lock_guard<std::mutex> lock(mutex_);
        woken_.notify_all();
      }
      return;
    }
    for (int look = 0; look < kLooks; ++look) {
      if (turn_.load(std::memory_order_acquire) != turn) return;
      pause();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    woken_.wait(lock, [&] { return turn_.load(std::memory_order_seq_cst) != turn; });
    sleeping_.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  static constexpr int kLooks = 4000;  // some 50 us

  static void pause() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#endif
  }

  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> turn_{0};
  std::atomic<int> sleeping_{0};
  std::mutex mutex_;
  std::condition_variable woken_;
};

}  // namespace densegrad
