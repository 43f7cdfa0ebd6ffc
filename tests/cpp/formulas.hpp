#pragma once

// The formulas of the table in long double, row by row, as a textbook has them: what the library is measured against.

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "testing.hpp"

namespace densegrad {

struct ActivationFormula {
  std::function<Row(const Row& z)> forward;
  std::function<Row(const Row& dy, const Row& z, const Row& y)> backward;
  Real lowest, highest;  // of y
};

/// Attributes by name.
using Values = std::map<std::string, double>;

struct LossFormula {
  std::function<Real(const Row& p, const Row& t, const Values&)> value;
  std::function<Row(const Row& p, const Row& t, const Values&)> gradient;
};

/// One update of one parameter; `updates` were made before.
struct OptimizerFormula {
  std::size_t state;  // how many numbers it keeps for each parameter
  std::function<void(Real& w, Real dw, Row& state, Real updates, Real lr, const Values&)> update;
};

namespace formula {

inline constexpr Real kInfinity = std::numeric_limits<Real>::infinity();

inline Real sigmoid(Real z) { return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z)); }
inline Real softplus(Real z) { return std::max(z, 0.0L) + std::log1p(std::exp(-std::fabs(z))); }
inline Real normal_cdf(Real z) { return std::erfc(-z * std::sqrt(0.5L)) / 2; }
inline Real times(Real factor, Real value) { return factor == 0 ? 0 : factor * value; }  // 0 log 0 = 0

inline Real sign(Real d) { return d < 0 ? -1 : d > 0 ? 1 : d; }

inline Row map(const Row& z, Real (*f)(Real)) {
  Row y(z.size());
  std::transform(z.begin(), z.end(), y.begin(), f);
  return y;
}

// dy times the slope, which is a function of z and y
inline Row slope(const Row& dy, const Row& z, const Row& y, Real (*f)(Real z, Real y)) {
  Row dz(dy.size());
  for (std::size_t j = 0; j < dy.size(); ++j) dz[j] = dy[j] * f(z[j], y[j]);
  return dz;
}

// z minus its largest element, where an infinite one counts as 0
inline Row shifted(const Row& z) {
  Real top = -kInfinity;
  for (const Real value : z) top = std::isnan(value) || std::isnan(top) ? std::nanl("") : std::max(top, value);
  Row difference(z.size());
  for (std::size_t j = 0; j < z.size(); ++j) difference[j] = z[j] == top ? 0 : z[j] - top;
  return difference;
}

inline Real log_sum_of_shifted(const Row& z) {
  Real sum = 0;
  for (const Real value : shifted(z)) sum += std::exp(value);
  return std::log(sum);
}

inline Row softmax(const Row& z) {
  Row y = shifted(z);
  Real sum = 0;
  for (Real& value : y) sum += value = std::exp(value);
  for (Real& value : y) value /= sum;
  return y;
}

// each class's share of the smoothing added to what is kept of t
inline Row smoothed(const Row& t, Real smoothing) {
  Row smooth;
  for (const Real value : t) smooth.push_back((1 - smoothing) * value + smoothing / static_cast<Real>(t.size()));
  return smooth;
}

template <class Function>
Real mean(const Row& p, const Row& t, Function f) {
  Real sum = 0;
  for (std::size_t j = 0; j < p.size(); ++j) sum += f(p[j], t[j]);
  return sum / static_cast<Real>(p.size());
}

template <class Function>
Row each(const Row& p, const Row& t, Real divisor, Function f) {
  Row d(p.size());
  for (std::size_t j = 0; j < p.size(); ++j) d[j] = f(p[j], t[j]) / divisor;
  return d;
}

inline Real size_of(const Row& row) { return static_cast<Real>(row.size()); }

}  // namespace formula

