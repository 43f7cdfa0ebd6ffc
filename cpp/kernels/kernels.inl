// All families, and the table that names them: what each instruction set's file includes.

#include "kernels/table.hpp"

#include "kernels/math.inl"

#include "kernels/elementwise.inl"

#include "kernels/activations.inl"
#include "kernels/gemm.inl"
#include "kernels/gradients.inl"
#include "kernels/layers.inl"
#include "kernels/layout.inl"
#include "kernels/losses.inl"
#include "kernels/optimizers.inl"

namespace densegrad {
namespace {

template <class T>
constexpr Kernels<T> kKernels = {
    gemm_panel<T>,
    gemm_row<T>,
    gemm_panel_transposed<T>,
    gemv<T>,
    gemv_transposed<T>,
    {
#define DENSEGRAD_ACTIVATION(name, ...) name##_forward<T>,
#include "base/primitives.def"
    },
    {
#define DENSEGRAD_ACTIVATION(name, ...) name##_backward<T>,
#include "base/primitives.def"
    },
    {
#define DENSEGRAD_LOSS(name, ...) name##_loss<T>,
#include "base/primitives.def"
    },
    {
#define DENSEGRAD_OPTIMIZER(name, ...) name##_update<T>,
#include "base/primitives.def"
    },
    pack_rows<T>,
    unpack_rows<T>,
    pack_transposed<T>,
    column_sums<T>,
    all_finite<T>,
    sum_of_squares<T>,
    penalize<T>,
    clip_values<T>,
    scale_values<T>,
    moving_average<T>,
    {
        add_panel<T>,
        draw_kept,
        apply_kept<T>,
        standardize_forward<T>,
        standardize_backward<T>,
        batch_norm_forward<T>,
        batch_norm_predict<T>,
        batch_norm_backward<T>,
        layer_norm_forward<T>,
        layer_norm_backward<T>,
        layer_norm_parameters<T>,
        prelu_forward<T>,
        learned_swish_forward<T>,
        prelu_backward<T>,
        learned_swish_backward<T>,
    },
};

}  // namespace
}  // namespace densegrad
