#pragma once

// What the tests of Network share: plans, data, and the plan run by plain loops in long double.

#include <algorithm>
#include <string>
#include <utility>

#include "densegrad/network.hpp"
#include "formulas.hpp"
#include "testing.hpp"

namespace densegrad {

struct TestLayer {
  Size units;  // 0: no dense node, the activation alone
  std::string activation = "";
  bool bias = true;
  bool w_trainable = true;
  bool b_trainable = true;
  Attributes attributes = {};  // of the activation
};

// The plan of a stack of layers. `hidden`: the loss reads what goes into the last activation.
inline Plan plan_of(Size in, const std::vector<TestLayer>& layers, const std::string& loss, bool hidden = false) {
  Plan plan;
  plan.widths = {in};
  const auto append = [&](Node node, Size width) {
    node.inputs = {static_cast<Size>(plan.widths.size()) - 1};
    node.output = static_cast<Size>(plan.widths.size());
    plan.widths.push_back(width);
    plan.nodes.push_back(std::move(node));
  };
  for (const TestLayer& layer : layers) {
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
      activation.attributes = layer.attributes;
      append(activation, plan.widths.back());
    }
  }
  plan.output = static_cast<Size>(plan.widths.size()) - 1;
  plan.prediction = plan.output - (hidden ? 1 : 0);
  plan.loss.primitive = loss;
  plan.loss.attributes = loss_attributes(loss).back();
  plan.optimizer.primitive = "sgd";
  return plan;
}

// The same plan with another optimiser.
inline Plan with_optimizer(Plan plan, const std::string& optimizer) {
  plan.optimizer = {optimizer, optimizer_formula(optimizer).tame};
  return plan;
}

// A plan with every kind of wire, over the columns [0, left) and [left, left + right) of x: one dense layer for both,
// side by side; behind it two ways that meet, and one past them.
//
//     y = (t + g(t)) w + b, t = tanh(left part, shared layer), g = tanh of (t, shared layer of what right part gives)
inline Plan wired_plan(Size left, Size right, Size units, Size outputs, const std::string& loss,
                       bool trains_shared = true) {
  Plan plan;
  plan.widths = {left + right};
  const auto slot = [&](Size rows, Size columns, bool trains = true) {
    const Slot taken{plan.parameter_count, rows, columns, trains};
    plan.parameter_count += taken.size();
    return taken;
  };
  const auto node = [&](const std::string& primitive, std::vector<Size> inputs, Size width,
                        const std::vector<Slot>& slots = {}, const Attributes& attributes = {}) {
    plan.nodes.push_back({primitive, std::move(inputs), static_cast<Size>(plan.widths.size()), slots, attributes});
    plan.widths.push_back(width);
    return plan.nodes.back().output;
  };
  const Size a = node("columns", {0}, left, {}, {{"first", 0}});
  const Size b = node("columns", {0}, right, {}, {{"first", static_cast<double>(left)}});
  const std::vector<Slot> fit = {slot(right, left), slot(1, left)};
  const std::vector<Slot> shared = {slot(left, units, trains_shared), slot(1, units, trains_shared)};
  const Size t = node("tanh", {node("dense", {a}, units, shared)}, units);
  const Size u = node("dense", {node("tanh", {node("dense", {b}, left, fit)}, left)}, units, shared);
  const Size both = node("concatenate", {t, u}, 2 * units);
  const Size g = node("tanh", {node("dense", {both}, units, {slot(2 * units, units)})}, units);
  const Size sum = node("add", {t, g}, units);
  plan.output = plan.prediction = node("dense", {sum}, outputs, {slot(units, outputs), slot(1, outputs)});
  plan.loss = {loss, loss_attributes(loss).back()};
  plan.optimizer.primitive = "sgd";
  return plan;
}

inline std::vector<std::string> names_of_optimizers() {
  std::vector<std::string> names;
  for (const auto& [name, formula] : optimizer_formulas()) names.push_back(name);
  return names;
}

// The losses of a plan's sum, or the one of all its columns.
inline std::vector<LossTerm> terms_of(const Plan& plan) {
  if (!plan.terms.empty()) return plan.terms;
  return {{plan.loss, plan.widths[static_cast<std::size_t>(plan.prediction)], 1}};
}

// The loss that reads each column of the targets.
inline std::vector<std::string> losses_of_targets(const Plan& plan) {
  std::vector<std::string> losses;
  for (const LossTerm& term : terms_of(plan)) {
    const std::string& name = term.loss.primitive;
    losses.insert(losses.end(), static_cast<std::size_t>(term.columns / predictions_of(name)), name);
  }
  return losses;
}

