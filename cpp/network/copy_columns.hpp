#pragma once

#include <algorithm>

#include "ops/panels.hpp"

namespace densegrad {

/// Columns of a matrix in panels, from `first` on.
template <class T>
struct Columns {
  Panels<T> of;
  Size first = 0;
};

/// to(i, j) = from(i, j) for the `count` columns that both begin with, as far as they lie in panel p of `to`.
template <class T>
void copy_columns(const Columns<T>& from, const Columns<T>& to, Size count, Size p) {
  const Size end = std::min((p + 1) * kPanel<T>, to.first + count);
  Size at = std::max(p * kPanel<T>, to.first);
  while (at < end) {
    const Size source = from.first + at - to.first;
    const Size some = std::min(end - at, kPanel<T> - source % kPanel<T>);
    const T* read = from.of.panel(source / kPanel<T>) + source % kPanel<T>;
    T* write = to.of.panel(p) + at % kPanel<T>;
    for (Size i = 0; i < to.of.rows; ++i) std::copy_n(read + i * kPanel<T>, some, write + i * kPanel<T>);
    at += some;
  }
}

}  // namespace densegrad
