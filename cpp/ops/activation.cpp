#include "base/primitives.hpp"
#include "densegrad/ops.hpp"
#include "dispatch/dispatch.hpp"

namespace densegrad {

template <class T>
void activation_forward(const std::string& name, Size rows, Size columns, const T* z, T* y,
                        const Attributes& attributes) {
  const int f = static_cast<int>(activation_named(name));
  const std::vector<double> values = attribute_values(find_primitive("activation", name), attributes);
  kernels<T>().activation_forward[f](rows, columns, z, columns, y, columns, values.data());
}

template <class T>
void activation_backward(const std::string& name, Size rows, Size columns, const T* dy, const T* z, const T* y, T* dz,
                         const Attributes& attributes) {
  const int f = static_cast<int>(activation_named(name));
  const std::vector<double> values = attribute_values(find_primitive("activation", name), attributes);
  kernels<T>().activation_backward[f](rows, columns, dy, columns, z, columns, y, columns, dz, columns, values.data());
}

template void activation_forward(const std::string&, Size, Size, const float*, float*, const Attributes&);
template void activation_forward(const std::string&, Size, Size, const double*, double*, const Attributes&);
template void activation_backward(const std::string&, Size, Size, const float*, const float*, const float*, float*,
                                  const Attributes&);
template void activation_backward(const std::string&, Size, Size, const double*, const double*, const double*, double*,
                                  const Attributes&);

}  // namespace densegrad
