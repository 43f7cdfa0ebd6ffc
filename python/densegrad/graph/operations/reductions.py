"""Sums and their like, over all axes, one, or several; and repetition, which is the transpose of a sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from densegrad.graph.core.primitives import Derivatives, Linear, Primitive, cast
from densegrad.graph.core.tensor import Tensor, as_tensor, new
from densegrad.graph.operations.shapes import concatenate, reshape, transpose

Axis: TypeAlias = "int | Sequence[int] | None"


def _axes(ndim: int, axis: Any) -> tuple[int, ...]:
    """All axes of a reduction, counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(one % ndim for one in (axis if isinstance(axis, tuple) else (axis,)))


def _kept(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape of a reduction that keeps its axes."""
    gone = _axes(len(shape), axis)
    return tuple(1 if i in gone else n for i, n in enumerate(shape))


def _spread(d: Tensor, x: Tensor, axis: Any) -> Tensor:
    """A reduction's cotangent at every element that went into it."""
    return broadcast_to(reshape(d, _kept(x.shape, axis)), x.shape)


def _count(x: Tensor, axis: Any) -> int:
    return math.prod(x.shape[i] for i in _axes(x.ndim, axis))


def _mean_vjp(dy: Tensor, x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    return _spread(dy / _count(x, axis), x, axis)


_broadcast_to = Linear(
    "broadcast_to", np.broadcast_to, lambda dy, x, shape: unbroadcast(dy, x.shape), "a shape that broadcasts"
)
_sum = Linear("sum", np.sum, lambda dy, x, axis, keepdims: _spread(dy, x, axis), "an axis of the input")
_mean = Linear("mean", np.mean, _mean_vjp, "an axis of the input")


class _Extreme(Primitive):
    """y = the largest, or smallest, x; where several are, they share the derivative."""

    def _shares(self, y: Tensor, x: Tensor, axis: Any) -> Tensor:
        chosen = cast(x == reshape(y, _kept(x.shape, axis)), y.dtype)
        return chosen / sum(chosen, axis, keepdims=True)

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """dy = the mean of dx where x is the largest."""
        (dx,) = tangents
        return None if dx is None else _sum(dx * self._shares(y, inputs[0], attributes["axis"]), **attributes)

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """dx = dy, shared among the largest."""
        (x,) = inputs
        return [_spread(dy, x, attributes["axis"]) * self._shares(y, x, attributes["axis"])]


_max = _Extreme("max", np.max, "an axis of the input, and an element on it")
_min = _Extreme("min", np.min, "an axis of the input, and an element on it")


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Tensor:
    """Repeated along new axes in front, and along axes of length 1."""
    return _broadcast_to(as_tensor("broadcast_to", x), shape=shape)


def unbroadcast(d: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The cotangent of an operand of that shape, from that of what it was broadcast to."""
    come = d._array.shape
    if come == shape:
        return d
    added = len(come) - len(shape)
    repeated = [added + i for i, n in enumerate(shape) if n == 1 and come[added + i] != 1]
    return reshape(sum(d, (*range(added), *repeated)), shape)


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over the axes; ``keepdims`` leaves them with length 1.

    >>> import densegrad as dg
    >>> dg.graph.sum([[1.0, 2.0], [3.0, 4.0]], axis=1)
    Tensor([3., 7.])
    """
    return _sum(as_tensor("sum", x), axis=_hashable(axis), keepdims=keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over the axes."""
    return _mean(as_tensor("mean", x), axis=_hashable(axis), keepdims=keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest over the axes; equal ones share the derivative."""
    return _max(as_tensor("max", x), axis=_hashable(axis), keepdims=keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest over the axes; equal ones share the derivative."""
    return _min(as_tensor("min", x), axis=_hashable(axis), keepdims=keepdims)


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The product over the axes, of halves with halves, so that its derivatives are right where factors are zero.

    >>> import densegrad as dg
    >>> dg.graph.grad(dg.graph.prod)(dg.graph.Tensor([0.0, 2.0, 3.0]))
    Tensor([6., 0., 0.])
    """
    x = as_tensor("prod", x)
    gone = _checked_axes("prod", x, axis)
    left = tuple(i for i in range(x.ndim) if i not in gone)
    rest = tuple(x.shape[i] for i in left)
    factors = reshape(transpose(x, (*gone, *left)), (_count(x, gone), *rest))
    while len(factors) > 1:
        half = len(factors) // 2
        product = factors[:half] * factors[half : 2 * half]
        factors = concatenate([product, factors[2 * half :]]) if len(factors) % 2 else product
    if not len(factors):
        factors = new(np.ones((1, *rest), x.dtype))
    return reshape(factors, _kept(x.shape, gone) if keepdims else rest)


def _hashable(axis: Axis) -> int | tuple[int, ...] | None:
    return axis if axis is None or isinstance(axis, int) else tuple(axis)


def _checked_axes(caller: str, x: Tensor, axis: Axis) -> tuple[int, ...]:
    given = _hashable(axis)
    for one in given if isinstance(given, tuple) else () if given is None else (given,):
        if not -x.ndim <= one < x.ndim:
            raise ValueError(f"{caller}: expected an axis of the input, got {x.shape}, axis={axis!r}")
    return _axes(x.ndim, given)
