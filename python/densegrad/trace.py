"""One forward and backward pass with nothing hidden, for whoever learns backpropagation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import _backend, plan
from densegrad._numpy.types import FloatArray, IndexArray
from densegrad._primitives import names
from densegrad.evaluation import checked_rows
from densegrad.layers import flattened
from densegrad.losses import Loss, resolve

if TYPE_CHECKING:
    from densegrad.model import BaseModel


@dataclass
class LayerTrace:
    """What passed through one dense layer: x -> z = x w + b -> y = f(z), and the loss's gradients.

    Shapes: x, dx (batch, in_features); z, y, dy, dz (batch, units); dw as w, db as b. ``db`` is ``None``
    where the layer has no bias. dy is dLoss/d(output), dz is dLoss/d(linear part).
    """

    name: str
    activation: str
    x: FloatArray
    z: FloatArray
    y: FloatArray
    dy: FloatArray
    dz: FloatArray
    dx: FloatArray
    dw: FloatArray
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


def trace(model: BaseModel, x: Any, y: Any, loss: str | Loss) -> Trace:
    """Run every op of the plan one by one, and keep what each gives."""
    ops = _backend.active()
    named = resolve(f"{type(model).__name__}.trace", loss)
    model.require_built("trace")
    model.check_loss(f"{type(model).__name__}.trace", named)
    x, y, _ = checked_rows(f"{type(model).__name__}.trace", model, named, x, y, None)
    lowered = model.lower(named)
    assert lowered.loss is not None
    for layer in flattened(model.layers):
        if layer.last_primitive not in names("activation"):
            raise ValueError(f"{type(model).__name__}.trace: expected dense layers, got {layer!r}")

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

    layers: list[LayerTrace] = []
    activation, output = "identity", lowered.output
    for node in reversed(lowered.nodes):
        source, result, dy = values[node.inputs[0]], values[node.output], d[node.output]
        if node.primitive != "dense":
            activation, output = node.primitive, node.output
            if node.inputs[0] not in d:
                d[node.inputs[0]] = ops.activation_backward(activation, dy, source, result, **node.attributes)
            continue
        if activation == "identity":
            output = node.output
        dx, dw, db = ops.dense_backward(dy, source, model.view(node.slots[0]))
        d[node.inputs[0]] = dx
        layers.append(
            LayerTrace(
                name=node.slots[0].name.rsplit(".", 1)[0],
                activation=activation,
                x=source,
                z=result,
                y=values[output],
                dy=d[output],
                dz=dy,
                dx=dx,
                dw=dw,
                db=db if len(node.slots) > 1 else None,
            )
        )
        activation = "identity"
    return Trace(value, layers[::-1])


def _output_gradient(y: FloatArray, target: FloatArray | IndexArray, loss: plan.Loss) -> FloatArray:
    """dLoss/dy of a loss on probabilities y, the mean over the batch."""
    if loss.primitive == "binary_cross_entropy":
        gradient: FloatArray = _backend.active().loss(loss.primitive, y, target)[1]
        return gradient
    t = np.eye(y.shape[1], dtype=y.dtype)[target] if target.ndim == 1 else target
    smoothing = loss.attributes["label_smoothing"]
    t = (1 - smoothing) * t + smoothing / y.shape[1]
    with np.errstate(divide="ignore", over="ignore"):  # infinite where y = 0 for a class that is true
        dy: FloatArray = np.where(t == 0, y.dtype.type(0), -t / np.where(t == 0, 1, y)) / y.dtype.type(len(y))
    return dy
