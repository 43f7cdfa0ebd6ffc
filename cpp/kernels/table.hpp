#pragma once

// The kernels of one instruction set, as pointers. Rules of this folder:
//
// - A kernel allocates nothing, throws nothing, knows no threads: pointers, sizes, strides. Zero sizes are legal.
// - It overwrites its outputs; every size is counted in elements; a stride follows its pointer.
// - Each .inl holds one family, compiled once for each instruction set by scalar.cpp, avx2.cpp and avx512.cpp,
//   inside an anonymous namespace, with no header but <stddef.h>, <stdint.h>, intrinsics and ours: an inline
//   function of the standard library compiled there could be the copy the linker keeps for every machine.
// - Partial sums are divided by problem size and combined in index order, so that results repeat.
//
// Matrices inside the engine are cut into panels of kPanel columns: element (i, j) of a matrix of r rows lies at
// data[(j / kPanel) * r * kPanel + i * kPanel + j % kPanel]. A panel of 128 bytes a row is two cache lines and
// two AVX-512 vectors wide, so a tile reads it with constant offsets whatever the width of the matrix is, and
// rows 4 KiB apart never meet in the same cache set. Columns beyond the matrix hold numbers nobody reads.

#include <stddef.h>
#include <stdint.h>

#include "base/counts.hpp"

namespace densegrad {

/// Columns of a panel.
template <class T>
inline constexpr ptrdiff_t kPanel = 128 / static_cast<ptrdiff_t>(sizeof(T));

/// What a tile does with a finished sum before it stores it.
enum class Epilogue {
  store,      // c = sum
  relu,       // c = max(sum, 0)
  relu_mask,  // c = sum where y > 0, else 0
  sgd,        // c = c - rate sum
  optimizer,  // c = an optimiser's update of c by the gradient sum
};

/// One update of (rows, columns) parameters w. The optimiser's state lies as w does, its rows state_stride apart;
/// what the coefficients are stands with each kernel.
template <class T>
using Update = void (*)(ptrdiff_t rows, ptrdiff_t columns, T* w, ptrdiff_t w_stride, const T* dw, ptrdiff_t dw_stride,
                        T* state, ptrdiff_t state_stride, const double* coefficients) noexcept;

/// An optimiser's update of a matrix: the kernel, so many states laid out as the matrix, state_stride apart, and the
/// coefficients.
template <class T>
struct UpdateRule {
  Update<T> kernel;
  T* state;
  ptrdiff_t state_stride;
  int states;
  const double* coefficients;
};

/// Rows that the next step will read by their numbers. A product asks for some cache lines of them now and then, so
/// that they have arrived by then.
struct RowPrefetch {
  const int64_t* row;  // the next one's number
  const int64_t* end;
  const char* x;
  ptrdiff_t x_size;  // bytes of a row
  const char* y;     // targets
  ptrdiff_t y_size;
  const char* line;  // the next of the row asked for
  const char* line_end;
  int lines;  // at a time
};

/// One column panel of C = A B + bias, `rows` tall. A is in panels (or x^T of a matrix in panels), B is one panel, and
/// so is C where A is not transposed: it is written whole, beyond the columns of the matrix, too.
template <class T>
struct GemmPanel {
  ptrdiff_t rows;
  ptrdiff_t depth;
  ptrdiff_t columns;   // of C, at most kPanel
  const T* a;          // element (0, 0)
  ptrdiff_t a_panel;   // from one panel of A to the next
  bool a_is_far;       // A does not fit in the second level of the cache
  const T* b;          // (depth, columns)
  ptrdiff_t b_stride;  // from one row of B to the next
  T* packed;           // where to leave a panel of B for the GEMM panels that follow, or null
  const T* bias;       // (columns) or null
  T* c;                // (rows, columns)
  ptrdiff_t c_stride;  // from one row of C to the next
  const T* y;          // for relu_mask, laid out as C
  T rate;              // for sgd
  UpdateRule<T> rule;  // for optimizer
  Epilogue epilogue;
  RowPrefetch* prefetch;  // or null
};

/// Targets of a batch: values in rows as wide as the loss asks, or one label a row.
template <class T>
struct Targets {
  const T* values;
  ptrdiff_t stride;
  const int64_t* labels;  // null where there are values
};

/// Which elements dropout keeps: those whose 32 bits, drawn by their place, the step and two keys, reach the limit.
struct Mask {
  uint64_t seed;
  uint64_t stream;
  uint64_t step;
  uint32_t limit;
};

/// Whether an activation's own parameter is one number or one for each column.
enum class ParameterSharing { all_columns, none };

/// The layers beside the dense one; layers.inl has their equations.
template <class T>
struct LayerKernels {
  void (*add_panel)(ptrdiff_t size, const T* a, const T* b, T* y) noexcept;

  void (*draw_kept)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t first_row, ptrdiff_t first_column, ptrdiff_t width,
                    const Mask& mask, uint32_t* kept) noexcept;
  void (*apply_kept)(ptrdiff_t rows, const T* x, const uint32_t* kept, T scale, T* y) noexcept;

  void (*standardize_forward)(ptrdiff_t rows, ptrdiff_t columns, const T* x, const T* mean, const T* scale,
                              T* y) noexcept;
  void (*standardize_backward)(ptrdiff_t rows, ptrdiff_t columns, const T* dy, const T* scale, T* dx) noexcept;

  void (*batch_norm_forward)(ptrdiff_t rows, ptrdiff_t columns, const T* x, const T* gamma, const T* beta, T eps, T* y,
                             T* mean, T* variance, T* inverse) noexcept;
  void (*batch_norm_predict)(ptrdiff_t rows, ptrdiff_t columns, const T* x, const T* gamma, const T* beta,
                             const T* mean, const T* variance, T eps, T* y) noexcept;
  void (*batch_norm_backward)(ptrdiff_t rows, ptrdiff_t columns, const T* dy, const T* x, const T* gamma, const T* mean,
                              const T* inverse, T* dx, T* dgamma, T* dbeta) noexcept;

