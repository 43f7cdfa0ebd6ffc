#include "base/primitives.hpp"
#include "densegrad/ops.hpp"
#include "dispatch/dispatch.hpp"

namespace densegrad {

template <class T>
void optimizer_update(const std::string& name, Size size, T* w, const T* dw, T* state, Index updates,
                      double learning_rate, const Attributes& attributes) {
  const std::vector<double> values = attribute_values(find_primitive("optimizer", name), attributes);
  const int kind = static_cast<int>(optimizer_named(name));
  kernels<T>().update[kind](1, size, w, size, dw, size, state, size, updates, learning_rate, values.data());
}

template void optimizer_update(const std::string&, Size, float*, const float*, float*, Index, double,
                               const Attributes&);
template void optimizer_update(const std::string&, Size, double*, const double*, double*, Index, double,
                               const Attributes&);

}  // namespace densegrad
