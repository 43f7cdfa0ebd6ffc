"""A subgraph of a program that is a network: one primitive, run by one ``Network`` of the active backend."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.memory import aligned_zeros
from densegrad._base.plan import Plan, Slot
from densegrad._base.primitives import PRIMITIVES
from densegrad._base.types import FloatArray
from densegrad._plan import backend
from densegrad.graph.compile.program import Program
from densegrad.graph.core.primitives import Derivatives, Primitive
from densegrad.graph.core.recording import here
from densegrad.graph.core.tensor import Node, Tensor, new
from densegrad.graph.transforms import cotangents, jvp


class FusedSubgraph(Primitive):
    """The output of a plan, or its loss, from x, target and weights where it has a loss, and the parameters.

    Values and first derivatives in reverse mode come from the network, all others from the formula.

    Args:
        formula: The same as a program.
        plan: What the network runs.
        targets: How many inputs behind x are target and weights.
    """

    def __init__(self, formula: Program, plan: Plan, targets: int) -> None:
        super().__init__("network", lambda *arrays: self._ready().value(arrays))
        self.formula = formula
        self.plan = plan
        self.targets = targets
        self._local = threading.local()  # a network has one set of activations

    def replay(self, *inputs: Tensor, **attributes: Any) -> Tensor:
        """Value and node; with the gradients at once where they will be asked for."""
        self._check(inputs)
        arrays = [np.ascontiguousarray(t._array) for t in inputs]
        recorded = not here.paused and any(t.node is not None for t in inputs)
        network = self._ready()
        try:
            if not recorded:
                return new(network.value(arrays))
            array = network.train(arrays, inputs[0].node is not None)
        except (TypeError, ValueError):  # what the network refuses, such as NaN, goes step by step
            return self.formula.run(inputs)[0]
        return new(array, Node(self, inputs, attributes, array))

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """The formula's."""
        dy: Tensor = jvp(self._formula, inputs, tangents)[1]
        return dy

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """The network's, unless the traversal is recorded or goes on into target or weights."""
        if not here.paused or any(needed[1 : 1 + self.targets]):
            return cotangents(self._formula, needed, dy, inputs)
        network = self._ready()
        if network.output is not y._array:
            network.train([np.ascontiguousarray(t._array) for t in inputs], needed[0])
        dx, gradients = network.backward(dy._array)
        return [None if dx is None else new(dx), *[None] * self.targets, *map(new, gradients)]

    def _formula(self, *inputs: Tensor) -> Tensor:
        return self.formula.run(inputs)[0]

    def _ready(self) -> _Network:
        """This thread's network on the active backend."""
        network: _Network | None = getattr(self._local, "network", None)
        if network is None or network.module is not backend.active():
            network = self._local.network = _Network(self.plan, self.targets)
        return network

    def _check(self, inputs: Sequence[Tensor]) -> None:
        """The targets and weights, which the kernels trust."""
        if self.plan.loss is None:
            return
        loss, dtype = self.plan.loss, self.plan.dtype
        rows, target, *weights = len(inputs[0]), *inputs[1 : 1 + self.targets]
        row, outputs = PRIMITIVES[loss.primitive], self.plan.widths[loss.prediction]
        check.targets(loss.primitive, row, target._array, rows, outputs, dtype)
        for s in weights:
            check.sample_weight(loss.primitive, s._array, rows, dtype)

    def __repr__(self) -> str:
        return f"<network {self}>"

    def __str__(self) -> str:
        names = [node.primitive for node in self.plan.nodes]
        return " -> ".join(names if self.plan.loss is None else [*names, self.plan.loss.primitive])


class _Network:
    """A network with parameters of its own, into which those of a call are copied.

    Attributes:
        module: The backend that it is of.
        output: What ``train`` gave last, whose derivatives ``backward`` gives.
    """

    def __init__(self, plan: Plan, targets: int) -> None:
        self.module = backend.active()
        self.output: FloatArray | None = None
        self._has_loss, self._targets = plan.loss is not None, targets
        self._slots = [slot for node in plan.nodes for slot in node.slots]
        parameters = aligned_zeros(plan.parameter_count, plan.dtype)
        self._views = parts(parameters, self._slots)
        self._size, self._dtype = parameters.size, plan.dtype
        self._network = self.module.Network(plan, parameters)
        self._dx: FloatArray | None = None
        self._gradients: FloatArray | None = None

    def value(self, arrays: Sequence[FloatArray]) -> FloatArray:
        """The output or loss."""
        x, y, weights = self._load(arrays)
        if self._has_loss:
            return np.array(self._network.loss(x, y, weights), self._dtype)
        output: FloatArray = self._network.predict(x)
        return output

    def train(self, arrays: Sequence[FloatArray], with_dx: bool) -> FloatArray:
        """The output or loss, with what ``backward`` needs; of a loss the gradients at once."""
        x, y, weights = self._load(arrays)
        if not self._has_loss:
            self.output = self._network.forward(x)
            return self.output
        self._gradients = np.empty(self._size, self._dtype)
        self._dx = np.empty_like(x) if with_dx else None
        loss = self._network.loss_and_gradients(x, y, self._gradients, weights, dx=self._dx)
        self.output = np.array(loss, self._dtype)
        return self.output

    def backward(self, dy: FloatArray) -> tuple[FloatArray | None, list[FloatArray]]:
        """dx, and the gradient of each array of parameters."""
        if not self._has_loss:
            gradients = np.empty(self._size, self._dtype)
            dx: FloatArray = self._network.backward(np.ascontiguousarray(dy), gradients)
            return dx, parts(gradients, self._slots)
        assert self._gradients is not None
        if dy == 1:
            return self._dx, parts(self._gradients, self._slots)
        return None if self._dx is None else self._dx * dy, parts(self._gradients * dy, self._slots)

    def _load(self, arrays: Sequence[FloatArray]) -> tuple[FloatArray, Any, FloatArray | None]:
        """x, target and weights; the parameters are copied, and what ``train`` gave before is past."""
        self.output = None
        first = 1 + self._targets
        for view, array in zip(self._views, arrays[first:], strict=True):
            view[...] = array
        y, weights, *_ = *arrays[1:first], None, None
        return arrays[0], y, weights


def parts(flat: FloatArray, slots: Sequence[Slot]) -> list[FloatArray]:
    """The views of a flat buffer that slots name."""
    return [flat[slot.offset : slot.offset + slot.size].reshape(slot.shape) for slot in slots]
