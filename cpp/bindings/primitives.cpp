#include "base/primitives.hpp"

#include "bindings/register.hpp"

namespace densegrad::bindings {

namespace py = pybind11;

void register_primitives(py::module_& module) {
  module.def(
      "primitives",
      [] {
        py::list rows;
        for (const PrimitiveRow& row : primitives()) {
          py::list attributes;
          for (const Attribute& a : row.attributes)
            attributes.append(py::make_tuple(a.name, a.fallback, a.low, a.high));
          py::dict entry;
          entry["name"] = row.name;
          entry["kind"] = row.kind;
          entry["reads"] = row.reads;
          entry["ulp"] = row.ulp;
          entry["by_row"] = row.by_row;
          entry["init"] = row.init;
          entry["target"] = row.target;
          entry["predictions"] = row.predictions;
          entry["state"] = row.state;
          entry["attributes"] = attributes;
          rows.append(entry);
        }
        return rows;
      },
      "The core's face of the table in densegrad/_base/primitives.py, row by row.");
}

}  // namespace densegrad::bindings
