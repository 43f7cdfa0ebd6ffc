#pragma once

#include <string>
#include <vector>

#include "densegrad/network.hpp"
#include "densegrad/plan.hpp"
#include "densegrad/types.hpp"

namespace densegrad {

/// One input or output of a model: its name, and how many columns of the rows are its own, in the order of the model.
struct Columns {
  std::string name;
  Size width = 0;
};

/// A model out of a file. T is float or double, the dtype that it was made with in Python.
template <class T>
struct Model {
  /// Without an optimizer, and with the loss it was last trained with, if any. To train on, set plan.optimizer; for
  /// another loss set plan.loss and plan.prediction = plan.output, and leave plan.terms empty.
  Plan plan;
  std::vector<T> parameters;     ///< (plan.parameter_count)
  std::vector<Columns> inputs;   ///< side by side in a row of x
  std::vector<Columns> outputs;  ///< side by side in a row of the prediction

  Size input_size() const { return plan.widths[static_cast<std::size_t>(plan.input)]; }
  Size output_size() const { return plan.widths[static_cast<std::size_t>(plan.output)]; }

  /// A network of its own that begins with these parameters; its orders of epochs come from the seed.
  Network<T> network(Seed seed = {}) const { return Network<T>(plan, parameters.data(), seed); }
};

/// The model in a file that Python's `model.save` wrote, or in a checkpoint. Its network predicts what Python's core
/// does, bit for bit on one instruction set, and trains on by the same steps.
///
///     const auto model = densegrad::load("circle.safetensors");  // load<double> for a model of float64
///     const auto network = model.network();
///     network.predict(rows, x, out);
///
/// Nothing in a file is run, and no size that it claims is believed before the file itself has been found to hold as
/// much. Throws std::runtime_error where there is no file or it cannot be read, std::invalid_argument where it is
/// damaged, of a newer format, of another dtype, or none of densegrad's.
template <class T = float>
Model<T> load(const std::string& path);

extern template Model<float> load(const std::string&);
extern template Model<double> load(const std::string&);

}  // namespace densegrad
