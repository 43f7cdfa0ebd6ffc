#pragma once

#include <pybind11/pybind11.h>

#include "densegrad/plan.hpp"

namespace densegrad::bindings {

/// A densegrad._base.plan.Plan as the core's own.
Plan plan_of(pybind11::handle plan);

}  // namespace densegrad::bindings
