// Losses against their formulas in long double, and their gradients against central differences.

#include <string>

#include "base/primitives.hpp"
#include "dispatch/dispatch.hpp"
#include "formulas.hpp"
#include "testing.hpp"

namespace densegrad {
namespace {

std::vector<PrimitiveRow> losses() {
  std::vector<PrimitiveRow> rows;
  for (const PrimitiveRow& row : primitives()) {
    if (row.kind == std::string("loss")) rows.push_back(row);
  }
  return rows;
}

bool takes(const PrimitiveRow& row, const char* target) { return row.target == std::string(target); }

// Predictions and targets as a loss may meet them.
template <class T>
struct Problem {
  Problem(const PrimitiveRow& row, Size rows, Size columns, Size p_gap, Size t_gap, Random& random)
      : p(rows, columns, columns + p_gap), t(rows, columns, columns + t_gap), weights(1, rows) {
    const bool probability = row.name == std::string("binary_cross_entropy");
    p.fill([&] {
      const double wide = random.uniform(-3, 3) * (random.whole(0, 2) == 0 ? 8 : 1);
      return probability ? 1 / (1 + std::exp(-wide)) : wide;
    });
    const bool values = takes(row, "values");
    t.fill([&] {
      if (values) return random.uniform(-3, 3);
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
double loss(const PrimitiveRow& row, const Problem<T>& problem, const Matrix<T>& p, bool labelled, bool weighted,
            double scale, Matrix<T>& dp) {
  const std::vector<double> attributes = attribute_values(row, {});
  return kernels<T>().loss[static_cast<int>(loss_named(row.name))](
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
Bounds bounds_of(const PrimitiveRow& row, const Row& p, const Row& t) {
  const LossFormula& formula = loss_formula(row.name);
  const Real columns = static_cast<Real>(p.size());
  Bounds bounds{8 * kEpsilon<T> * std::fabs(formula.value(p, t)), formula.gradient(p, t)};
  const Real divisor = row.name == std::string("half_squared_error") ? 1 : columns;
  Row size(p.size());
  if (takes(row, "classes")) {
    const Row shifted = formula::shifted(p), y = formula::softmax(p);
    Real mass = 0;
    for (std::size_t j = 0; j < p.size(); ++j) {
      mass += t[j];
      bounds.value += (columns + 8) * kEpsilon<T> * t[j] * (1 + std::fabs(shifted[j]));
    }
    for (std::size_t j = 0; j < p.size(); ++j) {
      size[j] = mass * y[j] * (columns + 8 + std::fabs(shifted[j])) + 4 * t[j];
    }
  } else if (row.name == std::string("binary_cross_entropy_with_logits")) {
    for (std::size_t j = 0; j < p.size(); ++j) size[j] = 4 * (formula::sigmoid(p[j]) + t[j]) / divisor;
  } else if (row.name == std::string("binary_cross_entropy")) {
    for (std::size_t j = 0; j < p.size(); ++j) size[j] = 8 * std::fabs(bounds.gradient[j]);
  } else {
    for (std::size_t j = 0; j < p.size(); ++j) size[j] = 4 * (std::fabs(p[j]) + std::fabs(t[j])) / divisor;
  }
  for (std::size_t j = 0; j < p.size(); ++j) bounds.gradient[j] = kEpsilon<T> * size[j];
  return bounds;
}

template <class T>
void check_against_formula(const PrimitiveRow& row, Size rows, Size columns, bool labelled, bool weighted,
                           bool in_place, Random& random) {
  CAPTURE(std::string(row.name));
  CAPTURE(rows);
  CAPTURE(columns);
  CAPTURE(labelled);
  CAPTURE(weighted);
  CAPTURE(in_place);
  const bool gaps = random.whole(0, 1) == 1;
  const double scale = random.uniform(0.1, 2);
  const Problem<T> problem(row, rows, columns, gaps ? 3 : 0, gaps ? 5 : 0, random);
  Matrix<T> dp(rows, columns, columns + (gaps ? 2 : 0));
  if (in_place) dp.copy(problem.p);
  const double value = loss(row, problem, in_place ? dp : problem.p, labelled, weighted, scale, dp);

  Real want = 0, bound = 0;
  Worst values, gradients;
  for (Size i = 0; i < rows; ++i) {
    const Row p = problem.p_row(i), t = problem.t_row(i, labelled);
    const Real s = Real(scale) * (weighted ? Real(problem.weights[i]) : 1);
    const Bounds bounds = bounds_of<T>(row, p, t);
    want += s * loss_formula(row.name).value(p, t);
    bound += s * bounds.value;
    const Row gradient = loss_formula(row.name).gradient(p, t);
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
  for (const PrimitiveRow& row : losses()) {
    for (const Size columns : kLengths) {
      if (columns == 0) continue;
      for (const Size rows : {0, 1, 2, 7}) {
        for (const bool weighted : {false, true}) {
          for (const bool in_place : {false, true}) {
            check_against_formula<T>(row, rows, columns, false, weighted, in_place, random);
            if (takes(row, "classes")) {
              check_against_formula<T>(row, rows, columns, true, weighted, in_place, random);
            }
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("the loss of one number is right to its last places, however small", T, float, double) {
  for (const PrimitiveRow& row : losses()) {
    if (takes(row, "classes")) continue;  // a class of one is always right
    CAPTURE(std::string(row.name));
    Worst worst;
    for (const double t : {0.0, 0.25, 0.5, 1.0}) {
      for (double z = -30; z <= 30; z += 0.0625) {
        Random random(1);
        Problem<T> problem(row, 1, 1, 0, 0, random);
        problem.p[0] = static_cast<T>(row.name == std::string("binary_cross_entropy") ? 1 / (1 + std::exp(-z)) : z);
        problem.t[0] = static_cast<T>(t);
        Matrix<T> dp(1, 1);
        const double value = loss(row, problem, problem.p, false, false, 1, dp);
        const Real want = loss_formula(row.name).value(problem.p_row(0), problem.t_row(0, false));
        worst.see(value, want, 8 * kEpsilon<T> * std::fabs(want), z);
      }
    }
    CHECK_WORST(worst);
  }
}

TEST_CASE("a gradient agrees with central differences of its own loss") {
  Random random(2);
  for (const PrimitiveRow& row : losses()) {
    CAPTURE(std::string(row.name));
    for (const bool labelled : {false, true}) {
      if (labelled && !takes(row, "classes")) continue;
      const Size rows = 3, columns = 19;
      const double scale = 0.5, h = 1e-5;
      Problem<double> problem(row, rows, columns, 0, 0, random);
      if (row.name == std::string("binary_cross_entropy")) {
        problem.p.fill([&] { return random.uniform(0.1, 0.9); });
      } else {
        problem.p.fill([&] { return random.uniform(-2, 2); });
      }
      Matrix<double> dp(rows, columns), ignored(rows, columns);
      loss(row, problem, problem.p, labelled, true, scale, dp);
      Worst worst;
      for (Size at = 0; at < rows * columns; ++at) {
        const double before = problem.p[at];
        problem.p[at] = before + h;
        const double above = loss(row, problem, problem.p, labelled, true, scale, ignored);
        problem.p[at] = before - h;
        const double below = loss(row, problem, problem.p, labelled, true, scale, ignored);
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
  for (const PrimitiveRow& row : losses()) {
    CAPTURE(std::string(row.name));
    const bool probability = row.name == std::string("binary_cross_entropy");
    const bool values = takes(row, "values");
    const std::vector<Real> extremes =
        probability ? std::vector<Real>{0, 1} : std::vector<Real>{-infinity, -1e4, 0, 1e4, infinity};
    const Real usual = probability ? 0.5 : 0;
    for (const Size columns : {1, 2, 8, 16, 19}) {
      for (const Real extreme : extremes) {
        for (const Real target : {0, 1}) {
          for (const bool labelled : {false, true}) {
            if (labelled && !takes(row, "classes")) continue;
            CAPTURE(columns);
            CAPTURE(extreme);
            CAPTURE(target);
            CAPTURE(labelled);
            // the extreme stands last; the target is 1 there or, of a class, at the front
            Problem<T> problem(row, 1, columns, 0, 0, random);
            problem.p.fill([&] { return usual; });
            problem.p[columns - 1] = static_cast<T>(extreme);
            problem.t.fill([] { return 0; });
            const bool hit = target == 1 || columns == 1;
            problem.t[hit ? columns - 1 : 0] = values || !takes(row, "classes") ? static_cast<T>(target) : 1;
            problem.labels[0] = hit ? columns - 1 : 0;
            Matrix<T> dp(1, columns);
            const double value = loss(row, problem, problem.p, labelled, false, 1, dp);
            const Row p = problem.p_row(0), t = problem.t_row(0, labelled);
            Worst worst;
            const Real want = loss_formula(row.name).value(p, t);
            worst.see(value, want, 16 * kEpsilon<T> * (1 + std::fabs(want)));
            const Row gradient = loss_formula(row.name).gradient(p, t);
            for (std::size_t j = 0; j < p.size(); ++j) {
              worst.see(dp[static_cast<Size>(j)], gradient[j], 16 * kEpsilon<T> * (1 + std::fabs(gradient[j])), p[j]);
            }
            CHECK_WORST(worst);
          }
        }
      }
    }
    for (Size place = 0; place < 35; ++place) {
      for (const bool labelled : {false, true}) {
        if (labelled && !takes(row, "classes")) continue;
        Problem<T> problem(row, 1, 35, 0, 0, random);
        problem.p[place] = std::numeric_limits<T>::quiet_NaN();
        problem.t.fill([] { return 0.5; });
        Matrix<T> dp(1, 35);
        CHECK(std::isnan(loss(row, problem, problem.p, labelled, false, 1, dp)));
        CHECK(std::isnan(dp[place]));
      }
    }
  }
}

TEST_CASE_TEMPLATE("a row of weight 0 adds nothing", T, float, double) {
  Random random(4);
  for (const PrimitiveRow& row : losses()) {
    CAPTURE(std::string(row.name));
    Problem<T> problem(row, 3, 21, 0, 0, random);
    problem.weights.fill([] { return 0; });
    Matrix<T> dp(3, 21);
    CHECK(loss(row, problem, problem.p, false, true, 1, dp) == 0);
    for (Size at = 0; at < 3 * 21; ++at) CHECK(dp[at] == 0);
  }
}

}  // namespace
}  // namespace densegrad
