#include "naive.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "dispatch/dispatch.hpp"
#include "ops/coefficients.hpp"

namespace densegrad::bench {
namespace {

double softplus(double z) { return std::log1p(std::exp(z)); }

const std::map<std::string, double (*)(double)> kElementwise = {
    {"identity", [](double z) { return z; }},
    {"sigmoid", [](double z) { return 1 / (1 + std::exp(-z)); }},
    {"tanh", [](double z) { return std::tanh(z); }},
    {"relu", [](double z) { return std::max(z, 0.0); }},
    {"leaky_relu", [](double z) { return std::max(z, 0.01 * z); }},
    {"elu", [](double z) { return z > 0 ? z : std::expm1(z); }},
    {"selu", [](double z) { return 1.0507009873554805 * (z > 0 ? z : 1.6732632423543772 * std::expm1(z)); }},
    {"softplus", softplus},
    {"swish", [](double z) { return z / (1 + std::exp(-z)); }},
    {"gelu", [](double z) { return z * std::erfc(-z * std::sqrt(0.5)) / 2; }},
    {"gelu_tanh",
     [](double z) { return z * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (z + 0.044715 * z * z * z))) / 2; }},
    {"mish", [](double z) { return z * std::tanh(softplus(z)); }},
    {"softsign", [](double z) { return z / (1 + std::abs(z)); }},
    {"hard_sigmoid", [](double z) { return std::clamp(z + 3, 0.0, 6.0) / 6; }},
    {"hard_tanh", [](double z) { return std::clamp(z, -1.0, 1.0); }},
    {"hard_swish", [](double z) { return z * std::clamp(z + 3, 0.0, 6.0) / 6; }},
};

double log_sum_exp(const Row& z) {
  double sum = 0;
  for (const double value : z) sum += std::exp(value);
  return std::log(sum);
}

Row log_softmax(const Row& z) {
  const double normalizer = log_sum_exp(z);
  Row y;
  for (const double value : z) y.push_back(value - normalizer);
  return y;
}

Row softmax(const Row& z) {
  Row y = log_softmax(z);
  for (double& value : y) value = std::exp(value);
  return y;
}

// The mean over a row of f(p_j, t_j).
template <class Function>
double mean(const Row& p, const Row& t, Function f) {
  double sum = 0;
  for (std::size_t j = 0; j < p.size(); ++j) sum += f(p[j], t[j]);
  return sum / static_cast<double>(p.size());
}

double squared(double p, double t) { return (p - t) * (p - t); }

double absolute(double p, double t) { return std::abs(p - t); }

// delta = 1 and q = 1/2, their defaults
double huber(double p, double t) { return absolute(p, t) <= 1 ? squared(p, t) / 2 : absolute(p, t) - 0.5; }

double quantile(double p, double t) { return absolute(p, t) / 2; }

double log_cosh(double p, double t) { return std::log(std::cosh(p - t)); }

double poisson(double p, double t) { return std::exp(p) - t * p; }

double binary_cross_entropy(double p, double t) { return -t * std::log(p) - (1 - t) * std::log1p(-p); }

double binary_cross_entropy_with_logits(double p, double t) { return binary_cross_entropy(1 / (1 + std::exp(-p)), t); }

double gaussian_nll(const Row& p, const Row& t) {
  double sum = 0;
  for (std::size_t j = 0; j < t.size(); ++j) {
    const double s = p[t.size() + j];
    sum += (s + squared(p[j], t[j]) * std::exp(-s)) / 2;
  }
  return sum / static_cast<double>(t.size());
}

double cross_entropy(const Row& p, const Row& t) {
  const double normalizer = log_sum_exp(p);
  double sum = 0;
  for (std::size_t j = 0; j < p.size(); ++j) sum += t[j] * (normalizer - p[j]);
  return sum;
}

double nll(const Row& p, const Row& t) {
  double sum = 0;
  for (std::size_t j = 0; j < p.size(); ++j) sum -= t[j] * p[j];
  return sum;
}

