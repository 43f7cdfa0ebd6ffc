// Runs a test program on the instruction set that DENSEGRAD_ISA names, or says that this machine has it not.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "densegrad/runtime.hpp"

int main(int argc, char** argv) {
  constexpr int skipped = 77;
  const char* wanted = std::getenv("DENSEGRAD_ISA");
  try {
    const std::string used = densegrad::isa();
    if (wanted != nullptr && *wanted != '\0' && used != wanted) {
      std::fprintf(stderr, "DENSEGRAD_ISA: asked for %s, got %s\n", wanted, used.c_str());
      return EXIT_FAILURE;
    }
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "skipped: %s\n", error.what());
    return skipped;
  }
  return doctest::Context(argc, argv).run();
}
