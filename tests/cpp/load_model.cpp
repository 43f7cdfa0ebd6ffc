// Reads a model's file, predicts, trains on and predicts again; test_load_model.py compares that with Python.
//
//     load_model DTYPE MODEL X Y OPTIMIZER STEPS OUT
//
// X and Y are rows of numbers of that dtype. OUT gets a prediction, the loss of each step as a number of that dtype,
// the parameters behind them and another prediction; without steps the prediction alone.

#include <densegrad/files.hpp>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using densegrad::Size;

template <class T>
std::vector<T> read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const T* numbers = reinterpret_cast<const T*>(bytes.data());
  return {numbers, numbers + bytes.size() / sizeof(T)};
}

template <class T>
void run(char** arguments) {
  auto model = densegrad::load<T>(arguments[2]);
  const std::vector<T> x = read<T>(arguments[3]), y = read<T>(arguments[4]);
  const int steps = std::stoi(arguments[6]);
  if (steps > 0) model.plan.optimizer.primitive = arguments[5];
  densegrad::Network<T> network = model.network();
  const Size rows = static_cast<Size>(x.size()) / model.input_size();
  std::vector<T> prediction(static_cast<std::size_t>(rows * model.output_size()));
  std::ofstream out(arguments[7], std::ios::binary);
  const auto write = [&](const T* numbers, Size count) {
    out.write(reinterpret_cast<const char*>(numbers), count * static_cast<Size>(sizeof(T)));
  };
  const auto predict = [&] {
    network.predict(rows, x.data(), prediction.data());
    write(prediction.data(), static_cast<Size>(prediction.size()));
  };
  predict();
  if (steps == 0) return;
  for (int step = 0; step < steps; ++step) {
    const T loss = static_cast<T>(network.step({rows, x.data(), {y.data()}}, 0.01, step));
    write(&loss, 1);
  }
  write(network.parameters(), model.plan.parameter_count);
  predict();
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count != 8) throw std::invalid_argument("expected DTYPE MODEL X Y OPTIMIZER STEPS OUT");
    arguments[1] == std::string("float32") ? run<float>(arguments) : run<double>(arguments);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
