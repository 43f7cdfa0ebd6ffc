// Network through its public header: what it computes against plain loops in long double, and what it promises beside.

#include "densegrad/network.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "formulas.hpp"
#include "testing.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace {
std::atomic<long> allocations{0};
}

// out of line: inlined, GCC 12 takes malloc and free for a mismatched pair
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

#if defined(COUNTS_MALLOC)  // the linker sends what the library asks of malloc here
extern "C" {
void* __real_malloc(std::size_t size);
void* __real_calloc(std::size_t count, std::size_t size);
void* __real_realloc(void* memory, std::size_t size);
void* __real_aligned_alloc(std::size_t alignment, std::size_t size);
void* __wrap_malloc(std::size_t size) {
  ++allocations;
  return __real_malloc(size);
}
void* __wrap_calloc(std::size_t count, std::size_t size) {
  ++allocations;
  return __real_calloc(count, size);
}
void* __wrap_realloc(void* memory, std::size_t size) {
  ++allocations;
  return __real_realloc(memory, size);
}
void* __wrap_aligned_alloc(std::size_t alignment, std::size_t size) {
  ++allocations;
  return __real_aligned_alloc(alignment, size);
}
}
#endif

namespace densegrad {
namespace {

struct Layer {
  Size units;  // 0: no dense node, the activation alone
  std::string activation = "";
  bool bias = true;
  bool w_trainable = true;
  bool b_trainable = true;
};

// The plan of a stack of layers. `hidden`: the loss reads what goes into the last activation.
Plan plan_of(Size in, const std::vector<Layer>& layers, const std::string& loss, bool hidden = false) {
  Plan plan;
  plan.widths = {in};
  const auto append = [&](Node node, Size width) {
    node.inputs = {static_cast<Size>(plan.widths.size()) - 1};
    node.output = static_cast<Size>(plan.widths.size());
    plan.widths.push_back(width);
    plan.nodes.push_back(std::move(node));
  };
  for (const Layer& layer : layers) {
    const Size width = plan.widths.back();
    if (layer.units > 0) {
      Node dense;
      dense.primitive = "dense";
      dense.slots.push_back({plan.parameter_count, width, layer.units, layer.w_trainable});
      plan.parameter_count += width * layer.units;
      if (layer.bias) {
        dense.slots.push_back({plan.parameter_count, 1, layer.units, layer.b_trainable});
        plan.parameter_count += layer.units;
      }
      append(dense, layer.units);
    }
    if (!layer.activation.empty()) {
      Node activation;
      activation.primitive = layer.activation;
      append(activation, plan.widths.back());
    }
  }
  plan.output = static_cast<Size>(plan.widths.size()) - 1;
  plan.prediction = plan.output - (hidden ? 1 : 0);
  plan.loss.primitive = loss;
  plan.optimizer.primitive = "sgd";
  return plan;
}

// The same plan with another optimiser; eps keeps an update from hanging on the last places of a gradient near 0.
Plan with_optimizer(Plan plan, const std::string& optimizer) {
  plan.optimizer.primitive = optimizer;
  if (optimizer == "adam") {
    plan.optimizer.attributes = {{"beta1", 0.75}, {"beta2", 0.875}, {"eps", 0.0625}, {"weight_decay", 0.03125}};
  }
  return plan;
}

std::string described(const Plan& plan) {
  std::string text = std::to_string(plan.widths[static_cast<std::size_t>(plan.input)]);
  for (const Node& node : plan.nodes) {
    text += " " + node.primitive;
    if (node.primitive == "dense") text += " " + std::to_string(plan.widths[static_cast<std::size_t>(node.output)]);
  }
  return text;
}

using Rows = std::vector<Row>;

// A matrix without gaps, as the public headers take it.
template <class T>
Rows rows_of(const Matrix<T>& matrix) {
  Rows rows;
  for (Size i = 0; i < matrix.rows(); ++i) rows.push_back(row_of(matrix, i));
  return rows;
}

// The plan run as a textbook has it: one row after the other, one sum for each number, in long double.
class Reference {
 public:
  template <class T>
  Reference(const Plan& plan, const Matrix<T>& parameters) : plan_(plan) {
    for (Size i = 0; i < plan.parameter_count; ++i) parameters_.push_back(parameters[i]);
  }

