// Prints the float32 multiply-adds that this machine can do, in GFLOP/s: fma_ceiling INSTRUCTION_SET THREADS.
// Asked again and again on its standard input, it answers with one line for each line, so that whoever times
// something can measure the ceiling beside it.
//
//     g++ -O2 -std=c++17 -pthread fma_ceiling.cpp -o fma_ceiling && echo | ./fma_ceiling avx512 1

#include "fma_ceiling.hpp"

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <thread>
#include <vector>

int main(int argc, char** argv) {
  const std::string isa = argc > 1 ? argv[1] : "scalar";
  const int threads = argc > 2 ? std::atoi(argv[2]) : 1;
  for (std::string line; std::getline(std::cin, line);) {
    std::vector<double> gflops(static_cast<std::size_t>(threads));
    std::vector<std::thread> pool;
    for (double& result : gflops) pool.emplace_back([&] { result = densegrad::bench::fma_gflops<float>(isa); });
    double sum = 0;
    for (std::size_t i = 0; i < pool.size(); ++i) {
      pool[i].join();
      sum += gflops[i];
    }
    std::printf("%.2f\n", sum);
    std::fflush(stdout);
  }
}
