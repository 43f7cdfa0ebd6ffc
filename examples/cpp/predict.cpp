// A model that Python trained and saved, without Python: rows of numbers in, rows of predictions out.
//
//     predict circle.safetensors < rows.txt
#include <densegrad/files.hpp>
#include <exception>
#include <iostream>
#include <vector>

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "predict: expected the file of a model, got " << count - 1 << " arguments\n";
    return 1;
  }
  try {
    const auto model = densegrad::load(arguments[1]);
    const auto network = model.network();
    std::vector<float> x(model.input_size()), y(model.output_size());
    while (true) {
      for (float& one : x) std::cin >> one;
      if (!std::cin) return 0;
      network.predict(1, x.data(), y.data());
      for (const float one : y) std::cout << one << ' ';
      std::cout << '\n';
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