  void forward(const Rows& x) {
    buffers_.assign(plan_.widths.size(), Rows());
    at(plan_.input) = x;
    for (const Node& node : plan_.nodes) {
      for (const Row& row : at(node.inputs[0])) {
        if (node.primitive != "dense") {
          if (node.primitive == "relu") {
            for (const Real z : row) nearest_kink_ = std::min(nearest_kink_, std::fabs(z));
          }
          at(node.output).push_back(activation_formula(node.primitive).forward(row));
          continue;
        }
        Row z(static_cast<std::size_t>(plan_.widths[static_cast<std::size_t>(node.output)]));
        for (std::size_t j = 0; j < z.size(); ++j) {
          if (node.slots.size() > 1) z[j] = parameters_[b(node, j)];
          for (std::size_t k = 0; k < row.size(); ++k) z[j] += row[k] * parameters_[w(node, k, j)];
        }
        at(node.output).push_back(z);
      }
    }
  }

  // The mean loss; leaves its gradients.
  Real loss(const Rows& targets, const Row& weights) {
    Real total = 0, weight = 0;
    Rows d;
    for (const Real one : weights) weight += one;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const Row& p = at(plan_.prediction)[i];
      const LossFormula& formula = loss_formula(plan_.loss.primitive);
      total += weights[i] / weight * formula.value(p, targets[i]);
      d.push_back(formula.gradient(p, targets[i]));
      for (Real& element : d.back()) element *= weights[i] / weight;
    }
    backward(plan_.prediction, d);
    return total;
  }

  // From the gradient of a buffer to those of the parameters and of x.
  void backward(Size buffer, Rows d) {
    gradients.assign(parameters_.size(), 0);
    for (std::size_t n = plan_.nodes.size(); n-- > 0;) {
      const Node& node = plan_.nodes[n];
      if (node.output != buffer) continue;
      const Rows &in = at(node.inputs[0]), &out = at(node.output);
      for (std::size_t i = 0; i < d.size(); ++i) {
        if (node.primitive != "dense") {
          d[i] = activation_formula(node.primitive).backward(d[i], in[i], out[i]);
          continue;
        }
        Row next(in[i].size());
        for (std::size_t j = 0; j < d[i].size(); ++j) {
          if (node.slots.size() > 1) gradients[b(node, j)] += d[i][j];
          for (std::size_t k = 0; k < next.size(); ++k) {
            next[k] += d[i][j] * parameters_[w(node, k, j)];
            gradients[w(node, k, j)] += d[i][j] * in[i][k];
          }
        }
        d[i] = next;
      }
      buffer = node.inputs[0];
    }
    dx = d;
  }

  const Rows& output() { return at(plan_.output); }
  Real nearest_kink() const { return nearest_kink_; }

  Row gradients;
  Rows dx;

 private:
  Rows& at(Size buffer) { return buffers_[static_cast<std::size_t>(buffer)]; }
  static std::size_t w(const Node& node, std::size_t k, std::size_t j) {
    return static_cast<std::size_t>(node.slots[0].offset + static_cast<Size>(k) * node.slots[0].columns) + j;
  }
  static std::size_t b(const Node& node, std::size_t j) { return static_cast<std::size_t>(node.slots[1].offset) + j; }

