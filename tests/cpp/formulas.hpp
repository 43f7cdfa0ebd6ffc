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

/// Values of attributes by name.
using Values = std::map<std::string, double>;

struct ActivationFormula {
  std::function<Row(const Row& z, const Values&)> forward;
  std::function<Row(const Row& dy, const Row& z, const Row& y, const Values&)> backward;
  Real lowest, highest;     // of y, where attributes are at their default
  std::vector<Real> kinks;  // where the slope jumps
};

struct LossFormula {
  std::function<Real(const Row& p, const Row& t, const Values&)> value;
  std::function<Row(const Row& p, const Row& t, const Values&)> gradient;
};

/// One update of one parameter; `updates` were made before.
struct OptimizerFormula {
  std::string state;  // a letter for each number it keeps; v and u are never negative
  Values tame = {};   // attributes with which an update does not hang on the last places
  std::function<void(Real& w, Real dw, Row& state, Real updates, Real lr, const Values&)> update;
};

namespace formula {

inline constexpr Real kInfinity = std::numeric_limits<Real>::infinity();

inline Real sigmoid(Real z) { return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z)); }
inline Real softplus(Real z) { return std::max(z, 0.0L) + std::log1p(std::exp(-std::fabs(z))); }
inline Real gelu_exponent(Real z) { return std::sqrt(8 / std::acos(-1.0L)) * (z + 0.044715L * z * z * z); }
inline Real normal_cdf(Real z) { return std::erfc(-z * std::sqrt(0.5L)) / 2; }
inline Real times(Real factor, Real value) { return factor == 0 ? 0 : factor * value; }  // 0 log 0 = 0

inline Real sign(Real d) { return d < 0 ? -1 : d > 0 ? 1 : d; }

// y = f(z) and dz = dy times the slope, element by element
struct Curve {
  Real (*f)(Real z, const Values&);
  Real (*slope)(Real z, Real y, const Values&);
  Real lowest, highest;
  std::vector<Real> kinks = {};
};

inline ActivationFormula elementwise(const Curve& curve) {
  return {[curve](const Row& z, const Values& a) {
            Row y;
            for (const Real value : z) y.push_back(curve.f(value, a));
            return y;
          },
          [curve](const Row& dy, const Row& z, const Row& y, const Values& a) {
            Row dz;
            for (std::size_t j = 0; j < dy.size(); ++j) dz.push_back(dy[j] * curve.slope(z[j], y[j], a));
            return dz;
          },
          curve.lowest, curve.highest, curve.kinks};
}

inline Real value_of(const Values& values, const char* name, Real fallback) {
  const auto found = values.find(name);
  return found == values.end() ? fallback : found->second;
}
inline Real slope_of(const Values& values) { return value_of(values, "slope", 0.01L); }
inline Real alpha_of(const Values& values) { return value_of(values, "alpha", 1); }
inline Real beta_of(const Values& values) { return value_of(values, "beta", 1); }

// z minus its largest element, where an infinite one counts as 0
inline Row shifted(const Row& z) {
  Real top = -kInfinity;
  for (const Real value : z) top = std::isnan(value) || std::isnan(top) ? std::nanl("") : std::max(top, value);
  Row difference(z.size());
  for (std::size_t j = 0; j < z.size(); ++j) difference[j] = z[j] == top ? 0 : z[j] - top;
  return difference;
}

