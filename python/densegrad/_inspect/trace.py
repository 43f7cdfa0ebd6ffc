"""One forward and backward pass with nothing hidden, for whoever learns backpropagation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from densegrad._base.lazy_rows import whole
from densegrad._base.plan import LossSpec, Node
from densegrad._base.primitives import names
from densegrad._base.types import FloatArray, IndexArray
from densegrad._model_core import ModelCore
from densegrad._plan import backend
from densegrad._plan.lowering import PlanBuilder
from densegrad._rows.rows import checked_rows
from densegrad.layers import flattened
from densegrad.losses import Loss, resolve


@dataclass
class LayerTrace:
    """The quantities of one layer: x -> z = x w + b -> y = f(z), and the loss's gradients.

    Shapes: x, dx (batch, in_features); z, y, dy, dz (batch, units); dw as w, db as b. ``db`` is ``None``
    where the layer has no bias; ``dw`` as well, and z = x, where it is an activation alone. dy is dLoss/d(output),
    dz is dLoss/dz.
    """

    name: str
    activation: str
    x: FloatArray
    z: FloatArray
    y: FloatArray
    dy: FloatArray
    dz: FloatArray
    dx: FloatArray
    dw: FloatArray | None
    db: FloatArray | None

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.activation})"]
        for quantity in ("x", "z", "y", "dy", "dz", "dx", "dw", "db"):
            value = getattr(self, quantity)
            if value is not None:
                text = np.array2string(value, precision=6, threshold=40, prefix=" " * 7)
                lines.append(f"  {quantity:>2} = {text}")
        return "\n".join(lines)


@dataclass
class Trace:
    """The loss of one batch and every layer's quantities, first layer first."""

    loss: float
    layers: list[LayerTrace]

    def __str__(self) -> str:
        return "\n".join([f"loss = {self.loss:.9g}", *map(str, self.layers)])


def trace(model: ModelCore, x: Any, y: Any, loss: str | Loss) -> Trace:
    """Run every op of the plan one by one, and keep what each gives."""
    ops = backend.active()
    named = resolve(f"{type(model).__name__}.trace", loss)
    model.require_built("trace")
    model.check_loss(f"{type(model).__name__}.trace", named)
    rows, y, _ = checked_rows(f"{type(model).__name__}.trace", model, named, x, y, None)
    x = whole(rows)
    lowered = model.lower(named)
    assert lowered.loss is not None
    for layer in flattened(model.layers):
        if layer.last_primitive not in names("activation"):
            raise ValueError(f"{type(model).__name__}.trace: expected Dense and Activation layers, got {layer!r}")

    values = {lowered.input: x}
    for node in lowered.nodes:
        source = values[node.inputs[0]]
        if node.primitive == "dense":
            values[node.output] = ops.dense_forward(source, *map(model.view, node.slots))
        else:
            values[node.output] = ops.activation_forward(node.primitive, source, **node.attributes)

    value, gradient = ops.loss(lowered.loss.primitive, values[lowered.loss.prediction], y, **lowered.loss.attributes)
    d = {lowered.loss.prediction: gradient}
    if lowered.loss.prediction != lowered.output:  # fused: the gradient of the output is only shown
        d[lowered.output] = _output_gradient(values[lowered.output], y, named)

    of_parameters: dict[int, tuple[FloatArray, FloatArray | None]] = {}  # dw and db of the dense nodes, by output
    for node in reversed(lowered.nodes):
        source, dy = values[node.inputs[0]], d[node.output]
        if node.primitive == "dense":
            dx, dw, db = ops.dense_backward(dy, source, model.view(node.slots[0]))
            d[node.inputs[0]] = dx
            of_parameters[node.output] = dw, db if len(node.slots) > 1 else None
        elif node.inputs[0] not in d:
            result = values[node.output]
            d[node.inputs[0]] = ops.activation_backward(node.primitive, dy, source, result, **node.attributes)

    layers = []
    for index, nodes in enumerate(_nodes_of_layers(model)):
        first, last = nodes[0], nodes[-1]
        z = first.output if first.primitive == "dense" else first.inputs[0]
        dw, db = of_parameters.get(first.output, (None, None))
        layers.append(
            LayerTrace(
                name=f"layers.{index}",
                activation="identity" if last.primitive == "dense" else last.primitive,
                x=values[first.inputs[0]],
                z=values[z],
                y=values[last.output],
                dy=d[last.output],
                dz=d[z],
                dx=d[first.inputs[0]],
                dw=dw,
                db=db,
            )
        )
    return Trace(value, layers)


def _nodes_of_layers(model: ModelCore) -> list[list[Node]]:
    """The plan's nodes, layer by layer."""
    assert model.input_size is not None
    builder, buffer, ends = PlanBuilder(model.input_size, model.noise_seed), 0, [0]
    for index, layer in enumerate(model.layers):
        buffer = layer.lower(builder, buffer, f"layers.{index}")
        ends.append(len(builder.nodes))
    return [builder.nodes[first:end] for first, end in pairwise(ends)]


def _output_gradient(y: FloatArray, target: FloatArray | IndexArray, loss: LossSpec) -> FloatArray:
    """dLoss/dy of a loss on probabilities y, the mean over the batch."""
    if loss.primitive == "binary_cross_entropy":
        gradient: FloatArray = backend.active().loss(loss.primitive, y, target)[1]
        return gradient
    t = np.eye(y.shape[1], dtype=y.dtype)[target] if target.ndim == 1 else target
    smoothing = loss.attributes["label_smoothing"]
    t = (1 - smoothing) * t + smoothing / y.shape[1]
    with np.errstate(divide="ignore", over="ignore"):  # infinite where y = 0 for a class that is true
        dy: FloatArray = np.where(t == 0, y.dtype.type(0), -t / np.where(t == 0, 1, y)) / y.dtype.type(len(y))
    return dy
