#include "ops/loss.hpp"

#include "base/primitives.hpp"
#include "densegrad/ops.hpp"
#include "dispatch/dispatch.hpp"

namespace densegrad {

template <class T>
double loss(const std::string& name, Size rows, Size columns, const T* p, Target<T> target, const T* weights, T* dp,
            const Attributes& attributes) {
  const std::vector<double> values = attribute_values(find_primitive("loss", name), attributes);
  const int kind = static_cast<int>(loss_named(name));
  const Size target_columns = target_rule(name, columns).width;
  return kernels<T>().loss[kind](rows, columns, p, columns, {target.values, target_columns, target.labels}, weights,
                                 mean_scale(rows, weights), dp, columns, values.data());
}

template double loss(const std::string&, Size, Size, const float*, Target<float>, const float*, float*,
                     const Attributes&);
template double loss(const std::string&, Size, Size, const double*, Target<double>, const double*, double*,
                     const Attributes&);

}  // namespace densegrad