inline const std::map<std::string, ActivationFormula>& activation_formulas() {
  using namespace formula;
  static const std::map<std::string, ActivationFormula> formulas = {
      {"identity",
       {[](const Row& z) { return z; }, [](const Row& dy, const Row&, const Row&) { return dy; }, -kInfinity,
        kInfinity}},
      {"sigmoid",
       {[](const Row& z) { return map(z, sigmoid); },
        [](const Row& dy, const Row& z, const Row& y) {
          return slope(dy, z, y, [](Real, Real a) { return a * (1 - a); });
        },
        0, 1}},
      {"tanh",
       {[](const Row& z) { return map(z, [](Real v) { return std::tanh(v); }); },
        [](const Row& dy, const Row& z, const Row& y) {
          return slope(dy, z, y, [](Real, Real a) { return (1 - a) * (1 + a); });
        },
        -1, 1}},
      {"relu",
       {[](const Row& z) { return map(z, [](Real v) { return v < 0 ? 0 : v; }); },
        [](const Row& dy, const Row& z, const Row& y) {
          return slope(dy, z, y, [](Real, Real a) -> Real { return a > 0 ? 1 : 0; });
        },
        0, kInfinity}},
      {"gelu",
       {[](const Row& z) { return map(z, [](Real v) { return std::max(v, -200.0L) * normal_cdf(v); }); },
        [](const Row& dy, const Row& z, const Row& y) {
          return slope(dy, z, y, [](Real v, Real) {
            const Real held = std::clamp(v, -200.0L, 200.0L);
            return normal_cdf(v) + held * std::exp(-held * held / 2) / std::sqrt(2 * std::acos(-1.0L));
          });
        },
        -0.17004L, kInfinity}},
      {"softmax",
       {softmax,
        [](const Row& dy, const Row&, const Row& y) {
          Real mean = 0;
          for (std::size_t j = 0; j < y.size(); ++j) mean += dy[j] * y[j];
          Row dz(y.size());
          for (std::size_t j = 0; j < y.size(); ++j) dz[j] = y[j] * (dy[j] - mean);
          return dz;
        },
        0, 1}},
  };
  return formulas;
}

inline const std::map<std::string, LossFormula>& loss_formulas() {
  using namespace formula;
  static const std::map<std::string, LossFormula> formulas = {
      {"mse",
       {[](const Row& p, const Row& t, const Values&) {
          return mean(p, t, [](Real a, Real b) { return (a - b) * (a - b); });
        },
        [](const Row& p, const Row& t, const Values&) {
          return each(p, t, size_of(p), [](Real a, Real b) { return 2 * (a - b); });
        }}},
      {"half_squared_error",
       {[](const Row& p, const Row& t, const Values&) {
          return size_of(p) * mean(p, t, [](Real a, Real b) { return (a - b) * (a - b) / 2; });
        },
        [](const Row& p, const Row& t, const Values&) { return each(p, t, 1, [](Real a, Real b) { return a - b; }); }}},
      {"mae",
       {[](const Row& p, const Row& t, const Values&) {
          return mean(p, t, [](Real a, Real b) { return std::fabs(a - b); });
        },
        [](const Row& p, const Row& t, const Values&) {
          return each(p, t, size_of(p), [](Real a, Real b) { return sign(a - b); });
        }}},
      {"huber",
       {[](const Row& p, const Row& t, const Values& attributes) {
          return mean(p, t, [delta = Real(attributes.at("delta"))](Real a, Real b) {
            const Real d = std::fabs(a - b);
            return d <= delta ? d * d / 2 : delta * (d - delta / 2);
          });
        },
        [](const Row& p, const Row& t, const Values& attributes) {
          return each(p, t, size_of(p), [delta = Real(attributes.at("delta"))](Real a, Real b) {
            return std::fabs(a - b) > delta ? delta * sign(a - b) : a - b;
          });
        }}},
      {"log_cosh",
       {[](const Row& p, const Row& t, const Values&) {
          return mean(p, t, [](Real a, Real b) {
            const Real d = std::fabs(a - b), half = std::sinh(d / 2);
            return d < 20 ? std::log1p(2 * half * half) : d + std::log1p(std::exp(-2 * d)) - std::log(2.0L);
          });
        },
        [](const Row& p, const Row& t, const Values&) {
          return each(p, t, size_of(p), [](Real a, Real b) { return std::tanh(a - b); });
        }}},
      {"quantile",
       {[](const Row& p, const Row& t, const Values& attributes) {
          return mean(
              p, t, [q = Real(attributes.at("q"))](Real a, Real b) { return a < b ? q * (b - a) : (1 - q) * (a - b); });
        },
        [](const Row& p, const Row& t, const Values& attributes) {
          return each(p, t, size_of(p),
                      [q = Real(attributes.at("q"))](Real a, Real b) { return sign(a - b) * (a < b ? q : 1 - q); });
        }}},
      {"poisson",
       {[](const Row& p, const Row& t, const Values&) {
          return mean(p, t, [](Real a, Real b) { return a < kInfinity ? std::exp(a) - times(b, a) : a; });
        },
        [](const Row& p, const Row& t, const Values&) {
          return each(p, t, size_of(p), [](Real a, Real b) { return std::exp(a) - b; });
        }}},
      {"gaussian_nll",  // the first half of p are means, the second log-variances
       {[](const Row& p, const Row& t, const Values&) {
          Real sum = 0;
          for (std::size_t j = 0; j < t.size(); ++j) {
            const Real d = p[j] - t[j], s = p[t.size() + j];
            const Real square = times(d * d, std::exp(-s));
            sum += square == kInfinity ? square : (s + square) / 2;
          }
          return sum / size_of(t);
        },
        [](const Row& p, const Row& t, const Values&) {
          Row gradient(p.size());
          for (std::size_t j = 0; j < t.size(); ++j) {
            const Real d = p[j] - t[j], precision = std::exp(-p[t.size() + j]);
            gradient[j] = times(d, precision) / size_of(t);
            gradient[t.size() + j] = (1 - times(d * d, precision)) / 2 / size_of(t);
          }
          return gradient;
        }}},
      {"binary_cross_entropy",
       {[](const Row& p, const Row& t, const Values&) {
          return mean(p, t, [](Real a, Real b) {
            return -b * std::max(std::log(a), -100.0L) - (1 - b) * std::max(std::log1p(-a), -100.0L);
          });
        },
        [](const Row& p, const Row& t, const Values&) {
          return each(p, t, size_of(p), [](Real a, Real b) { return (a - b) / std::max(a * (1 - a), 1e-12L); });
        }}},
      {"binary_cross_entropy_with_logits",
       {[](const Row& p, const Row& t, const Values&) {
          return mean(p, t, [](Real a, Real b) { return times(b, softplus(-a)) + times(1 - b, softplus(a)); });
        },
        [](const Row& p, const Row& t, const Values&) {
          return each(p, t, size_of(p), [](Real a, Real b) { return sigmoid(a) - b; });
        }}},
      {"cross_entropy",
       {[](const Row& p, const Row& t, const Values& attributes) {
          const Row difference = shifted(p), smooth = smoothed(t, attributes.at("label_smoothing"));
          const Real log_sum = log_sum_of_shifted(p);
          Real sum = 0;
          for (std::size_t j = 0; j < p.size(); ++j) sum += times(smooth[j], log_sum - difference[j]);
          return sum;
        },
        [](const Row& p, const Row& t, const Values& attributes) {
          const Row smooth = smoothed(t, attributes.at("label_smoothing"));
          Real mass = 0;
          for (const Real value : smooth) mass += value;
          Row d = softmax(p);
          for (std::size_t j = 0; j < p.size(); ++j) d[j] = mass * d[j] - smooth[j];
          return d;
        }}},
      {"nll",
       {[](const Row& p, const Row& t, const Values&) {
          return -size_of(p) * mean(p, t, [](Real a, Real b) { return std::isnan(a) ? a : times(b, a); });
        },
        [](const Row& p, const Row& t, const Values&) {
          return each(p, t, 1, [](Real a, Real b) { return std::isnan(a) ? a : -b; });
        }}},
  };
  return formulas;
}

