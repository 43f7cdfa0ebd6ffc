#include "simd/avx2.hpp"

#include "kernels/kernels.inl"

namespace densegrad {
namespace {
constexpr InstructionSet kSet = {"avx2", kKernels<float>, kKernels<double>};
}  // namespace

const InstructionSet& instruction_set_avx2() { return kSet; }

}  // namespace densegrad
