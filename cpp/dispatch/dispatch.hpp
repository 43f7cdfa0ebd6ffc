#pragma once

// One table of kernels for the whole process: the widest instruction set that the processor and the operating
// system support, or the one that DENSEGRAD_ISA names. Read once, at first use.

#include <string>
#include <vector>

#include "kernels/table.hpp"

namespace densegrad {

/// The instruction set in use. Throws std::invalid_argument where DENSEGRAD_ISA names none that this machine has.
const InstructionSet& instruction_set();

/// The names that DENSEGRAD_ISA may have on this machine, widest first.
std::vector<std::string> supported_instruction_sets();

/// The supported instruction set of that name; throws std::invalid_argument with the choices otherwise.
const InstructionSet& instruction_set_named(const std::string& name);

template <class T>
const Kernels<T>& kernels(const InstructionSet& set) noexcept;
template <>
inline const Kernels<float>& kernels(const InstructionSet& set) noexcept {
  return set.f32;
}
template <>
inline const Kernels<double>& kernels(const InstructionSet& set) noexcept {
  return set.f64;
}

template <class T>
const Kernels<T>& kernels() {
  return kernels<T>(instruction_set());
}

}  // namespace densegrad
