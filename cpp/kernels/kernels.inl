// All families, and the table that names them: what each instruction set's file includes.

#include "kernels/table.hpp"

#include "kernels/math.inl"

#include "kernels/elementwise.inl"

#include "kernels/activations.inl"
#include "kernels/gemm.inl"
#include "kernels/layout.inl"
#include "kernels/losses.inl"
#include "kernels/optimizers.inl"

namespace densegrad {
namespace {

template <class T>
constexpr Kernels<T> kKernels = {
    sweep<T>,
    row_product<T>,
    sweep_transposed<T>,
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
};

}  // namespace
}  // namespace densegrad