template <class Formula>
const Formula& find_formula(const std::map<std::string, Formula>& formulas, const std::string& name) {
  const auto found = formulas.find(name);
  if (found == formulas.end()) throw std::out_of_range("formulas.hpp: expected a formula of " + name);
  return found->second;
}

inline const ActivationFormula& activation_formula(const std::string& name) {
  return find_formula(activation_formulas(), name);
}
inline const LossFormula& loss_formula(const std::string& name) { return find_formula(loss_formulas(), name); }

/// How many numbers of a prediction a loss has for each one of a target.
inline Size predictions_of(const std::string& loss) { return loss == "gaussian_nll" ? 2 : 1; }

/// Attributes of a loss to try: the defaults, and others where it has any.
inline std::vector<Values> loss_attributes(const std::string& name) {
  if (name == "huber") return {{{"delta", 1}}, {{"delta", 0.3}}};
  if (name == "quantile") return {{{"q", 0.5}}, {{"q", 0.9}}};
  if (name == "cross_entropy") return {{{"label_smoothing", 0}}, {{"label_smoothing", 1}}, {{"label_smoothing", 0.1}}};
  return {{}};
}

inline const std::map<std::string, OptimizerFormula>& optimizer_formulas() {
  static const std::map<std::string, OptimizerFormula> formulas = {
      {"sgd", {0, [](Real& w, Real dw, Row&, Real, Real lr, const Values&) { w -= lr * dw; }}},
      {"adam",
       {2,
        [](Real& w, Real dw, Row& state, Real updates, Real lr, const Values& a) {
          const Real beta1 = a.at("beta1"), beta2 = a.at("beta2"), t = updates + 1;
          const Real g = dw + a.at("weight_decay") * w;
          Real &m = state[0], &v = state[1];
          m = beta1 * m + (1 - beta1) * g;
          v = beta2 * v + (1 - beta2) * g * g;
          const Real m_hat = m / (1 - std::pow(beta1, t)), v_hat = v / (1 - std::pow(beta2, t));
          w -= lr * m_hat / (std::sqrt(v_hat) + a.at("eps"));
        }}},
  };
  return formulas;
}
inline const OptimizerFormula& optimizer_formula(const std::string& name) {
  return find_formula(optimizer_formulas(), name);
}

}  // namespace densegrad
