// Activations against their formulas in long double.

#include <string>

#include "base/primitives.hpp"
#include "dispatch/dispatch.hpp"
#include "formulas.hpp"
#include "testing.hpp"

namespace densegrad {
namespace {

constexpr double kLimit = std::numeric_limits<double>::infinity();

std::vector<PrimitiveRow> activations(bool by_row) {
  std::vector<PrimitiveRow> rows;
  for (const PrimitiveRow& row : primitives()) {
    if (row.kind == std::string("activation") && row.by_row == by_row) rows.push_back(row);
  }
  return rows;
}

// A row's kernels and formula, and what they need.
template <class T>
struct Activated {
  explicit Activated(const PrimitiveRow& row, const Values& given = {})
      : index(static_cast<int>(activation_named(row.name))),
        attributes(attribute_values(row, given)),
        values(given),
        formula(activation_formula(row.name)),
        reads_z(std::string(row.reads).find('z') != std::string::npos),
        reads_y(std::string(row.reads).find('y') != std::string::npos) {}

  void forward(const Matrix<T>& z, Matrix<T>& y) const {
    kernels<T>().activation_forward[index](z.rows(), z.columns(), z.data(), z.stride(), y.data(), y.stride(),
                                           attributes.data());
  }
  void backward(const Matrix<T>& dy, const Matrix<T>& z, const Matrix<T>& y, Matrix<T>& dz) const {
    kernels<T>().activation_backward[index](dy.rows(), dy.columns(), dy.data(), dy.stride(), z.data(), z.stride(),
                                            y.data(), y.stride(), dz.data(), dz.stride(), attributes.data());
  }
  Row want_forward(const Row& z) const { return formula.forward(z, values); }
  Row want_backward(const Row& dy, const Row& z, const Row& y) const { return formula.backward(dy, z, y, values); }

