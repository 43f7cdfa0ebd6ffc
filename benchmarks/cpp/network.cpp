// Whole training steps, epochs of shuffled steps and predictions, through the public header: ReLU between the
// layers, cross-entropy on labels where there is more than one output, else the mean squared error. Plain SGD, and
// for one network a step by every optimiser, with every other activation, and with each layer between.

#include <numeric>
#include <set>

#include "densegrad/network.hpp"
#include "densegrad/runtime.hpp"
#include "harness.hpp"
#include "naive.hpp"
#include "ops/thread_choice.hpp"

namespace densegrad::bench {
namespace {

struct Job {
  std::vector<Size> widths;
  Size batch;
  std::string activation = "relu";

  std::string name() const {
    std::string text;
    for (const Size width : widths) text += (text.empty() ? "" : "-") + std::to_string(width);
    return text + "/b" + std::to_string(batch) + (activation == "relu" ? "" : "/" + activation);
  }
  std::size_t layers() const { return widths.size() - 1; }
  bool classes() const { return widths.back() > 1; }
  double products() const { return products_from(0); }
  // forward, dw, and dx but for the first layer
  double step_flops() const { return 2 * (2 * products_from(0) + products_from(1)); }

 private:
  // multiply-adds of a forward pass through the layers from `first` on
  double products_from(std::size_t first) const {
    Size sum = 0;
    for (std::size_t i = first; i < layers(); ++i) sum += widths[i] * widths[i + 1];
    return static_cast<double>(sum) * static_cast<double>(batch);
  }
};

// The networks that the design compares with other libraries, and sizes between them.
const Job kJobs[] = {
    {{4, 16, 1}, 1},
    {{8, 64, 64, 4}, 32},
    {{50, 100, 1}, 200},
    {{784, 128, 10}, 64},
    {{8, 256, 256, 4}, 256},
    {{784, 512, 512, 10}, 128},
    {{1024, 1024, 1024, 1024, 1024}, 1024},
    {{16, 32, 32, 2}, 16},
    {{64, 128, 128, 10}, 64},
    {{30, 200, 200, 1}, 500},
    {{256, 1024, 1024, 256}, 256},
};
const Job& kVaried = kJobs[5];  // by every optimiser, with every activation and layer

// A layer between others, by the widths of its parameters, which are the kind's of its own where 0.
struct Between {
  std::string name;
  std::vector<Size> widths;
  Attributes attributes;
};
const Between kBetween[] = {
    {"batch_norm", {0, 0, 0, 0}, {}}, {"layer_norm", {0, 0}, {}}, {"dropout", {}, {{"rate", 0.5}}}, {"prelu", {1}, {}},
    {"learned_swish", {0}, {}},
};

// One row and many, which the design has predicted side by side with other libraries.
const Job kPredictions[] = {
    {{8, 64, 64, 4}, 1},    {{784, 128, 10}, 1},    {{784, 512, 512, 10}, 1},
    {{8, 64, 64, 4}, 1024}, {{784, 128, 10}, 1024}, {{784, 512, 512, 10}, 1024},
};

Plan plan_of(const Job& job) {
  Plan plan;
  plan.widths = {job.widths[0]};
  Size buffer = 0;
  for (std::size_t i = 0; i < job.layers(); ++i) {
    const Size in = job.widths[i], out = job.widths[i + 1];
    Node dense{"dense", {buffer}, ++buffer, {}, {}};
    dense.slots = {{plan.parameter_count, in, out, true}, {plan.parameter_count + in * out, 1, out, true}};
    plan.parameter_count += in * out + out;
    plan.nodes.push_back(dense);
    plan.widths.push_back(out);
    if (i + 1 < job.layers()) {
      plan.nodes.push_back({job.activation, {buffer}, buffer + 1, {}, {}});
      plan.widths.push_back(out);
      ++buffer;
    }
  }
  plan.output = plan.prediction = buffer;
  plan.loss = {job.classes() ? "cross_entropy" : "mse", {}};
  plan.optimizer = {"sgd", {}};
  return plan;
}

// With the layer behind each hidden activation; its parameters lie behind all others.
Plan plan_with(const Job& job, const Between& between) {
  Plan plan = plan_of(job), with = plan;
  with.nodes.clear();
  with.widths.resize(1);
  const auto append = [&](Node node, Size width) {
    const Size last = static_cast<Size>(with.widths.size()) - 1;
    node.inputs = {last};
    node.output = last + 1;
    with.nodes.push_back(std::move(node));
    with.widths.push_back(width);
  };
  for (const Node& node : plan.nodes) {
    const Size width = plan.widths[static_cast<std::size_t>(node.output)];
    append(node, width);
    if (node.primitive != job.activation) continue;
    Node layer{between.name, {}, 0, {}, between.attributes};
    for (const Size own : between.widths) {
      layer.slots.push_back({with.parameter_count, 1, own == 0 ? width : own});
      with.parameter_count += layer.slots.back().size();
    }
    if (between.name == "batch_norm") layer.slots[2].trainable = layer.slots[3].trainable = false;
    append(std::move(layer), width);
  }
  with.output = with.prediction = static_cast<Size>(with.widths.size()) - 1;
  return with;
}

double power_of_two_near(double x) { return std::exp2(std::round(std::log2(x))); }

// `rows` rows and the first parameters, so few bits wide that every z of a hidden layer is exact: no ReLU then
// stands on the other side of its kink because of rounding.
template <class T>
struct Data {
  Random random;
  Array<T> x, values, parameters;
  Array<Index> labels;

