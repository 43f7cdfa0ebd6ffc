// Updates against their formulas in long double.

#include <string>

#include "base/primitives.hpp"
#include "dispatch/dispatch.hpp"
#include "formulas.hpp"
#include "ops/coefficients.hpp"
#include "testing.hpp"

namespace densegrad {
namespace {

using Values = std::map<std::string, double>;

std::vector<PrimitiveRow> optimizers() {
  std::vector<PrimitiveRow> rows;
  for (const PrimitiveRow& row : primitives()) {
    if (row.kind == std::string("optimizer")) rows.push_back(row);
  }
  return rows;
}

// The row's attributes by name, its defaults where `given` has none.
Values attributes_of(const PrimitiveRow& row, const Values& given) {
  Values all;
  for (const Attribute& attribute : row.attributes) all[attribute.name] = attribute.fallback;
  for (const auto& [name, value] : given) all.at(name) = value;
  return all;
}

// What is tried beside the defaults.
std::vector<Values> variants_of(const std::string& name) {
  if (name == "sgd") return {{}};
  if (name == "adam") {
    return {
        {}, {{"beta1", 0}}, {{"beta2", 0}}, {{"beta1", 0.5}, {"beta2", 0.9}}, {{"eps", 0.01}}, {{"weight_decay", 0.1}}};
  }
  throw std::out_of_range("write the variants of the optimiser " + name + " here");
}

// How wrong w and each number of the state may be after an update of w, by dw, from `state`.
template <class T>
Row bounds_of(const std::string& name, Real w, Real dw, const Row& state, Real updates, Real lr, const Values& a) {
  const Real eps = kEpsilon<T>;
  Real next = w;
  Row after = state;
  optimizer_formula(name).update(next, dw, after, updates, lr, a);
  if (name == "sgd") return {ulp<T>(lr * dw) / 2 + ulp<T>(next) / 2};
  if (name == "adam") {  // relative to terms that do not cancel
    const Real beta1 = a.at("beta1"), beta2 = a.at("beta2"), decay = a.at("weight_decay");
    const Real g = std::fabs(dw + decay * w), size = std::fabs(dw) + decay * std::fabs(w);
    const Real m = 6 * eps * (beta1 * std::fabs(state[0]) + (1 - beta1) * size);
    const Real v = 6 * eps * (beta2 * state[1] + (1 - beta2) * g * size);
    const Real left1 = 1 - std::pow(beta1, updates + 1), left2 = 1 - std::pow(beta2, updates + 1);
    const Real below = std::sqrt(after[1] / left2) + a.at("eps");
    // 1 - beta^t is computed in double, where little of it is left at first
    const Real relative = (after[1] > 0 ? v / after[1] : 0) + 8 * eps + kEpsilon<double> * (1 / left1 + 1 / left2);
    return {2 * eps * std::fabs(next) + lr / left1 * (m + std::fabs(after[0]) * relative) / below, m + kSmallest<T>,
            v + kSmallest<T>};
  }
  throw std::out_of_range("write the bounds of the optimiser " + name + " here");
}

template <class T>
void check_update(const PrimitiveRow& row, const Values& given, Size rows, Size columns, Size gap, Index updates,
                  double lr, Random& random) {
  const std::string name = row.name;
  CAPTURE(name);
  std::string attributes_given;
  for (const auto& [attribute, value] : given) attributes_given += attribute + " = " + std::to_string(value) + " ";
  CAPTURE(attributes_given);
  CAPTURE(rows);
  CAPTURE(columns);
  CAPTURE(gap);
  CAPTURE(updates);
  CAPTURE(lr);
  const Values attributes = attributes_of(row, given);
  const OptimizerKind kind = optimizer_named(name);
  const std::vector<double> coefficients = update_coefficients(kind, attribute_values(row, attributes), updates, lr);
  const Size numbers = row.state, stride = columns + gap, block = rows * stride + 5;
  Matrix<T> w(rows, columns, stride), w_before(rows, columns), dw(rows, columns, columns + 2 * gap);
  w.fill([&] { return random.uniform(-1, 1); });
  w_before.copy(w);
  dw.fill([&] { return random.uniform(-1, 1) * std::pow(10, static_cast<double>(random.whole(-4, 1))); });
  // the state lies as w does: each of its parts is one row of this matrix
  Matrix<T> state(numbers, rows > 0 ? (rows - 1) * stride + columns : 0, block), before(numbers, state.columns());
  for (Size k = 0; k < numbers; ++k) {
    for (Size i = 0; i < state.columns(); ++i) {
      if (i % stride >= columns) continue;  // between the rows
      const double size = updates == 0 ? 0 : std::pow(10, static_cast<double>(random.whole(-3, 0)));
      state(k, i) = static_cast<T>(size * random.uniform(k == 0 ? -1 : 0.01, 1));
    }
  }
  before.copy(state);
  kernels<T>().update[static_cast<int>(kind)](rows, columns, w.data(), w.stride(), dw.data(), dw.stride(),
                                              numbers > 0 ? state.data() : nullptr, block, coefficients.data());

  Worst of_w, of_state;
  bool gaps_kept = true;
  const OptimizerFormula& formula = optimizer_formula(name);
  const Real rate = name == "sgd" ? Real(static_cast<T>(lr)) : Real(lr);
  for (Size i = 0; i < rows; ++i) {
    for (Size j = 0; j < stride && i * stride + j < std::max(state.columns(), (rows - 1) * stride + columns); ++j) {
      if (j >= columns) {
        for (Size k = 0; k < numbers; ++k) gaps_kept &= std::isnan(state(k, i * stride + j));
        continue;
      }
      Row numbers_of;
      for (Size k = 0; k < numbers; ++k) numbers_of.push_back(before(k, i * stride + j));
      const Real t = static_cast<Real>(updates);
      const Row bounds = bounds_of<T>(name, w_before(i, j), dw(i, j), numbers_of, t, rate, attributes);
      Real want = w_before(i, j);
      formula.update(want, dw(i, j), numbers_of, t, rate, attributes);
      of_w.see(w(i, j), want, bounds[0], w_before(i, j));
      for (Size k = 0; k < numbers; ++k) {
        of_state.see(state(k, i * stride + j), numbers_of[static_cast<std::size_t>(k)],
                     bounds[static_cast<std::size_t>(k + 1)], dw(i, j));
      }
    }
  }
  CHECK_WORST(of_w);
  CHECK_WORST(of_state);
  CHECK(gaps_kept);
  CHECK(w.rest_untouched());
  CHECK(state.rest_untouched());
}

TEST_CASE_TEMPLATE("an update keeps to its formula, and sgd to one rounding of it", T, float, double) {
  Random random(1);
  for (const PrimitiveRow& row : optimizers()) {
    REQUIRE(static_cast<std::size_t>(row.state) == optimizer_formula(row.name).state);
    for (const Values& given : variants_of(row.name)) {
      for (const Size columns : kLengths) {
        for (const Size rows : {0, 1, 2, 5}) {
          const Size gap = random.whole(0, 1) * 3;
          const Index updates = random.whole(0, 3) * 7;
          check_update<T>(row, given, rows, columns, gap, updates, random.uniform(0, 0.5), random);
        }
      }
      check_update<T>(row, given, 3, 37, 0, 100000, 0, random);
      check_update<T>(row, given, 3, 37, 0, 1, 17.5, random);
    }
  }
}

TEST_CASE_TEMPLATE("sgd is exact where whole numbers are", T, float, double) {
  Random random(2);
  Matrix<T> w(1, 101), before(1, 101), dw(1, 101);
  before.fill([&] { return random.whole(-1000, 1000); });
  dw.fill([&] { return random.whole(-1000, 1000); });
  w.copy(before);
  const double rate = 0.5;
  kernels<T>().update[static_cast<int>(OptimizerKind::sgd)](1, 101, w.data(), 101, dw.data(), 101, nullptr, 0, &rate);
  for (Size j = 0; j < 101; ++j) CHECK(w[j] == before[j] - dw[j] / 2);
}

}  // namespace
}  // namespace densegrad
