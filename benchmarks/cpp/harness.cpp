#include "harness.hpp"

#include <time.h>

#include "ceiling.hpp"

namespace densegrad::bench {
namespace {

int failure_count = 0;

}  // namespace

std::vector<Size> sampled_rows(Size rows, double cost) {
  const Size count = std::clamp<Size>(static_cast<Size>(2e6 / cost), std::min<Size>(rows, 2), rows);
  std::vector<Size> chosen;
  for (Size i = 0; i < count; ++i) chosen.push_back(count == 1 ? 0 : i * (rows - 1) / (count - 1));
  return chosen;
}

void fail(benchmark::State& state, const std::string& message) {
  ++failure_count;
  state.SkipWithError(message.c_str());
}

double thread_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

int failures() { return failure_count; }

void set_counters(benchmark::State& state, const Place& place, const Work& work, double seconds_per_call) {
  const Ceiling& ceiling = ceilings().at(place.isa);
  if (work.flops > 0) {
    const double gflops = work.flops / seconds_per_call / 1e9;
    const double most = (place.bits == 32 ? ceiling.float32 : ceiling.float64) * place.threads;
    state.counters["GFLOP/s"] = gflops;
    state.counters["of_ceiling"] = gflops / most;
    return;
  }
  const double bytes = work.bytes_read + work.bytes_written, gigabytes = bytes / seconds_per_call / 1e9;
  const int level = static_cast<int>(level_of(bytes));
  state.counters["GB/s"] = gigabytes;
  state.counters["of_ceiling"] = gigabytes / (work.bytes_written > 0 ? ceiling.copy : ceiling.read)[level];
}

}  // namespace densegrad::bench
