"""Networks for plans that Python takes part in, by an activation or the loss: what lies between runs on the backend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from densegrad._base.plan import LossTerm, Node, Plan
from densegrad._base.types import FloatArray, IndexArray
from densegrad._plan import backend


def network_of(plan: Plan, parameters: FloatArray, state: FloatArray | None = None) -> Any:
    """The backend's ``Network`` for a plan, or a ``SplitNetwork`` where Python takes part in it."""
    if any(map(_is_python, plan.nodes)) or _has_python_loss(plan):
        return SplitNetwork(plan, parameters, state)
    return backend.active().Network(plan, parameters, state)


class SplitNetwork:
    """A plan cut where Python takes part, with the methods of ``Network``."""

    def __init__(self, plan: Plan, parameters: FloatArray, state: FloatArray | None) -> None:
        if plan.loss is not None and plan.loss.terms:
            raise ValueError("model: expected one loss where a Python activation splits the plan, got a sum of several")
        self._plan = plan
        self._parameters = parameters
        self._updates = backend.active().Network(_without_python(plan), parameters, state)
        self._to_output = Segments(plan, plan.output, parameters)
        self._to_prediction = self._to_output
        if plan.loss is not None and plan.loss.prediction != plan.output:
            self._to_prediction = Segments(plan, plan.loss.prediction, parameters)
        self._gradients = np.zeros_like(parameters)

    @property
    def threads(self) -> int:
        """Threads that the last step of the parts on the backend ran on."""
        return int(self._updates.threads)

    def predict(self, x: FloatArray) -> FloatArray:
        """The last layer's output."""
        return self._to_output.predict(x)

    def forward(self, x: FloatArray, *, step: int = 0) -> FloatArray:
        """The last layer's output in training, kept for ``backward``."""
        return self._to_output.forward(x, step)

    def backward(self, dy: FloatArray, gradients: FloatArray) -> FloatArray:
        """dx; fills the flat ``gradients``."""
        return self._to_output.backward(dy, gradients)

    def loss(self, x: FloatArray, y: FloatArray | IndexArray, sample_weight: FloatArray | None = None) -> float:
        """The loss of one batch as predict sees it."""
        value, _ = self._loss(self._to_prediction.predict(x), y, sample_weight)
        return value + self._penalty(np.zeros_like(self._parameters), len(x), sample_weight)

    def loss_and_gradients(
        self,
        x: FloatArray,
        y: FloatArray | IndexArray,
        gradients: FloatArray,
        sample_weight: FloatArray | None = None,
        *,
        dx: FloatArray | None = None,
        step: int = 0,
    ) -> float:
        """The loss of one batch in training; fills the flat ``gradients``, and ``dx`` where it is given."""
        value, dp = self._loss(self._to_prediction.forward(x, step), y, sample_weight)
        if not np.isfinite(value):
            return value
        input_gradient = self._to_prediction.backward(dp, gradients)
        if dx is not None:
            dx[...] = input_gradient
        return value + self._penalty(gradients, len(x), sample_weight)

    def apply_gradients(self, gradients: FloatArray, lr: float, updates: int = 0) -> None:
        """Update every trainable parameter."""
        self._updates.apply_gradients(gradients, lr, updates)

    def step(
        self,
        x: FloatArray,
        y: FloatArray | IndexArray,
        lr: float,
        updates: int = 0,
        sample_weight: FloatArray | None = None,
    ) -> float:
        """One training step; a loss that is not finite is given back without an update."""
        if not np.isfinite(x).all():
            raise ValueError("Network.step: a number is not finite")
        value = self.loss_and_gradients(x, y, self._gradients, sample_weight, step=updates)
        if np.isfinite(value):
            self.apply_gradients(self._gradients, lr, updates)
        return value

    def run_steps(
        self,
        x: FloatArray,
        y: FloatArray | IndexArray,
        order: IndexArray,
        first: int,
        count: int,
        batch_size: int,
        learning_rates: FloatArray,
        losses: FloatArray,
        updates: int = 0,
        sample_weight: FloatArray | None = None,
    ) -> int:
        """Steps ``first`` to ``first + count - 1`` of an epoch; gives how many were run."""
        for i in range(count):
            rows = order[(first + i) * batch_size : (first + i + 1) * batch_size]
            weights = None if sample_weight is None else sample_weight[rows]
            losses[i] = self.step(x[rows], y[rows], float(learning_rates[i]), updates + i, weights)
            if not np.isfinite(losses[i]):
                return i + 1
        return count

    def _loss(
        self, prediction: FloatArray, y: FloatArray | IndexArray, sample_weight: FloatArray | None
    ) -> tuple[float, FloatArray]:
        assert self._plan.loss is not None
        (term,) = self._plan.loss.each()
        return loss_and_gradient(term, prediction, y, sample_weight)

    def _penalty(self, gradients: FloatArray, rows: int, sample_weight: FloatArray | None) -> float:
        """l1 |w| + l2 w^2 / 2 over the penalised parameters; adds its gradient."""
        value, share = 0.0, 1.0
        if self._plan.batch_shares_penalty:
            weight = float(rows) if sample_weight is None else float(sample_weight.sum(dtype=np.float64))
            share = 1 / weight if weight else 0.0
        for slot in (slot for slot in self._plan.slots if slot.trainable):
            part = slice(slot.offset, slot.offset + slot.size)
            w = self._parameters[part]
            gradients[part] += share * (slot.l1 * np.sign(w) + slot.l2 * w)
            value += share * float((slot.l1 * np.abs(w) + slot.l2 / 2 * w * w).sum(dtype=np.float64))
        return value


