#include "densegrad/network.hpp"

#include <algorithm>
#include <mutex>
#include <optional>
#include <stdexcept>

#include "base/primitives.hpp"
#include "bindings/arrays.hpp"
#include "bindings/plan.hpp"
#include "bindings/register.hpp"
#include "network/validate.hpp"

namespace densegrad::bindings {
namespace {

// One call at a time into a network, whose working memory several Python threads may want at once (predict alone may
// run on many). The GIL is given up first: who waits for the network must not keep it from whoever has it.
class Exclusive {
 public:
  explicit Exclusive(std::mutex& mutex) : lock_(mutex) {}

 private:
  py::gil_scoped_release release_;
  std::lock_guard<std::mutex> lock_;
};

// Multiply-adds, about a microsecond of them, below which handing over the GIL takes longer than the work.
constexpr Size kWorthTheGil = 16384;

// densegrad._core.Network, whatever its dtype.
class AnyNetwork {
 public:
  virtual ~AnyNetwork() = default;
  virtual int threads() const = 0;
  virtual py::object predict(py::handle x, py::handle out) = 0;
  virtual py::object forward(py::handle x, py::handle out, Index step) = 0;
  virtual py::object backward(py::handle dy, py::handle gradients) = 0;
  virtual double loss(py::handle x, py::handle y, py::handle weights) = 0;
  virtual double loss_and_gradients(py::handle x, py::handle y, py::handle gradients, py::handle weights, py::handle dx,
                                    Index step) = 0;
  virtual void apply_gradients(py::handle gradients, double lr, Index step) = 0;
  virtual double step(py::handle x, py::handle y, double lr, Index step, py::handle weights) = 0;
  virtual Size run_steps(py::handle x, py::handle y, py::handle order, Size first, Size count, Size batch_size,
                         py::handle learning_rates, py::handle losses, Index step, py::handle weights) = 0;
};

template <class T>
class BoundNetwork final : public AnyNetwork {
 public:
  BoundNetwork(const Plan& plan, py::handle parameters, py::handle state)
      : parameters_(array_of<T>(parameters, "parameters", {plan.parameter_count})),
        state_(state_of(plan, state)),
        in_(plan.widths.at(plan.input)),
        out_(plan.widths.at(plan.output)),
        has_loss_(plan.has_loss()),
        has_optimizer_(static_cast<bool>(plan.optimizer)),
        network_(plan, writeable(parameters_, "parameters"), state_.size() == 0 ? nullptr : state_.mutable_data(),
                 stride_of(state_)),
        terms_(loss_terms(plan)) {}

  int threads() const override { return network_.threads(); }

  py::object predict(py::handle x_, py::handle out) override {
    const Array<T> x = array_of<T>(x_, "x", {-1, in_});
    const Size rows = x.shape(0);
    const T* x_data = x.data();
    Array<T> y = output<T>(out, "out", {rows, out_});
    T* y_data = y.mutable_data();
    bool finite = false;
    {
      std::optional<py::gil_scoped_release> release;  // the arrays are held by this frame
      if (rows * parameters_.size() > kWorthTheGil) release.emplace();
      finite = network_.predict_finite(rows, x_data, y_data);
    }
    if (!finite) throw py::value_error("Network.predict: a number is not finite");
    return std::move(y);
  }

  py::object forward(py::handle x_, py::handle out, Index step) override {
    const Array<T> x = array_of<T>(x_, "x", {-1, in_});
    const Size rows = x.shape(0);
    Array<T> y = output<T>(out, "out", {rows, out_});
    const T* x_data = x.data();
    T* y_data = y.mutable_data();
    {
      const Exclusive alone(mutex_);
      network_.forward(rows, x_data, y_data, step);
    }
    return std::move(y);
  }

  py::object backward(py::handle dy_, py::handle gradients_) override {
    const Array<T> dy = array_of<T>(dy_, "dy", {-1, out_});
    const Size rows = dy.shape(0);
    Array<T> gradients = array_of<T>(gradients_, "gradients", {parameters_.size()});
    Array<T> dx(std::vector<Size>{rows, in_});
    const T* dy_data = dy.data();
    T *gradients_data = writeable(gradients, "gradients"), *dx_data = dx.mutable_data();
    {
      const Exclusive alone(mutex_);
      check_backward_rows(network_.forward_rows(), rows);
      network_.backward(dy_data, gradients_data, dx_data);
    }
    return std::move(dx);
  }