  int index;
  std::vector<double> attributes;
  Values values;
  const ActivationFormula& formula;
  bool reads_z, reads_y;
};

// Numbers of every sign and exponent: each 1021st float, 600 doubles of each exponent. 1021 is prime, so that all
// bits of the mantissa take part.
std::vector<float> whole_range(float) {
  std::vector<float> values;
  for (std::uint64_t pattern = 0; pattern < (std::uint64_t{1} << 32); pattern += 1021) {
    const std::uint32_t bits = static_cast<std::uint32_t>(pattern);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    if (std::isfinite(value)) values.push_back(value);
  }
  return values;
}

std::vector<double> whole_range(double) {
  std::vector<double> values;
  Random random(1);
  for (std::uint64_t exponent = 0; exponent < 0x7ff; ++exponent) {
    for (int i = 0; i < 600; ++i) {
      const std::uint64_t any = random.bits();
      const std::uint64_t bits = (any & 0x800fffffffffffff) | exponent << 52;
      double value;
      std::memcpy(&value, &bits, sizeof value);
      values.push_back(value);
    }
  }
  return values;
}

// As many ULP in float as the row says, 1e-14 for each 4 of them in double; 0 means exact.
template <class T>
Real bound(int ulps, Real want) {
  if (std::is_same_v<T, float> || std::fabs(want) < kSmallest<T>) return ulps * ulp<T>(want);
  return Real(1e-14) * ulps / 4 * std::fabs(want);
}

// What a result is measured against: below the smallest normal it may be 0, above the largest number it is infinite.
template <class T>
Real target(T got, Real want) {
  if (std::fabs(want) > Real(std::numeric_limits<T>::max())) return std::copysign(Real(kLimit), want);
  return got == 0 && std::fabs(want) < kSmallest<T> ? 0 : want;
}

constexpr Size kChunk = 4093;  // leaves a tail for every vector

TEST_CASE_TEMPLATE("a forward keeps its row's bound over the whole range", T, float, double) {
  const std::vector<T> all = whole_range(T());
  for (const PrimitiveRow& row : activations(false)) {
    CAPTURE(std::string(row.name));
    const Activated<T> f(row);
    Worst worst;
    for (std::size_t first = 0; first < all.size(); first += kChunk) {
      const Size size = std::min<Size>(kChunk, static_cast<Size>(all.size() - first));
      Matrix<T> z(1, size), y(1, size);
      std::copy_n(all.begin() + static_cast<Size>(first), size, z.data());
      f.forward(z, y);
      const Row want = f.want_forward(row_of(z, 0));
      for (Size j = 0; j < size; ++j) {
        const Real wanted = want[static_cast<std::size_t>(j)];
        worst.see(y[j], target(y[j], wanted), bound<T>(row.ulp, wanted), z[j]);
      }
    }
    CHECK_WORST(worst);
  }
}

TEST_CASE_TEMPLATE("a backward keeps to its formula over the whole range", T, float, double) {
  const std::vector<T> all = whole_range(T());
  Random random(2);
  for (const PrimitiveRow& row : activations(false)) {
    CAPTURE(std::string(row.name));
    const Activated<T> f(row);
    Worst worst;
    for (std::size_t first = 0; first < all.size(); first += kChunk) {
      const Size size = std::min<Size>(kChunk, static_cast<Size>(all.size() - first));
      Matrix<T> dy(1, size), z(1, size), y(1, size), dz(1, size);
      dy.fill([&] { return random.uniform(-2, 2); });
      for (Size j = 0; j < size; ++j) {  // what it does not read is left NaN
        const T value = all[first + static_cast<std::size_t>(j)];
        if (f.reads_z) z[j] = value;
        if (!f.reads_z || f.reads_y) y[j] = std::min(std::max(value, T(f.formula.lowest)), T(f.formula.highest));
      }
      f.backward(dy, z, y, dz);
      const Row want = f.want_backward(row_of(dy, 0), row_of(z, 0), row_of(y, 0));
      for (Size j = 0; j < size; ++j) {
        const Real wanted = want[static_cast<std::size_t>(j)];
        // 1 - y^2 may lose what rounding y^2 costs
        const Real allowed = row.ulp == 0 ? 0 : kEpsilon<T> / 2 * std::fabs(Real(dy[j]));
        worst.see(dz[j], target(dz[j], wanted), bound<T>(row.ulp, wanted) + allowed, y[j]);
      }
    }
    CHECK_WORST(worst);
  }
}

TEST_CASE_TEMPLATE("a forward gives the limit at extreme numbers, and NaN for NaN", T, float, double) {
  const double selu_above = 1.0507009873554805, selu_below = 1.7580993408473768;
  struct Limits {
    const char* name;
    double at_minus_infinity, at_minus_10000, at_minus_0, at_0, at_10000, at_infinity;
  };
  const std::vector<Limits> limits = {
      {"identity", -kLimit, -1e4, -0.0, 0, 1e4, kLimit},
      {"sigmoid", 0, 0, 0.5, 0.5, 1, 1},
      {"tanh", -1, -1, -0.0, 0, 1, 1},
      {"relu", 0, 0, 0, 0, 1e4, kLimit},
      {"leaky_relu", -kLimit, -1e4 * 0.01, -0.0, 0, 1e4, kLimit},
      {"elu", -1, -1, -0.0, 0, 1e4, kLimit},
      {"selu", -selu_below, -selu_below, -0.0, 0, selu_above * 1e4, kLimit},
      {"softplus", 0, 0, std::log(2.0), std::log(2.0), 1e4, kLimit},
      {"swish", 0, 0, -0.0, 0, 1e4, kLimit},
      {"gelu", 0, 0, -0.0, 0, 1e4, kLimit},
      {"gelu_tanh", 0, 0, -0.0, 0, 1e4, kLimit},
      {"mish", 0, 0, -0.0, 0, 1e4, kLimit},
      {"softsign", -1, -1e4 / 10001, -0.0, 0, 1e4 / 10001, 1},
      {"hard_sigmoid", 0, 0, 0.5, 0.5, 1, 1},
      {"hard_tanh", -1, -1, -0.0, 0, 1, 1},
      {"hard_swish", 0, 0, -0.0, 0, 1e4, kLimit},
  };
  for (const PrimitiveRow& row : activations(false)) {
    CAPTURE(std::string(row.name));
    const auto named = [&](const Limits& limit) { return limit.name == std::string(row.name); };
    const auto limit = std::find_if(limits.begin(), limits.end(), named);
    REQUIRE_MESSAGE(limit != limits.end(), "write the limits of this activation here");
    const std::vector<double> at = {-kLimit, -1e4, -0.0, 0.0, 1e4, kLimit};
    const std::vector<double> want = {limit->at_minus_infinity, limit->at_minus_10000, limit->at_minus_0, limit->at_0,
                                      limit->at_10000,          limit->at_infinity};
    const Activated<T> f(row);
    for (std::size_t i = 0; i < at.size(); ++i) {
      for (const Size size : {1, 16, 19}) {
        Matrix<T> z(1, size), y(1, size);
        z.fill([&] { return at[i]; });
        f.forward(z, y);
        for (Size j = 0; j < size; ++j) CHECK(y[j] == static_cast<T>(want[i]));
      }
    }
    for (Size place = 0; place < 35; ++place) {
      Matrix<T> z(1, 35), y(1, 35);
      z.fill([] { return 0.25; });
      z[place] = std::numeric_limits<T>::quiet_NaN();
      f.forward(z, y);
      for (Size j = 0; j < 35; ++j) CHECK(std::isnan(y[j]) == (j == place));
    }
  }
}

TEST_CASE_TEMPLATE("a backward gives NaN where dy is NaN and the slope is not 0", T, float, double) {
  for (const bool by_row : {false, true}) {
    for (const PrimitiveRow& row : activations(by_row)) {
      CAPTURE(std::string(row.name));
      const Activated<T> f(row);
      for (Size place = 0; place < 35; ++place) {
        Matrix<T> dy(1, 35), z(1, 35), y(1, 35), dz(1, 35);
        dy.fill([] { return 1; });
        z.fill([] { return 0.25; });
        y.fill([] { return 0.25; });
        dy[place] = std::numeric_limits<T>::quiet_NaN();
        f.backward(dy, z, y, dz);
        for (Size j = 0; j < 35; ++j) CHECK(std::isnan(dz[j]) == (by_row || j == place));
      }
    }
  }
}

// Rows of z that mix signs and sizes.
template <class T>
void fill_moderate(Matrix<T>& z, Random& random) {
  z.fill([&] { return random.uniform(-4, 4) * (random.whole(0, 3) == 0 ? 5 : 1); });
}

// How wrong element j of a row's gradient may be.
template <class T>
Real backward_bound(const PrimitiveRow& row, const Row& dy, const Row& y, std::size_t j) {
  if (!row.by_row) return row.ulp * kEpsilon<T> * std::fabs(dy[j]);
  const Real roundings = 4 + static_cast<Real>(dy.size());
  Real sum = 0, weighted = 0;
  for (std::size_t k = 0; k < dy.size(); ++k) {
    sum += std::fabs(dy[k]);
    weighted += std::fabs(dy[k] * y[k]);
  }
  if (row.name == std::string("log_softmax"))
    return roundings * kEpsilon<T> * (std::fabs(dy[j]) + std::exp(y[j]) * sum);
  return roundings * kEpsilon<T> * y[j] * (std::fabs(dy[j]) + weighted);
}

// What rounding the differences z_k - max z costs relative to y_j: half a place of each, which exp turns into an error
// of the power. softmax has its own power; of log_softmax it is the others' share in the sum, as far as they make it.
inline Real cost_of_differences(const PrimitiveRow& row, const Row& z, std::size_t j) {
  const Real top = *std::max_element(z.begin(), z.end());
  if (row.name == std::string("softmax")) return (top - z[j]) / 2;
  Real sum = 0, weighted = 0;
  for (const Real value : z) {
    if (value == top) continue;
    sum += std::exp(value - top);
    weighted += std::exp(value - top) * (top - value);
  }
  return sum > 0 ? weighted / sum / 2 : 0;
}

// A sum rounds again and again: one ULP for each 32 columns.
template <class T>
Real forward_bound(const PrimitiveRow& row, const Row& z, Real want, std::size_t j) {
  if (!row.by_row) return bound<T>(row.ulp, want);
  const Real more = cost_of_differences(row, z, j) + static_cast<Real>(z.size()) / 32;
  return bound<T>(row.ulp, want) + kEpsilon<T> * more * std::fabs(want);
}

TEST_CASE_TEMPLATE("activations read and write their matrices alone, whatever the strides", T, float, double) {
  Random random(3);
  for (const bool by_row : {false, true}) {
    for (const PrimitiveRow& row : activations(by_row)) {
      CAPTURE(std::string(row.name));
      const Activated<T> f(row);
      for (const Size columns : kLengths) {
        for (const Size rows : {0, 1, 2, 5}) {
          for (const bool gaps : {false, true}) {
            for (const bool in_place : {false, true}) {
              CAPTURE(rows);
              CAPTURE(columns);
              CAPTURE(gaps);
              CAPTURE(in_place);
              const Size a = columns + (gaps ? 3 : 0), b = columns + (gaps ? 5 : 0), c = columns + (gaps ? 1 : 0);
              Matrix<T> z(rows, columns, a), y(rows, columns, b), dy(rows, columns, c), dz(rows, columns, a);
              fill_moderate(z, random);
              dy.fill([&] { return random.uniform(-1, 1); });
              if (in_place) {
                Matrix<T> both(rows, columns, b);
                both.copy(z);
                f.forward(both, both);
                y.copy(both);
                CHECK(both.rest_untouched());
              } else {
                f.forward(z, y);
              }
              const Matrix<T> nothing(rows, columns, b);
              const Matrix<T>&read_z = f.reads_z ? z : nothing, &read_y = f.reads_y ? y : nothing;
              if (in_place) {
                dz.copy(dy);
                f.backward(dz, read_z, read_y, dz);
              } else {
                f.backward(dy, read_z, read_y, dz);
              }
              Worst forward, backward;
              for (Size i = 0; i < rows; ++i) {
                const Row zs = row_of(z, i), ys = row_of(y, i), dys = row_of(dy, i);
                const Row want_y = f.want_forward(zs), want_dz = f.want_backward(dys, zs, ys);
                for (std::size_t j = 0; j < zs.size(); ++j) {
                  const T got = y(i, static_cast<Size>(j));
                  forward.see(got, target(got, want_y[j]), forward_bound<T>(row, zs, want_y[j], j), zs[j]);
                  backward.see(dz(i, static_cast<Size>(j)), want_dz[j], backward_bound<T>(row, dys, ys, j), ys[j]);
                }
              }
              CHECK_WORST(forward);
              CHECK_WORST(backward);
              CHECK(y.rest_untouched());
              CHECK(dz.rest_untouched());
            }
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("what couples a row keeps its bound where differences are exact", T, float, double) {
  Random random(4);
  for (const PrimitiveRow& row : activations(true)) {
    CAPTURE(std::string(row.name));
    const Activated<T> f(row);
    for (const Size columns : {1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 31, 33, 100, 257, 1000}) {
      Worst worst;
      Real least_sum = 2, greatest_sum = 0;
      for (int repeat = 0; repeat < 100; ++repeat) {
        Matrix<T> z(1, columns), y(1, columns);
        const Size range = random.whole(1, 80);
        z.fill([&] { return static_cast<double>(random.whole(-64 * range, 64 * range)) / 64; });
        f.forward(z, y);
        const Row want = f.want_forward(row_of(z, 0));
        Real sum = 0;
        for (Size j = 0; j < columns; ++j) {
          const Real wanted = want[static_cast<std::size_t>(j)];
          const Real allowed = static_cast<Real>(columns) / 32 * ulp<T>(wanted);  // as the sum rounds again and again
          worst.see(y[j], target(y[j], wanted), bound<T>(row.ulp, wanted) + allowed, z[j]);
          sum += y[j];
        }
        least_sum = std::min(least_sum, sum);
        greatest_sum = std::max(greatest_sum, sum);
      }
      CAPTURE(columns);
      CHECK_WORST(worst);
      if (row.name != std::string("softmax")) continue;
      const Real allowed = (16 + static_cast<Real>(columns) / 32) * kEpsilon<T>;
      CHECK(least_sum >= 1 - allowed);
      CHECK(greatest_sum <= 1 + allowed);
    }
  }
}

TEST_CASE_TEMPLATE("what couples a row gives the limit at extreme numbers, and NaN for NaN", T, float, double) {
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  for (const PrimitiveRow& row : activations(true)) {
    CAPTURE(std::string(row.name));
    const Activated<T> f(row);
    const bool logarithm = row.name == std::string("log_softmax");
    for (const Size columns : {2, 3, 8, 16, 17, 35}) {
      CAPTURE(columns);
      const auto result = [&](T others, T first, T last) {
        Matrix<T> z(1, columns), y(1, columns);
        z.fill([&] { return others; });
        z[0] = first;
        z[columns - 1] = last;
        f.forward(z, y);
        return row_of(y, 0);
      };
      const auto filled = [&](T others, T first, T last) {
        Row want(static_cast<std::size_t>(columns), others);
        want.front() = first;
        want.back() = last;
        return want;
      };
      const T none = logarithm ? -infinity : 0, little = logarithm ? T(-1e4) : 0, all = logarithm ? 0 : 1;
      CHECK(result(0, 0, T(1e4)) == filled(little, little, all));
      CHECK(result(T(-1e4), T(-1e4), 0) == filled(little, little, all));
      CHECK(result(0, T(-1e4), infinity) == filled(none, none, all));
      CHECK(result(-infinity, -infinity, T(-1e4)) == filled(none, none, all));
      const T half = static_cast<T>(logarithm ? -std::log(2.0) : 0.5);
      CHECK(result(T(1e4), infinity, infinity) == filled(none, half, half));
      CHECK(result(-infinity, 3, 3) == filled(none, half, half));
      for (const Real value : result(0, infinity, nan)) CHECK(std::isnan(value));
      for (const Real value : result(nan, nan, -infinity)) CHECK(std::isnan(value));
    }
    for (Size place = 0; place < 35; ++place) {
      Matrix<T> z(1, 35), y(1, 35);
      z.fill([] { return 0.25; });
      z[place] = nan;
      f.forward(z, y);
      for (Size j = 0; j < 35; ++j) CHECK(std::isnan(y[j]));
    }
  }
}

TEST_CASE_TEMPLATE("attributes shape a curve and its slope", T, float, double) {
  const std::map<std::string, std::vector<double>> shapes = {
      {"slope", {0, 0.25, 1, 3}}, {"alpha", {0, 0.5, 2}}, {"beta", {-2, 0, 0.5, 1.75}}};
  Random random(5);
  for (const PrimitiveRow& row : activations(false)) {
    CAPTURE(std::string(row.name));
    for (const Attribute& attribute : row.attributes) {
      REQUIRE_MESSAGE(shapes.count(attribute.name) > 0, "write values of this attribute here");
      for (const double value : shapes.at(attribute.name)) {
        CAPTURE(value);
        const Activated<T> f(row, {{attribute.name, value}});
        Matrix<T> dy(1, 1001), z(1, 1001), y(1, 1001), dz(1, 1001);
        dy.fill([&] { return random.uniform(-2, 2); });
        z.fill([&] { return static_cast<double>(random.whole(-20480, 20480)) / 1024; });  // times an attribute: exact
        f.forward(z, y);
        f.backward(dy, z, y, dz);
        const Row want = f.want_forward(row_of(z, 0)),
                  slopes = f.want_backward(row_of(dy, 0), row_of(z, 0), row_of(y, 0));
        Worst forward, backward;
        for (Size j = 0; j < 1001; ++j) {
          const std::size_t i = static_cast<std::size_t>(j);
          forward.see(y[j], target(y[j], want[i]), bound<T>(row.ulp, want[i]), z[j]);
          backward.see(dz[j], slopes[i], row.ulp * kEpsilon<T> * std::max(1.0, value) * std::fabs(dy[j]), z[j]);
        }
        CHECK_WORST(forward);
        CHECK_WORST(backward);
      }
    }
  }
}

}  // namespace
}  // namespace densegrad