// one of the largest elements adds 1 to the sum
inline Real log_sum_of_shifted(const Row& z) {
  Real others = 0;
  bool passed = false;
  for (const Real value : shifted(z)) {
    const bool largest = value == 0 && !passed;
    passed |= largest;
    if (!largest) others += std::exp(value);
  }
  return std::log1p(others);
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

inline const std::map<std::string, formula::Curve>& curves() {
  using namespace formula;
  using V = Values;
  constexpr Real inf = kInfinity;
  static const Real pi = std::acos(-1.0L);
  static const Real above = 1.0507009873554804934193349852946L;  // of selu
  static const Real below = above * 1.6732632423543772848170429916717L;
  static const std::map<std::string, Curve> all = {
      {"identity", {[](Real z, const V&) { return z; }, [](Real, Real, const V&) -> Real { return 1; }, -inf, inf}},
      {"sigmoid",
       {[](Real z, const V&) { return sigmoid(z); }, [](Real, Real y, const V&) { return y * (1 - y); }, 0, 1}},
      {"tanh",
       {[](Real z, const V&) { return std::tanh(z); }, [](Real, Real y, const V&) { return (1 - y) * (1 + y); }, -1,
        1}},
      {"relu",
       {[](Real z, const V&) -> Real { return z < 0 ? 0 : z; },
        [](Real, Real y, const V&) -> Real { return y > 0 ? 1 : 0; },
        0,
        inf,
        {0}}},
      {"leaky_relu",
       {[](Real z, const V& a) { return z > 0 ? z : slope_of(a) * z; },
        [](Real, Real y, const V& a) -> Real { return y > 0 ? 1 : slope_of(a); },
        -inf,
        inf,
        {0}}},
      {"elu",
       {[](Real z, const V& a) { return z > 0 ? z : alpha_of(a) * std::expm1(z); },
        [](Real, Real y, const V& a) { return y > 0 ? 1 : y + alpha_of(a); },
        -1,
        inf,
        {0}}},
      {"selu",
       {[](Real z, const V&) { return z > 0 ? above * z : below * std::expm1(z); },
        [](Real, Real y, const V&) { return y > 0 ? above : y + below; },
        -below,
        inf,
        {0}}},
      {"softplus",
       {[](Real z, const V&) { return softplus(z); }, [](Real, Real y, const V&) { return -std::expm1(-y); }, 0, inf}},
      {"swish",
       {[](Real z, const V& a) { return times(sigmoid(beta_of(a) * z), z); },
        [](Real z, Real, const V& a) {
          const Real s = sigmoid(beta_of(a) * z);
          return s + times(s * (1 - s), beta_of(a) * z);
        },
        -0.27847L, inf}},
      {"gelu",
       {[](Real z, const V&) { return times(normal_cdf(z), z); },
        [](Real z, Real, const V&) { return normal_cdf(z) + times(std::exp(-z * z / 2), z) / std::sqrt(2 * pi); },
        -0.16998L, inf}},
      {"gelu_tanh",
       {[](Real z, const V&) { return times(sigmoid(gelu_exponent(z)), z); },
        [](Real z, Real, const V&) {
          const Real s = sigmoid(gelu_exponent(z));
          return s + times(s * (1 - s), z * std::sqrt(8 / pi) * (1 + 3 * 0.044715L * z * z));
        },
        -0.17005L, inf}},
      {"mish",
       {[](Real z, const V&) { return times(std::tanh(softplus(z)), z); },
        [](Real z, Real, const V&) {
          const Real s = softplus(z);
          return std::tanh(s) + times(sigmoid(z) / (std::cosh(s) * std::cosh(s)), z);
        },
        -0.30885L, inf}},
      {"softsign",
       {[](Real z, const V&) { return z / (1 + std::fabs(z)); },
        [](Real, Real y, const V&) { return (1 - std::fabs(y)) * (1 - std::fabs(y)); }, -1, 1}},
      {"hard_sigmoid",
       {[](Real z, const V&) { return std::clamp(z + 3, 0.0L, 6.0L) / 6; },
        [](Real, Real y, const V&) { return y > 0 && y < 1 ? 1.0L / 6 : 0; },
        0,
        1,
        {-3, 3}}},
      {"hard_tanh",
       {[](Real z, const V&) { return std::clamp(z, -1.0L, 1.0L); },
        [](Real, Real y, const V&) -> Real { return y > -1 && y < 1 ? 1 : 0; },
        -1,
        1,
        {-1, 1}}},
      {"hard_swish",
       {[](Real z, const V&) { return times(std::clamp(z + 3, 0.0L, 6.0L) / 6, z); },
        [](Real z, Real, const V&) { return std::fabs(z) < 3 ? z / 3 + 0.5L : z > 0; },
        -0.375L,
        inf,
        {-3, 3}}},
  };
  return all;
}

inline const std::map<std::string, ActivationFormula>& activation_formulas() {
  using namespace formula;
  static const std::map<std::string, ActivationFormula> formulas = [] {
    std::map<std::string, ActivationFormula> all = {
        {"softmax",
         {[](const Row& z, const Values&) { return softmax(z); },
          [](const Row& dy, const Row&, const Row& y, const Values&) {
            Real mean = 0;
            for (std::size_t j = 0; j < y.size(); ++j) mean += dy[j] * y[j];
            Row dz(y.size());
            for (std::size_t j = 0; j < y.size(); ++j) dz[j] = y[j] * (dy[j] - mean);
            return dz;
          },
          0,
          1,
          {}}},
        {"log_softmax",
         {[](const Row& z, const Values&) {
            Row y = shifted(z);
            const Real log_sum = log_sum_of_shifted(z);
            for (Real& value : y) value -= log_sum;
            return y;
          },
          [](const Row& dy, const Row&, const Row& y, const Values&) {
            Real sum = 0;
            for (const Real value : dy) sum += value;
            Row dz(y.size());
            for (std::size_t j = 0; j < y.size(); ++j) dz[j] = dy[j] - std::exp(y[j]) * sum;
            return dz;
          },
          -kInfinity,
          0,
          {}}},
    };
    for (const auto& [name, curve] : curves()) all[name] = elementwise(curve);
    return all;
  }();
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

namespace formula {

// s <- beta s + (1 - beta) x
inline void average(Real& s, Real beta, Real x) { s = beta * s + (1 - beta) * x; }

inline Real decayed(Real dw, Real w, const Values& a) { return dw + a.at("weight_decay") * w; }

// The moving means m of g and v of g^2, and Adam's step by them; with u, the largest v so far.
inline Real adam(Real g, Row& state, Real updates, Real lr, const Values& a) {
  const Real t = updates + 1, beta1 = a.at("beta1"), beta2 = a.at("beta2");
  average(state[0], beta1, g);
  average(state[1], beta2, g * g);
  if (state.size() > 2) state[2] = std::max(state[2], state[1]);
  const Real m_hat = state[0] / (1 - std::pow(beta1, t)), v_hat = state.back() / (1 - std::pow(beta2, t));
  return lr * m_hat / (std::sqrt(v_hat) + a.at("eps"));
}

inline Real nadam(Real g, Row& state, Real updates, Real lr, const Values& a) {
  const Real t = updates + 1, beta1 = a.at("beta1"), beta2 = a.at("beta2");
  const auto mu = [&](Real i) { return beta1 * (1 - 0.5L * std::pow(0.96L, i * a.at("momentum_decay"))); };
  Real product = 1;
  for (Real i = 1; i <= t && product > 1e-25L; ++i) product *= mu(i);
  average(state[0], beta1, g);
  average(state[1], beta2, g * g);
  const Real n = (1 - mu(t)) * g / (1 - product) + mu(t + 1) * state[0] / (1 - product * mu(t + 1));
  return lr * n / (std::sqrt(state[1] / (1 - std::pow(beta2, t))) + a.at("eps"));
}

// g over the root of its mean square v, or of its variance where there is its mean, too
inline Real scaled(Real g, Real& v, Real* mean, const Values& a) {
  average(v, a.at("alpha"), g * g);
  if (mean != nullptr) average(*mean, a.at("alpha"), g);
  return g / (std::sqrt(mean == nullptr ? v : std::max(v - *mean * *mean, 0.0L)) + a.at("eps"));
}

}  // namespace formula

inline const std::map<std::string, OptimizerFormula>& optimizer_formulas() {
  using namespace formula;
  static const Values sgd = {{"momentum", 0.5}, {"weight_decay", 0.03125}};
  static const Values damped = {{"momentum", 0.5}, {"dampening", 0.25}, {"weight_decay", 0.03125}};
  static const Values adam_s = {{"beta1", 0.75}, {"beta2", 0.875}, {"eps", 0.0625}, {"weight_decay", 0.03125}};
  static const Values nadam_s = {
      {"beta1", 0.75}, {"beta2", 0.875}, {"eps", 0.0625}, {"weight_decay", 0.03125}, {"momentum_decay", 0.25}};
  static const Values rmsprop = {{"alpha", 0.875}, {"eps", 0.0625}, {"weight_decay", 0.03125}};
  static const Values rmsprop_momentum = {
      {"alpha", 0.875}, {"eps", 0.0625}, {"weight_decay", 0.03125}, {"momentum", 0.5}};
  static const std::map<std::string, OptimizerFormula> formulas = {
      {"sgd", {"", {}, [](Real& w, Real dw, Row&, Real, Real lr, const Values&) { w -= lr * dw; }}},
      {"sgd_weight_decay",
       {"",
        {{"weight_decay", 0.03125}},
        [](Real& w, Real dw, Row&, Real, Real lr, const Values& a) { w -= lr * decayed(dw, w, a); }}},
      {"sgd_momentum",
       {"b", damped,
        [](Real& w, Real dw, Row& state, Real updates, Real lr, const Values& a) {
          const Real g = decayed(dw, w, a);
          state[0] = updates == 0 ? g : a.at("momentum") * state[0] + (1 - Real(a.at("dampening"))) * g;
          w -= lr * state[0];
        }}},
      {"sgd_nesterov",
       {"b", sgd,
        [](Real& w, Real dw, Row& state, Real, Real lr, const Values& a) {
          const Real g = decayed(dw, w, a);
          state[0] = a.at("momentum") * state[0] + g;
          w -= lr * (g + a.at("momentum") * state[0]);
        }}},
      {"adam",
       {"mv", adam_s,
        [](Real& w, Real dw, Row& state, Real updates, Real lr, const Values& a) {
          w -= adam(decayed(dw, w, a), state, updates, lr, a);
        }}},
      {"adam_amsgrad",
       {"mvu", adam_s,
        [](Real& w, Real dw, Row& state, Real updates, Real lr, const Values& a) {
          w -= adam(decayed(dw, w, a), state, updates, lr, a);
        }}},
      {"adam_eps_hat",
       {"mv", adam_s,
        [](Real& w, Real dw, Row& state, Real updates, Real lr, const Values& a) {
          const Real t = updates + 1, g = decayed(dw, w, a), beta1 = a.at("beta1"), beta2 = a.at("beta2");
          average(state[0], beta1, g);
          average(state[1], beta2, g * g);
          const Real rate = lr * std::sqrt(1 - std::pow(beta2, t)) / (1 - std::pow(beta1, t));
          w -= rate * state[0] / (std::sqrt(state[1]) + a.at("eps"));
        }}},
      {"adamw",
       {"mv", adam_s,
        [](Real& w, Real dw, Row& state, Real updates, Real lr, const Values& a) {
          w -= lr * a.at("weight_decay") * w + adam(dw, state, updates, lr, a);
        }}},
      {"adamw_amsgrad",
       {"mvu", adam_s,
        [](Real& w, Real dw, Row& state, Real updates, Real lr, const Values& a) {
          w -= lr * a.at("weight_decay") * w + adam(dw, state, updates, lr, a);
        }}},
      {"rmsprop",
       {"v", rmsprop,
        [](Real& w, Real dw, Row& state, Real, Real lr, const Values& a) {
          w -= lr * scaled(decayed(dw, w, a), state[0], nullptr, a);
        }}},
      {"rmsprop_momentum",
       {"vb", rmsprop_momentum,
        [](Real& w, Real dw, Row& state, Real, Real lr, const Values& a) {
          state[1] = a.at("momentum") * state[1] + scaled(decayed(dw, w, a), state[0], nullptr, a);
          w -= lr * state[1];
        }}},
      {"rmsprop_centered",
       {"va", rmsprop,
        [](Real& w, Real dw, Row& state, Real, Real lr, const Values& a) {
          w -= lr * scaled(decayed(dw, w, a), state[0], &state[1], a);
        }}},
      {"rmsprop_centered_momentum",
       {"vab", rmsprop_momentum,
        [](Real& w, Real dw, Row& state, Real, Real lr, const Values& a) {
          state[2] = a.at("momentum") * state[2] + scaled(decayed(dw, w, a), state[0], &state[1], a);
          w -= lr * state[2];
        }}},
      {"adagrad",
       {"v",
        {{"lr_decay", 0.125}, {"weight_decay", 0.03125}, {"eps", 0.0625}},
        [](Real& w, Real dw, Row& state, Real updates, Real lr, const Values& a) {
          const Real g = decayed(dw, w, a);
          state[0] += g * g;
          w -= lr / (1 + updates * a.at("lr_decay")) * g / (std::sqrt(state[0]) + a.at("eps"));
        }}},
      {"adadelta",
       {"vu",
        {{"rho", 0.75}, {"eps", 0.0625}, {"weight_decay", 0.03125}},
        [](Real& w, Real dw, Row& state, Real, Real lr, const Values& a) {
          const Real g = decayed(dw, w, a);
          average(state[0], a.at("rho"), g * g);
          const Real d = std::sqrt(state[1] + a.at("eps")) / std::sqrt(state[0] + a.at("eps")) * g;
          average(state[1], a.at("rho"), d * d);
          w -= lr * d;
        }}},
      {"adamax",
       {"mu", adam_s,
        [](Real& w, Real dw, Row& state, Real updates, Real lr, const Values& a) {
          const Real g = decayed(dw, w, a), beta1 = a.at("beta1");
          average(state[0], beta1, g);
          state[1] = std::max(a.at("beta2") * state[1], std::fabs(g) + a.at("eps"));
          w -= lr / (1 - std::pow(beta1, updates + 1)) * state[0] / state[1];
        }}},
      {"nadam",
       {"mv", nadam_s,
        [](Real& w, Real dw, Row& state, Real updates, Real lr, const Values& a) {
          w -= nadam(decayed(dw, w, a), state, updates, lr, a);
        }}},
      {"nadam_decoupled",
       {"mv", nadam_s,
        [](Real& w, Real dw, Row& state, Real updates, Real lr, const Values& a) {
          w -= lr * a.at("weight_decay") * w + nadam(dw, state, updates, lr, a);
        }}},
      {"lion",
       {"m",
        {{"beta1", 0.75}, {"beta2", 0.875}, {"weight_decay", 0.03125}},
        [](Real& w, Real dw, Row& state, Real, Real lr, const Values& a) {
          Real direction = state[0];
          average(direction, a.at("beta1"), dw);
          w -= lr * ((direction > 0) - (direction < 0) + a.at("weight_decay") * w);
          average(state[0], a.at("beta2"), dw);
        }}},
  };
  return formulas;
}
inline const OptimizerFormula& optimizer_formula(const std::string& name) {
  return find_formula(optimizer_formulas(), name);
}

}  // namespace densegrad