class Segments:
    """The way from the input to one buffer: networks, and between two of them a Python activation."""

    def __init__(self, plan: Plan, output: int, parameters: FloatArray) -> None:
        self._networks: list[Any] = []
        self._functions: list[Any] = []
        self._values: list[tuple[FloatArray, FloatArray]] = []  # z and y of each function
        source, nodes = plan.input, []
        taken: dict[int, int] = {}  # slots by offset, and the segment that has them
        for node in _needed(plan, output):
            if not _is_python(node):
                nodes.append(node)
                if any(taken.setdefault(slot.offset, len(self._networks)) < len(self._networks) for slot in node.slots):
                    raise ValueError(
                        "model: expected a layer called on one side of a Python activation, got it on both"
                    )
                continue
            self._networks.append(_segment(plan, nodes, source, node.inputs[0], parameters))
            self._functions.append(node.attributes["function"])
            source, nodes = node.output, []
        self._networks.append(_segment(plan, nodes, source, output, parameters))

    def predict(self, x: FloatArray) -> FloatArray:
        for network, function in zip(self._networks, self._functions, strict=False):
            x = _forward(function, network.predict(x))
        y: FloatArray = self._networks[-1].predict(x)
        return y

    def forward(self, x: FloatArray, step: int) -> FloatArray:
        self._values = []
        for network, function in zip(self._networks, self._functions, strict=False):
            z = network.forward(x, step=step)
            x = _forward(function, z)
            self._values.append((z, x))
        y: FloatArray = self._networks[-1].forward(x, step=step)
        return y

    def backward(self, dy: FloatArray, gradients: FloatArray) -> FloatArray:
        d: FloatArray = self._networks[-1].backward(dy, gradients)
        behind = zip(self._networks[-2::-1], self._functions[::-1], self._values[::-1], strict=True)
        for network, function, (z, y) in behind:
            dz = _as(z, function.backward(d, z, y), f"{type(function).__name__}.backward: expected dz")
            d = network.backward(dz, gradients)
        return d


def loss_and_gradient(
    term: LossTerm, prediction: FloatArray, y: FloatArray | IndexArray, sample_weight: FloatArray | None
) -> tuple[float, FloatArray]:
    """The mean loss over the rows and its gradient with respect to the prediction."""
    if term.primitive == "python":
        value, gradient = term.attributes["function"](prediction, y, sample_weight)
    else:
        value, gradient = backend.active().loss(term.primitive, prediction, y, sample_weight, **term.attributes)
    return float(value), gradient


def _has_python_loss(plan: Plan) -> bool:
    return plan.loss is not None and plan.loss.primitive == "python"


def _without_python(plan: Plan) -> Plan:
    """The same parameters, in a plan that the backend takes."""
    if _has_python_loss(plan):
        plan = replace(plan, loss=None)
    nodes = (replace(node, primitive="identity", attributes={}) if _is_python(node) else node for node in plan.nodes)
    return replace(plan, nodes=tuple(nodes))


def _is_python(node: Node) -> bool:
    return node.primitive == "python"


def _needed(plan: Plan, output: int) -> list[Node]:
    """The nodes that a buffer depends on."""
    needed, found = {output}, []
    for node in reversed(plan.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            found.append(node)
    return found[::-1]


def _segment(plan: Plan, nodes: list[Node], source: int, output: int, parameters: FloatArray) -> Any:
    """The network of the nodes between two buffers."""
    inside = {source, *(node.output for node in nodes)}
    if not inside.issuperset(i for node in nodes for i in node.inputs) or output not in inside:
        raise ValueError(
            "model: expected a Python activation outside of Residual, with no way past it, where the plan can be split"
        )
    if not nodes:  # two Python activations in a row, or one at an end
        nodes = [Node("identity", (source,), len(plan.widths))]
        plan, output = replace(plan, widths=(*plan.widths, plan.widths[source])), len(plan.widths)
    part = replace(plan, nodes=tuple(nodes), input=source, output=output, loss=None, optimizer=None)
    return backend.active().Network(part, parameters)


def _forward(function: Any, z: FloatArray) -> FloatArray:
    return _as(z, function.forward(z), f"{type(function).__name__}.forward: expected y")


def _as(z: FloatArray, value: Any, caller: str) -> FloatArray:
    """The result of a user's function, of the shape and dtype of z."""
    result = np.ascontiguousarray(value, dtype=z.dtype)
    if result.shape != z.shape:
        raise ValueError(f"{caller} of shape {z.shape}, got {result.shape}")
    return result