const std::map<std::string, double (*)(const Row& p, const Row& t)> kLosses = {
    {"mse", [](const Row& p, const Row& t) { return mean(p, t, squared); }},
    {"half_squared_error",
     [](const Row& p, const Row& t) { return mean(p, t, squared) * static_cast<double>(p.size()) / 2; }},
    {"mae", [](const Row& p, const Row& t) { return mean(p, t, absolute); }},
    {"huber", [](const Row& p, const Row& t) { return mean(p, t, huber); }},
    {"log_cosh", [](const Row& p, const Row& t) { return mean(p, t, log_cosh); }},
    {"quantile", [](const Row& p, const Row& t) { return mean(p, t, quantile); }},
    {"poisson", [](const Row& p, const Row& t) { return mean(p, t, poisson); }},
    {"gaussian_nll", gaussian_nll},
    {"binary_cross_entropy", [](const Row& p, const Row& t) { return mean(p, t, binary_cross_entropy); }},
    {"binary_cross_entropy_with_logits",
     [](const Row& p, const Row& t) { return mean(p, t, binary_cross_entropy_with_logits); }},
    {"cross_entropy", cross_entropy},
    {"nll", nll},
};

// One update of one parameter, the t-th.
struct Update {
  double w, dw;
  Row& state;
  double t, lr;
  const std::map<std::string, double>& attributes;

  double operator[](const char* name) const { return attributes.at(name); }
  double g() const { return dw + (*this)["weight_decay"] * w; }
  double shrunk() const { return (1 - lr * (*this)["weight_decay"]) * w; }
};

double mix(double share, double x, double y) { return share * x + (1 - share) * y; }

double adam_step(const Update& u, double g) {
  u.state[0] = mix(u["beta1"], u.state[0], g);
  u.state[1] = mix(u["beta2"], u.state[1], g * g);
  if (u.state.size() > 2) u.state[2] = std::max(u.state[1], u.state[2]);
  const double mean = u.state[0] / (1 - std::pow(u["beta1"], u.t));
  return u.lr * mean / (std::sqrt(u.state.back() / (1 - std::pow(u["beta2"], u.t))) + u["eps"]);
}

double nadam_step(const Update& u, double g) {
  double product = 1, mu = 0, next = 0;
  for (double i = 1; i <= u.t; ++i) product *= mu = u["beta1"] * (1 - std::pow(0.96, i * u["momentum_decay"]) / 2);
  next = u["beta1"] * (1 - std::pow(0.96, (u.t + 1) * u["momentum_decay"]) / 2);
  u.state[0] = mix(u["beta1"], u.state[0], g);
  u.state[1] = mix(u["beta2"], u.state[1], g * g);
  const double mean = (1 - mu) * g / (1 - product) + next * u.state[0] / (1 - product * next);
  return u.lr * mean / (std::sqrt(u.state[1] / (1 - std::pow(u["beta2"], u.t))) + u["eps"]);
}

// By the mean square state[0], less the square of the mean state[1] where that is centred.
double rmsprop_direction(const Update& u, bool centered) {
  u.state[0] = mix(u["alpha"], u.state[0], u.g() * u.g());
  if (centered) u.state[1] = mix(u["alpha"], u.state[1], u.g());
  const double variance = u.state[0] - (centered ? u.state[1] * u.state[1] : 0);
  return u.g() / (std::sqrt(variance) + u["eps"]);
}

double with_momentum(const Update& u, double g) {
  u.state.back() = u["momentum"] * u.state.back() + g;
  return u.w - u.lr * u.state.back();
}

