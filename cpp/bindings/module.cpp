#include <pybind11/pybind11.h>

#include "bindings/register.hpp"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  module.doc() = "The compiled core: the same names as densegrad._numpy, which specifies what they compute.";
  densegrad::bindings::register_ops(module);
  densegrad::bindings::register_network(module);
  densegrad::bindings::register_primitives(module);
  densegrad::bindings::register_runtime(module);
}
