#include "ops/coefficients.hpp"

#include <cmath>

namespace densegrad {

void update_coefficients(OptimizerKind kind, const std::vector<double>& attributes, Index updates, double learning_rate,
                         std::vector<double>& coefficients) {
  coefficients.clear();
  switch (kind) {
    case OptimizerKind::sgd:
      coefficients.push_back(learning_rate);
      return;
    case OptimizerKind::adam: {
      const double t = static_cast<double>(updates) + 1, beta1 = attributes[0], beta2 = attributes[1];
      coefficients.push_back(learning_rate / (1 - std::pow(beta1, t)));
      coefficients.push_back(std::sqrt(1 - std::pow(beta2, t)));
      coefficients.insert(coefficients.end(), attributes.begin(), attributes.end());
      return;
    }
  }
}

std::vector<double> update_coefficients(OptimizerKind kind, const std::vector<double>& attributes, Index updates,
                                        double learning_rate) {
  std::vector<double> coefficients;
  update_coefficients(kind, attributes, updates, learning_rate, coefficients);
  return coefficients;
}

}  // namespace densegrad
