#pragma once

// The ops work on matrices in panels (see kernels/table.hpp). This folder blocks for the caches and divides work
// between threads; how a tile is computed is the kernels' business.

#include "densegrad/types.hpp"
#include "kernels/table.hpp"

namespace densegrad {

constexpr Size divide_up(Size a, Size b) { return (a + b - 1) / b; }

/// Rows from one panel to the next. A block of rows of a tall matrix should not fall on the same few cache sets in
/// every panel, so its panels lie an odd number of pages apart (32 rows of 128 bytes are a page).
constexpr Size panel_rows(Size rows) { return rows <= 256 ? rows : (divide_up(rows, 32) | 1) * 32; }

/// A matrix cut into panels of kPanel columns.
template <class T>
struct Panels {
  T* data = nullptr;
  Size rows = 0;
  Size columns = 0;

  Size panel_size() const { return panel_rows(rows) * kPanel<T>; }
  Size count() const { return divide_up(columns, kPanel<T>); }
  Size lines() const { return panel_rows(rows) * count(); }  // of kPanel elements, one behind the other
  T* panel(Size p) const { return data + p * panel_size(); }

  operator Panels<const T>() const { return {data, rows, columns}; }  // NOLINT: as T* becomes const T*
};

template <class T>
inline constexpr Size kPanel<const T> = kPanel<T>;

/// target (rows, columns), row by row, = the matrix.
template <class T>
void unpack(const Kernels<T>& kernels, Panels<const T> matrix, T* target) {
  kernels.unpack_rows(matrix.rows, matrix.columns, matrix.data, matrix.panel_size(), target, matrix.columns);
}

/// Elements that a matrix takes in panels.
template <class T>
constexpr Size panels_size(Size rows, Size columns) {
  return panel_rows(rows) * divide_up(columns, kPanel<T>) * kPanel<T>;
}

}  // namespace densegrad
