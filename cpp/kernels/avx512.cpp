#include "simd/avx512.hpp"

#include "kernels/kernels.inl"

namespace densegrad {
namespace {
constexpr InstructionSet kSet = {"avx512", kKernels<float>, kKernels<double>};
}  // namespace

const InstructionSet& instruction_set_avx512() { return kSet; }

}  // namespace densegrad
