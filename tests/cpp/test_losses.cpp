// Losses against their formulas in long double, and their gradients against central differences.

#include <string>

#include "base/primitives.hpp"
#include "dispatch/dispatch.hpp"
#include "formulas.hpp"
#include "testing.hpp"

namespace densegrad {
namespace {

// A loss with attributes to try.
struct Tried {
  std::string name, target;
  Size predictions;
  Values attributes;

  bool is(const char* other) const { return name == other; }
  bool takes(const char* kind) const { return target == kind; }
  Real value(const Row& p, const Row& t) const { return loss_formula(name).value(p, t, attributes); }
  Row gradient(const Row& p, const Row& t) const { return loss_formula(name).gradient(p, t, attributes); }
};

std::vector<Tried> losses() {
  std::vector<Tried> tried;
  for (const PrimitiveRow& row : primitives()) {
    if (row.kind != std::string("loss")) continue;
    for (const Values& attributes : loss_attributes(row.name))
      tried.push_back({row.name, row.target, row.predictions, attributes});
  }
  return tried;
}

// "name, attribute = value"
std::string described(const Tried& tried) {
  std::string text = tried.name;
  for (const auto& [name, value] : tried.attributes) text += ", " + name + " = " + std::to_string(value);
  return text;
}

// Predictions and targets as a loss may meet them.
template <class T>
struct Problem {
  Problem(const Tried& tried, Size rows, Size columns, Size p_gap, Size t_gap, Random& random)
      : p(rows, columns, columns + p_gap),
        t(rows, columns / tried.predictions, columns / tried.predictions + t_gap),
        weights(1, rows) {
    const bool probability = tried.is("binary_cross_entropy");
    p.fill([&] {
      const double wide = random.uniform(-3, 3) * (random.whole(0, 2) == 0 ? 8 : 1);
      return probability ? 1 / (1 + std::exp(-wide)) : wide;
    });
    const bool values = tried.takes("values"), counts = tried.takes("counts");
    t.fill([&] {
      if (values) return random.uniform(-3, 3);
      if (counts) return static_cast<double>(random.whole(0, 5));
      const Size kind = random.whole(0, 2);
      return kind == 2 ? random.uniform(0, 1) : static_cast<double>(kind);
    });
    weights.fill([&] { return random.whole(0, 3) == 0 ? 0 : random.uniform(0, 2); });
    for (Size i = 0; i < rows; ++i) labels.push_back(random.whole(0, columns - 1));
  }

  Row p_row(Size i) const { return row_of(p, i); }
  Row t_row(Size i, bool labelled) const {
    if (!labelled) return row_of(t, i);
    Row one_hot(static_cast<std::size_t>(p.columns()), 0);
    one_hot[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])] = 1;
    return one_hot;
  }
  Targets<T> targets(bool labelled) const {
    return labelled ? Targets<T>{nullptr, 0, labels.data()} : Targets<T>{t.data(), t.stride(), nullptr};
  }

  Matrix<T> p, t, weights;
  std::vector<std::int64_t> labels;
};

template <class T>
double loss(const Tried& tried, const Problem<T>& problem, const Matrix<T>& p, bool labelled, bool weighted,
            double scale, Matrix<T>& dp) {
  const std::vector<double> attributes = attribute_values(find_primitive("loss", tried.name), tried.attributes);
  return kernels<T>().loss[static_cast<int>(loss_named(tried.name))](
      p.rows(), p.columns(), p.data(), p.stride(), problem.targets(labelled),
      weighted ? problem.weights.data() : nullptr, scale, dp.data(), dp.stride(), attributes.data());
}

// How wrong a row's loss and each element of its gradient may be: a few roundings of the largest terms. A logarithm
// of a sum is as wrong as the sum is, relatively, where it is near 0; where p lies far from the largest, the
// rounding of their difference counts as often as exp multiplies it.
struct Bounds {
  Real value;
  Row gradient;
};

