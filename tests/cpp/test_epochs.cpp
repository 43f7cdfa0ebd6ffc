// Network as a C++ program uses it: a stack, a seed, epochs.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "densegrad/network.hpp"
#include "testing.hpp"

namespace densegrad {
namespace {

template <class T>
std::vector<T> parameters_of(const Network<T>& network, const Plan& plan) {
  return {network.parameters(), network.parameters() + plan.parameter_count};
}

template <class T>
struct Mean {
  Real mean, variance;
  explicit Mean(const std::vector<T>& values) {
    mean = std::accumulate(values.begin(), values.end(), Real(0)) / static_cast<Real>(values.size());
    variance = 0;
    for (const T v : values) variance += (v - mean) * (v - mean) / static_cast<Real>(values.size());
  }
};

TEST_CASE("a stack has a node for each layer and each activation, with w and b in a row") {
  const Plan plan = stack(5, {{7, {"gelu"}}, {3, {}, false}, {2}}, {"mse"}, {"adam", {{"beta1", 0.5}}});
  CHECK(plan.widths == std::vector<Size>{5, 7, 7, 3, 2});
  CHECK(plan.nodes.size() == 4);
  CHECK(plan.nodes[1].primitive == "gelu");
  CHECK(plan.nodes[2].slots.size() == 1);
  CHECK(plan.parameter_count == 5 * 7 + 7 + 7 * 3 + 3 * 2 + 2);
  CHECK(plan.nodes[3].slots[1].offset + plan.nodes[3].slots[1].size() == plan.parameter_count);
  CHECK(plan.prediction == plan.output);
  CHECK(plan.optimizer.attributes.at("beta1") == 0.5);
}

TEST_CASE_TEMPLATE("weights have the variance of their scheme, whatever the seed, and biases are zero", T, float,
                   double) {
  const Size in = 300, out = 400;
  const auto variance = [](const std::string& activation) {
    return activation == "relu" || activation == "gelu" ? 2.0L / in : 2.0L / (in + out);
  };
  for (const std::string activation : {"relu", "gelu", "tanh", "sigmoid", ""}) {
    CAPTURE(activation);
    const Plan plan = stack(in, {{out, {activation}}});
    for (const std::uint64_t seed : {0, 1, 2}) {
      const Network<T> network(plan, Seed{seed});
      std::vector<T> all = parameters_of(network, plan);
      CHECK(std::all_of(all.begin() + in * out, all.end(), [](T b) { return b == 0; }));
      all.resize(static_cast<std::size_t>(in * out));
      const Mean<T> got(all);
      const Real want = variance(activation);
      CHECK(std::abs(got.variance - want) < 0.03L * want);  // five deviations of 120,000 normal draws: 2 %
      CHECK(std::abs(got.mean) < 5 * std::sqrt(want / (in * out)));
    }
  }
}

template <class T>
std::vector<T> trained(Seed seed, Size batch_size, int epochs = 3) {
  const Plan plan = stack(3, {{17, {"tanh"}}, {4}}, {"cross_entropy"}, {"adam"});
  Network<T> network(plan, seed);
  Random random(5);
  std::vector<T> x;
  std::vector<Index> labels;
  for (Size i = 0; i < 50 * 3; ++i) x.push_back(static_cast<T>(random.uniform(-1, 1)));
  for (Size i = 0; i < 50; ++i) labels.push_back(random.whole(0, 3));
  const Batch<T> data{50, x.data(), {nullptr, labels.data()}};
  std::vector<T> result;
  for (int i = 0; i < epochs; ++i) result.push_back(static_cast<T>(network.run_epoch(data, batch_size, 0.01)));
  CHECK(result.back() < result.front());
  const std::vector<T> parameters = parameters_of(network, plan);
  result.insert(result.end(), parameters.begin(), parameters.end());
  return result;
}

TEST_CASE_TEMPLATE("a seed repeats a training to the last bit, another one does not", T, float, double) {
  CHECK(same_bits(trained<T>(Seed{7}, 16), trained<T>(Seed{7}, 16)));
  CHECK_FALSE(same_bits(trained<T>(Seed{7}, 16), trained<T>(Seed{8}, 16)));
}

// Row i has one feature, its own, so w_i moves once by lr t_i if the epoch has the row once.
TEST_CASE_TEMPLATE("an epoch has every row once, in an order of its own", T, float, double) {
  const Size rows = 37;
  for (const Size batch_size : {1, 5, 37, 100}) {
    CAPTURE(batch_size);
    const Plan plan = stack(rows, {{1, {}, false}}, {"half_squared_error"}, {"sgd"});
    std::vector<T> x(static_cast<std::size_t>(rows * rows)), t(static_cast<std::size_t>(rows)), w(t.size());
    for (Size i = 0; i < rows; ++i) {
      x[static_cast<std::size_t>(i * rows + i)] = 1;
      t[static_cast<std::size_t>(i)] = static_cast<T>(i + 1);
    }
    Network<T> network(plan, w.data());
    const double loss = network.run_epoch({rows, x.data(), {t.data()}}, batch_size, 0.5);
    for (Size i = 0; i < rows; ++i) {
      const Size last = rows % batch_size, many = std::min(batch_size, rows);
      const Real once = 0.5L * static_cast<Real>(i + 1) / static_cast<Real>(many);
      const Real in_the_last = last == 0 ? once : 0.5L * static_cast<Real>(i + 1) / static_cast<Real>(last);
      const Real got = w[static_cast<std::size_t>(i)];
      const Real close = 1e-6L * once;
      CHECK((std::abs(got - once) < close || std::abs(got - in_the_last) < close));
    }
    Real mean = 0;
    for (const T one : t) mean += static_cast<Real>(one) * one / 2 / static_cast<Real>(rows);
    CHECK(loss == doctest::Approx(static_cast<double>(mean)).epsilon(1e-6));
  }
}

TEST_CASE("the mean over an epoch counts weights") {
  const Plan plan = stack(1, {{1, {}, false}}, {"mse"}, {"sgd"});
  std::vector<double> w(1), x(5, 1.0), t{1, 2, 3, 4, 5}, weights{1, 0, 2, 0.5, 3};
  Network<double> network(plan, w.data());
  const double loss = network.run_epoch({5, x.data(), {t.data()}, weights.data()}, 2, 0.0);
  CHECK(loss == doctest::Approx((1 * 1 + 2 * 9 + 0.5 * 16 + 3 * 25) / 6.5).epsilon(1e-12));
}

TEST_CASE("an epoch ends before the update by a loss that is not finite, and gives that loss") {
  const Plan plan = stack(1, {{1, {}, false}}, {"mse"}, {"sgd"});
  std::vector<double> w(1), x(4, 1.0), t(4, 1.0);
  x[2] = std::numeric_limits<double>::infinity();
  Network<double> network(plan, w.data());
  CHECK_FALSE(std::isfinite(network.run_epoch({4, x.data(), {t.data()}}, 1, 0.1)));
  CHECK(std::isfinite(w[0]));
}

TEST_CASE("a plan or a batch size that makes no sense is refused") {
  CHECK_THROWS_AS(Network<float>(stack(3, {{4, {"rleu"}}}), Seed{1}), std::invalid_argument);
  CHECK_THROWS_AS(Network<float>(stack(3, {{4}}, {"mes"}), Seed{1}), std::invalid_argument);
  CHECK_THROWS_AS(Network<float>(stack(0, {{4}}), Seed{1}), std::invalid_argument);
  CHECK_THROWS_AS(Network<float>(stack(3, {}), Seed{1}), std::invalid_argument);
  Network<float> network(stack(1, {{1}}, {"mse"}, {"sgd"}), Seed{1});
  const float x = 0;
  CHECK_THROWS_AS(network.run_epoch({1, &x, {&x}}, 0, 0.1), std::invalid_argument);
}

}  // namespace
}  // namespace densegrad
