#pragma once

#include <algorithm>
#include <atomic>

#include "densegrad/types.hpp"
#include "ops/signal.hpp"

namespace densegrad {

/// Tasks that the threads of a team share out. One of them, the leader, offers them and works on them itself; each
/// other takes some whenever it has a processor. So a thread that is off its processor holds up the others by the one
/// task it has in hand, if any. Every thread begins with a share of its own, the same for the same number of tasks, so
/// that it finds in its caches what it left there, then takes what others have left of theirs.
class SharedTasks {
 public:
  using Call = void (*)(const void* function, Size task, int rank);

  /// By the leader: call(function, i, rank) for each i in [0, count), which so many threads are asked to take part in;
  /// returns when all are done. A thread that is still about from the tasks before may take some, too.
  void run(int threads, Size count, Call call, const void* function) {
    call_ = call;
    function_ = function;
    threads_.store(threads, std::memory_order_relaxed);
    count_.store(count, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    const unsigned seen = finished_.value();  // before anybody can take the first task, and finish the last
    const Size shares = std::min(threads, kShares);
    shares_.store(static_cast<int>(shares), std::memory_order_relaxed);
    for (Size s = 0; s < shares; ++s) {
      Share& share = share_[s];
      const Size first = count * s / shares, last = count * (s + 1) / shares;
      share.end.store(last, std::memory_order_relaxed);
      share.left.store(last - first, std::memory_order_release);
    }
    offered_.raise();
    if (!work(0)) slept_ += finished_.wait(seen);
  }

  /// By every other thread, until the leader ends it.
  void help(int rank) {
    for (unsigned seen = 0;;) {
      offered_.wait(seen);
      seen = offered_.value();
      if (ended_.load(std::memory_order_acquire)) return;
      if (rank < threads_.load(std::memory_order_relaxed)) work(rank);
    }
  }

  /// By the leader: the others are needed no more.
  void end() {
    ended_.store(true, std::memory_order_release);
    offered_.raise();
  }

  /// Seconds that the leader has slept for what others had in hand.
  double slept() const { return slept_; }

 private:
  static constexpr int kShares = 64;

  struct alignas(64) Share {
    std::atomic<Size> left{0};
    std::atomic<Size> end{0};
  };

  // Takes tasks until there are none; gives whether the last of all was done here. Whoever has taken a task knows that
  // nothing changes until it is reported as done, whatever was offered when it began to look.
  bool work(int rank) {
    Size mine = 0;
    const int shares = shares_.load(std::memory_order_relaxed);
    for (int s = 0; s < shares; ++s) {
      Share& share = share_[(rank + s) % shares];
      Size left = share.left.load(std::memory_order_relaxed);
      while (left > 0) {
        if (!share.left.compare_exchange_weak(left, left - 1, std::memory_order_acquire, std::memory_order_relaxed)) {
          continue;
        }
        call_(function_, share.end.load(std::memory_order_relaxed) - left, rank);
        ++mine;
        left = share.left.load(std::memory_order_relaxed);
      }
    }
    if (mine == 0) return false;
    const Size count = count_.load(std::memory_order_relaxed);
    if (done_.fetch_add(mine, std::memory_order_acq_rel) + mine < count) return false;
    if (rank != 0) finished_.raise();
    return true;
  }

  Share share_[kShares];
  Call call_ = nullptr;
  const void* function_ = nullptr;
  std::atomic<int> threads_{0}, shares_{0};
  std::atomic<Size> count_{0};
  alignas(64) std::atomic<Size> done_{0};
  std::atomic<bool> ended_{false};
  double slept_ = 0;
  Signal offered_, finished_;
};

}  // namespace densegrad
