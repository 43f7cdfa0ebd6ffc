"""The library's losses as functions of Tensors: value and gradient by the kernels of the active backend.

Where a traversal is itself recorded, or goes on into targets or weights, the derivative is that of the loss's formula
in operations on Tensors, which gives the loss of each row. Each row of the table has its line here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.primitives import PRIMITIVES
from densegrad._base.primitives import PrimitiveRow as Row
from densegrad._base.types import FloatArray
from densegrad._plan import backend
from densegrad.graph.core.primitives import Derivatives, Primitive, cast
from densegrad.graph.core.recording import here
from densegrad.graph.core.tensor import Tensor, as_tensor, new
from densegrad.graph.operations.activations import log_softmax, softplus
from densegrad.graph.operations.elementwise import abs, clip, exp, log, maximum, where
from densegrad.graph.operations.reductions import mean, sum
from densegrad.graph.operations.shapes import reshape
from densegrad.graph.operations.vocabulary import defaults_of, named
from densegrad.graph.transforms import cotangents, jvp

Formula = Callable[..., Tensor]


class _Loss(Primitive):
    """The mean of l(p, t) over the rows, weighted where there are weights."""

    in_table = True

    def __init__(self, name: str, formula: Formula) -> None:
        super().__init__(name, lambda *arrays, **attributes: self._by_kernel(*arrays, **attributes)[0])
        self._formula = formula

    def replay(self, *inputs: Tensor, **attributes: Any) -> Tensor:
        """Value and node, once the numbers have been checked."""
        p, t, *weight = inputs
        _checked(PRIMITIVES[self.name], p, t, *weight)
        return self(*inputs, **attributes)

    def _by_kernel(self, *arrays: FloatArray, **attributes: float) -> tuple[FloatArray, FloatArray]:
        """Value and gradient with respect to the prediction."""
        p = np.ascontiguousarray(arrays[0])
        value, gradient = backend.active().loss(self.name, p, *arrays[1:], **attributes)
        return np.array(value, p.dtype), gradient

    def _by_formula(self, p: Tensor, t: Tensor, *weight: Tensor, **attributes: float) -> Tensor:
        rows = self._formula(p, t, **attributes)
        return sum(rows * weight[0]) / sum(weight[0]) if weight else mean(rows)

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """The gradient times the tangent."""
        if here.paused and tangents[0] is not None and all(d is None for d in tangents[1:]):
            return sum(tangents[0] * new(self._by_kernel(*(x._array for x in inputs), **attributes)[1]))
        dy: Tensor = jvp(partial(self._by_formula, **attributes), inputs, tangents)[1]
        return dy

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """The gradient times dy."""
        if here.paused and not any(needed[1:]):
            return [
                dy * new(self._by_kernel(*(x._array for x in inputs), **attributes)[1]),
                *(None for _ in inputs[1:]),
            ]
        return cotangents(partial(self._by_formula, **attributes), needed, dy, inputs)


def _loss(name: str, formula: Formula) -> Callable[..., Tensor]:
    """A loss with its formula, which gives the loss of each row from (p, t) and the attributes."""
    row = PRIMITIVES[name]
    primitive = _Loss(name, formula)
    defaults = defaults_of(row)

    def loss(prediction: Any, target: Any, sample_weight: Any = None, **attributes: float) -> Tensor:
        inputs = _checked(row, as_tensor(name, prediction), target, sample_weight)
        return primitive(*inputs, **(check.attributes(name, row, attributes) if attributes else defaults))

    return named(loss, row, f"The {row.formula}", "losses")


def _checked(row: Row, p: Tensor, target: Any, sample_weight: Any = None) -> list[Tensor]:
    """Prediction, target and weights as the kernel reads them, or the words why not."""
    caller = row.name
    if p.dtype.kind != "f":
        p = cast(p, "float64")
    if p.ndim != 2:
        raise ValueError(f"{caller}: expected a prediction of shape (batch, outputs), got {p.shape}")
    check.some_rows(caller, "prediction", p._array)
    if caller == "binary_cross_entropy":
        check.probabilities(caller, "prediction", p._array)
    rows, columns, dtype = *p.shape, "float32" if p.dtype.itemsize == 4 else "float64"
    t = as_tensor(caller, target)
    inputs = [p, _as_checked(t, check.targets(caller, row, t._array, rows, columns, dtype))]
    if sample_weight is not None:
        s = as_tensor(caller, sample_weight)
        weights = check.sample_weight(caller, s._array, rows, dtype)
        inputs.append(s if weights is None else _as_checked(s, weights))
    return inputs


def _as_checked(t: Tensor, array: FloatArray) -> Tensor:
    """A Tensor in the dtype and shape of its checked array."""
    if array is t._array:
        return t
    return new(array) if t.node is None else reshape(cast(t, array.dtype), array.shape)


def _rows_of(t: Tensor, p: Tensor) -> Tensor:
    """Labels as rows with 1 at the label."""
    if t.ndim > 1:
        return t
    classes = new(np.arange(p.shape[1]))
    return cast(reshape(t, (-1, 1)) == classes, p.dtype)


def _huber(p: Tensor, t: Tensor, delta: float) -> Tensor:
    d = p - t
    h = clip(d, -delta, delta)
    return mean(h * (d - h / 2), 1)


def _log_cosh(p: Tensor, t: Tensor) -> Tensor:
    d = p - t
    return mean(softplus(2 * d) - d - math.log(2), 1)


def _quantile(p: Tensor, t: Tensor, q: float) -> Tensor:
    d = p - t
    return mean(abs(d) * where(d < 0, new(np.asarray(q, p.dtype)), 1 - q), 1)


def _gaussian_nll(p: Tensor, t: Tensor) -> Tensor:
    width = p.shape[1] // 2
    m, s = p[:, :width], p[:, width:]
    return mean((s + (m - t) ** 2 * exp(-s)) / 2, 1)


_LEAST = math.exp(-100)  # whose logarithm is the least that counts, as in PyTorch


def _binary_cross_entropy(p: Tensor, t: Tensor) -> Tensor:
    return -mean(t * log(maximum(p, _LEAST)) + (1 - t) * log(maximum(1 - p, _LEAST)), 1)


def _cross_entropy(p: Tensor, t: Tensor, label_smoothing: float) -> Tensor:
    u = (1 - label_smoothing) * _rows_of(t, p) + label_smoothing / p.shape[1]
    return -sum(u * log_softmax(p), 1)


mse = _loss("mse", lambda p, t: mean((p - t) ** 2, 1))
half_squared_error = _loss("half_squared_error", lambda p, t: sum((p - t) ** 2, 1) / 2)
mae = _loss("mae", lambda p, t: mean(abs(p - t), 1))
huber = _loss("huber", _huber)
log_cosh = _loss("log_cosh", _log_cosh)
quantile = _loss("quantile", _quantile)
poisson = _loss("poisson", lambda p, t: mean(exp(p) - t * p, 1))
gaussian_nll = _loss("gaussian_nll", _gaussian_nll)
binary_cross_entropy = _loss("binary_cross_entropy", _binary_cross_entropy)
binary_cross_entropy_with_logits = _loss("binary_cross_entropy_with_logits", lambda p, t: mean(softplus(p) - t * p, 1))
cross_entropy = _loss("cross_entropy", _cross_entropy)
nll = _loss("nll", lambda p, t: -sum(_rows_of(t, p) * p, 1))
