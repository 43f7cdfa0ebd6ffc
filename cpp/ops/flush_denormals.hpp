#pragma once

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace densegrad {

/// Sets for its lifetime whether numbers below the smallest normal count as zero on this thread: they would make some
/// instructions a hundred times slower. The caller's floating-point state comes back after it.
class DenormalMode {
 public:
  DenormalMode(const DenormalMode&) = delete;
  DenormalMode& operator=(const DenormalMode&) = delete;

#if defined(__x86_64__) || defined(_M_X64)
  ~DenormalMode() { _mm_setcsr(before_); }

 protected:
  enum class Mode { flush, keep };
  explicit DenormalMode(Mode mode) : before_(_mm_getcsr()) {
    constexpr unsigned bits = 0x8040;  // flush to zero, denormals are zero
    _mm_setcsr(mode == Mode::flush ? before_ | bits : before_ & ~bits);
  }

 private:
  unsigned before_;
#else
 protected:
  enum class Mode { flush, keep };
  explicit DenormalMode(Mode) {}
#endif
};

struct FlushDenormals : DenormalMode {
  FlushDenormals() : DenormalMode(Mode::flush) {}
};

/// For the time in which threads may be made: a new thread inherits its maker's state and keeps it.
struct KeepDenormals : DenormalMode {
  KeepDenormals() : DenormalMode(Mode::keep) {}
};

}  // namespace densegrad
