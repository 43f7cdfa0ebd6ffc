// Benchmarks of every kernel on every instruction set of this machine, and of whole network steps on the one in use.

#include <cstdio>

#include "ceiling.hpp"
#include "densegrad/runtime.hpp"
#include "harness.hpp"

namespace densegrad::bench {
namespace {

std::string rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f", value);
  return text;
}

void describe() {
  benchmark::AddCustomContext("densegrad instruction set", isa());
  benchmark::AddCustomContext("densegrad threads", std::to_string(get_num_threads()) + ", " + openmp_runtime());
  for (const auto& [name, ceiling] : ceilings()) {
    const auto by_level = [](const double* values) {
      return rounded(values[0]) + " / " + rounded(values[1]) + " / " + rounded(values[2]);
    };
    benchmark::AddCustomContext("ceiling of " + name,
                                rounded(ceiling.float32) + " float32 and " + rounded(ceiling.float64) +
                                    " float64 GFLOP/s; L1 / L2 / large: " + by_level(ceiling.read) + " GB/s read, " +
                                    by_level(ceiling.copy) + " GB/s read and written");
  }
}

}  // namespace
}  // namespace densegrad::bench

int main(int argc, char** argv) {
  using namespace densegrad::bench;
  std::string tabular = "--benchmark_counters_tabular=true";  // first, so that the caller can say otherwise
  std::vector<char*> arguments(argv, argv + argc);
  arguments.insert(arguments.begin() + (argc > 0), tabular.data());
  argc = static_cast<int>(arguments.size());
  benchmark::Initialize(&argc, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(argc, arguments.data())) return 2;
  describe();
  add_activations();
  add_losses();
  add_optimizers();
  add_layout();
  add_gemm();
  add_network();
  const std::size_t ran = benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  if (ran == 0) std::fprintf(stderr, "no benchmark matched the filter\n");
  if (failures() > 0) std::fprintf(stderr, "%d runs gave a wrong answer\n", failures());
  return ran == 0 || failures() > 0 ? 1 : 0;
}
