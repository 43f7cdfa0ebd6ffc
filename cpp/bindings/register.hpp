#pragma once

// One register_* function for each group of names; module.cpp lists them. A binding converts its arguments, checks
// what memory safety asks for, releases the GIL and makes one call. The words for a user's mistake are found in
// densegrad/_base/check.py; a refusal here only says that they are needed.

#include <pybind11/pybind11.h>

namespace densegrad::bindings {

void register_ops(pybind11::module_& module);
void register_network(pybind11::module_& module);
void register_primitives(pybind11::module_& module);
void register_runtime(pybind11::module_& module);

}  // namespace densegrad::bindings
