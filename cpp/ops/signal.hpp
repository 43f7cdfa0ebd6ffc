#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace densegrad {

/// A count that one thread raises and others wait for. Who waits looks for some 20 us, then sleeps: on a machine that
/// others use a thread may be off its processor for milliseconds, and may need this one to go on.
class Signal {
 public:
  Signal() = default;
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  unsigned value() const { return value_.load(std::memory_order_acquire); }

  void raise() {
    value_.fetch_add(1, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) == 0) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    woken_.notify_all();
  }

  /// Returns once the count is no longer `seen`; gives the seconds slept.
  double wait(unsigned seen) {
    const auto start = Clock::now();
    do {  // pauses last from 10 to 150 cycles, by processor: the clock decides
      for (int look = 0; look < kLooks; ++look) {
        if (value() != seen) return 0;
        pause();
      }
    } while (Clock::now() - start < kLooking);
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    woken_.wait(lock, [&] { return value_.load(std::memory_order_seq_cst) != seen; });
    sleeping_.fetch_sub(1, std::memory_order_relaxed);
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::microseconds kLooking{20};
  static constexpr int kLooks = 32;  // between two looks at the clock

  static void pause() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#endif
  }

  alignas(64) std::atomic<unsigned> value_{0};
  std::atomic<int> sleeping_{0};
  std::mutex mutex_;
  std::condition_variable woken_;
};

}  // namespace densegrad
