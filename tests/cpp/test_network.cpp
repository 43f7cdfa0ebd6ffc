// Network through its public header: what it computes, against plain loops in long double.

#include "densegrad/network.hpp"

#include <algorithm>
#include <string>

#include "networks.hpp"

namespace densegrad {
namespace {

// A step gives the loss before it and makes the optimiser's update of all that is trainable, and of nothing else.
template <class T>
void check_step(Problem<T>& problem, const Reference& reference, Real loss, Network<T>& network) {
  const Plan& plan = problem.plan;
  const double rate = 0.25;
  const Index updates = 4;
  const OptimizerFormula& formula = optimizer_formula(plan.optimizer.primitive);
  Rows want = {row_of(problem.parameters, 0)};
  for (Size k = 0; k < problem.state.rows(); ++k) want.push_back(row_of(problem.state, k));
  std::vector<bool> trainable(want[0].size());
  for (const Node& node : plan.nodes) {
    for (const Slot& slot : node.slots) {
      for (Size i = slot.offset; i < slot.offset + slot.size(); ++i) {
        trainable[static_cast<std::size_t>(i)] = slot.trainable;
      }
    }
  }
  for (std::size_t i = 0; i < trainable.size(); ++i) {
    if (!trainable[i]) continue;
    Row state;
    for (std::size_t k = 1; k < want.size(); ++k) state.push_back(want[k][i]);
    formula.update(want[0][i], reference.gradients[i], state, updates, rate, plan.optimizer.attributes);
    for (std::size_t k = 1; k < want.size(); ++k) want[k][i] = state[k - 1];
  }
  Worst of_loss, changed, kept;
  of_loss.see(network.step(problem.batch(), rate, updates), loss, kTolerance<T> * std::max(std::fabs(loss), 1.0L));
  const Real size = std::max(1.0L, largest({reference.gradients}));
  for (std::size_t i = 0; i < trainable.size(); ++i) {
    Worst& worst = trainable[i] ? changed : kept;
    const Real bound = trainable[i] ? 16 * kTolerance<T> * size : 0;
    const Size place = static_cast<Size>(i);
    worst.see(problem.parameters[place], want[0][i], bound, static_cast<Real>(i));
    for (std::size_t k = 1; k < want.size(); ++k) {
      worst.see(problem.state(static_cast<Size>(k) - 1, place), want[k][i], bound * size, static_cast<Real>(i));
    }
  }
  CHECK_WORST(of_loss);
  CHECK_WORST(changed);
  CHECK_WORST(kept);
  CHECK(problem.parameters.rest_untouched());
  CHECK(problem.state.rest_untouched());
}

// One after the other: output, loss, all gradients and dx, and a step.
template <class T>
void check_network(const Plan& plan, Size rows, bool labelled, bool weighted) {
  CAPTURE(described(plan));
  CAPTURE(plan.loss.primitive);
  CAPTURE(rows);
  CAPTURE(labelled);
  CAPTURE(weighted);
  std::uint64_t seed = 1;
  const auto kink = [&] {  // where rounding alone could decide about a slope
    const Problem<T> candidate(plan, rows, labelled, weighted, seed);
    Reference reference(plan, candidate.parameters);
    reference.forward(rows_of(candidate.x));
    return reference.nearest_kink();
  };
  while (kink() < 40 * kEpsilon<T>) ++seed;
  Problem<T> problem(plan, rows, labelled, weighted, seed);
  Reference reference(plan, problem.parameters);
  reference.forward(rows_of(problem.x));
  const Real loss = reference.loss(problem.targets(), problem.row_weights());
  Network<T> network(plan, problem.parameters.data(), problem.state.data());

  Matrix<T> out(rows, problem.out), again(rows, problem.out);
  network.predict(rows, problem.x.data(), out.data());
  check_close(out, reference.output());
  CHECK(out.rest_untouched());
  network.forward(rows, problem.x.data(), again.data());
  CHECK(std::equal(out.data(), out.data() + rows * problem.out, again.data()));
  CHECK(network.forward_rows() == rows);

  Matrix<T> gradients(1, plan.parameter_count), dx(rows, problem.in);
  Worst value;
  value.see(network.loss(problem.batch()), loss, kTolerance<T> * std::max(std::fabs(loss), 1.0L));
  value.see(network.loss_and_gradients(problem.batch(), gradients.data(), dx.data()), loss,
            kTolerance<T> * std::max(std::fabs(loss), 1.0L));
  CHECK_WORST(value);
  const Real size = std::max(largest({reference.gradients}), largest(reference.dx));
  check_close(gradients, {reference.gradients}, size);
  check_close(dx, reference.dx, size);
  CHECK(gradients.rest_untouched());
  CHECK(dx.rest_untouched());

  check_step(problem, reference, loss, network);
}

// The last activation that a loss needs, "" for none.
std::string last_activation(const std::string& loss) { return loss == "binary_cross_entropy" ? "sigmoid" : ""; }

std::vector<std::string> names_of_losses() {
  std::vector<std::string> names;
  for (const auto& [name, formula] : loss_formulas()) names.push_back(name);
  return names;
}

std::vector<std::string> names_of_activations() {
  std::vector<std::string> names;
  for (const auto& [name, formula] : activation_formulas()) names.push_back(name);
  return names;
}

TEST_CASE_TEMPLATE("every activation and loss keeps to the plain loops, at odd sizes", T, float, double) {
  const std::vector<std::vector<Size>> shapes = {{1, 1},      {3, 7, 2},      {5, 33, 31, 4},  {17, 64, 65, 10},
                                                 {70, 69, 3}, {2, 70, 1, 13}, {31, 32, 33, 32}};
  const std::vector<Size> batches = {1, 2, 3, 7, 13, 16, 33, 65};
  const std::vector<std::string> activations = names_of_activations(), losses = names_of_losses();
  std::size_t turn = 0;
  for (std::size_t s = 0; s < shapes.size(); ++s) {
    const std::vector<Size>& shape = shapes[s];
    for (std::size_t pair = 0; pair < std::max(activations.size(), losses.size()); ++pair) {  // others for each shape
      const std::string &activation = activations[pair % activations.size()],
                        &loss = losses[(pair + s) % losses.size()];
      // whose large sums drive the sigmoid to where a probability has no places left beside 1
      if (activation == "log_softmax" && loss == "binary_cross_entropy") continue;
      CAPTURE(activation);
      std::vector<TestLayer> layers;
      for (std::size_t i = 1; i < shape.size(); ++i) {
        const bool last = i + 1 == shape.size();
        const Size units = last ? shape[i] * predictions_of(loss) : shape[i];
        layers.push_back({units, last ? last_activation(loss) : activation, (turn + i) % 4 != 0});
      }
      const bool labelled = loss == "cross_entropy" && turn % 2 == 0;
      const std::vector<std::string> optimizers = names_of_optimizers();
      const Plan plan = with_optimizer(plan_of(shape[0], layers, loss), optimizers[turn % optimizers.size()]);
      check_network<T>(plan, batches[turn % batches.size()], labelled, turn % 3 == 0);
      ++turn;
    }
  }
}

TEST_CASE_TEMPLATE("every loss keeps to the plain loops on more rows than it takes at a time", T, float, double) {
  for (const std::string& loss : names_of_losses()) {
    const Plan plan = plan_of(3, {{4, "tanh"}, {2 * predictions_of(loss), last_activation(loss)}}, loss);
    check_network<T>(plan, 1100, false, true);
  }
}

TEST_CASE_TEMPLATE("attributes of an activation reach its kernels", T, float, double) {
  const Attributes slope = {{"slope", 0.25}}, alpha = {{"alpha", 0.5}}, beta = {{"beta", -1.5}};
  const std::vector<TestLayer> layers = {{33, "leaky_relu", true, true, true, slope},
                                         {20, "elu", true, true, true, alpha},
                                         {0, "swish", true, true, true, beta},
                                         {5}};
  check_network<T>(plan_of(9, layers, "mse"), 17, false, false);
}

TEST_CASE_TEMPLATE("widths of several panels keep to the plain loops", T, float, double) {
  for (const std::string& activation : names_of_activations()) {
    CAPTURE(activation);
    const Plan wide = plan_of(130, {{257, activation}, {131, activation}, {12}}, "cross_entropy");
    check_network<T>(wide, 19, true, false);
    check_network<T>(with_optimizer(wide, "adam"), 7, true, false);
    check_network<T>(plan_of(33, {{140, activation}, {150, "softmax"}}, "mse"), 5, false, true);
  }
  check_network<T>(plan_of(9, {{200, "tanh"}, {130, "softmax"}}, "cross_entropy", true), 6, true, false);
  check_network<T>(plan_of(300, {{1}}, "half_squared_error"), 300, false, false);
}

TEST_CASE_TEMPLATE("the loss may read what goes into the last activation, or what comes out", T, float, double) {
  for (const Size rows : {1, 5, 40}) {
    for (const Size classes : {2, 10, 33}) {
      for (const bool labelled : {false, true}) {
        check_network<T>(plan_of(7, {{19, "tanh"}, {classes, "softmax"}}, "cross_entropy", true), rows, labelled,
                         false);
      }
      for (const std::string loss : {"mse", "half_squared_error", "binary_cross_entropy"}) {
        check_network<T>(plan_of(7, {{19, "relu"}, {classes, "softmax"}}, loss), rows, false, true);
      }
      check_network<T>(plan_of(7, {{19, "relu"}, {classes, "sigmoid"}}, "binary_cross_entropy_with_logits", true), rows,
                       false, false);
    }
  }
}

TEST_CASE_TEMPLATE("activations may stand anywhere in the line", T, float, double) {
  const std::vector<std::vector<TestLayer>> stacks = {
      {{0, "tanh"}},
      {{0, "softmax"}, {5}},
      {{0, "sigmoid"}, {0, "tanh"}, {5, "relu"}, {0, "sigmoid"}},
      {{6}, {7}, {5, "identity"}, {0, "tanh"}},
      {{40, "tanh"}, {0, "softmax"}, {0, "tanh"}, {0, "softmax"}, {5, "softmax"}},
      {{6, "identity"}, {0, "identity"}, {5, "relu"}, {0, "identity"}},
  };
  for (const std::vector<TestLayer>& stack : stacks) check_network<T>(plan_of(11, stack, "mse"), 9, false, false);
}

TEST_CASE_TEMPLATE("wires of every kind, and a layer that two nodes share, keep to the plain loops", T, float, double) {
  const std::vector<std::vector<Size>> widths = {
      {1, 1, 1, 1}, {3, 5, 7, 2}, {33, 31, 17, 4}, {64, 32, 32, 16}, {70, 1, 45, 33}};
  for (const std::vector<Size>& w : widths) {
    for (const Size rows : {1, 5, 70}) {
      for (const bool trains_shared : {true, false}) {
        const Plan plan = wired_plan(w[0], w[1], w[2], w[3], "mse", trains_shared);
        check_network<T>(plan, rows, false, rows == 5);
        check_network<T>(with_optimizer(plan, "adam"), rows, false, false);
      }
    }
  }
}

TEST_CASE_TEMPLATE("a sum of losses, each of some columns and with a weight, keeps to the plain loops", T, float,
                   double) {
  const auto term = [](const std::string& name, Size columns, double weight) {
    return LossTerm{{name, loss_attributes(name).back()}, columns, weight};
  };
  const std::vector<std::vector<LossTerm>> sums = {
      {term("mse", 3, 0.25)},
      {term("mse", 1, 2), term("cross_entropy", 4, 0.5)},
      {term("gaussian_nll", 6, 1), term("binary_cross_entropy_with_logits", 30, 0), term("poisson", 5, 3)},
      {term("huber", 64, 0.5), term("mae", 32, 0.25), term("half_squared_error", 1, 0.125)},
  };
  for (const std::vector<LossTerm>& terms : sums) {
    Size outputs = 0;
    for (const LossTerm& one : terms) outputs += one.columns;
    Plan plan = wired_plan(5, 3, 9, outputs, "mse");
    plan.loss = {};
    plan.terms = terms;
    for (const Size rows : {1, 7, 1100}) check_network<T>(plan, rows, false, rows == 7);
  }
}

TEST_CASE_TEMPLATE("wires may begin, end or be all of a plan", T, float, double) {
  const auto plan_with = [](std::vector<Size> widths, std::vector<Node> nodes) {
    Plan plan;
    plan.widths = std::move(widths);
    plan.nodes = std::move(nodes);
    plan.output = plan.prediction = plan.nodes.back().output;
    plan.loss.primitive = "mse";
    plan.optimizer.primitive = "sgd";
    return plan;
  };
  check_network<T>(plan_with({40, 3}, {{"columns", {0}, 1, {}, {{"first", 37}}}}), 3, false, false);
  check_network<T>(plan_with({40, 80}, {{"concatenate", {0, 0}, 1, {}, {}}}), 3, false, false);
  check_network<T>(plan_with({40, 40}, {{"add", {0, 0}, 1, {}, {}}}), 3, false, false);
  check_network<T>(plan_with({40, 33, 73, 7}, {{"columns", {0}, 1, {}, {{"first", 5}}},
                                               {"concatenate", {1, 0}, 2, {}, {}},
                                               {"columns", {2}, 3, {}, {{"first", 30}}}}),
                   3, false, false);
}

TEST_CASE_TEMPLATE("the output may lie before the prediction", T, float, double) {
  Plan plan = plan_of(5, {{8, "tanh"}, {3, "sigmoid"}}, "mse");
  plan.output = 3;  // before the sigmoid
  Problem<T> problem(plan, 4, false, false, 1);
  Reference reference(plan, problem.parameters);
  reference.forward(rows_of(problem.x));
  const Real loss = reference.loss(problem.targets(), problem.row_weights());
  Network<T> network(plan, problem.parameters.data());
  Matrix<T> out(4, 3), gradients(1, plan.parameter_count);
  network.forward(4, problem.x.data(), out.data());
  check_close(out, reference.output());
  CHECK(network.loss_and_gradients(problem.batch(), gradients.data()) ==
        doctest::Approx(static_cast<double>(loss)).epsilon(1e-5));
  check_close(gradients, {reference.gradients});
}

TEST_CASE_TEMPLATE("the output may be the input itself", T, float, double) {
  Plan plan = plan_of(5, {{8, "tanh"}, {3}}, "mse");
  plan.output = plan.input;
  Problem<T> problem(plan, 4, false, false, 1);
  Network<T> network(plan, problem.parameters.data());
  Matrix<T> out(4, 5), dx(4, 5), gradients(1, plan.parameter_count);
  network.forward(4, problem.x.data(), out.data());
  network.backward(problem.x.data(), gradients.data(), dx.data());
  CHECK(std::equal(out.data(), out.data() + 20, problem.x.data()));
  CHECK(std::equal(dx.data(), dx.data() + 20, problem.x.data()));
}

TEST_CASE_TEMPLATE("backward takes a gradient from elsewhere", T, float, double) {
  for (const std::string& activation : names_of_activations()) {
    CAPTURE(activation);
    for (const Size rows : {1, 6, 37}) {
      const Plan plan = plan_of(13, {{45, "tanh"}, {34, activation}}, "mse");
      Problem<T> problem(plan, rows, false, false, 3);
      Matrix<T> out(rows, 34), dy(rows, 34), dx(rows, 13), gradients(1, plan.parameter_count);
      Random random(4);
      dy.fill([&] { return random.uniform(-1, 1); });
      Reference reference(plan, problem.parameters);
      reference.forward(rows_of(problem.x));
      reference.backward(plan.output, rows_of(dy));
      Network<T> network(plan, problem.parameters.data());
      network.forward(rows, problem.x.data(), out.data());
      network.backward(dy.data(), gradients.data(), dx.data());
      const Real size = largest({reference.gradients});
      check_close(gradients, {reference.gradients}, size);
      check_close(dx, reference.dx, size);
      CHECK(gradients.rest_untouched());
      CHECK(dx.rest_untouched());
      Matrix<T> again(1, plan.parameter_count);  // dx is not wanted every time, and a backward may be repeated
      network.backward(dy.data(), again.data(), nullptr);
      CHECK(std::equal(again.data(), again.data() + plan.parameter_count, gradients.data()));
    }
  }
}

TEST_CASE_TEMPLATE("rows of an optimiser's state may lie apart", T, float, double) {
  for (const std::string& optimizer : names_of_optimizers()) {
    CAPTURE(optimizer);
    const Plan plan = with_optimizer(plan_of(5, {{9, "tanh"}, {1}}, "mse"), optimizer);
    Problem<T> problem(plan, 6, false, false, 5), together(plan, 6, false, false, 5);
    Matrix<T> apart(problem.state.rows(), plan.parameter_count, plan.parameter_count + 7);
    apart.copy(problem.state);
    Network<T> network(plan, problem.parameters.data(), apart.data(), apart.stride());
    Network<T> other(plan, together.parameters.data(), together.state.data());
    Matrix<T> gradients(1, plan.parameter_count);
    for (Index updates = 0; updates < 3; ++updates) {
      CHECK(network.step(problem.batch(), 0.25, updates) == other.step(together.batch(), 0.25, updates));
      for (Network<T>* each : {&network, &other}) {
        each->loss_and_gradients(problem.batch(), gradients.data());
        each->apply_gradients(gradients.data(), 0.25, updates);
      }
    }
    CHECK(problem.parameters.same_bits_as(together.parameters));
    CHECK(apart.same_bits_as(together.state));
    CHECK(apart.rest_untouched());
  }
}

TEST_CASE_TEMPLATE("what is frozen stays as it is, bit for bit, and the rest learns", T, float, double) {
  for (int frozen = 0; frozen < 64; ++frozen) {  // w and b of three layers
    const auto trains = [&](int bit) { return (frozen >> bit & 1) == 0; };
    for (const std::string& optimizer : names_of_optimizers()) {
      const Plan plan = with_optimizer(plan_of(5,
                                               {{9, "tanh", true, trains(0), trains(1)},
                                                {7, "softmax", true, trains(2), trains(3)},
                                                {3, "", true, trains(4), trains(5)}},
                                               "mse"),
                                       optimizer);
      CAPTURE(frozen);
      CAPTURE(optimizer);
      Problem<T> problem(plan, 6, false, false, 5), applied(plan, 6, false, false, 5);
      Reference reference(plan, problem.parameters);
      reference.forward(rows_of(problem.x));
      const Real loss = reference.loss(problem.targets(), problem.row_weights());
      Network<T> network(plan, problem.parameters.data(), problem.state.data());
      Matrix<T> gradients(1, plan.parameter_count), dx(6, 5);
      network.loss_and_gradients(problem.batch(), gradients.data(), dx.data());
      check_close(dx, reference.dx, largest({reference.gradients}));
      check_close(gradients, {reference.gradients});
      check_step(problem, reference, loss, network);

      // the same update from gradients that were stored, without those that nobody needs
      Network<T> separate(plan, applied.parameters.data(), applied.state.data());
      gradients.fill([] { return 1000; });
      separate.loss_and_gradients(applied.batch(), gradients.data());
      separate.apply_gradients(gradients.data(), 0.25, 4);
      check_close(applied.parameters, {row_of(problem.parameters, 0)});
      for (Size k = 0; k < problem.state.rows(); ++k) {
        Worst worst;
        for (Size i = 0; i < plan.parameter_count; ++i) {
          worst.see(applied.state(k, i), problem.state(k, i), kTolerance<T>, static_cast<Real>(i));
        }
        CHECK_WORST(worst);
      }
    }
  }
}

}  // namespace
}  // namespace densegrad
