#pragma once

#include "network/stage_runner.hpp"
#include "ops/row_blocks.hpp"

namespace densegrad {

/// A stage's activation on matrices in panels, with its derivative.
template <class T>
class Elementwise {
 public:
  Elementwise(const Kernels<T>& kernels, const Stage& stage) : kernels_(kernels), stage_(stage) {}

  void forward(const Team& team, Panels<T> z, Panels<T> y, T* scratch) const {
    const auto kernel = kernels_.activation_forward[static_cast<int>(stage_.activation)];
    const double* attributes = stage_.activation_attributes.data();
    if (!stage_.by_row) {
      team.for_each(z.count(), [&](Size p) {
        kernel(z.rows, kPanel<T>, z.panel(p), kPanel<T>, y.panel(p), kPanel<T>, attributes);
      });
      return;
    }
    team.for_each(block_count(z.rows, z.columns), [&](Size block, int rank) {
      T* own = scratch + rank * scratch_of_thread(z.columns);
      const RowBlock<T> from(kernels_, z, block, own), to(kernels_, y, block, own);
      from.read();
      kernel(from.rows(), z.columns, from.data(), from.stride(), to.data(), to.stride(), attributes);
      to.write();
    });
  }

  /// dz, which may be dy
  void backward(const Team& team, Panels<T> dy, Panels<T> z, Panels<T> y, Panels<T> dz, T* scratch) const {
    if (stage_.activation == Activation::identity && dy.data == dz.data) return;
    const auto kernel = kernels_.activation_backward[static_cast<int>(stage_.activation)];
    const double* attributes = stage_.activation_attributes.data();
    if (!stage_.by_row) {
      team.for_each(dy.count(), [&](Size p) {
        const T* z_panel = z.data == nullptr ? nullptr : z.panel(p);
        const T* y_panel = y.data == nullptr ? nullptr : y.panel(p);
        kernel(dy.rows, kPanel<T>, dy.panel(p), kPanel<T>, z_panel, kPanel<T>, y_panel, kPanel<T>, dz.panel(p),
               kPanel<T>, attributes);
      });
      return;
    }
    team.for_each(block_count(dy.rows, dy.columns), [&](Size block, int rank) {
      T* own = scratch + rank * scratch_of_thread(dy.columns);
      const Size size = block_size(dy.columns);
      const RowBlock<T> rows_dy(kernels_, dy, block, own), rows_z(kernels_, z, block, own + size),
          rows_y(kernels_, y, block, own + 2 * size), rows_dz(kernels_, dz, block, own);
      rows_dy.read();
      if (stage_.reads_z) rows_z.read();
      if (stage_.reads_y) rows_y.read();
      kernel(rows_dy.rows(), dy.columns, rows_dy.data(), rows_dy.stride(), rows_z.data(), rows_z.stride(),
             rows_y.data(), rows_y.stride(), rows_dz.data(), rows_dz.stride(), attributes);
      rows_dz.write();
    });
  }

  Size scratch(Size columns, int threads) const {
    return stage_.by_row && columns > kPanel<T> ? threads * scratch_of_thread(columns) : 0;
  }

 private:
  static Size scratch_of_thread(Size columns) { return 3 * block_size(columns); }

  const Kernels<T>& kernels_;
  const Stage& stage_;
};

}  // namespace densegrad
