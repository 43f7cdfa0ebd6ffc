#include "densegrad/runtime.hpp"

#include <pybind11/stl.h>

#include "bindings/register.hpp"
#include "dispatch/dispatch.hpp"
#include "ops/thread_choice.hpp"

namespace densegrad::bindings {

namespace py = pybind11;

void register_runtime(py::module_& module) {
  instruction_set();  // an unusable DENSEGRAD_ISA is refused at import, not in the middle of a run
  module.def(
      "runtime",
      [] {
        py::dict facts;
        facts["isa"] = isa();
        facts["threads"] = get_num_threads();
        facts["openmp"] = openmp_runtime();
        return facts;
      },
      "What `densegrad info` prints of this backend.");
  module.def("set_num_threads", &set_num_threads, py::arg("threads"));
  module.def("force_threads", &force_threads, py::arg("threads"));
  module.def("supported_instruction_sets", [] {
    py::list names;
    for (const std::string& name : supported_instruction_sets()) names.append(name);
    return names;
  });
}

}  // namespace densegrad::bindings
