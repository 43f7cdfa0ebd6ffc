#pragma once

// NumPy arrays as pointers, refused where they are not exactly what is asked for.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "densegrad/network.hpp"
#include "densegrad/types.hpp"

namespace densegrad::bindings {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class T>
constexpr const char* kDtypeName = "float32";
template <>
inline constexpr const char* kDtypeName<double> = "float64";
template <>
inline constexpr const char* kDtypeName<Index> = "int64";

inline bool is_float32(py::handle object) {
  return py::isinstance<py::array>(object) &&
         py::reinterpret_borrow<py::array>(object).dtype().equal(py::dtype::of<float>());
}

/// `object` as a C-contiguous array of T; throws TypeError otherwise. Any size where `shape` is empty, and -1 in it.
template <class T>
Array<T> array_of(py::handle object, const char* name, const std::vector<Size>& shape = {}) {
  if (!py::isinstance<Array<T>>(object)) {
    throw py::type_error(std::string("_core: expected ") + name + " as a C-contiguous array of " + kDtypeName<T>);
  }
  Array<T> array = py::reinterpret_borrow<Array<T>>(object);
  bool fits = shape.empty() || array.ndim() == static_cast<Size>(shape.size());
  for (std::size_t i = 0; fits && i < shape.size(); ++i) {
    fits = shape[i] == -1 || array.shape(static_cast<Size>(i)) == shape[i];
  }
  if (!fits) throw py::value_error(std::string("_core: ") + name + " has another shape than expected");
  return array;
}

/// Where `object` is to be written to; throws where it is read-only.
template <class T>
T* writeable(Array<T>& array, const char* name) {
  if (!array.writeable()) throw py::value_error(std::string("_core: ") + name + " is read-only");
  return array.mutable_data();
}

/// `out` where it is given, else a new array.
template <class T>
Array<T> output(py::handle out, const char* name, const std::vector<Size>& shape) {
  if (out.is_none()) return Array<T>(shape);
  Array<T> array = array_of<T>(out, name, shape);
  writeable(array, name);
  return array;
}

/// Elements on all axes but the last.
inline Size leading_size(const py::array& array) {
  return array.ndim() == 0 || array.size() == 0 ? 0 : array.size() / array.shape(array.ndim() - 1);
}

inline std::vector<Size> shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

/// y as labels (rows) or values (rows, width).
template <class T>
Target<T> target_of(py::handle y, Size rows, Size width) {
  Target<T> target;
  if (py::isinstance<Array<Index>>(y) && py::reinterpret_borrow<py::array>(y).ndim() == 1) {
    target.labels = array_of<Index>(y, "labels", {rows}).data();
  } else {
    target.values = array_of<T>(y, "y", {rows, width}).data();
  }
  return target;
}

template <class T>
const T* weights_of(py::handle weights, Size rows) {
  return weights.is_none() ? nullptr : array_of<T>(weights, "sample_weight", {rows}).data();
}

}  // namespace densegrad::bindings