  double loss(py::handle x, py::handle y, py::handle weights) override {
    const Batch<T> batch = whole_batch_of(x, y, weights);
    const Exclusive alone(mutex_);
    return network_.loss(batch);
  }

  double loss_and_gradients(py::handle x, py::handle y, py::handle gradients_, py::handle weights, py::handle dx_,
                            Index step) override {
    const Batch<T> batch = whole_batch_of(x, y, weights);
    Array<T> gradients = array_of<T>(gradients_, "gradients", {parameters_.size()});
    T* gradients_data = writeable(gradients, "gradients");
    T* dx_data = nullptr;
    if (!dx_.is_none()) {
      Array<T> dx = array_of<T>(dx_, "dx", {batch.rows, in_});
      dx_data = writeable(dx, "dx");
    }
    const Exclusive alone(mutex_);
    return network_.loss_and_gradients(batch, gradients_data, dx_data, step);
  }

  void apply_gradients(py::handle gradients_, double lr, Index step) override {
    require_optimizer();
    const Array<T> gradients = array_of<T>(gradients_, "gradients", {parameters_.size()});
    const T* data = gradients.data();
    const Exclusive alone(mutex_);
    network_.apply_gradients(data, lr, step);
  }

  double step(py::handle x, py::handle y, double lr, Index step, py::handle weights) override {
    require_optimizer();
    const Batch<T> batch = batch_of(x, y, weights);
    if (!network_.accepts(batch)) throw py::value_error("Network.step: a number is out of range");
    const Exclusive alone(mutex_);
    return network_.step(batch, lr, step);
  }

  Size run_steps(py::handle x, py::handle y, py::handle order_, Size first, Size count, Size batch_size,
                 py::handle learning_rates, py::handle losses_, Index step, py::handle weights) override {
    require_optimizer();
    const Batch<T> data = batch_of(x, y, weights);  // whose labels are tested as they are gathered
    const Array<Index> order = array_of<Index>(order_, "order", {-1});
    const Array<double> rates = array_of<double>(learning_rates, "learning_rates", {-1});
    Array<double> losses = array_of<double>(losses_, "losses", {-1});
    Steps steps;
    steps.order = order.data();
    steps.rows = order.size();
    steps.first = first;
    steps.count = count;
    steps.batch_size = batch_size;
    steps.learning_rates = rates.data();
    steps.losses = writeable(losses, "losses");
    steps.updates = step;
    const bool inside = batch_size > 0 && first >= 0 && count >= 0 && count <= rates.size() && count <= losses.size() &&
                        first + count <= (steps.rows + batch_size - 1) / batch_size;
    const Size start = inside ? first * batch_size : 0;
    const Size rows = inside ? std::min(count * batch_size, steps.rows - start) : 0;
    if (!inside || !labels_in_range(rows, steps.order + start, data.rows)) {
      throw py::value_error("Network.run_steps: a row or step is out of range");
    }
    const Exclusive alone(mutex_);
    return network_.run_steps(data, steps);
  }

 private:
  static void check_backward_rows(Size expected, Size rows) {
    if (expected == 0) throw std::invalid_argument("Network.backward: expected a forward before it, got none");
    if (rows == expected) return;
    throw std::invalid_argument("Network.backward: expected dy of the " + std::to_string(expected) +
                                " rows of the last forward, got " + std::to_string(rows) + " rows");
  }

  // (rows, parameters) numbers, the rows of which may lie apart.
  static py::array_t<T> state_of(const Plan& plan, py::handle object) {
    const Size kept = plan.optimizer ? find_primitive("optimizer", plan.optimizer.primitive).state : 0;
    const Size rows = kept + (plan.average > 0 ? 1 : 0);
    if (rows == 0) return py::array_t<T>();
    if (!py::isinstance<py::array_t<T>>(object)) {
      throw py::type_error(std::string("_core: expected state as an array of ") + kDtypeName<T>);
    }
    const auto state = py::reinterpret_borrow<py::array_t<T>>(object);
    constexpr Size item = sizeof(T);
    const Size count = plan.parameter_count;
    const bool fits = state.ndim() == 2 && state.shape(0) == rows && state.shape(1) == count &&
                      state.strides(1) == item && state.strides(0) >= count * item && state.strides(0) % item == 0;
    if (!fits) throw py::value_error("_core: state has another shape or layout than expected");
    if (!state.writeable()) throw py::value_error("_core: state is read-only");
    return state;
  }