  Data(const Job& job, Size rows)
      : x(random.small_integers<T>(rows * job.widths.front())),
        values(random.small_integers<T>(rows * job.widths.back())),
        parameters(random.small_integers<T>(plan_of(job).parameter_count)),
        labels(rows) {
    for (Index& label : labels) label = random.below(job.widths.back());
    T* w = parameters.data();
    for (std::size_t i = 0; i < job.layers(); ++i) {
      const Size count = (job.widths[i] + 1) * job.widths[i + 1];
      const double scale = power_of_two_near(1 / std::sqrt(static_cast<double>(job.widths[i])));
      for (const T* const end = w + count; w < end; ++w) *w *= static_cast<T>(scale);
    }
  }

  Batch<T> batch(const Job& job, Size rows) const {
    Batch<T> all;
    all.rows = rows;
    all.x = x.data();
    if (job.classes()) {
      all.y.labels = labels.data();
    } else {
      all.y.values = values.data();
    }
    return all;
  }
};

// Row-major, in double.
struct Matrix {
  Size rows = 0;
  Size columns = 0;
  std::vector<double> data = std::vector<double>(static_cast<std::size_t>(rows * columns));

  double* row(Size i) { return data.data() + i * columns; }
  const double* row(Size i) const { return data.data() + i * columns; }
};

template <class T>
Matrix rows_of(const T* data, Size columns, const std::vector<Index>& order) {
  Matrix matrix{static_cast<Size>(order.size()), columns};
  for (Size i = 0; i < matrix.rows; ++i) {
    std::copy_n(data + order[static_cast<std::size_t>(i)] * columns, columns, matrix.row(i));
  }
  return matrix;
}

template <class T>
std::vector<Matrix> naive_forward(const Job& job, const T* parameters, Matrix x) {
  const PrimitiveRow& activation = find_primitive("activation", job.activation);
  const int place = static_cast<int>(activation_named(job.activation));
  std::vector<Matrix> y = {std::move(x)};
  for (std::size_t layer = 0; layer < job.layers(); ++layer) {
    const Size in = job.widths[layer], out = job.widths[layer + 1];
    const T *w = parameters, *b = w + in * out;
    parameters = b + out;
    Matrix z{job.batch, out};
    for (Size i = 0; i < job.batch; ++i) {
      double* zi = z.row(i);
      std::copy_n(b, out, zi);
      for (Size k = 0; k < in; ++k) {
        const double element = y[layer].row(i)[k];
        for (Size j = 0; j < out; ++j) zi[j] += element * static_cast<double>(w[k * out + j]);
      }
      if (layer + 1 == job.layers()) continue;
      const Row yi = naive_activation(activation, place, Row(zi, zi + out));
      std::copy(yi.begin(), yi.end(), zi);
    }
    y.push_back(std::move(z));
  }
  return y;
}

struct Gradients {
  double loss = 0;
  std::vector<double> values;  // as the parameters lie
};

// Loss of the prediction p, which becomes its gradient.
template <class T>
double naive_loss(const Job& job, const Data<T>& data, const std::vector<Index>& order, Matrix& p) {
  const double share = 1 / static_cast<double>(job.batch);
  double loss = 0;
  for (Size i = 0; i < p.rows; ++i) {
    const Size row = order[static_cast<std::size_t>(i)];
    double* z = p.row(i);
    if (!job.classes()) {
      const double error = z[0] - static_cast<double>(data.values[row]);
      loss += share * error * error;
      z[0] = 2 * share * error;
      continue;
    }
    const double top = *std::max_element(z, z + p.columns);
    double sum = 0;
    for (Size j = 0; j < p.columns; ++j) sum += std::exp(z[j] - top);
    const Size label = data.labels[row];
    loss += share * (top + std::log(sum) - z[label]);
    for (Size j = 0; j < p.columns; ++j) z[j] = share * std::exp(z[j] - top) / sum;
    z[label] -= share;
  }
  return loss;
}

template <class T>
Gradients naive_gradients(const Job& job, const Data<T>& data, const std::vector<Index>& order) {
  std::vector<Matrix> y = naive_forward(job, data.parameters.data(), rows_of(data.x.data(), job.widths[0], order));
  Gradients gradients;
  gradients.values.resize(static_cast<std::size_t>(data.parameters.size()));
  Matrix dz = std::move(y.back());
  gradients.loss = naive_loss(job, data, order, dz);
  Size offset = data.parameters.size();
  for (std::size_t layer = job.layers(); layer-- > 0;) {
    const Size in = job.widths[layer], out = job.widths[layer + 1];
    offset -= (in + 1) * out;
    const T* w = data.parameters.data() + offset;
    double *dw = gradients.values.data() + offset, *db = dw + in * out;
    Matrix before{job.batch, in};
    for (Size i = 0; i < job.batch; ++i) {
      const double *d = dz.row(i), *x = y[layer].row(i);
      for (Size j = 0; j < out; ++j) db[j] += d[j];
      for (Size k = 0; k < in; ++k) {
        if (x[k] == 0) continue;  // adds nothing to dw, and the ReLU before lets nothing through
        for (Size j = 0; j < out; ++j) dw[k * out + j] += x[k] * d[j];
        for (Size j = 0; layer > 0 && j < out; ++j) before.row(i)[k] += static_cast<double>(w[k * out + j]) * d[j];
      }
    }
    dz = std::move(before);
  }
  return gradients;
}

// What is wrong with one step that was made with a learning rate of 1, from data.parameters to `after`.
template <class T>
std::string wrong_step(const Job& job, const Data<T>& data, const std::vector<Index>& order, double loss,
                       const Array<T>& after) {
  Gradients want = naive_gradients(job, data, order);
  const double tolerance = sizeof(T) == 4 ? 1e-4 : 1e-9;
  const std::string wrong_loss = difference(&loss, {want.loss}, tolerance);
  if (!wrong_loss.empty()) return "loss, " + wrong_loss;
  if (job.activation != "relu") return "";  // naive gradients know no other slope
  double largest = 0;
  for (const double gradient : want.values) largest = std::max(largest, std::abs(gradient));
  std::vector<double> got;
  for (Size i = 0; i < after.size(); ++i) {
    double& gradient = want.values[static_cast<std::size_t>(i)];
    gradient /= largest;
    got.push_back((static_cast<double>(data.parameters[i]) - static_cast<double>(after[i])) / largest);
  }
  const std::string wrong = difference(got.data(), want.values, tolerance);
  return wrong.empty() ? "" : "gradient over the largest, " + wrong;
}

// Naive steps of large networks take seconds, so each is made once, not for every estimate of the run time.
template <class T>
bool checked_before(const std::string& kernel, const Job& job) {
  static std::set<std::string> names;
  return !names.insert(kernel + "/" + job.name() + "/t" + std::to_string(get_num_threads())).second;
}

std::vector<Index> first_rows(Size count) {
  std::vector<Index> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

template <class T>
Place place_of_networks() {
  return {isa(), 8 * static_cast<int>(sizeof(T)), get_num_threads()};
}

template <class T>
void network_step(benchmark::State& state, const Job& job) {
  const Data<T> data(job, job.batch);
  Array<T> parameters = data.parameters;
  Network<T> network(plan_of(job), parameters.data());
  const Batch<T> batch = data.batch(job, job.batch);
  const auto call = [&] { network.step(batch, 1e-3, 0); };
  run(state, place_of_networks<T>(), {job.step_flops()}, call, [&]() -> std::string {
    if (checked_before<T>("network_step", job)) return "";
    parameters = data.parameters;
    const double loss = network.step(batch, 1, 0);
    return wrong_step(job, data, first_rows(job.batch), loss, parameters);
  });
}

// A step by any optimiser, whose update is fused into the products; after timing, against stored gradients and an
// update from them, which make the same sums in the same order.
template <class T>
void network_step_by(benchmark::State& state, const PrimitiveRow& optimizer, const Job& job) {
  const Data<T> data(job, job.batch);
  Plan plan = plan_of(job);
  plan.optimizer = {optimizer.name, {}};
  const Size size = plan.parameter_count, stride = (size + 15) / 16 * 16, states = optimizer.state * stride;
  Array<T> parameters = data.parameters, memory(states);
  Network<T> network(plan, parameters.data(), memory.data(), stride);
  const Batch<T> batch = data.batch(job, job.batch);
  Index updates = 0;
  run(
      state, place_of_networks<T>(), {job.step_flops()}, [&] { network.step(batch, 1e-4, updates++); },
      [&] {
        Array<T> apart = parameters = data.parameters, memory_apart(states), gradients(size);
        memory.fill(0);
        Network<T> other(plan, apart.data(), memory_apart.data(), stride);
        for (updates = 0; updates < 2; ++updates) {
          network.step(batch, 1e-4, updates);
          other.loss_and_gradients(batch, gradients.data());
          other.apply_gradients(gradients.data(), 1e-4, updates);
        }
        const std::string wrong = difference(parameters.data(), {apart.begin(), apart.end()}, 0);
        return wrong.empty() ? difference(memory.data(), {memory_apart.begin(), memory_apart.end()}, 0) : wrong;
      });
}

// A step with a layer between; after timing, against stored gradients and an update from them.
template <class T>
void network_step_with(benchmark::State& state, const Between& between, const Job& job) {
  const Data<T> data(job, job.batch);
  const Plan plan = plan_with(job, between);
  Array<T> start(plan.parameter_count);
  start.fill(1);
  std::copy(data.parameters.begin(), data.parameters.end(), start.begin());
  Array<T> parameters = start;
  Network<T> network(plan, parameters.data());
  const Batch<T> batch = data.batch(job, job.batch);
  run(
      state, place_of_networks<T>(), {job.step_flops()}, [&] { network.step(batch, 1e-4, 0); },
      [&] {
        Array<T> apart = parameters = start, gradients(plan.parameter_count);
        Network<T> other(plan, apart.data());
        network.step(batch, 1e-4, 0);
        other.loss_and_gradients(batch, gradients.data());
        other.apply_gradients(gradients.data(), 1e-4, 0);
        const Size dense = data.parameters.size();
        return difference(parameters.data(), {apart.begin(), apart.begin() + dense}, 0);
      });
}

template <class T>
void network_run_steps(benchmark::State& state, const Job& job) {
  constexpr Size most_numbers = 1 << 24;
  const Size batches = std::clamp<Size>(most_numbers / (job.batch * job.widths[0]), 2, 60);
  const Size rows = batches * job.batch;
  const Data<T> data(job, rows);
  Array<T> parameters = data.parameters;
  Network<T> network(plan_of(job), parameters.data());
  std::vector<Index> order = first_rows(rows);
  Random random;
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[static_cast<std::size_t>(random.below(static_cast<Index>(i)))]);
  }
  Array<double> rates(batches, 1e-3), losses(batches);
  Steps steps;
  steps.order = order.data();
  steps.rows = rows;
  steps.count = batches;
  steps.batch_size = job.batch;
  steps.learning_rates = rates.data();
  steps.losses = losses.data();
  const Batch<T> all = data.batch(job, rows);
  const auto call = [&] { network.run_steps(all, steps); };
  const Work work{job.step_flops() * static_cast<double>(batches)};
  run(state, place_of_networks<T>(), work, call, [&]() -> std::string {
    if (checked_before<T>("network_run_steps", job)) return "";
    parameters = data.parameters;
    rates[0] = 1;
    steps.count = 1;
    call();
    order.resize(static_cast<std::size_t>(job.batch));
    return wrong_step(job, data, order, losses[0], parameters);
  });
}

template <class T>
void network_predict(benchmark::State& state, const Job& job) {
  const Data<T> data(job, job.batch);
  Array<T> parameters = data.parameters, out(job.batch * job.widths.back());
  Network<T> network(plan_of(job), parameters.data());
  const auto call = [&] { network.predict(job.batch, data.x.data(), out.data()); };
  run(state, place_of_networks<T>(), {2 * job.products()}, call, [&]() -> std::string {
    if (checked_before<T>("network_predict", job)) return "";
    out.fill(kUnwritten<T>);
    call();
    const Matrix x = rows_of(data.x.data(), job.widths[0], first_rows(job.batch));
    return difference(out.data(), naive_forward(job, data.parameters.data(), x).back().data, kTolerance<T>);
  });
}

// On one thread, and on two where the process may have them.
template <class T>
void add_networks_of() {
  const InstructionSet& set = instruction_set();
  const int most = std::min(get_num_threads(), 2);
  const auto add_one = [&](const std::string& kernel, const Job& job, auto function) {
    for (int threads = 1; threads <= most; ++threads) {
      const auto timed = [job, function, threads](benchmark::State& state) {
        set_num_threads(threads);
        force_threads({threads});
        function(state, job);
      };
      add<T>(kernel, set, job.name() + "/t" + std::to_string(threads), timed)
          ->Unit(benchmark::kMicrosecond)
          ->UseRealTime();
    }
  };
  for (const Job& job : kJobs) {
    add_one("network_step", job, network_step<T>);
    add_one("network_run_steps", job, network_run_steps<T>);
    add_one("network_predict", job, network_predict<T>);
  }
  for (const Job& job : kPredictions) add_one("network_predict", job, network_predict<T>);
  for_each_primitive("optimizer", [&](const PrimitiveRow& row, int) {
    add_one("network_step_" + std::string(row.name), kVaried,
            [&row](benchmark::State& state, const Job& job) { network_step_by<T>(state, row, job); });
  });
  for_each_primitive("activation", [&](const PrimitiveRow& row, int) {
    if (row.name != kVaried.activation)
      add_one("network_step", {kVaried.widths, kVaried.batch, row.name}, network_step<T>);
  });
  for (const Between& between : kBetween) {
    add_one("network_step_" + between.name, kVaried,
            [&between](benchmark::State& state, const Job& job) { network_step_with<T>(state, between, job); });
  }
}

}  // namespace

void add_network() {
  add_networks_of<float>();
  add_networks_of<double>();
}

}  // namespace densegrad::bench
