#include "base/primitives.hpp"
#include "densegrad/ops.hpp"
#include "dispatch/dispatch.hpp"
#include "ops/coefficients.hpp"

namespace densegrad {

template <class T>
void optimizer_update(const std::string& name, Size size, T* w, const T* dw, T* state, Index updates,
                      double learning_rate, const Attributes& attributes) {
  const OptimizerKind kind = optimizer_named(name);
  const std::vector<double> values = attribute_values(find_primitive("optimizer", name), attributes);
  const std::vector<double> coefficients = update_coefficients(kind, values, updates, learning_rate);
  kernels<T>().update[static_cast<int>(kind)](1, size, w, size, dw, size, state, size, coefficients.data());
}

template void optimizer_update(const std::string&, Size, float*, const float*, float*, Index, double,
                               const Attributes&);
template void optimizer_update(const std::string&, Size, double*, const double*, double*, Index, double,
                               const Attributes&);

}  // namespace densegrad
