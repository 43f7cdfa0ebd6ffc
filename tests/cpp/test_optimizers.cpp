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

// The row's attributes, one by one in the middle of its range and at the ends that it has.
std::vector<Values> variants_of(const PrimitiveRow& row) {
  const bool centered = optimizer_formula(row.name).state.find('a') != std::string::npos;
  std::vector<Values> variants;
  for (const Attribute& attribute : row.attributes) {
    const bool bounded = attribute.high <= 1;
    variants.push_back({{attribute.name, bounded ? 0.5 : 0.1}});
    if (bounded) variants.push_back({{attribute.name, std::min(attribute.high, 0.9999999)}});
    if (centered && attribute.name == std::string("alpha")) continue;  // 0: g^2 less g^2 is what rounding makes of it
    variants.push_back({{attribute.name, attribute.low}});
  }
  return variants;
}

// How wrong w and each number of the state may be after an update of w, by dw, from `state`: as much as some units in
// the last place of each number that goes in could do, and of each that comes out.
template <class T>
Row bounds_of(const std::string& name, Real w, Real dw, const Row& state, Real updates, Real lr, const Values& a) {
  const Real units = 6 * kEpsilon<T>;
  const auto after = [&](const Row& in) {
    Row out = in;
    out.erase(out.begin() + 1);
    Row numbers(in.begin() + 2, in.end());
    optimizer_formula(name).update(out[0], in[1], numbers, updates, lr, a);
    std::copy(numbers.begin(), numbers.end(), out.begin() + 1);
    return out;
  };
  Row in = {w, dw};
  in.insert(in.end(), state.begin(), state.end());
  const Row exact = after(in);
  if (name == "sgd") return {ulp<T>(lr * dw) / 2 + ulp<T>(exact[0]) / 2};
  Real of_step = units;  // 1 - beta^t is computed in double, where little of it is left at first
  for (const auto& [attribute, value] : a) {
    if (attribute.rfind("beta", 0) == 0) of_step += 2 * kEpsilon<double> / (1 - std::pow(Real(value), updates + 1));
  }
  Row bounds;
  for (const Real number : exact) bounds.push_back(units * std::fabs(number) + kSmallest<T>);
  const Real decay = a.count("weight_decay") == 0 ? 0 : lr * a.at("weight_decay") * std::fabs(w);
  bounds[0] += units * std::fabs(w) + of_step * (std::fabs(exact[0] - w) + decay);
  for (std::size_t i = 0; i < in.size(); ++i) {
    Row most(exact.size());
    for (const Real nudge : {-units, units}) {
      Row other = in;
      other[i] *= 1 + nudge;
      const Row changed = after(other);
      for (std::size_t k = 0; k < exact.size(); ++k) most[k] = std::max(most[k], std::fabs(changed[k] - exact[k]));
    }
    for (std::size_t k = 0; k < exact.size(); ++k) bounds[k] += most[k];
  }
  return bounds;
}

// A number of state as training could have left it, beside those of the same parameter before it.
double number_of_state(char letter, const Row& before, Random& random) {
  const double size = std::pow(10, static_cast<double>(random.whole(-3, 0)));
  if (letter == 'v' || letter == 'u') return size * random.uniform(0.01, 1);
  if (letter == 'a') return random.uniform(-0.999, 0.999) * std::sqrt(static_cast<double>(before[0]));  // a^2 < v
  return size * random.uniform(-1, 1);
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
  for (Size i = 0; i < state.columns(); ++i) {
    if (i % stride >= columns) continue;  // between the rows
    Row numbers_of;
    for (const char letter : optimizer_formula(name).state) {
      state(static_cast<Size>(numbers_of.size()), i) =
          updates == 0 ? 0 : static_cast<T>(number_of_state(letter, numbers_of, random));
      numbers_of.push_back(state(static_cast<Size>(numbers_of.size()), i));
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
    REQUIRE(static_cast<std::size_t>(row.state) == optimizer_formula(row.name).state.size());
    for (const Size columns : kLengths) {
      for (const Size rows : {0, 1, 2, 5}) {
        const Values given = random.whole(0, 1) == 0 ? Values() : optimizer_formula(row.name).tame;
        const Size gap = random.whole(0, 1) * 3;
        const Index updates = random.whole(0, 3) * 7;
        check_update<T>(row, given, rows, columns, gap, updates, random.uniform(0, 0.5), random);
      }
    }
    for (const Values& given : variants_of(row)) {
      for (const Index updates : {0, 1, 20, 400}) check_update<T>(row, given, 3, 37, 0, updates, 0.1, random);
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