  static Size stride_of(const py::array_t<T>& state) {
    return state.size() == 0 ? 0 : state.strides(0) / static_cast<Size>(sizeof(T));
  }

  void require_optimizer() const {
    if (!has_optimizer_) throw py::value_error("Network: expected a plan with an optimizer, got one without");
  }

  Batch<T> whole_batch_of(py::handle x, py::handle y, py::handle weights) const {
    const Batch<T> batch = batch_of(x, y, weights);
    if (batch.y.labels != nullptr && !labels_in_range(batch.rows, batch.y.labels, target_width(terms_))) {
      throw py::value_error("Network: a label is out of range");
    }
    return batch;
  }

  // Pointers into arrays that the caller's frame holds.
  Batch<T> batch_of(py::handle x_, py::handle y, py::handle weights) const {
    if (!has_loss_) throw py::value_error("Network: expected a plan with a loss, got one without");
    const Array<T> x = array_of<T>(x_, "x", {-1, in_});
    Batch<T> batch;
    batch.rows = x.shape(0);
    batch.x = x.data();
    batch.y = target_of<T>(y, batch.rows, target_width(terms_));
    if (batch.y.labels != nullptr && !takes_labels(terms_)) {
      throw py::value_error("Network: expected values, got labels");
    }
    batch.weights = weights_of<T>(weights, batch.rows);
    if (batch.rows == 0) throw py::value_error("Network: expected at least 1 row, got 0");
    return batch;
  }

  Array<T> parameters_;  // held, so that the borrowed memory stays
  py::array_t<T> state_;
  Size in_, out_;
  bool has_loss_, has_optimizer_;
  Network<T> network_;  // which refuses a plan that makes no sense
  std::vector<Term> terms_;
  std::mutex mutex_;
};

std::unique_ptr<AnyNetwork> make_network(py::handle plan_object, py::handle parameters, py::handle state) {
  const Plan plan = plan_of(plan_object);
  if (plan_object.attr("dtype").cast<std::string>() == "float32") {
    return std::make_unique<BoundNetwork<float>>(plan, parameters, state);
  }
  return std::make_unique<BoundNetwork<double>>(plan, parameters, state);
}

}  // namespace

void register_network(py::module_& module) {
  const auto none = py::none();
  py::class_<AnyNetwork>(module, "Network",
                         "A plan bound to a parameter buffer, which it borrows and updates in place.")
      .def(py::init(&make_network), py::arg("plan"), py::arg("parameters"), py::arg("state") = none)
      .def_property_readonly("threads", &AnyNetwork::threads)
      .def("predict", &AnyNetwork::predict, py::arg("x"), py::kw_only(), py::arg("out") = none)
      .def("forward", &AnyNetwork::forward, py::arg("x"), py::kw_only(), py::arg("out") = none, py::arg("step") = 0)
      .def("backward", &AnyNetwork::backward, py::arg("dy"), py::arg("gradients"))
      .def("loss", &AnyNetwork::loss, py::arg("x"), py::arg("y"), py::arg("sample_weight") = none)
      .def("loss_and_gradients", &AnyNetwork::loss_and_gradients, py::arg("x"), py::arg("y"), py::arg("gradients"),
           py::arg("sample_weight") = none, py::kw_only(), py::arg("dx") = none, py::arg("step") = 0)
      .def("apply_gradients", &AnyNetwork::apply_gradients, py::arg("gradients"), py::arg("lr"), py::arg("updates") = 0)
      .def("step", &AnyNetwork::step, py::arg("x"), py::arg("y"), py::arg("lr"), py::arg("updates") = 0,
           py::arg("sample_weight") = none)
      .def("run_steps", &AnyNetwork::run_steps, py::arg("x"), py::arg("y"), py::arg("order"), py::arg("first"),
           py::arg("count"), py::arg("batch_size"), py::arg("learning_rates"), py::arg("losses"),
           py::arg("updates") = 0, py::arg("sample_weight") = none);
}

}  // namespace densegrad::bindings
