"""Runs a plan with NumPy: forward, backward, update, many steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad._base.plan import Node, Plan, Slot
from densegrad._base.types import FloatArray, IndexArray
from densegrad._numpy import gradients as whole
from densegrad._numpy import layers, ops
from densegrad._numpy.dense import dense_backward, dense_forward
from densegrad._numpy.loss_terms import loss_of
from densegrad._numpy.validate import validate_batch, validate_floats

_PREDICT_ROWS = 1024  # rows that one pass of predict holds activations for


class Network:
    """A plan bound to a parameter buffer, which it borrows and updates in place."""

    def __init__(self, plan: Plan, parameters: FloatArray, state: FloatArray | None = None) -> None:
        self._plan = plan
        self._parameters = parameters
        self._state = state
        self._gradients: FloatArray | None = None
        self._buffers: dict[int, FloatArray] = {}
        self._forward_step = 0

    @property
    def threads(self) -> int:
        """Threads that the last step ran on; those of NumPy's library are not counted."""
        return 1

    def predict(self, x: FloatArray, *, out: FloatArray | None = None) -> FloatArray:
        """The last layer's output for any number of rows; keeps nothing.

        Refuses, with ``TypeError`` or ``ValueError``, an x that is not exactly what the plan reads: dtype, shape,
        layout, finite numbers.
        """
        validate_floats("Network.predict", x, self._plan.dtype, (None, self._plan.widths[self._plan.input]))
        y = np.empty((len(x), self._plan.widths[self._plan.output]), x.dtype) if out is None else out
        for first in range(0, len(x), _PREDICT_ROWS):
            rows = slice(first, first + _PREDICT_ROWS)
            y[rows] = self._run(self._plan.output, x[rows])[self._plan.output]
        return y

    def forward(self, x: FloatArray, *, out: FloatArray | None = None, step: int = 0) -> FloatArray:
        """The last layer's output for one batch in training; keeps every activation for ``backward``."""
        self._buffers, self._forward_step = self._run(self._plan.output, x, step), step
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
        return self._reverse(
            self._plan.output, dy, self._buffers, gradients, self._forward_step, updates_running_statistics=True
        )

    def loss(self, x: FloatArray, y: FloatArray | IndexArray, sample_weight: FloatArray | None = None) -> float:
        """The loss of one batch as predict sees it."""
        value = self._loss(self._run(self._prediction(), x), y, sample_weight)[0]
        return value + self._penalize(np.zeros_like(self._parameters), len(x), sample_weight)

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
        return self._loss_and_gradients(x, y, gradients, sample_weight, dx, step, updates_running_statistics=False)

    def _loss_and_gradients(
        self,
        x: FloatArray,
        y: FloatArray | IndexArray,
        gradients: FloatArray,
        sample_weight: FloatArray | None,
        dx: FloatArray | None,
        step: int,
        *,
        updates_running_statistics: bool,
    ) -> float:
        prediction = self._prediction()
        buffers = self._run(prediction, x, step)
        value, dp = self._loss(buffers, y, sample_weight)
        if updates_running_statistics and not np.isfinite(value):
            return value
        input_gradient = self._reverse(
            prediction, dp, buffers, gradients, step, updates_running_statistics=updates_running_statistics
        )
        if dx is not None:
            dx[...] = input_gradient
        return value + self._penalize(gradients, len(x), sample_weight)

    def _penalize(self, gradients: FloatArray, rows: int, sample_weight: FloatArray | None) -> float:
        """Adds the gradients of the penalties; gives their value."""
        share = whole.share(rows, sample_weight) if self._plan.batch_shares_penalty else 1.0
        slots = [slot for slot in self._plan.slots if slot.trainable and (slot.l1 or slot.l2)]
        return sum(
            whole.penalize(
                self._view(self._parameters, slot), share * slot.l1, share * slot.l2, self._view(gradients, slot)
            )
            for slot in slots
        )

    def apply_gradients(self, gradients: FloatArray, lr: float, updates: int = 0) -> None:
        """Update every trainable parameter from the flat ``gradients``."""
        optimizer = self._plan.optimizer
        if optimizer is None:
            raise ValueError("Network: expected a plan with an optimizer, got one without")
        spans = [slice(start, stop) for start, stop in trainable_spans(self._plan)]
        if optimizer.clip_value or optimizer.clip_norm:
            gradients = gradients.copy()
            whole.clip([gradients[span] for span in spans], optimizer.clip_value, optimizer.clip_norm)
        rows = None if self._state is None else self._state[: len(self._state) - (optimizer.average > 0)]
        for span in spans:
            ops.optimizer_update(
                optimizer.primitive,
                self._parameters[span],
                gradients[span],
                None if rows is None else rows[:, span],
                updates,
                lr,
                **dict(optimizer.attributes),
            )
            if optimizer.average:
                assert self._state is not None
                whole.moving_average(self._state[-1, span], self._parameters[span], 1 - optimizer.average)

    def step(
        self,
        x: FloatArray,
        y: FloatArray | IndexArray,
        lr: float,
        updates: int = 0,
        sample_weight: FloatArray | None = None,
    ) -> float:
        """One training step on one batch; a loss that is not finite is returned before any update.

        Refuses, with ``TypeError`` or ``ValueError``, a batch that is not exactly what the plan reads: dtype,
        shape, layout, finite numbers, targets in range.
        """
        validate_batch(self._plan, x, y, sample_weight)
        return self._step(x, y, lr, updates, sample_weight)

    def _step(
        self, x: FloatArray, y: FloatArray | IndexArray, lr: float, updates: int, sample_weight: FloatArray | None
    ) -> float:
        if self._gradients is None:
            self._gradients = np.zeros_like(self._parameters)
        value = self._loss_and_gradients(
            x, y, self._gradients, sample_weight, None, updates, updates_running_statistics=True
        )
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
        """Steps ``first`` to ``first + count - 1`` of an epoch; gives how many were run.

        Step i trains on the rows ``order[i * batch_size : (i + 1) * batch_size]`` with
        ``learning_rates[i - first]`` and writes its loss to ``losses[i - first]``. A loss that is not
        finite ends the run before its update.
        """
        for i in range(count):
            rows = order[(first + i) * batch_size : (first + i + 1) * batch_size]
            weights = None if sample_weight is None else sample_weight[rows]
            losses[i] = self._step(x[rows], y[rows], float(learning_rates[i]), updates + i, weights)
            if not np.isfinite(losses[i]):
                return i + 1
        return count

    def _prediction(self) -> int:
        """The buffer that the loss reads."""
        if self._plan.loss is None:
            raise ValueError("Network: expected a plan with a loss, got one without")
        return self._plan.loss.prediction

    def _needed(self, buffer: int) -> tuple[Node, ...]:
        """The nodes that a buffer depends on."""
        needed = {buffer}
        for node in reversed(self._plan.nodes):
            if node.output in needed:
                needed.update(node.inputs)
        return tuple(node for node in self._plan.nodes if node.output in needed)

    def _run(self, buffer: int, x: FloatArray, step: int | None = None) -> dict[int, FloatArray]:
        """Every buffer up to the one asked for; with the number of a step, as in training."""
        buffers = {self._plan.input: x}
        for node in self._needed(buffer):
            sources = [buffers[i] for i in node.inputs]
            with np.errstate(all="ignore"):
                buffers[node.output] = self._forward(node, sources, step)
        return buffers

    def _forward(self, node: Node, sources: list[FloatArray], step: int | None) -> FloatArray:
        x = sources[0]
        arrays = self._arrays(node)
        attributes = dict(node.attributes)
        if node.primitive == "dense":
            return dense_forward(x, *arrays)
        if node.primitive == "add":
            return x + sources[1]
        if node.primitive == "concatenate":
            return np.concatenate(sources, axis=1)
        if node.primitive == "columns":
            return layers.columns_forward(x, int(attributes["first"]), self._plan.widths[node.output])
        if node.primitive == "dropout":
            if step is None:
                return x
            return layers.dropout_apply(x, layers.dropout_mask(x.shape, step=step, **attributes), attributes["rate"])
        if node.primitive == "batch_norm":
            gamma, beta, mean, variance = arrays
            if step is None:
                return layers.batch_norm_predict(x, gamma, beta, mean, variance, attributes["eps"])
            return layers.batch_norm_forward(x, gamma, beta, attributes["eps"])
        if forward := getattr(layers, f"{node.primitive}_forward", None):
            y: FloatArray = forward(x, *arrays, **attributes)
            return y
        return ops.activation_forward(node.primitive, x, **attributes)

    def _reverse(
        self,
        buffer: int,
        dy: FloatArray,
        buffers: dict[int, FloatArray],
        gradients: FloatArray,
        step: int,
        *,
        updates_running_statistics: bool,
    ) -> FloatArray:
        """Propagates the gradient of a buffer back to the input; fills ``gradients``."""
        d = {buffer: dy}
        reached: set[int] = set()  # slots, by their offsets
        for node in reversed(self._needed(buffer)):
            sources = [buffers[i] for i in node.inputs]
            with np.errstate(all="ignore"):
                dx, arrays = self._backward(node, d.pop(node.output), sources, buffers[node.output], step)
                if updates_running_statistics and node.primitive == "batch_norm":
                    _, _, mean, variance = self._arrays(node)
                    layers.batch_norm_averages(sources[0], mean, variance, node.attributes["momentum"])
            for slot, value in zip(node.slots, arrays, strict=True):
                view = self._view(gradients, slot)
                view[...] = view + value if slot.offset in reached else value
            reached.update(slot.offset for slot in node.slots)
            for i, part in zip(node.inputs, dx, strict=True):
                d[i] = d[i] + part if i in d else part
        return d[self._plan.input]

    def _backward(
        self, node: Node, dy: FloatArray, sources: list[FloatArray], y: FloatArray, step: int
    ) -> tuple[tuple[FloatArray, ...], tuple[FloatArray | None, ...]]:
        """dx for each input, and the gradient of each array of parameters."""
        x = sources[0]
        arrays = self._arrays(node)
        attributes = dict(node.attributes)
        if node.primitive == "dense":
            dx, *rest = dense_backward(dy, x, arrays[0])
            return (dx,), tuple(rest[: len(node.slots)])
        if node.primitive == "add":
            return (dy, dy), ()
        if node.primitive == "concatenate":
            return (dy[:, : x.shape[1]], dy[:, x.shape[1] :]), ()
        if node.primitive == "columns":
            return (layers.columns_backward(dy, x, int(attributes["first"])),), ()
        if node.primitive == "dropout":
            mask = layers.dropout_mask(x.shape, step=step, **attributes)
            return (layers.dropout_apply(dy, mask, attributes["rate"]),), ()
        if node.primitive == "standardize":
            dx, gradients = layers.standardize_backward(dy, arrays[1])
        elif node.primitive in {"batch_norm", "layer_norm"}:
            backward = getattr(layers, f"{node.primitive}_backward")
            dx, gradients = backward(dy, x, arrays[0], attributes["eps"])
        elif backward := getattr(layers, f"{node.primitive}_backward", None):
            dx, gradients = backward(dy, x, *arrays)
        else:
            dx, gradients = ops.activation_backward(node.primitive, dy, x, y, **attributes), ()
        return (dx,), gradients

    def _arrays(self, node: Node) -> list[FloatArray]:
        return [self._view(self._parameters, slot) for slot in node.slots]

    def _loss(
        self, buffers: dict[int, FloatArray], y: FloatArray | IndexArray, sample_weight: FloatArray | None
    ) -> tuple[float, FloatArray]:
        return loss_of(self._plan, buffers[self._prediction()], y, sample_weight)

    @staticmethod
    def _view(flat: FloatArray, slot: Slot) -> Any:
        return flat[slot.offset : slot.offset + slot.size].reshape(slot.shape)


def trainable_spans(plan: Plan) -> list[tuple[int, int]]:
    """The trainable parts of the flat buffer, neighbours merged."""
    spans: list[tuple[int, int]] = []
    for slot in (slot for slot in plan.slots if slot.trainable):
        start, stop = slot.offset, slot.offset + slot.size
        if spans and spans[-1][1] == start:
            start = spans.pop()[0]
        spans.append((start, stop))
    return spans
