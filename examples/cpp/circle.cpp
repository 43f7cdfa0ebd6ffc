// Which points of a square lie inside a circle? Two inputs, 32 hidden units, two classes.
#include <densegrad/network.hpp>
#include <iostream>
#include <random>
#include <vector>

int main() {
  constexpr int rows = 2000;
  std::vector<float> x(2 * rows), logits(2 * rows);
  std::vector<densegrad::Index> labels(rows);
  std::mt19937 bits(0);
  for (float& one : x) one = static_cast<float>(bits()) / 2147483648.0F - 1;  // on [-1, 1]
  for (int i = 0; i < rows; ++i) labels[i] = x[2 * i] * x[2 * i] + x[2 * i + 1] * x[2 * i + 1] < 0.5F;

  using densegrad::Network;
  Network<float> network(densegrad::stack(2, {{32, {"relu"}}, {2}}, {"cross_entropy"}, {"adam"}), densegrad::Seed{1});
  double loss = 0;
  for (int epoch = 0; epoch < 50; ++epoch)
    loss = network.run_epoch({rows, x.data(), {nullptr, labels.data()}}, 32, 0.01);

  network.predict(rows, x.data(), logits.data());
  int right = 0;
  for (int i = 0; i < rows; ++i) right += (logits[2 * i + 1] > logits[2 * i]) == (labels[i] == 1);
  std::cout << "loss " << loss << ", accuracy " << 100.0 * right / rows << " %\n";
}
