"""Runs a plan with NumPy: forward, backward, update, many steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad._numpy import ops
from densegrad._numpy.accept import accept_batch, accept_floats
from densegrad._numpy.dense import dense_backward, dense_forward
from densegrad._numpy.types import FloatArray, IndexArray

if TYPE_CHECKING:
    from densegrad.plan import Node, Plan, Slot

_PREDICT_ROWS = 1024  # rows that one pass of predict holds activations for


class Network:
    """A plan bound to a parameter buffer, which it borrows and updates in place."""

    def __init__(self, plan: Plan, parameters: FloatArray, state: FloatArray | None = None) -> None:
        self._plan = plan
        self._parameters = parameters
        self._state = state
        self._gradients: FloatArray | None = None
        self._buffers: dict[int, FloatArray] = {}

    def predict(self, x: FloatArray, *, out: FloatArray | None = None) -> FloatArray:
        """The last layer's output for any number of rows; keeps nothing.

        Refuses, with ``TypeError`` or ``ValueError``, an x that is not exactly what the plan reads: dtype, shape,
        layout, finite numbers.
        """
        accept_floats("Network.predict", x, self._plan.dtype, (None, self._plan.widths[self._plan.input]))
        y = np.empty((len(x), self._plan.widths[self._plan.output]), x.dtype) if out is None else out
        for first in range(0, len(x), _PREDICT_ROWS):
            rows = slice(first, first + _PREDICT_ROWS)
            y[rows] = self._run(self._plan.nodes, x[rows])[self._plan.output]
        return y

    def forward(self, x: FloatArray, *, out: FloatArray | None = None) -> FloatArray:
        """The last layer's output for one batch; keeps every activation for ``backward``."""
        self._buffers = self._run(self._plan.nodes, x)
        y = self._buffers[self._plan.output]
        if out is None:
            return y.copy()
        out[...] = y
        return out

    def backward(self, dy: FloatArray, gradients: FloatArray) -> FloatArray:
        """dx for the batch of the last ``forward``; fills the flat ``gradients``."""
        if not self._buffers:
            raise ValueError("Network.backward: expected a forward before it, got none")
        if len(dy) != len(self._buffers[self._plan.input]):
            raise ValueError(
                f"Network.backward: expected dy of the {len(self._buffers[self._plan.input])} rows of the "
                f"last forward, got {len(dy)} rows"
            )
        return self._reverse({self._plan.output: dy}, self._buffers, gradients)

    def loss(self, x: FloatArray, y: FloatArray | IndexArray, sample_weight: FloatArray | None = None) -> float:
        """The loss of one batch."""
        return self._loss(self._run(self._training_nodes(), x), y, sample_weight)[0]

    def loss_and_gradients(
        self,
        x: FloatArray,
        y: FloatArray | IndexArray,
        gradients: FloatArray,
        sample_weight: FloatArray | None = None,
        *,
        dx: FloatArray | None = None,
    ) -> float:
        """The loss of one batch; fills the flat ``gradients``, and ``dx`` where it is given."""
        buffers = self._run(self._training_nodes(), x)
        value, dp = self._loss(buffers, y, sample_weight)
        assert self._plan.loss is not None
        input_gradient = self._reverse({self._plan.loss.prediction: dp}, buffers, gradients)
        if dx is not None:
            dx[...] = input_gradient
        return value

    def apply_gradients(self, gradients: FloatArray, lr: float, step: int = 0) -> None:
        """Update every trainable parameter from the flat ``gradients``."""
        optimizer = self._plan.optimizer
        if optimizer is None:
            raise ValueError("Network: expected a plan with an optimizer, got one without")
        for start, stop in trainable_spans(self._plan):
            ops.optimizer_update(
                optimizer.primitive,
                self._parameters[start:stop],
                gradients[start:stop],
                None if self._state is None else self._state[:, start:stop],
                step,
                lr,
                **dict(optimizer.attributes),
            )

    def step(
        self,
        x: FloatArray,
        y: FloatArray | IndexArray,
        lr: float,
        step: int = 0,
        sample_weight: FloatArray | None = None,
    ) -> float:
        """One training step on one batch; a loss that is not finite is returned before any update.

        Refuses, with ``TypeError`` or ``ValueError``, a batch that is not exactly what the plan reads: dtype,
        shape, layout, finite numbers, targets in range.
        """
        accept_batch(self._plan, x, y, sample_weight)
        return self._step(x, y, lr, step, sample_weight)

    def _step(
        self, x: FloatArray, y: FloatArray | IndexArray, lr: float, step: int, sample_weight: FloatArray | None
    ) -> float:
        if self._gradients is None:
            self._gradients = np.zeros_like(self._parameters)
        value = self.loss_and_gradients(x, y, self._gradients, sample_weight)
        if np.isfinite(value):
            self.apply_gradients(self._gradients, lr, step)
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
        step: int = 0,
        sample_weight: FloatArray | None = None,
    ) -> int:
        """Steps ``first`` to ``first + count - 1`` of an epoch; gives how many were run.

        Step i trains on the rows ``order[i * batch_size : (i + 1) * batch_size]`` with
        ``learning_rates[i - first]`` and writes its loss to ``losses[i - first]``. A loss that is not
        finite ends the run before its update.
        """
        for i in range(count):
            rows = order[(first + i) * batch_size : (first + i + 1) * batch_size]
            weights = None if sample_weight is None else sample_weight[rows]
            losses[i] = self._step(x[rows], y[rows], float(learning_rates[i]), step + i, weights)
            if not np.isfinite(losses[i]):
                return i + 1
        return count

    def _training_nodes(self) -> tuple[Node, ...]:
        """The nodes that the loss depends on."""
        if self._plan.loss is None:
            raise ValueError("Network: expected a plan with a loss, got one without")
        needed = {self._plan.loss.prediction}
        for node in reversed(self._plan.nodes):
            if node.output in needed:
                needed.update(node.inputs)
        return tuple(node for node in self._plan.nodes if node.output in needed)

    def _run(self, nodes: tuple[Node, ...], x: FloatArray) -> dict[int, FloatArray]:
        buffers = {self._plan.input: x}
        for node in nodes:
            (source,) = (buffers[i] for i in node.inputs)
            if node.primitive == "dense":
                arrays = [self._view(self._parameters, slot) for slot in node.slots]
                buffers[node.output] = dense_forward(source, *arrays)
            else:
                buffers[node.output] = ops.activation_forward(node.primitive, source, **dict(node.attributes))
        return buffers

    def _reverse(self, d: dict[int, FloatArray], buffers: dict[int, FloatArray], gradients: FloatArray) -> FloatArray:
        """Propagates the gradients ``d`` of some buffers back to the input; fills ``gradients``."""
        for node in reversed(self._plan.nodes):
            if node.output not in d:
                continue
            dy, (source,) = d.pop(node.output), (buffers[i] for i in node.inputs)
            if node.primitive == "dense":
                w = self._view(self._parameters, node.slots[0])
                dx, *rest = dense_backward(dy, source, w)
                for slot, value in zip(node.slots, rest, strict=False):  # no slot for b: no db
                    self._view(gradients, slot)[...] = value
            else:
                y = buffers[node.output]
                dx = ops.activation_backward(node.primitive, dy, source, y, **dict(node.attributes))
            (i,) = node.inputs
            d[i] = d[i] + dx if i in d else dx
        return d[self._plan.input]

    def _loss(
        self, buffers: dict[int, FloatArray], y: FloatArray | IndexArray, sample_weight: FloatArray | None
    ) -> tuple[float, FloatArray]:
        loss = self._plan.loss
        assert loss is not None
        return ops.loss(loss.primitive, buffers[loss.prediction], y, sample_weight, **dict(loss.attributes))

    @staticmethod
    def _view(flat: FloatArray, slot: Slot) -> Any:
        return flat[slot.offset : slot.offset + slot.size].reshape(slot.shape)


def trainable_spans(plan: Plan) -> list[tuple[int, int]]:
    """The trainable parts of the flat buffer, neighbours merged."""
    spans: list[tuple[int, int]] = []
    for slot in (slot for node in plan.nodes for slot in node.slots if slot.trainable):
        start, stop = slot.offset, slot.offset + slot.size
        if spans and spans[-1][1] == start:
            start = spans.pop()[0]
        spans.append((start, stop))
    return spans