template <class T>
Bounds bounds_of(const Tried& tried, const Row& p, const Row& t) {
  const Real columns = static_cast<Real>(t.size());
  Bounds bounds{8 * kEpsilon<T> * std::fabs(tried.value(p, t)), tried.gradient(p, t)};
  const Real divisor = tried.is("half_squared_error") ? 1 : columns;
  Row size(p.size());
  if (tried.is("nll")) {
    for (std::size_t j = 0; j < p.size(); ++j) {
      bounds.value += (columns + 8) * kEpsilon<T> * t[j] * std::fabs(p[j]);
      size[j] = 4 * t[j];
    }
  } else if (tried.takes("classes")) {
    const Row shifted = formula::shifted(p), y = formula::softmax(p);
    const Row smooth = formula::smoothed(t, tried.attributes.at("label_smoothing"));
    Real mass = 0;
    for (std::size_t j = 0; j < p.size(); ++j) {
      mass += smooth[j];
      bounds.value += (columns + 8) * kEpsilon<T> * smooth[j] * (1 + std::fabs(shifted[j]));
    }
    for (std::size_t j = 0; j < p.size(); ++j) {
      size[j] = mass * y[j] * (columns + 8 + std::fabs(shifted[j])) + 4 * smooth[j];
    }
  } else if (tried.is("binary_cross_entropy_with_logits")) {
    for (std::size_t j = 0; j < p.size(); ++j) size[j] = 4 * (formula::sigmoid(p[j]) + t[j]) / divisor;
  } else if (tried.is("binary_cross_entropy")) {
    for (std::size_t j = 0; j < p.size(); ++j) size[j] = 8 * std::fabs(bounds.gradient[j]);
  } else if (tried.is("poisson")) {
    for (std::size_t j = 0; j < p.size(); ++j) {
      bounds.value += 8 * kEpsilon<T> * (std::exp(p[j]) + t[j] * std::fabs(p[j])) / divisor;
      size[j] = 8 * (std::exp(p[j]) + t[j]) / divisor;
    }
  } else if (tried.is("gaussian_nll")) {
    for (std::size_t j = 0; j < t.size(); ++j) {
      const Real d = p[j] - t[j], s = p[t.size() + j], precision = std::exp(-s),
                 near = std::fabs(p[j]) + std::fabs(t[j]);
      const Real square = precision * d * (12 * d + 2 * (d < 0 ? -near : near));  // with the rounding of d
      bounds.value += kEpsilon<T> * (std::fabs(s) + square) / divisor;
      size[j] = 12 * precision * near / divisor;
      size[t.size() + j] = (1 + square) / divisor;
    }
  } else {
    for (std::size_t j = 0; j < p.size(); ++j) size[j] = 4 * (std::fabs(p[j]) + std::fabs(t[j])) / divisor;
  }
  for (std::size_t j = 0; j < p.size(); ++j) bounds.gradient[j] = kEpsilon<T> * size[j];
  return bounds;
}

template <class T>
void check_against_formula(const Tried& tried, Size rows, Size columns, bool labelled, bool weighted, bool in_place,
                           Random& random) {
  CAPTURE(described(tried));
  CAPTURE(rows);
  CAPTURE(columns);
  CAPTURE(labelled);
  CAPTURE(weighted);
  CAPTURE(in_place);
  const bool gaps = random.whole(0, 1) == 1;
  const double scale = random.uniform(0.1, 2);
  const Problem<T> problem(tried, rows, columns, gaps ? 3 : 0, gaps ? 5 : 0, random);
  Matrix<T> dp(rows, columns, columns + (gaps ? 2 : 0));
  if (in_place) dp.copy(problem.p);
  const double value = loss(tried, problem, in_place ? dp : problem.p, labelled, weighted, scale, dp);

  Real want = 0, bound = 0;
  Worst values, gradients;
  for (Size i = 0; i < rows; ++i) {
    const Row p = problem.p_row(i), t = problem.t_row(i, labelled);
    const Real s = Real(scale) * (weighted ? Real(problem.weights[i]) : 1);
    const Bounds bounds = bounds_of<T>(tried, p, t);
    want += s * tried.value(p, t);
    bound += s * bounds.value;
    const Row gradient = tried.gradient(p, t);
    for (std::size_t j = 0; j < p.size(); ++j) {
      const Real wanted = s * gradient[j];
      gradients.see(dp(i, static_cast<Size>(j)), wanted, s * bounds.gradient[j] + kEpsilon<T> * std::fabs(wanted),
                    p[j]);
    }
  }
  values.see(value, want, bound);
  CHECK_WORST(values);
  CHECK_WORST(gradients);
  CHECK(dp.rest_untouched());
}

