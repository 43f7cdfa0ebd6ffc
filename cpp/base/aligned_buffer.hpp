#pragma once

#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#include "densegrad/types.hpp"

namespace densegrad {

/// One cache line, and the widest vector.
inline constexpr Size kAlignment = 64;

/// Memory that starts on a cache line and never shrinks; what it holds is lost when it grows.
template <class T>
class AlignedBuffer {
 public:
  /// At least `size` elements, zero where the memory is new. Throws std::bad_alloc, changing nothing.
  T* reserve(Size size) {
    if (size > capacity_) {
      if (size > (std::numeric_limits<Size>::max() - kAlignment) / static_cast<Size>(sizeof(T))) {
        throw std::bad_alloc();
      }
      const std::size_t bytes =
          (static_cast<std::size_t>(size) * sizeof(T) + kAlignment - 1) & ~static_cast<std::size_t>(kAlignment - 1);
      void* memory = std::aligned_alloc(kAlignment, bytes);
      if (memory == nullptr) throw std::bad_alloc();
      data_.reset(static_cast<T*>(std::memset(memory, 0, bytes)));
      capacity_ = size;
    }
    return data_.get();
  }

  T* data() noexcept { return data_.get(); }
  const T* data() const noexcept { return data_.get(); }

 private:
  struct Free {
    void operator()(T* memory) const noexcept { std::free(memory); }
  };
  std::unique_ptr<T, Free> data_;
  Size capacity_ = 0;
};

}  // namespace densegrad
