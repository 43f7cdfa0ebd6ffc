#include "densegrad/ops.hpp"

#include <pybind11/stl.h>

#include "base/primitives.hpp"
#include "bindings/arrays.hpp"
#include "bindings/register.hpp"
#include "network/validate.hpp"

namespace densegrad::bindings {
namespace {

template <class T>
py::object dense_forward_of(py::handle x_, py::handle w_, py::handle b_, py::handle out) {
  const Array<T> x = array_of<T>(x_, "x", {-1, -1});
  const Size batch = x.shape(0), in = x.shape(1);
  const Array<T> w = array_of<T>(w_, "w", {in, -1});
  const Size units = w.shape(1);
  const T* b = b_.is_none() ? nullptr : array_of<T>(b_, "b", {units}).data();
  Array<T> z = output<T>(out, "out", {batch, units});
  const T *x_data = x.data(), *w_data = w.data();
  T* z_data = z.mutable_data();
  {
    const py::gil_scoped_release release;  // the arrays are held by this frame
    dense_forward(batch, in, units, x_data, w_data, b, z_data);
  }
  return std::move(z);
}

template <class T>
py::tuple dense_backward_of(py::handle dz_, py::handle x_, py::handle w_, const py::object& out) {
  const Array<T> x = array_of<T>(x_, "x", {-1, -1});
  const Size batch = x.shape(0), in = x.shape(1);
  const Array<T> w = array_of<T>(w_, "w", {in, -1});
  const Size units = w.shape(1);
  const Array<T> dz = array_of<T>(dz_, "dz", {batch, units});
  const py::tuple parts = out.is_none() ? py::make_tuple(py::none(), py::none(), py::none()) : py::tuple(out);
  if (parts.size() != 3) throw py::value_error("_core: expected out as three arrays");
  Array<T> dx = output<T>(parts[0], "dx", {batch, in}), dw = output<T>(parts[1], "dw", {in, units}),
           db = output<T>(parts[2], "db", {units});
  const T *dz_data = dz.data(), *x_data = x.data(), *w_data = w.data();
  T *dx_data = dx.mutable_data(), *dw_data = dw.mutable_data(), *db_data = db.mutable_data();
  {
    const py::gil_scoped_release release;
    dense_backward(batch, in, units, dz_data, x_data, w_data, dx_data, dw_data, db_data);
  }
  return py::make_tuple(dx, dw, db);
}

template <class T>
py::object activation_forward_of(const std::string& name, py::handle z_, py::handle out, const Attributes& attributes) {
  const Array<T> z = array_of<T>(z_, "z");
  Array<T> y = output<T>(out, "out", shape_of(z));
  const Size rows = leading_size(z), columns = rows == 0 ? 0 : z.size() / rows;
  const T* z_data = z.data();
  T* y_data = y.mutable_data();
  {
    const py::gil_scoped_release release;
    activation_forward(name, rows, columns, z_data, y_data, attributes);
  }
  return std::move(y);
}

template <class T>
py::object activation_backward_of(const std::string& name, py::handle dy_, py::handle z_, py::handle y_, py::handle out,
                                  const Attributes& attributes) {
  const Array<T> z = array_of<T>(z_, "z");
  const Array<T> dy = array_of<T>(dy_, "dy", shape_of(z)), y = array_of<T>(y_, "y", shape_of(z));
  Array<T> dz = output<T>(out, "out", shape_of(z));
  const Size rows = leading_size(z), columns = rows == 0 ? 0 : z.size() / rows;
  const T *dy_data = dy.data(), *z_data = z.data(), *y_data = y.data();
  T* dz_data = dz.mutable_data();
  {
    const py::gil_scoped_release release;
    activation_backward(name, rows, columns, dy_data, z_data, y_data, dz_data, attributes);
  }
  return std::move(dz);
}

template <class T>
py::tuple loss_of(const std::string& name, py::handle prediction, py::handle y, py::handle weights_, py::handle out,
                  const Attributes& attributes) {
  const Array<T> p = array_of<T>(prediction, "prediction", {-1, -1});
  const Size rows = p.shape(0), columns = p.shape(1);
  const TargetRule rule = target_rule(name, columns);
  const Target<T> target = target_of<T>(y, rows, rule.width);
  if (target.labels != nullptr &&
      (rule.kind != TargetKind::classes || !labels_in_range(rows, target.labels, rule.width))) {
    throw py::value_error("_core: a label is out of range");
  }
  const T* weights = weights_of<T>(weights_, rows);
  Array<T> dp = output<T>(out, "out", {rows, columns});
  const T* p_data = p.data();
  T* dp_data = dp.mutable_data();
  double value = 0;
  {
    const py::gil_scoped_release release;
    value = loss(name, rows, columns, p_data, target, weights, dp_data, attributes);
  }
  return py::make_tuple(value, dp);
}

template <class T>
void optimizer_update_of(const std::string& name, py::handle parameters, py::handle gradients, py::handle state_,
                         Index step, double lr, const Attributes& attributes) {
  Array<T> w = array_of<T>(parameters, "parameters");
  const Array<T> dw = array_of<T>(gradients, "gradients", shape_of(w));
  T* w_data = writeable(w, "parameters");
  const Size size = w.size();
  const Size state_rows = find_primitive("optimizer", name).state;
  T* state = nullptr;
  if (state_rows > 0) {
    Array<T> array = array_of<T>(state_, "state", {state_rows, size});
    state = writeable(array, "state");
  }
  const T* dw_data = dw.data();
  const py::gil_scoped_release release;
  optimizer_update(name, size, w_data, dw_data, state, step, lr, attributes);
}

}  // namespace

void register_ops(py::module_& module) {
  module.def(
      "dense_forward",
      [](const py::object& x, const py::object& w, const py::object& b, const py::object& out) -> py::object {
        return is_float32(x) ? dense_forward_of<float>(x, w, b, out) : dense_forward_of<double>(x, w, b, out);
      },
      py::arg("x"), py::arg("w"), py::arg("b") = py::none(), py::kw_only(), py::arg("out") = py::none(),
      "z = x w + b.");
  module.def(
      "dense_backward",
      [](const py::object& dz, const py::object& x, const py::object& w, const py::object& out) {
        return is_float32(x) ? dense_backward_of<float>(dz, x, w, out) : dense_backward_of<double>(dz, x, w, out);
      },
      py::arg("dz"), py::arg("x"), py::arg("w"), py::kw_only(), py::arg("out") = py::none(),
      "dx = dz w^T, dw = x^T dz, db = sum of dz over the batch.");
  module.def(
      "activation_forward",
      [](const std::string& name, const py::object& z, const py::object& out, const py::kwargs& attributes) {
        const auto numbers = attributes.cast<Attributes>();
        return is_float32(z) ? activation_forward_of<float>(name, z, out, numbers)
                             : activation_forward_of<double>(name, z, out, numbers);
      },
      py::arg("name"), py::arg("z"), py::kw_only(), py::arg("out") = py::none(), "y = f(z).");
  module.def(
      "activation_backward",
      [](const std::string& name, const py::object& dy, const py::object& z, const py::object& y, const py::object& out,
         const py::kwargs& attributes) {
        const auto numbers = attributes.cast<Attributes>();
        return is_float32(z) ? activation_backward_of<float>(name, dy, z, y, out, numbers)
                             : activation_backward_of<double>(name, dy, z, y, out, numbers);
      },
      py::arg("name"), py::arg("dy"), py::arg("z"), py::arg("y"), py::kw_only(), py::arg("out") = py::none(),
      "dz = dy f'(z).");
  module.def(
      "loss",
      [](const std::string& name, const py::object& prediction, const py::object& target,
         const py::object& sample_weight, const py::object& out, const py::kwargs& attributes) {
        const auto numbers = attributes.cast<Attributes>();
        return is_float32(prediction) ? loss_of<float>(name, prediction, target, sample_weight, out, numbers)
                                      : loss_of<double>(name, prediction, target, sample_weight, out, numbers);
      },
      py::arg("name"), py::arg("prediction"), py::arg("target"), py::arg("sample_weight") = py::none(), py::kw_only(),
      py::arg("out") = py::none(), "The mean loss over the batch, and its gradient.");
  module.def(
      "optimizer_update",
      [](const std::string& name, const py::object& parameters, const py::object& gradients, const py::object& state,
         Index step, double lr, const py::kwargs& attributes) {
        const auto numbers = attributes.cast<Attributes>();
        if (is_float32(parameters)) {
          optimizer_update_of<float>(name, parameters, gradients, state, step, lr, numbers);
        } else {
          optimizer_update_of<double>(name, parameters, gradients, state, step, lr, numbers);
        }
      },
      py::arg("name"), py::arg("parameters"), py::arg("gradients"), py::arg("state"), py::arg("updates"), py::arg("lr"),
      "One update in place.");
  module.def(
      "sgd_update",
      [](const py::object& parameters, const py::object& gradients, double lr) {
        if (is_float32(parameters)) {
          optimizer_update_of<float>("sgd", parameters, gradients, py::none(), 0, lr, {});
        } else {
          optimizer_update_of<double>("sgd", parameters, gradients, py::none(), 0, lr, {});
        }
      },
      py::arg("parameters"), py::arg("gradients"), py::arg("lr"), "w <- w - lr dw, in place.");
}

}  // namespace densegrad::bindings