  void (*layer_norm_forward)(ptrdiff_t rows, ptrdiff_t columns, const T* x, ptrdiff_t panel_size, const T* gamma,
                             const T* beta, T eps, T* y, T* mean, T* inverse) noexcept;
  void (*layer_norm_backward)(ptrdiff_t rows, ptrdiff_t columns, const T* dy, const T* x, ptrdiff_t panel_size,
                              const T* gamma, const T* mean, const T* inverse, T* dx) noexcept;
  void (*layer_norm_parameters)(ptrdiff_t rows, ptrdiff_t columns, const T* dy, const T* x, const T* mean,
                                const T* inverse, T* dgamma, T* dbeta) noexcept;

  // an activation with a parameter a of its own: y = f(z, a); dz = dy df/dz, da_j = sum over rows of dy df/da
  using Forward = void (*)(ptrdiff_t rows, ptrdiff_t columns, const T* z, const T* a, ParameterSharing sharing,
                           T* y) noexcept;
  using Backward = void (*)(ptrdiff_t rows, ptrdiff_t columns, const T* dy, const T* z, const T* a,
                            ParameterSharing sharing, T* dz, T* da) noexcept;
  Forward prelu_forward, learned_swish_forward;
  Backward prelu_backward, learned_swish_backward;
};

template <class T>
struct Kernels {
  void (*gemm_panel)(const GemmPanel<T>&) noexcept;  // sum over k of A(i, k) B(k, j): store, relu, relu_mask
  void (*gemm_row)(const GemmPanel<T>&) noexcept;    // the same for one row and any number of columns: store, relu
  void (*gemm_panel_transposed)(const GemmPanel<T>&) noexcept;  // sum over k of A(k, i) B(k, j): store, sgd, optimizer

  // the same for one column of B: y_i = sum_k A(i, k) x_k + bias, and y_k = sum_i A(i, k) x_i: store, sgd
  void (*gemv)(ptrdiff_t rows, ptrdiff_t depth, const T* a, ptrdiff_t a_panel, const T* x, const T* bias, T* y,
               ptrdiff_t y_stride) noexcept;
  void (*gemv_transposed)(ptrdiff_t rows, ptrdiff_t depth, const T* a, ptrdiff_t a_panel, const T* x,
                          ptrdiff_t x_stride, T* y, Epilogue epilogue, T rate) noexcept;

  // y = f(z) and dz = dy f'(z) on (rows, columns); attributes in the table's order
  using Forward = void (*)(ptrdiff_t rows, ptrdiff_t columns, const T* z, ptrdiff_t z_stride, T* y, ptrdiff_t y_stride,
                           const double* attributes) noexcept;
  using Backward = void (*)(ptrdiff_t rows, ptrdiff_t columns, const T* dy, ptrdiff_t dy_stride, const T* z,
                            ptrdiff_t z_stride, const T* y, ptrdiff_t y_stride, T* dz, ptrdiff_t dz_stride,
                            const double* attributes) noexcept;
  Forward activation_forward[kActivationCount];
  Backward activation_backward[kActivationCount];

  // p (rows, columns): sum over rows of weight_i l_i, and dp_i = weight_i dl_i/dp_i; weight_i = scale * (weights ?
  // weights[i] : 1)
  using Loss = double (*)(ptrdiff_t rows, ptrdiff_t columns, const T* p, ptrdiff_t p_stride, Targets<T> t,
                          const T* weights, double scale, T* dp, ptrdiff_t dp_stride,
                          const double* attributes) noexcept;
  Loss loss[kLossCount];

  Update<T> update[kOptimizerCount];

  // between row-major matrices and panels
  void (*pack_rows)(ptrdiff_t rows, ptrdiff_t columns, const T* source, ptrdiff_t stride, const int64_t* order,
                    T* panels, ptrdiff_t panel_size) noexcept;
  void (*unpack_rows)(ptrdiff_t rows, ptrdiff_t columns, const T* panels, ptrdiff_t panel_size, T* target,
                      ptrdiff_t stride) noexcept;
  void (*pack_transposed)(ptrdiff_t rows, ptrdiff_t columns, const T* source, ptrdiff_t stride, T* target,
                          ptrdiff_t target_stride) noexcept;

  void (*column_sums)(ptrdiff_t rows, ptrdiff_t columns, const T* source, ptrdiff_t stride, T* sums) noexcept;
  bool (*all_finite)(ptrdiff_t size, const T* source) noexcept;

  // of gradients g and parameters w; gradients.inl has the equations
  double (*sum_of_squares)(ptrdiff_t size, const T* g) noexcept;
  double (*penalize)(ptrdiff_t size, const T* w, T l1, T l2, T* g) noexcept;
  void (*clip_values)(ptrdiff_t size, T limit, T* g) noexcept;
  void (*scale_values)(ptrdiff_t size, T factor, T* g) noexcept;
  void (*moving_average)(ptrdiff_t size, const T* w, T share, T* a) noexcept;

  LayerKernels<T> layers;
};

/// What one instruction set offers, in both dtypes.
struct InstructionSet {
  const char* name;
  Kernels<float> f32;
  Kernels<double> f64;
};

extern const InstructionSet& instruction_set_scalar();
#if defined(DENSEGRAD_X86)
extern const InstructionSet& instruction_set_avx2();
extern const InstructionSet& instruction_set_avx512();
#endif

}  // namespace densegrad
