// Network through its public header: plans, batches and calls that it refuses.

#include <algorithm>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "densegrad/network.hpp"
#include "networks.hpp"

namespace densegrad {
namespace {

TEST_CASE_TEMPLATE("a backward without a forward is refused", T, float, double) {
  const Plan plan = plan_of(6, {{4, "tanh"}}, "mse");
  Problem<T> problem(plan, 5, false, false, 11);
  Network<T> network(plan, problem.parameters.data());
  Matrix<T> dy(5, 4), gradients(1, plan.parameter_count);
  CHECK(network.forward_rows() == 0);
  CHECK_THROWS_AS(network.backward(dy.data(), gradients.data(), nullptr), std::logic_error);
}

TEST_CASE_TEMPLATE("what forward has kept survives every other call", T, float, double) {
  const Plan plan = plan_of(6, {{4, "tanh"}, {40, "softmax"}, {3}}, "mse");
  Problem<T> problem(plan, 5, false, false, 11);
  Network<T> network(plan, problem.parameters.data());
  Matrix<T> out(5, 3), dy(5, 3), gradients(1, plan.parameter_count), again(1, plan.parameter_count);
  Random random(12);
  dy.fill([&] { return random.uniform(-1, 1); });
  network.forward(5, problem.x.data(), out.data());
  network.backward(dy.data(), gradients.data(), nullptr);
  const auto survives = [&](auto call) {
    call();
    CHECK(network.forward_rows() == 5);
    network.backward(dy.data(), again.data(), nullptr);
    CHECK(again.same_bits_as(gradients));
  };
  survives([&] { network.predict(2, problem.x.data(), out.data()); });
  survives([&] { network.loss(problem.batch()); });
  survives([&] { network.loss_and_gradients(problem.batch(2), again.data()); });
  survives([&] { network.step(problem.batch(), 0, 0); });  // a rate of 0 leaves the parameters as they are
}

TEST_CASE_TEMPLATE("predict_finite gives what predict gives, and stops at a number that is not finite", T, float,
                   double) {
  const Plan plan = plan_of(300, {{20, "relu"}, {3}}, "mse");  // so wide that the rows take several passes
  constexpr Size rows = 1000;
  Problem<T> problem(plan, rows, false, false, 13);
  Network<T> network(plan, problem.parameters.data());
  Matrix<T> want(rows, 3), got(rows, 3);
  network.predict(rows, problem.x.data(), want.data());
  CHECK(network.predict_finite(rows, problem.x.data(), got.data()));
  CHECK(got.same_bits_as(want));
  CHECK(network.predict_finite(0, problem.x.data(), got.data()));
  for (const T bad : {std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
    for (const Size row : {Size{0}, Size{437}, rows - 1}) {
      const T before = problem.x(row, 299);
      problem.x(row, 299) = bad;
      CHECK_FALSE(network.predict_finite(rows, problem.x.data(), got.data()));
      problem.x(row, 299) = before;
    }
  }
}

TEST_CASE_TEMPLATE("a network moves, and its parameters stay the caller's", T, float, double) {
  const Plan plan = plan_of(6, {{4, "tanh"}}, "mse");
  Problem<T> problem(plan, 5, false, false, 12);
  Network<T> first(plan, problem.parameters.data());
  const double before = first.step(problem.batch(), 0.1, 0);
  Network<T> second(std::move(first));
  CHECK(second.step(problem.batch(), 0.1, 1) < before);
  Network<T> third(plan, problem.parameters.data());
  third = std::move(second);
  CHECK(third.loss(problem.batch()) == Network<T>(plan, problem.parameters.data()).loss(problem.batch()));
}

TEST_CASE_TEMPLATE("accepts knows what a loss can be asked", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN(), infinity = std::numeric_limits<T>::infinity();
  const auto network_of = [](Problem<T>& problem) { return Network<T>(problem.plan, problem.parameters.data()); };
  const auto with = [](T& place, T value, auto accepted) {
    const T before = std::exchange(place, value);
    const bool result = accepted();
    place = before;
    return result;
  };
  Problem<T> values(plan_of(3, {{2}}, "mse"), 5, false, true, 15);
  const Network<T> network = network_of(values);
  const auto accepted = [&] { return network.accepts(values.batch()); };
  CHECK(accepted());
  CHECK_FALSE(network.accepts(values.batch(0)));
  for (const T bad : {nan, infinity, -infinity}) {
    for (Size i = 0; i < 15; ++i) CHECK_FALSE(with(values.x[i], bad, accepted));
    for (Size i = 0; i < 10; ++i) CHECK_FALSE(with(values.y[i], bad, accepted));
    for (Size i = 0; i < 5; ++i) CHECK_FALSE(with(values.weights[i], bad, accepted));
  }
  CHECK(with(values.y[3], 1000, accepted));
  CHECK(with(values.weights[3], 0, accepted));
  CHECK_FALSE(with(values.weights[3], T(-0.5), accepted));
  values.weights.fill([] { return 0; });
  CHECK_FALSE(accepted());

  Problem<T> odds(plan_of(3, {{2}}, "binary_cross_entropy_with_logits"), 5, false, false, 15);
  const Network<T> of_odds = network_of(odds);
  const auto odds_accepted = [&] { return of_odds.accepts(odds.batch()); };
  CHECK(odds_accepted());
  CHECK(with(odds.y[1], 1, odds_accepted));
  for (const T bad : {T(-0.01), T(1.01), nan}) CHECK_FALSE(with(odds.y[1], bad, odds_accepted));
  CHECK_FALSE(of_odds.accepts({5, odds.x.data(), {nullptr, odds.labels.data()}, nullptr}));

  Problem<T> counts(plan_of(3, {{2}}, "poisson"), 5, false, false, 15);
  const Network<T> of_counts = network_of(counts);
  const auto counts_accepted = [&] { return of_counts.accepts(counts.batch()); };
  CHECK(counts_accepted());
  for (const T good : {T(0), T(2.5)}) CHECK(with(counts.y[1], good, counts_accepted));
  for (const T bad : {T(-1), nan, infinity}) CHECK_FALSE(with(counts.y[1], bad, counts_accepted));

  Problem<T> labels(plan_of(3, {{4}}, "cross_entropy"), 5, true, false, 15);
  const Network<T> of_labels = network_of(labels);
  CHECK(of_labels.accepts(labels.batch()));
  for (const Index bad : {-1, 4}) {
    const Index before = std::exchange(labels.labels[2], bad);
    CHECK_FALSE(of_labels.accepts(labels.batch()));
    labels.labels[2] = before;
  }
  labels.labelled = false;
  labels.y.fill([] { return 0.25; });
  const auto shares_accepted = [&] { return of_labels.accepts(labels.batch()); };
  CHECK(shares_accepted());
  for (const T bad : {T(0.26), T(0.24), T(-0.25), nan}) CHECK_FALSE(with(labels.y[7], bad, shares_accepted));
}

void check_refused(const std::string& what, Plan plan, const std::function<void(Plan&)>& spoil) {
  CAPTURE(what);
  std::vector<double> parameters(static_cast<std::size_t>(plan.parameter_count));
  CHECK_NOTHROW(Network<double>(plan, parameters.data()));
  spoil(plan);
  CHECK_THROWS_AS(Network<double>(plan, parameters.data()), std::invalid_argument);
}

TEST_CASE("a plan that makes no sense is refused") {
  const Plan plan = plan_of(3, {{5, "tanh"}, {2, "softmax"}}, "cross_entropy", true);
  const Size far = Size{1} << 40;
  const std::vector<std::pair<std::string, std::function<void(Plan&)>>> faults = {
      {"no nodes", [](Plan& p) { p.nodes.clear(); }},
      {"a width of 0", [](Plan& p) { p.widths[2] = 0; }},
      {"a width below 0", [](Plan& p) { p.widths[0] = -3; }},
      {"an unknown node", [](Plan& p) { p.nodes[1].primitive = "tan"; }},
      {"a loss for a node", [](Plan& p) { p.nodes[1].primitive = "mse"; }},
      {"a loss with two outputs a target over five",
       [](Plan& p) { p.loss.primitive = "gaussian_nll", p.prediction = 2; }},
      {"an unknown loss", [](Plan& p) { p.loss.primitive = "tanh"; }},
      {"an unknown optimizer", [](Plan& p) { p.optimizer.primitive = "sdg"; }},
      {"no inputs", [](Plan& p) { p.nodes[1].inputs.clear(); }},
      {"two inputs", [](Plan& p) { p.nodes[1].inputs = {1, 1}; }},
      {"an input that is not there", [&](Plan& p) { p.nodes[1].inputs = {far}; }},
      {"an input below 0", [](Plan& p) { p.nodes[0].inputs = {-1}; }},
      {"an input that is written later", [](Plan& p) { p.nodes[1].inputs = {3}; }},
      {"a buffer written twice", [](Plan& p) { p.nodes[3].output = 3; }},
      {"a sum of one", [](Plan& p) { p.nodes[1].primitive = "add"; }},
      {"a sum of different widths",
       [](Plan& p) {
         p.nodes[1].primitive = "add";
         p.nodes[1].inputs = {1, 0};
       }},
      {"an output that is not there", [](Plan& p) { p.nodes[3].output = 5; }},
      {"an output below 0", [](Plan& p) { p.nodes[0].output = -1; }},
      {"an output over its input", [](Plan& p) { p.nodes[1].output = 1; }},
      {"an activation that changes the width", [](Plan& p) { p.widths[2] = 6; }},
      {"a dense node without w", [](Plan& p) { p.nodes[0].slots.clear(); }},
      {"three slots", [](Plan& p) { p.nodes[0].slots.push_back(p.nodes[0].slots[1]); }},
      {"w transposed", [](Plan& p) { std::swap(p.nodes[0].slots[0].rows, p.nodes[0].slots[0].columns); }},
      {"b as a column", [](Plan& p) { std::swap(p.nodes[0].slots[1].rows, p.nodes[0].slots[1].columns); }},
      {"w too far", [](Plan& p) { p.nodes[2].slots[0].offset += 3; }},
      {"w much too far", [](Plan& p) { p.nodes[2].slots[0].offset = std::numeric_limits<Size>::max() - 2; }},
      {"b before the parameters", [](Plan& p) { p.nodes[0].slots[1].offset = -1; }},
      {"fewer parameters than slots", [](Plan& p) { --p.parameter_count; }},
      {"parameters below 0", [](Plan& p) { p.parameter_count = -1; }},
      {"an input buffer that is not there", [&](Plan& p) { p.input = far; }},
      {"an input buffer below 0", [](Plan& p) { p.input = -1; }},
      {"an output buffer that is not there", [](Plan& p) { p.output = 5; }},
      {"an output buffer below 0", [](Plan& p) { p.output = -1; }},
      {"a prediction that is not there", [](Plan& p) { p.prediction = 5; }},
      {"widths whose product is no number of parameters",
       [](Plan& p) {
         const Size wide = Size{1} << 32;  // 2^32 * 2^32 wraps around to 0
         p = plan_of(1, {{1, "", false}, {1, "", false}}, "mse");
         p.widths[1] = p.widths[2] = wide;
         p.nodes[0].slots[0].columns = p.nodes[1].slots[0].rows = p.nodes[1].slots[0].columns = wide;
         p.nodes[0].slots[0].offset = p.nodes[1].slots[0].offset = 0;
         p.parameter_count = wide;
       }},
  };
  for (const auto& [what, spoil] : faults) check_refused(what, plan, spoil);
}

TEST_CASE("wires that do not fit and slots that overlap are refused") {
  const Plan plan = wired_plan(3, 4, 5, 2, "mse");
  const auto node = [&](Plan& p, const std::string& primitive) -> Node& {
    return *std::find_if(p.nodes.begin(), p.nodes.end(), [&](const Node& n) { return n.primitive == primitive; });
  };
  const std::vector<std::pair<std::string, std::function<void(Plan&)>>> faults = {
      {"columns from below 0", [&](Plan& p) { node(p, "columns").attributes["first"] = -1; }},
      {"columns beyond the last", [&](Plan& p) { node(p, "columns").attributes["first"] = 5; }},
      {"columns from no number",
       [&](Plan& p) { node(p, "columns").attributes["first"] = std::numeric_limits<double>::quiet_NaN(); }},
      {"more columns than there are", [](Plan& p) { p.widths[1] = 8; }},
      {"one to concatenate", [&](Plan& p) { node(p, "concatenate").inputs.pop_back(); }},
      {"three to concatenate", [&](Plan& p) { node(p, "concatenate").inputs.push_back(0); }},
      {"a concatenation of another width", [&](Plan& p) { node(p, "concatenate").inputs[0] = 0; }},
      {"slots that overlap", [&](Plan& p) { ++node(p, "dense").slots[0].offset; }},
      {"a slot that one node trains and one does not",
       [&](Plan& p) {
         for (Node& each : p.nodes) {
           if (each.inputs[0] == 1) each.slots[0].trainable = false;
         }
       }},
  };
  for (const auto& [what, spoil] : faults) check_refused(what, plan, spoil);
}

TEST_CASE("terms that do not share out the prediction are refused") {
  Plan plan = wired_plan(3, 4, 5, 6, "mse");
  plan.loss = {};
  plan.terms = {{{"mse"}, 2, 1}, {{"gaussian_nll"}, 4, 0.5}};
  const std::vector<std::pair<std::string, std::function<void(Plan&)>>> faults = {
      {"a column too few", [](Plan& p) { p.terms[0].columns = 1; }},
      {"a column too many", [](Plan& p) { p.terms[0].columns = 3; }},
      {"no column", [](Plan& p) { p.terms.push_back({{"mse"}, 0, 1}); }},
      {"columns below 0", [](Plan& p) { p.terms = {{{"mse"}, 8, 1}, {{"mse"}, -2, 1}}; }},
      {"columns whose sum is too large", [](Plan& p) { p.terms[1].columns = std::numeric_limits<Size>::max(); }},
      {"columns that a loss cannot share", [](Plan& p) { p.terms[0].columns = p.terms[1].columns = 3; }},
      {"an unknown loss", [](Plan& p) { p.terms[1].loss.primitive = "tanh"; }},
      {"a weight below 0", [](Plan& p) { p.terms[1].weight = -1; }},
      {"a weight without end", [](Plan& p) { p.terms[1].weight = std::numeric_limits<double>::infinity(); }},
      {"a loss beside the terms", [](Plan& p) { p.loss.primitive = "mse"; }},
  };
  for (const auto& [what, spoil] : faults) check_refused(what, plan, spoil);
}

TEST_CASE_TEMPLATE("each target of a sum of losses has the range of its own", T, float, double) {
  Plan plan = wired_plan(3, 4, 5, 6, "mse");
  plan.loss = {};
  plan.terms = {{{"mse"}, 2, 1}, {{"binary_cross_entropy_with_logits"}, 1, 1}, {{"cross_entropy"}, 3, 1}};
  Problem<T> problem(plan, 5, false, false, 15);
  for (Size i = 0; i < 5; ++i) {
    problem.y(i, 3) = T(0.5);
    problem.y(i, 4) = problem.y(i, 5) = T(0.25);
  }
  const Network<T> network(plan, problem.parameters.data());
  CHECK(network.accepts(problem.batch()));
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const auto accepted_with = [&](Size column, T value) {
    const T before = std::exchange(problem.y(4, column), value);
    const bool accepted = network.accepts(problem.batch());
    problem.y(4, column) = before;
    return accepted;
  };
  CHECK(accepted_with(0, -7));
  CHECK(accepted_with(2, 1));
  for (Size column = 0; column < 6; ++column) CHECK_FALSE(accepted_with(column, nan));
  CHECK_FALSE(accepted_with(2, T(1.5)));
  CHECK_FALSE(accepted_with(4, T(0.5)));
  CHECK_FALSE(network.accepts({5, problem.x.data(), {nullptr, problem.labels.data()}, nullptr}));
}

TEST_CASE_TEMPLATE("a network of its own parameters learns through wires of every kind", T, float, double) {
  const Plan plan = wired_plan(3, 4, 9, 2, "mse");
  const Problem<T> problem(plan, 20, false, false, 17);
  Network<T> network(plan, Seed{1});
  const double before = network.run_epoch(problem.batch(), 5, 0.05);
  for (int epoch = 0; epoch < 50; ++epoch) network.run_epoch(problem.batch(), 5, 0.05);
  CHECK(network.loss(problem.batch()) < before / 2);
}

TEST_CASE("an optimiser that keeps a state is refused without one") {
  const Plan plan = with_optimizer(plan_of(3, {{5, "tanh"}}, "mse"), "adam");
  std::vector<double> parameters(static_cast<std::size_t>(plan.parameter_count)), state(2 * parameters.size());
  CHECK_NOTHROW(Network<double>(plan, parameters.data(), state.data()));
  CHECK_THROWS_AS(Network<double>(plan, parameters.data()), std::invalid_argument);
}

TEST_CASE("what a plan has not cannot be asked of its network") {
  Plan plan = plan_of(3, {{5, "tanh"}}, "mse");
  Problem<double> problem(plan, 2, false, false, 16);
  Matrix<double> gradients(1, plan.parameter_count);
  plan.optimizer.primitive.clear();
  Network<double> without_optimizer(plan, problem.parameters.data());
  CHECK_NOTHROW(without_optimizer.loss_and_gradients(problem.batch(), gradients.data()));
  CHECK_THROWS_AS(without_optimizer.step(problem.batch(), 0.1, 0), std::logic_error);
  CHECK_THROWS_AS(without_optimizer.apply_gradients(gradients.data(), 0.1, 0), std::logic_error);
  plan.loss.primitive.clear();
  Network<double> without_loss(plan, problem.parameters.data());
  Matrix<double> out(2, 5);
  CHECK_NOTHROW(without_loss.forward(2, problem.x.data(), out.data()));
  CHECK_THROWS_AS(without_loss.loss(problem.batch()), std::logic_error);
  CHECK_THROWS_AS(without_loss.loss_and_gradients(problem.batch(), gradients.data()), std::logic_error);
}

}  // namespace
}  // namespace densegrad
