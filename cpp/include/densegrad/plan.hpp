#pragma once

#include <map>
#include <string>
#include <vector>

#include "densegrad/types.hpp"

namespace densegrad {

/// Where one array of parameters lies in the flat buffer; a vector has one row.
struct Slot {
  Size offset = 0;
  Size rows = 0;
  Size columns = 0;
  bool trainable = true;
  double l1 = 0;  ///< the loss has l1 |w| + l2 w^2 / 2 more for each of its numbers
  double l2 = 0;

  Size size() const { return rows * columns; }
};

using Attributes = std::map<std::string, double>;

/// One primitive applied to buffers. Buffers are numbered; slots are the parameters, w before b for "dense".
struct Node {
  std::string primitive;
  std::vector<Size> inputs;
  Size output = 0;
  std::vector<Slot> slots;
  Attributes attributes;
};

/// An activation, a loss or an optimiser by name; empty where there is none.
struct PrimitiveSpec {
  std::string primitive = {};
  Attributes attributes = {};

  explicit operator bool() const { return !primitive.empty(); }
};

/// One loss of a sum: weight times the loss of so many columns of the prediction, those behind the term before it.
struct LossTerm {
  PrimitiveSpec loss;
  Size columns = 0;
  double weight = 1;
};

/// What a Network runs: nodes in topological order over buffers of `widths[i]` columns and one row for each row of
/// the batch. Nodes may share slots: the gradients of their uses are added up. The loss reads the buffer `prediction`.
struct Plan {
  std::vector<Size> widths;
  std::vector<Node> nodes;
  Size input = 0;
  Size output = 0;
  Size parameter_count = 0;
  PrimitiveSpec loss;           ///< of the whole prediction,
  std::vector<LossTerm> terms;  ///< or the sum of these, whose targets lie side by side as their columns do
  Size prediction = 0;
  PrimitiveSpec optimizer;
  double clip_value = 0;  ///< gradients are kept within it before an update, where it is above 0
  double clip_norm = 0;   ///< and the norm of them all within this
  double average = 0;  ///< decay of a moving average of the parameters, one more row of the state, where it is above 0
  bool batch_shares_penalty = false;  ///< a batch's loss has the penalties over its rows, or over their weights

  bool has_loss() const { return loss || !terms.empty(); }
};

/// A dense layer y = f(x w + b).
struct Layer {
  Size units = 1;
  PrimitiveSpec activation = {};  ///< f; the identity where there is none
  bool bias = true;
};

/// The plan of layers one behind the other, such as stack(784, {{128, {"relu"}}, {10}}, {"cross_entropy"}, {"sgd"}).
/// The loss reads the last layer's output: "cross_entropy" logits, so that layer has no activation under it.
Plan stack(Size inputs, const std::vector<Layer>& layers, PrimitiveSpec loss = {}, PrimitiveSpec optimizer = {});

}  // namespace densegrad
