#include "ops/coefficients.hpp"

#include <cmath>

namespace densegrad {
namespace {

// The product over i = 1, ..., t of NAdam's mu_i = beta (1 - 0.96^(i decay) / 2), in a time that does not grow with t.
// With q = 0.96^decay its logarithm is, by the series of log(1 - x) and geometric sums,
//   t log(beta) - sum over k = 1, 2, ... of 2^-k / k (q^k + q^2k + ... + q^tk).
double nadam_product(double beta, double decay, double t) {
  constexpr double least = 1e-18, log_least = -42;  // are nothing beside 1, from which the product is subtracted
  const double log_q = decay * std::log(0.96);
  double log_product = t * std::log(beta), share = 0.5;  // 2^-k
  for (int k = 1; log_product > log_least && share * std::exp(k * log_q) > least; ++k, share /= 2) {
    const double x = k * log_q;
    log_product -= share / k * (x == 0 ? t : std::exp(x) * std::expm1(t * x) / std::expm1(x));
  }
  return std::exp(log_product);
}

}  // namespace

void update_coefficients(OptimizerKind kind, const std::vector<double>& a, Index updates, double lr,
                         std::vector<double>& coefficients) {
  const double t = static_cast<double>(updates) + 1;
  const auto left = [t](double beta) { return 1 - std::pow(beta, t); };  // of a mean that began at 0
  switch (kind) {
    case OptimizerKind::sgd:
      coefficients = {lr};
      return;
    case OptimizerKind::sgd_weight_decay:
      coefficients = {lr, a[0]};
      return;
    case OptimizerKind::sgd_momentum: {
      const double momentum = a[0], dampening = a[1], decay = a[2];
      const bool first = updates == 0;  // whose gradient is the momentum, undampened
      coefficients = {lr, decay, first ? 0 : momentum, first ? 1 : 1 - dampening};
      return;
    }
    case OptimizerKind::sgd_nesterov:
      coefficients = {lr, a[1], a[0]};
      return;
    case OptimizerKind::adam:
    case OptimizerKind::adam_amsgrad:
    case OptimizerKind::adam_eps_hat:
    case OptimizerKind::adamw:
    case OptimizerKind::adamw_amsgrad: {
      const double beta1 = a[0], beta2 = a[1], eps = a[2], decay = a[3];
      const bool decoupled = kind == OptimizerKind::adamw || kind == OptimizerKind::adamw_amsgrad;
      const double root = 1 / std::sqrt(left(beta2));
      coefficients = {lr / left(beta1),
                      root,
                      kind == OptimizerKind::adam_eps_hat ? root * eps : eps,
                      decoupled ? 0 : decay,
                      decoupled ? 1 - lr * decay : 1,
                      beta1,
                      1 - beta1,
                      beta2,
                      1 - beta2};
      return;
    }
    case OptimizerKind::rmsprop:
    case OptimizerKind::rmsprop_momentum:
    case OptimizerKind::rmsprop_centered:
    case OptimizerKind::rmsprop_centered_momentum: {
      const double alpha = a[0], eps = a[1], decay = a[2], momentum = a.size() > 3 ? a[3] : 0;
      coefficients = {lr, eps, decay, alpha, 1 - alpha, momentum};
      return;
    }
    case OptimizerKind::adagrad: {
      const double lr_decay = a[0], decay = a[1], eps = a[2];
      coefficients = {lr / (1 + (t - 1) * lr_decay), eps, decay};
      return;
    }
    case OptimizerKind::adadelta: {
      const double rho = a[0], eps = a[1], decay = a[2];
      coefficients = {lr, eps, decay, rho, 1 - rho};
      return;
    }
    case OptimizerKind::adamax: {
      const double beta1 = a[0], beta2 = a[1], eps = a[2], decay = a[3];
      coefficients = {lr / left(beta1), eps, decay, beta1, 1 - beta1, beta2};
      return;
    }
    case OptimizerKind::nadam:
    case OptimizerKind::nadam_decoupled: {
      const double beta1 = a[0], beta2 = a[1], eps = a[2], decay = a[3], momentum_decay = a[4];
      const bool decoupled = kind == OptimizerKind::nadam_decoupled;
      const auto mu = [&](double i) { return beta1 * (1 - 0.5 * std::pow(0.96, i * momentum_decay)); };
      const double product = nadam_product(beta1, momentum_decay, t);
      coefficients = {lr * (1 - mu(t)) / (1 - product),
                      lr * mu(t + 1) / (1 - product * mu(t + 1)),
                      1 / std::sqrt(left(beta2)),
                      eps,
                      decoupled ? 0 : decay,
                      decoupled ? 1 - lr * decay : 1,
                      beta1,
                      1 - beta1,
                      beta2,
                      1 - beta2};
      return;
    }
    case OptimizerKind::lion: {
      const double beta1 = a[0], beta2 = a[1], decay = a[2];
      coefficients = {lr, 1 - lr * decay, beta1, 1 - beta1, beta2, 1 - beta2};
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