  Plan plan_;
  Row parameters_;
  std::vector<Rows> buffers_;
  Real nearest_kink_ = formula::kInfinity;
};

// A plan with its parameters and a batch of data.
template <class T>
struct Problem {
  Problem(const Plan& plan_, Size rows, bool labelled_, bool weighted_, std::uint64_t seed)
      : plan(plan_),
        labelled(labelled_),
        weighted(weighted_),
        in(plan.widths[static_cast<std::size_t>(plan.input)]),
        out(plan.widths[static_cast<std::size_t>(plan.output)]),
        parameters(1, plan.parameter_count),
        state(static_cast<Size>(optimizer_formula(plan.optimizer.primitive).state), plan.parameter_count),
        x(rows, in),
        y(rows, plan.widths[static_cast<std::size_t>(plan.prediction)]),
        weights(1, rows) {
    Random random(seed);
    for (const Node& node : plan.nodes) {
      for (const Slot& slot : node.slots) {
        const double size = 2 / std::sqrt(static_cast<double>(slot.rows));
        for (Size i = 0; i < slot.size(); ++i) parameters[slot.offset + i] = T(random.uniform(-size, size));
      }
    }
    state.fill([&] { return random.uniform(0, 0.5); });
    x.fill([&] { return random.uniform(-1, 1); });
    const bool values = plan.loss.primitive == "mse" || plan.loss.primitive == "half_squared_error";
    y.fill([&] { return values ? random.uniform(-1, 1) : random.uniform(0, 1); });
    weights.fill([&] { return random.uniform(0.1, 2); });
    for (Size i = 0; i < rows; ++i) labels.push_back(random.whole(0, y.columns() - 1));
  }

  // The first rows.
  Batch<T> batch(Size rows) const {
    return {rows,
            x.data(),
            {labelled ? nullptr : y.data(), labelled ? labels.data() : nullptr},
            weighted ? weights.data() : nullptr};
  }
  Batch<T> batch() const { return batch(x.rows()); }

  Rows targets() const {
    if (!labelled) return rows_of(y);
    Rows one_hot(labels.size(), Row(static_cast<std::size_t>(y.columns()), 0));
    for (std::size_t i = 0; i < labels.size(); ++i) one_hot[i][static_cast<std::size_t>(labels[i])] = 1;
    return one_hot;
  }
  Row row_weights() const { return weighted ? rows_of(weights)[0] : Row(static_cast<std::size_t>(x.rows()), 1); }

  Plan plan;
  bool labelled, weighted;
  Size in, out;
  Matrix<T> parameters, state, x, y, weights;
  std::vector<Index> labels;
};

// How wrong a number may be beside the largest of its kind.
template <class T>
constexpr Real kTolerance = 500 * kEpsilon<T>;

Real largest(const Rows& rows) {
  Real size = 0;
  for (const Row& row : rows) {
    for (const Real value : row) size = std::max(size, std::fabs(value));
  }
  return size;
}

template <class T>
void check_close(const Matrix<T>& got, const Rows& want, Real size) {
  Worst worst;
  for (Size i = 0; i < got.rows(); ++i) {
    for (Size j = 0; j < got.columns(); ++j) {
      worst.see(got(i, j), want[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)], kTolerance<T> * size,
                static_cast<Real>(i * got.columns() + j));
    }
  }
  CHECK_WORST(worst);
}