inline std::string described(const Plan& plan) {
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
      if (wires(node)) {
        for (std::size_t i = 0; i < x.size(); ++i) at(node.output).push_back(wired(node, i));
        continue;
      }
      for (const Row& row : at(node.inputs[0])) {
        if (node.primitive != "dense") {
          const ActivationFormula& formula = activation_formula(node.primitive);
          for (const Real kink : formula.kinks) {
            for (const Real z : row) nearest_kink_ = std::min(nearest_kink_, std::fabs(z - kink));
          }
          at(node.output).push_back(formula.forward(row, node.attributes));
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
      d.emplace_back();
      auto first = at(plan_.prediction)[i].begin();
      auto target = targets[i].begin();
      for (const LossTerm& term : terms_of(plan_)) {
        const LossFormula& formula = loss_formula(term.loss.primitive);
        const Row p(first, first + term.columns);
        const Row t(target, target + term.columns / predictions_of(term.loss.primitive));
        const Real share = static_cast<Real>(term.weight) * weights[i] / weight;
        total += share * formula.value(p, t, term.loss.attributes);
        for (const Real element : formula.gradient(p, t, term.loss.attributes)) d.back().push_back(share * element);
        first += term.columns;
        target += static_cast<std::ptrdiff_t>(t.size());
      }
    }
    backward(plan_.prediction, d);
    return total;
  }

  // From the gradient of a buffer to those of the parameters and of x.
  void backward(Size buffer, const Rows& d_buffer) {
    gradients.assign(parameters_.size(), 0);
    std::vector<Rows> sums;  // of the gradients that reach each buffer
    for (const Size width : plan_.widths) sums.emplace_back(d_buffer.size(), Row(static_cast<std::size_t>(width)));
    sums[static_cast<std::size_t>(buffer)] = d_buffer;
    for (std::size_t n = plan_.nodes.size(); n-- > 0;) {
      const Node& node = plan_.nodes[n];
      Rows d = sums[static_cast<std::size_t>(node.output)];
      if (wires(node)) {
        for (std::size_t i = 0; i < d.size(); ++i) wire_back(node, d[i], i, sums);
        continue;
      }
      const Rows &in = at(node.inputs[0]), &out = at(node.output);
      for (std::size_t i = 0; i < d.size(); ++i) {
        if (node.primitive != "dense") {
          d[i] = activation_formula(node.primitive).backward(d[i], in[i], out[i], node.attributes);
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
      for (std::size_t i = 0; i < d.size(); ++i) {
        for (std::size_t j = 0; j < d[i].size(); ++j) sums[static_cast<std::size_t>(node.inputs[0])][i][j] += d[i][j];
      }
    }
    dx = sums[static_cast<std::size_t>(plan_.input)];
  }

  const Rows& output() { return at(plan_.output); }
  Real nearest_kink() const { return nearest_kink_; }

  Row gradients;
  Rows dx;

 private:
  Rows& at(Size buffer) { return buffers_[static_cast<std::size_t>(buffer)]; }
  static bool wires(const Node& node) {
    return node.primitive == "add" || node.primitive == "concatenate" || node.primitive == "columns";
  }

  // Calls f(input, its element, the element of y that it adds to).
  template <class Function>
  void for_each_wire(const Node& node, Function f) const {
    Size first = 0;
    for (const Size input : node.inputs) {
      for (Size j = 0; j < plan_.widths[static_cast<std::size_t>(input)]; ++j) {
        Size to = first + j;
        if (node.primitive == "columns") to -= static_cast<Size>(node.attributes.at("first"));
        const bool inside = to >= 0 && to < plan_.widths[static_cast<std::size_t>(node.output)];
        if (inside) f(static_cast<std::size_t>(input), static_cast<std::size_t>(j), static_cast<std::size_t>(to));
      }
      if (node.primitive == "concatenate") first += plan_.widths[static_cast<std::size_t>(input)];
    }
  }
  Row wired(const Node& node, std::size_t row) const {
    Row y(static_cast<std::size_t>(plan_.widths[static_cast<std::size_t>(node.output)]));
    for_each_wire(node, [&](std::size_t input, std::size_t j, std::size_t to) { y[to] += buffers_[input][row][j]; });
    return y;
  }
  void wire_back(const Node& node, const Row& dy, std::size_t row, std::vector<Rows>& sums) const {
    for_each_wire(node, [&](std::size_t input, std::size_t j, std::size_t to) { sums[input][row][j] += dy[to]; });
  }

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
        state(static_cast<Size>(optimizer_formula(plan.optimizer.primitive).state.size()), plan.parameter_count),
        x(rows, in),
        y(rows, static_cast<Size>(losses_of_targets(plan).size())),
        weights(1, rows) {
    Random random(seed);
    for (const Node& node : plan.nodes) {
      for (const Slot& slot : node.slots) {
        const double size = 2 / std::sqrt(static_cast<double>(slot.rows));
        for (Size i = 0; i < slot.size(); ++i) parameters[slot.offset + i] = T(random.uniform(-size, size));
      }
    }
    state.fill([&] { return random.uniform(0.25, 0.5); });  // a variance among it stays above 0
    x.fill([&] { return random.uniform(-1, 1); });
    const std::vector<std::string> losses = losses_of_targets(plan);
    std::size_t column = 0;
    y.fill([&] {
      const std::string& loss = losses[column++ % losses.size()];
      const bool odds = loss.find("cross_entropy") != std::string::npos || loss == "nll";
      return loss == "poisson" ? random.whole(0, 4) : random.uniform(odds ? 0 : -1, 1);
    });
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
inline constexpr Real kTolerance = 500 * kEpsilon<T>;

inline Real largest(const Rows& rows) {
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

}  // namespace densegrad
