#include "dispatch/dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

#include "dispatch/cpuid.hpp"

namespace densegrad {
namespace {

struct Candidate {
  const char* name;
  bool (*supported)();
  const InstructionSet& (*get)();
};

// widest first: the first that is supported wins
constexpr Candidate kCandidates[] = {
#if defined(DENSEGRAD_X86)
    {"avx512", has_avx512, instruction_set_avx512},
    {"avx2", has_avx2, instruction_set_avx2},
#endif
    {"scalar", [] { return true; }, instruction_set_scalar},
};

const InstructionSet& chosen() {
  const char* forced = std::getenv("DENSEGRAD_ISA");
  if (forced != nullptr && *forced != '\0') return instruction_set_named(forced);
  return instruction_set_named(supported_instruction_sets().front());
}

}  // namespace

const InstructionSet& instruction_set() {
  static const InstructionSet& set = chosen();
  return set;
}

std::vector<std::string> supported_instruction_sets() {
  std::vector<std::string> names;
  for (const Candidate& candidate : kCandidates) {
    if (candidate.supported()) names.emplace_back(candidate.name);
  }
  return names;
}

const InstructionSet& instruction_set_named(const std::string& name) {
  for (const Candidate& candidate : kCandidates) {
    if (candidate.name == name && candidate.supported()) return candidate.get();
  }
  std::string choices;
  for (const std::string& supported : supported_instruction_sets()) {
    choices += (choices.empty() ? "" : ", ") + supported;
  }
  throw std::invalid_argument("DENSEGRAD_ISA: expected one of " + choices + ", got '" + name + "'");
}

}  // namespace densegrad