template <class T>
void check_close(const Matrix<T>& got, const Rows& want) {
  check_close(got, want, largest(want));
}

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
  const auto kink = [&] {  // where rounding alone could decide for a relu
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
  std::size_t turn = 0;
  for (const std::vector<Size>& shape : shapes) {
    for (const std::string& activation : names_of_activations()) {
      for (const std::string& loss : names_of_losses()) {
        CAPTURE(activation);
        std::vector<Layer> layers;
        for (std::size_t i = 1; i < shape.size(); ++i) {
          const bool last = i + 1 == shape.size();
          layers.push_back({shape[i], last ? last_activation(loss) : activation, (turn + i) % 4 != 0});
        }
        const bool labelled = loss == "cross_entropy" && turn % 2 == 0;
        const Plan plan = with_optimizer(plan_of(shape[0], layers, loss), turn % 5 < 3 ? "sgd" : "adam");
        check_network<T>(plan, batches[turn % batches.size()], labelled, turn % 3 == 0);
        ++turn;
      }
    }
  }
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
  const std::vector<std::vector<Layer>> stacks = {
      {{0, "tanh"}},
      {{0, "softmax"}, {5}},
      {{0, "sigmoid"}, {0, "tanh"}, {5, "relu"}, {0, "sigmoid"}},
      {{6}, {7}, {5, "identity"}, {0, "tanh"}},
      {{40, "tanh"}, {0, "softmax"}, {0, "tanh"}, {0, "softmax"}, {5, "softmax"}},
      {{6, "identity"}, {0, "identity"}, {5, "relu"}, {0, "identity"}},
  };
  for (const std::vector<Layer>& stack : stacks) check_network<T>(plan_of(11, stack, "mse"), 9, false, false);
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

TEST_CASE_TEMPLATE("what is frozen stays as it is, bit for bit, and the rest learns", T, float, double) {
  for (int frozen = 0; frozen < 64; ++frozen) {  // w and b of three layers
    const auto trains = [&](int bit) { return (frozen >> bit & 1) == 0; };
    for (const std::string optimizer : {"sgd", "adam"}) {
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

// The rows of a batch by index, as a caller of `step` would gather them.
template <class T>
struct Gathered {
  Gathered(const Problem<T>& problem, const Index* order, Size rows)
      : x(rows, problem.in), y(rows, problem.y.columns()), weights(1, rows) {
    for (Size i = 0; i < rows; ++i) {
      const Size from = static_cast<Size>(order[i]);
      for (Size j = 0; j < x.columns(); ++j) x(i, j) = problem.x(from, j);
      for (Size j = 0; j < y.columns(); ++j) y(i, j) = problem.y(from, j);
      weights[i] = problem.weights[from];
      labels.push_back(problem.labels[static_cast<std::size_t>(from)]);
    }
    batch = {rows,
             x.data(),
             {problem.labelled ? nullptr : y.data(), problem.labelled ? labels.data() : nullptr},
             problem.weighted ? weights.data() : nullptr};
  }
  Matrix<T> x, y, weights;
  std::vector<Index> labels;
  Batch<T> batch;
};

template <class T>
void check_run_steps(const Plan& plan, Size rows, Size batch_size, bool labelled, bool weighted) {
  CAPTURE(rows);
  CAPTURE(batch_size);
  CAPTURE(labelled);
  CAPTURE(weighted);
  const Size count = (rows + batch_size - 1) / batch_size;
  Problem<T> problem(plan, rows, labelled, weighted, 7), by_hand(plan, rows, labelled, weighted, 7);
  Random random(8);
  std::vector<Index> order;
  for (Size i = 0; i < rows; ++i) order.push_back(random.whole(0, rows - 1));
  std::vector<double> rates, losses(static_cast<std::size_t>(count), -1), want;
  for (Size i = 0; i < count; ++i) rates.push_back(random.uniform(0.01, 0.2));

  Network<T> stepped(plan, by_hand.parameters.data(), by_hand.state.data());
  for (Size i = 0; i < count; ++i) {
    const Gathered<T> some(by_hand, order.data() + i * batch_size, std::min(batch_size, rows - i * batch_size));
    want.push_back(stepped.step(some.batch, rates[static_cast<std::size_t>(i)], i));
  }

  Network<T> network(plan, problem.parameters.data(), problem.state.data());
  Size done = 0;
  while (done < count) {  // in calls of 1, 2, 3, ... steps
    const Size some = std::min(done + 1, count - done);
    Steps steps;
    steps.order = order.data();
    steps.rows = rows;
    steps.first = done;
    steps.count = some;
    steps.batch_size = batch_size;
    steps.learning_rates = rates.data() + done;
    steps.losses = losses.data() + done;
    steps.updates = done;
    REQUIRE(network.run_steps(problem.batch(), steps) == some);
    done += some;
  }
  CHECK(same_bits(losses, want));
  CHECK(problem.parameters.same_bits_as(by_hand.parameters));
  CHECK(problem.state.same_bits_as(by_hand.state));
  CHECK(problem.parameters.rest_untouched());
  CHECK(problem.state.rest_untouched());
}

TEST_CASE_TEMPLATE("run_steps is a loop of step, bit for bit", T, float, double) {
  for (const std::string optimizer : {"sgd", "adam"}) {
    CAPTURE(optimizer);
    const Plan classes =
        with_optimizer(plan_of(13, {{37, "tanh"}, {34, "relu"}, {5, "softmax"}}, "cross_entropy", true), optimizer);
    const Plan values = with_optimizer(plan_of(13, {{37, "sigmoid"}, {3}}, "mse"), optimizer);
    const Plan value = with_optimizer(plan_of(40, {{1, "tanh"}}, "mse"), optimizer);
    for (const bool weighted : {false, true}) {
      for (const bool labelled : {false, true}) check_run_steps<T>(classes, 50, 16, labelled, weighted);
      check_run_steps<T>(values, 50, 16, false, weighted);
      check_run_steps<T>(values, 48, 16, false, weighted);
      check_run_steps<T>(values, 7, 1, false, weighted);
      check_run_steps<T>(values, 5, 100, false, weighted);
      check_run_steps<T>(value, 50, 16, false, weighted);
    }
  }
}

TEST_CASE_TEMPLATE("batches may grow and shrink", T, float, double) {
  const Plan plan = plan_of(35, {{40, "tanh"}, {50, "softmax"}, {3}}, "mse");
  Problem<T> problem(plan, 300, false, false, 9);
  Network<T> used(plan, problem.parameters.data());
  for (const Size rows : {5, 64, 3, 1, 100, 2, 300, 7, 299}) {
    CAPTURE(rows);
    Network<T> fresh(plan, problem.parameters.data());
    Matrix<T> out(rows, 3), fresh_out(rows, 3);
    used.forward(rows, problem.x.data(), out.data());
    fresh.forward(rows, problem.x.data(), fresh_out.data());
    CHECK(std::equal(out.data(), out.data() + rows * 3, fresh_out.data()));
    Matrix<T> gradients(1, plan.parameter_count), fresh_gradients(1, plan.parameter_count);
    Matrix<T> dx(rows, 35), fresh_dx(rows, 35);
    const double loss = used.loss_and_gradients(problem.batch(rows), gradients.data(), dx.data());
    CHECK(loss == fresh.loss_and_gradients(problem.batch(rows), fresh_gradients.data(), fresh_dx.data()));
    CHECK(std::equal(gradients.data(), gradients.data() + plan.parameter_count, fresh_gradients.data()));
    CHECK(std::equal(dx.data(), dx.data() + rows * 35, fresh_dx.data()));
    CHECK(dx.rest_untouched());
  }
}

TEST_CASE_TEMPLATE("predict takes any number of rows and gives what forward gives", T, float, double) {
  const Plan plan = plan_of(6, {{33, "tanh"}, {4, "softmax"}}, "cross_entropy", true);
  Problem<T> problem(plan, 2500, true, false, 10);
  Network<T> network(plan, problem.parameters.data());
  for (const Size rows : {0, 1, 17, 1023, 1024, 1025, 2500}) {
    CAPTURE(rows);
    Matrix<T> predicted(rows, 4), forwarded(rows, 4);
    network.forward(rows, problem.x.data(), forwarded.data());
    network.predict(rows, problem.x.data(), predicted.data());
    check_close(predicted, rows_of(forwarded));
    if (rows <= 1024) CHECK(std::equal(predicted.data(), predicted.data() + rows * 4, forwarded.data()));
    CHECK(predicted.rest_untouched());
    CHECK(forwarded.rest_untouched());
  }
}

TEST_CASE_TEMPLATE("a backward without the activations of its forward is refused", T, float, double) {
  const Plan plan = plan_of(6, {{4, "tanh"}}, "mse");
  Problem<T> problem(plan, 5, false, false, 11);
  Network<T> network(plan, problem.parameters.data());
  Matrix<T> out(5, 4), gradients(1, plan.parameter_count);
  const auto backward = [&] { network.backward(out.data(), gradients.data(), nullptr); };
  CHECK(network.forward_rows() == 0);
  CHECK_THROWS_AS(backward(), std::logic_error);
  const auto refused_after = [&](auto call) {
    network.forward(5, problem.x.data(), out.data());
    CHECK(network.forward_rows() == 5);
    backward();
    call();
    CHECK(network.forward_rows() == 0);
    CHECK_THROWS_AS(backward(), std::logic_error);
  };
  refused_after([&] { network.predict(2, problem.x.data(), out.data()); });
  refused_after([&] { network.loss(problem.batch()); });
  refused_after([&] { network.loss_and_gradients(problem.batch(), gradients.data()); });
  refused_after([&] { network.step(problem.batch(), 0.1, 0); });
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

TEST_CASE_TEMPLATE("a loss that is not finite is given back and nothing is updated", T, float, double) {
  const T huge = std::numeric_limits<T>::max() / 4, nan = std::numeric_limits<T>::quiet_NaN();
  for (const std::string optimizer : {"sgd", "adam"}) {
    const Plan plan = with_optimizer(plan_of(6, {{35, "relu"}, {4}}, "mse"), optimizer);
    for (const T bad : {huge, nan, std::numeric_limits<T>::infinity()}) {
      CAPTURE(optimizer);
      CAPTURE(bad);
      Problem<T> problem(plan, 20, false, false, 13), by_hand(plan, 20, false, false, 13);
      problem.x(13, 2) = bad;
      const auto alike = [&] {
        return problem.parameters.same_bits_as(by_hand.parameters) && problem.state.same_bits_as(by_hand.state);
      };
      Network<T> network(plan, problem.parameters.data(), problem.state.data());
      CHECK_FALSE(std::isfinite(network.step(problem.batch(), 0.1, 0)));
      CHECK(alike());

      // row 13 is met in the fourth of five steps
      std::vector<Index> order;
      for (Index i = 0; i < 20; ++i) order.push_back(i);
      const std::vector<double> rates(5, 0.0625);
      std::vector<double> losses(5, -1);
      Steps steps;
      steps.order = order.data();
      steps.rows = 20;
      steps.count = 5;
      steps.batch_size = 4;
      steps.learning_rates = rates.data();
      steps.losses = losses.data();
      CHECK(network.run_steps(problem.batch(), steps) == 4);
      CHECK_FALSE(std::isfinite(losses[3]));
      CHECK(losses[4] == -1);

      Network<T> stepped(plan, by_hand.parameters.data(), by_hand.state.data());
      for (Size i = 0; i < 3; ++i) {
        const Gathered<T> some(by_hand, order.data() + 4 * i, 4);
        CHECK(stepped.step(some.batch, 0.0625, i) == losses[static_cast<std::size_t>(i)]);
      }
      CHECK(alike());
    }
  }
}

TEST_CASE("weights that add up to 0 make a loss of 0 and no change") {
  const Plan plan = plan_of(3, {{4}}, "mse");
  Problem<double> problem(plan, 5, false, true, 14);
  problem.weights.fill([] { return 0; });
  Matrix<double> before(1, plan.parameter_count);
  before.copy(problem.parameters);
  CHECK(Network<double>(plan, problem.parameters.data()).step(problem.batch(), 0.1, 0) == 0);
  CHECK(std::equal(before.data(), before.data() + plan.parameter_count, problem.parameters.data()));
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
      {"an unknown loss", [](Plan& p) { p.loss.primitive = "tanh"; }},
      {"an unknown optimizer", [](Plan& p) { p.optimizer.primitive = "sdg"; }},
      {"no inputs", [](Plan& p) { p.nodes[1].inputs.clear(); }},
      {"two inputs", [](Plan& p) { p.nodes[1].inputs = {1, 1}; }},
      {"an input that is not there", [&](Plan& p) { p.nodes[1].inputs = {far}; }},
      {"an input below 0", [](Plan& p) { p.nodes[0].inputs = {-1}; }},
      {"an input other than the last output", [](Plan& p) { p.nodes[2].inputs = {1}; }},
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

template <class T>
void check_allocations(const Plan& plan, Size rows, Size batch_size, bool labelled) {
  Problem<T> problem(plan, rows, labelled, true, 17);
  std::vector<Index> order;
  for (Size i = 0; i < rows; ++i) order.push_back(rows - 1 - i);
  const Size count = (rows + batch_size - 1) / batch_size;
  const std::vector<double> rates(static_cast<std::size_t>(count), 0.01);
  std::vector<double> losses(static_cast<std::size_t>(count));
  Steps steps;
  steps.order = order.data();
  steps.rows = rows;
  steps.count = count;
  steps.batch_size = batch_size;
  steps.learning_rates = rates.data();
  steps.losses = losses.data();
  Matrix<T> out(rows, problem.out), gradients(1, plan.parameter_count);
  const long before_all = allocations;
  Network<T> network(plan, problem.parameters.data(), problem.state.data());
  const auto everything = [&] {
    network.run_steps(problem.batch(), steps);
    network.step(problem.batch(batch_size), 0.01, 0);
    network.predict(rows, problem.x.data(), out.data());
    network.loss_and_gradients(problem.batch(batch_size), gradients.data());
    network.apply_gradients(gradients.data(), 0.01, 0);
  };
  network.run_steps(problem.batch(), steps);
  const long before = allocations;
  CHECK(before > before_all);  // they are counted at all
  network.run_steps(problem.batch(), steps);
  const long after = allocations;
  CHECK(after == before);
  everything();
  const long before_repeat = allocations;
  everything();
  const long after_repeat = allocations;
  CHECK(after_repeat == before_repeat);
}

TEST_CASE_TEMPLATE("after its first call run_steps allocates nothing", T, float, double) {
  for (const std::string optimizer : {"sgd", "adam"}) {
    CAPTURE(optimizer);
    const Plan small = plan_of(13, {{37, "tanh"}, {40, "softmax"}, {5, "softmax"}}, "cross_entropy", true);
    check_allocations<T>(with_optimizer(small, optimizer), 50, 16, true);
    const Plan large = plan_of(100, {{150, "relu"}, {3, "sigmoid"}}, "binary_cross_entropy");
    check_allocations<T>(with_optimizer(large, optimizer), 200, 90, false);
  }
}

#if defined(__x86_64__)
TEST_CASE_TEMPLATE("the caller's floating-point state comes back", T, float, double) {
  const Plan plan = plan_of(6, {{40, "tanh"}, {4}}, "mse");
  Problem<T> problem(plan, 5, false, false, 18);
  Network<T> network(plan, problem.parameters.data());
  Matrix<T> out(5, 4), gradients(1, plan.parameter_count);
  const std::vector<Index> order = {0, 1, 2, 3, 4};
  const double rate = 0.1;
  double loss = 0;
  Steps steps;
  steps.order = order.data();
  steps.rows = 5;
  steps.count = 1;
  steps.batch_size = 5;
  steps.learning_rates = &rate;
  steps.losses = &loss;
  const std::vector<std::pair<const char*, std::function<void()>>> calls = {
      {"backward that is refused", [&] { network.backward(out.data(), gradients.data(), nullptr); }},
      {"forward", [&] { network.forward(5, problem.x.data(), out.data()); }},
      {"backward", [&] { network.backward(out.data(), gradients.data(), nullptr); }},
      {"predict", [&] { network.predict(5, problem.x.data(), out.data()); }},
      {"loss", [&] { network.loss(problem.batch()); }},
      {"loss_and_gradients", [&] { network.loss_and_gradients(problem.batch(), gradients.data()); }},
      {"apply_gradients", [&] { network.apply_gradients(gradients.data(), 0.1, 0); }},
      {"step", [&] { network.step(problem.batch(), 0.1, 0); }},
      {"run_steps", [&] { network.run_steps(problem.batch(), steps); }},
  };
  const unsigned usual = _mm_getcsr();
  for (const unsigned state : {0x1f80u, 0x9fc0u, 0x1fa0u}) {  // usual; flushing; with a sticky flag
    network.predict(5, problem.x.data(), out.data());         // so that the first backward has no forward
    for (const auto& [called, call] : calls) {
      _mm_setcsr(state);
      try {
        call();
      } catch (const std::logic_error&) {
      }
      const unsigned after = _mm_getcsr();
      _mm_setcsr(usual);
      const std::string name = called;
      CAPTURE(name);
      CHECK(after == state);
    }
  }
}
#endif

}  // namespace
}  // namespace densegrad
