#pragma once

// What looks at whole rows takes them in blocks: where they lie if one panel holds them, else row by row in scratch.

#include <algorithm>

#include "ops/panels.hpp"

namespace densegrad {

/// Rows of a block: by the width alone, so that a sum over blocks never depends on the number of threads.
constexpr Size block_rows(Size columns) { return std::clamp<Size>(16384 / columns, 1, 128); }

constexpr Size block_count(Size rows, Size columns) { return divide_up(rows, block_rows(columns)); }

/// Elements of scratch for a block.
constexpr Size block_size(Size columns) { return block_rows(columns) * columns; }

/// Some rows of a matrix in panels, row by row.
template <class T>
class RowBlock {
 public:
  /// Block number `block` of a matrix, with room for it in scratch.
  RowBlock(const Kernels<T>& kernels, Panels<T> matrix, Size block, T* scratch)
      : kernels_(kernels),
        first_(block * block_rows(matrix.columns)),
        rows_(std::min(block_rows(matrix.columns), matrix.rows - first_)),
        matrix_(matrix),
        copied_(matrix.count() > 1),
        data_(copied_ ? scratch : matrix.data + first_ * kPanel<T>) {}

  Size first() const { return first_; }
  Size rows() const { return rows_; }
  T* data() const { return data_; }
  Size stride() const { return copied_ ? matrix_.columns : kPanel<T>; }

  /// Fetches what the matrix holds.
  void read() const {
    if (!copied_) return;
    kernels_.unpack_rows(rows_, matrix_.columns, corner(), matrix_.panel_size(), data_, matrix_.columns);
  }
  /// Leaves what the block holds in the matrix.
  void write() const {
    if (!copied_) return;
    kernels_.pack_rows(rows_, matrix_.columns, data_, matrix_.columns, nullptr, corner(), matrix_.panel_size());
  }

 private:
  T* corner() const { return matrix_.data + first_ * kPanel<T>; }

  const Kernels<T>& kernels_;
  Size first_;
  Size rows_;
  Panels<T> matrix_;
  bool copied_;
  T* data_;
};

}  // namespace densegrad