TEST_CASE_TEMPLATE("a loss and its gradient keep to the formula", T, float, double) {
  Random random(1);
  for (const Tried& tried : losses()) {
    for (const Size columns : kLengths) {
      if (columns == 0 || columns % tried.predictions != 0) continue;
      for (const Size rows : {0, 1, 2, 7}) {
        for (const bool weighted : {false, true}) {
          for (const bool in_place : {false, true}) {
            check_against_formula<T>(tried, rows, columns, false, weighted, in_place, random);
            if (tried.takes("classes")) {
              check_against_formula<T>(tried, rows, columns, true, weighted, in_place, random);
            }
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("the loss of one number is right to its last places, however small", T, float, double) {
  for (const Tried& tried : losses()) {
    if (tried.takes("classes") || tried.predictions > 1) continue;  // a class of one is always right
    CAPTURE(described(tried));
    Worst worst;
    for (const double t : {0.0, 0.25, 0.5, 1.0}) {
      for (double z = -30; z <= 30; z += 0.0625) {
        Random random(1);
        Problem<T> problem(tried, 1, 1, 0, 0, random);
        problem.p[0] = static_cast<T>(tried.is("binary_cross_entropy") ? 1 / (1 + std::exp(-z)) : z);
        problem.t[0] = static_cast<T>(t);
        Matrix<T> dp(1, 1);
        const double value = loss(tried, problem, problem.p, false, false, 1, dp);
        const Real want = tried.value(problem.p_row(0), problem.t_row(0, false));
        worst.see(value, want, 8 * kEpsilon<T> * std::fabs(want), z);
      }
    }
    CHECK_WORST(worst);
  }
}

TEST_CASE("a gradient agrees with central differences of its own loss") {
  Random random(2);
  for (const Tried& tried : losses()) {
    CAPTURE(described(tried));
    for (const bool labelled : {false, true}) {
      if (labelled && !tried.takes("classes")) continue;
      const Size rows = 3, columns = 19 * tried.predictions;
      const double scale = 0.5, h = 1e-5;
      Problem<double> problem(tried, rows, columns, 0, 0, random);
      if (tried.is("binary_cross_entropy")) {
        problem.p.fill([&] { return random.uniform(0.1, 0.9); });
      } else {
        problem.p.fill([&] { return random.uniform(-2, 2); });
      }
      Matrix<double> dp(rows, columns), ignored(rows, columns);
      loss(tried, problem, problem.p, labelled, true, scale, dp);
      Worst worst;
      for (Size at = 0; at < rows * columns; ++at) {
        const double before = problem.p[at];
        problem.p[at] = before + h;
        const double above = loss(tried, problem, problem.p, labelled, true, scale, ignored);
        problem.p[at] = before - h;
        const double below = loss(tried, problem, problem.p, labelled, true, scale, ignored);
        problem.p[at] = before;
        worst.see(dp[at], (above - below) / (2 * h), 1e-7L, before);
      }
      CHECK_WORST(worst);
    }
  }
}

TEST_CASE_TEMPLATE("a loss gives the limit at extreme predictions, and NaN for NaN", T, float, double) {
  const Real infinity = std::numeric_limits<T>::infinity();
  Random random(3);
  for (const Tried& tried : losses()) {
    CAPTURE(described(tried));
    const bool probability = tried.is("binary_cross_entropy");
    const std::vector<Real> extremes =
        probability ? std::vector<Real>{0, 1} : std::vector<Real>{-infinity, -1e4, 0, 1e4, infinity};
    const Real usual = probability ? 0.5 : 0;
    for (const Size columns : {1, 2, 8, 16, 19, 38}) {
      if (columns % tried.predictions != 0) continue;
      for (const Real extreme : extremes) {
        for (const auto& aimed : std::vector<std::pair<Real, bool>>{{0, false}, {1, false}, {0, true}, {1, true}}) {
          const auto target = aimed.first;
          const auto front = aimed.second;
          for (const bool labelled : {false, true}) {
            if (labelled && !tried.takes("classes")) continue;
            CAPTURE(columns);
            CAPTURE(extreme);
            CAPTURE(target);
            CAPTURE(front);
            CAPTURE(labelled);
            // the extreme stands at one end; the target is 1 there or, of a class, at the other
            Problem<T> problem(tried, 1, columns, 0, 0, random);
            problem.p.fill([&] { return usual; });
            problem.p[front ? 0 : columns - 1] = static_cast<T>(extreme);
            problem.t.fill([] { return 0; });
            const bool hit = target == 1;
            const Size place = hit == front ? 0 : problem.t.columns() - 1;
            problem.t[place] = tried.takes("classes") ? 1 : static_cast<T>(target);
            problem.labels[0] = place;
            Matrix<T> dp(1, columns);
            const double value = loss(tried, problem, problem.p, labelled, false, 1, dp);
            const Row p = problem.p_row(0), t = problem.t_row(0, labelled);
            Worst worst;
            const auto see = [&](auto got, Real exact, Real at) {
              const Real want =
                  std::fabs(exact) > std::numeric_limits<T>::max() ? std::copysign(infinity, exact) : exact;
              worst.see(got, want, 16 * kEpsilon<T> * (1 + std::fabs(want)), at);
            };
            see(value, tried.value(p, t), extreme);
            const Row gradient = tried.gradient(p, t);
            for (std::size_t j = 0; j < p.size(); ++j) see(dp[static_cast<Size>(j)], gradient[j], p[j]);
            CHECK_WORST(worst);
          }
        }
      }
    }
    const Size columns = 35 * tried.predictions;
    for (Size place = 0; place < columns; ++place) {
      for (const bool labelled : {false, true}) {
        if (labelled && !tried.takes("classes")) continue;
        Problem<T> problem(tried, 1, columns, 0, 0, random);
        problem.p[place] = std::numeric_limits<T>::quiet_NaN();
        problem.t.fill([] { return 0.5; });
        Matrix<T> dp(1, columns);
        CHECK(std::isnan(loss(tried, problem, problem.p, labelled, false, 1, dp)));
        CHECK(std::isnan(dp[place]));
      }
    }
  }
}

TEST_CASE_TEMPLATE("a row of weight 0 adds nothing", T, float, double) {
  Random random(4);
  for (const Tried& tried : losses()) {
    CAPTURE(described(tried));
    const Size columns = 21 * tried.predictions;
    Problem<T> problem(tried, 3, columns, 0, 0, random);
    problem.weights.fill([] { return 0; });
    Matrix<T> dp(3, columns);
    CHECK(loss(tried, problem, problem.p, false, true, 1, dp) == 0);
    for (Size at = 0; at < 3 * columns; ++at) CHECK(dp[at] == 0);
  }
}

}  // namespace
}  // namespace densegrad
