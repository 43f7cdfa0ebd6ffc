#pragma once

// What every benchmark of this folder shares. A benchmark lays out its data, times one call, then makes the call
// once more on fresh data and compares the answer with a naive loop: a wrong answer fails the program.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "../fma_ceiling.hpp"
#include "base/aligned_buffer.hpp"
#include "base/primitives.hpp"
#include "dispatch/dispatch.hpp"

namespace densegrad::bench {

/// Numbers that begin on a cache line.
template <class T>
class Array {
 public:
  explicit Array(Size size, T value = T(0)) : size_(size) {
    memory_.reserve(size);
    fill(value);
  }
  Array(const Array& other) : Array(other.size()) { *this = other; }
  Array& operator=(const Array& other) {  // of the same size
    std::copy(other.begin(), other.end(), begin());
    return *this;
  }

  T* data() { return memory_.data(); }
  const T* data() const { return memory_.data(); }
  Size size() const { return size_; }
  T& operator[](Size i) { return data()[i]; }
  const T& operator[](Size i) const { return data()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }

  void fill(T value) { std::fill(begin(), end(), value); }

 private:
  AlignedBuffer<T> memory_;
  Size size_;
};

/// Filled in before a call that is checked, so that what it does not write shows.
template <class T>
inline constexpr T kUnwritten = std::numeric_limits<T>::quiet_NaN();

/// Data that are the same in every run.
class Random {
 public:
  /// Numbers between low and high on a grid that leaves out 0 and whole numbers, where kinks lie.
  template <class T>
  Array<T> uniform(Size size, double low, double high) {
    constexpr double steps = 1 << 20;
    Array<T> numbers(size);
    for (T& number : numbers) {
      number = static_cast<T>(low + (high - low) * (std::floor(fraction() * steps) + 0.5) / steps);
    }
    return numbers;
  }

  /// Whole numbers between -2 and 2: their products and sums are exact.
  template <class T>
  Array<T> small_integers(Size size) {
    Array<T> numbers(size);
    for (T& number : numbers) number = static_cast<T>(below(5)) - T(2);
    return numbers;
  }

  Index below(Index count) { return static_cast<Index>(fraction() * static_cast<double>(count)); }

 private:
  double fraction() {  // splitmix64 (Steele, Lea, Flood 2014)
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }

  std::uint64_t state_ = 20260101;
};

/// The rows to compare where comparing one costs `cost` operations: the first, the last, and as many between
/// them as 2 million operations allow.
std::vector<Size> sampled_rows(Size rows, double cost);

/// Empty where every got[i] is within tolerance (1 + |want[i]|) of want[i]; else what is wrong.
template <class T>
std::string difference(const T* got, const std::vector<double>& want, double tolerance) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double value = static_cast<double>(got[i]);
    if (value == want[i] || std::abs(value - want[i]) <= tolerance * (1 + std::abs(want[i]))) continue;
    return "element " + std::to_string(i) + ": expected " + std::to_string(want[i]) + ", got " + std::to_string(value);
  }
  return "";
}

/// What one call does: multiplications and additions, or else bytes that go through memory.
struct Work {
  double flops = 0;
  double bytes_read = 0;
  double bytes_written = 0;
};

/// A benchmark's place: its instruction set, the bits of its numbers, the threads it runs on.
struct Place {
  std::string isa;
  int bits = 32;
  int threads = 1;
};

template <class T>
Place place_of(const InstructionSet& set) {
  return {set.name, 8 * static_cast<int>(sizeof(T)), 1};
}

/// Counts wrong answers, because Google Benchmark does not tell its caller of them.
void fail(benchmark::State& state, const std::string& message);
int failures();

/// The counters GFLOP/s or GB/s, and of_ceiling, the fraction of what this machine can do.
void set_counters(benchmark::State& state, const Place& place, const Work& work, double seconds_per_call);

/// Seconds that the calling thread has spent computing.
double thread_seconds();

/// Times call(), then check(), which gives what is wrong, or nothing.
template <class Call, class Check>
void run(benchmark::State& state, const Place& place, const Work& work, Call call, Check check) {
  const Clock::time_point start = Clock::now();
  const double start_of_thread = thread_seconds();
  for (auto _ : state) {
    call();
    benchmark::ClobberMemory();
  }
  // a single thread's own time leaves out what other programs took meanwhile
  const double seconds = place.threads == 1 ? thread_seconds() - start_of_thread : seconds_since(start);
  set_counters(state, place, work, seconds / static_cast<double>(state.iterations()));
  const std::string wrong = check();
  if (!wrong.empty()) fail(state, wrong);
}

inline const char* dtype_name(float) { return "float32"; }
inline const char* dtype_name(double) { return "float64"; }

/// Registers "kernel/isa/dtype/size".
template <class T, class Function>
benchmark::internal::Benchmark* add(const std::string& kernel, const InstructionSet& set, const std::string& size,
                                    Function function) {
  const std::string name = kernel + "/" + set.name + "/" + dtype_name(T()) + "/" + size;
  return benchmark::RegisterBenchmark(name.c_str(), std::move(function));
}

/// f(instruction set, a number of the dtype) for each table of kernels that this machine can run.
template <class Function>
void for_each_table(Function f) {
  for (const std::string& name : supported_instruction_sets()) {
    const InstructionSet& set = instruction_set_named(name);
    f(set, float());
    f(set, double());
  }
}

/// f(row, place among its kind) for each primitive of a kind.
template <class Function>
void for_each_primitive(const std::string& kind, Function f) {
  int place = 0;
  for (const PrimitiveRow& row : primitives()) {
    if (row.kind == kind) f(row, place++);
  }
}

/// Rows and columns of a matrix.
struct Shape {
  Size rows;
  Size columns;

  Size size() const { return rows * columns; }
  std::string name() const { return std::to_string(rows) + "x" + std::to_string(columns); }
};

/// One with tails, one for each cache, and one for memory.
inline constexpr Shape kShapes[] = {{33, 7}, {64, 64}, {256, 256}, {2048, 2048}};

/// As far as a value and a derivative taken by differences may lie from the truth.
template <class T>
inline constexpr double kTolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;
template <class T>
inline constexpr double kSlopeTolerance = sizeof(T) == 4 ? 1e-5 : 1e-7;

void add_activations();
void add_losses();
void add_optimizers();
void add_layout();
void add_gemm();
void add_network();

}  // namespace densegrad::bench