const std::map<std::string, double (*)(const Update&)> kUpdates = {
    {"sgd", [](const Update& u) { return u.w - u.lr * u.dw; }},
    {"sgd_weight_decay", [](const Update& u) { return u.w - u.lr * u.g(); }},
    {"sgd_momentum", [](const Update& u) { return with_momentum(u, u.t == 1 ? u.g() : (1 - u["dampening"]) * u.g()); }},
    {"sgd_nesterov",
     [](const Update& u) {
       with_momentum(u, u.g());
       return u.w - u.lr * (u.g() + u["momentum"] * u.state[0]);
     }},
    {"adam", [](const Update& u) { return u.w - adam_step(u, u.g()); }},
    {"adam_amsgrad", [](const Update& u) { return u.w - adam_step(u, u.g()); }},
    {"adam_eps_hat",
     [](const Update& u) {
       u.state[0] = mix(u["beta1"], u.state[0], u.g());
       u.state[1] = mix(u["beta2"], u.state[1], u.g() * u.g());
       const double rate = u.lr * std::sqrt(1 - std::pow(u["beta2"], u.t)) / (1 - std::pow(u["beta1"], u.t));
       return u.w - rate * u.state[0] / (std::sqrt(u.state[1]) + u["eps"]);
     }},
    {"adamw", [](const Update& u) { return u.shrunk() - adam_step(u, u.dw); }},
    {"adamw_amsgrad", [](const Update& u) { return u.shrunk() - adam_step(u, u.dw); }},
    {"rmsprop", [](const Update& u) { return u.w - u.lr * rmsprop_direction(u, false); }},
    {"rmsprop_momentum", [](const Update& u) { return with_momentum(u, rmsprop_direction(u, false)); }},
    {"rmsprop_centered", [](const Update& u) { return u.w - u.lr * rmsprop_direction(u, true); }},
    {"rmsprop_centered_momentum", [](const Update& u) { return with_momentum(u, rmsprop_direction(u, true)); }},
    {"adagrad",
     [](const Update& u) {
       u.state[0] += u.g() * u.g();
       return u.w - u.lr / (1 + (u.t - 1) * u["lr_decay"]) * u.g() / (std::sqrt(u.state[0]) + u["eps"]);
     }},
    {"adadelta",
     [](const Update& u) {
       u.state[0] = mix(u["rho"], u.state[0], u.g() * u.g());
       const double d = u.g() * std::sqrt(u.state[1] + u["eps"]) / std::sqrt(u.state[0] + u["eps"]);
       u.state[1] = mix(u["rho"], u.state[1], d * d);
       return u.w - u.lr * d;
     }},
    {"adamax",
     [](const Update& u) {
       u.state[0] = mix(u["beta1"], u.state[0], u.g());
       u.state[1] = std::max(u["beta2"] * u.state[1], std::abs(u.g()) + u["eps"]);
       return u.w - u.lr / (1 - std::pow(u["beta1"], u.t)) * u.state[0] / u.state[1];
     }},
    {"nadam", [](const Update& u) { return u.w - nadam_step(u, u.g()); }},
    {"nadam_decoupled", [](const Update& u) { return u.shrunk() - nadam_step(u, u.dw); }},
    {"lion",
     [](const Update& u) {
       const double mean = mix(u["beta1"], u.state[0], u.dw);
       u.state[0] = mix(u["beta2"], u.state[0], u.dw);
       return u.shrunk() - u.lr * (mean > 0 ? 1 : mean < 0 ? -1 : 0);
     }},
};

const Kernels<double>& scalar_kernels() { return instruction_set_named("scalar").f64; }

}  // namespace

Row naive_activation(const PrimitiveRow& primitive, int place, const Row& z) {
  if (primitive.name == std::string("softmax")) return softmax(z);
  if (primitive.name == std::string("log_softmax")) return log_softmax(z);
  Row y(z);
  const auto found = kElementwise.find(primitive.name);
  if (found != kElementwise.end()) {
    std::transform(z.begin(), z.end(), y.begin(), found->second);
    return y;
  }
  const Size columns = static_cast<Size>(z.size());
  scalar_kernels().activation_forward[place](1, columns, z.data(), columns, y.data(), columns,
                                             attribute_values(primitive, {}).data());
  return y;
}

double naive_loss(const PrimitiveRow& primitive, int place, const Row& p, const Row& t) {
  const auto found = kLosses.find(primitive.name);
  if (found != kLosses.end()) return found->second(p, t);
  const Size columns = static_cast<Size>(p.size());
  Row dp(p.size());
  return scalar_kernels().loss[place](1, columns, p.data(), columns, {t.data(), static_cast<Size>(t.size()), nullptr},
                                      nullptr, 1, dp.data(), columns, attribute_values(primitive, {}).data());
}

double naive_update(const PrimitiveRow& primitive, int place, double w, double dw, Row& state, Index updates,
                    double lr) {
  const Row attributes = attribute_values(primitive, {});
  const auto found = kUpdates.find(primitive.name);
  if (found != kUpdates.end()) {
    std::map<std::string, double> named;
    for (std::size_t i = 0; i < attributes.size(); ++i) named[primitive.attributes[i].name] = attributes[i];
    return found->second({w, dw, state, static_cast<double>(updates) + 1, lr, named});
  }
  const Row coefficients = update_coefficients(static_cast<OptimizerKind>(place), attributes, updates, lr);
  scalar_kernels().update[place](1, 1, &w, 1, &dw, 1, state.data(), 1, coefficients.data());
  return w;
}

}  // namespace densegrad::bench
