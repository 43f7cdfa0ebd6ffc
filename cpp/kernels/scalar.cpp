#include "simd/scalar.hpp"

#include "kernels/kernels.inl"

namespace densegrad {
namespace {
constexpr InstructionSet kSet = {"scalar", kKernels<float>, kKernels<double>};
}  // namespace

const InstructionSet& instruction_set_scalar() { return kSet; }

}  // namespace densegrad
