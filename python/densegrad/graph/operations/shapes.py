"""Shapes, parts and wholes: nothing is computed, so that every rule moves numbers to their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from densegrad._base.types import FloatArray
from densegrad.graph.core.primitives import Derivatives, Linear, Primitive, conformed
from densegrad.graph.core.tensor import Tensor, as_tensor, new


class IndexSlot(int):
    """In an index, an array that is an input: its place among those that follow the first."""


def _filled(index: tuple[Any, ...], arrays: tuple[FloatArray, ...]) -> tuple[Any, ...]:
    return tuple(arrays[part] if type(part) is IndexSlot else part for part in index)


def _scatter_value(d: FloatArray, *arrays: FloatArray, index: tuple[Any, ...], shape: tuple[int, ...]) -> FloatArray:
    whole = np.zeros(shape, d.dtype)
    if arrays:
        np.add.at(whole, _filled(index, arrays), d)  # a place that is named twice gets both
    else:
        whole[index] = d
    return whole


def _order_back(axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if axes is None else tuple(np.argsort([axis % len(axes) for axis in axes]).tolist())


_reshape = Linear(
    "reshape",
    lambda x, shape: x.reshape(shape),
    lambda dy, x, shape: reshape(dy, x.shape),
    "a shape with as many elements",
)
_transpose = Linear(
    "transpose",
    lambda x, axes=None: x.transpose(axes),
    lambda dy, x, axes=None: transpose(dy, _order_back(axes)),
    "each axis once",
)
_getitem: Primitive = Linear(
    "getitem",
    lambda x, *arrays, index: x[_filled(index, arrays)],
    lambda dy, x, *arrays, index: _scatter(dy, *arrays, index=index, shape=x.shape),
    "an index within the shape",
)
_scatter: Primitive = Linear(
    "scatter", _scatter_value, lambda dy, x, *arrays, index, shape: _getitem(dy, *arrays, index=index)
)


class _Joined(Primitive):
    """Several inputs in one: a linear function whose transpose takes the parts out again."""

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """The tangents, joined; one that is zero is made."""
        parts = [new(np.zeros_like(x._array)) if d is None else d for d, x in zip(tangents, inputs, strict=True)]
        return self(*parts, **attributes)


class _Concatenate(_Joined):
    """y = the inputs one after the other."""

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """Each input's piece of dy."""
        axis = attributes["axis"] % dy.ndim
        ends = np.cumsum([x.shape[axis] for x in inputs]).tolist()
        before = (slice(None),) * axis
        return [
            dy[(*before, slice(end - x.shape[axis], end))] if need else None
            for need, x, end in zip(needed, inputs, ends, strict=True)
        ]


class _Stack(_Joined):
    """y = the inputs side by side on a new axis."""

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """Each input's piece of dy."""
        before = (slice(None),) * (attributes["axis"] % dy.ndim)
        return [dy[(*before, i)] if need else None for i, need in enumerate(needed)]


_concatenate = _Concatenate(
    "concatenate", lambda *parts, axis: np.concatenate(parts, axis), "shapes that agree but for the axis"
)
_stack = _Stack("stack", lambda *parts, axis: np.stack(parts, axis), "equal shapes and an axis of the result")


def reshape(x: Any, shape: Any) -> Tensor:
    """The same elements, row by row, in another shape; one length may be -1.

    >>> import densegrad as dg
    >>> dg.graph.reshape([1.0, 2.0, 3.0, 4.0], (2, -1))
    Tensor([[1., 2.],
            [3., 4.]])
    """
    return _reshape(as_tensor("reshape", x), shape=shape)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in that order, or else reversed."""
    x = as_tensor("transpose", x)
    return _transpose(x) if axes is None else _transpose(x, axes=tuple(axes))


def getitem(x: Any, index: Any) -> Tensor:
    """x[index]: numbers, slices, ``None``, ``...``, and arrays of integers or booleans, as in NumPy.

    >>> import densegrad as dg
    >>> dg.graph.grad(lambda x: dg.graph.sum(x[[0, 2, 2]]))(dg.graph.Tensor([1.0, 2.0, 3.0]))
    Tensor([1., 0., 2.])
    """
    arrays: list[Tensor] = []
    parts: list[Any] = []
    for part in index if isinstance(index, tuple) else (index,):
        plain = isinstance(part, int | np.integer | slice) or part is None or part is Ellipsis
        parts.append(part if plain and not isinstance(part, bool) else IndexSlot(len(arrays)))
        if type(parts[-1]) is IndexSlot:
            arrays.append(_index_array(part))
    return _getitem(as_tensor("getitem", x), *arrays, index=tuple(parts))


def _index_array(part: Any) -> Tensor:
    tensor = new(np.zeros(0, np.int64)) if isinstance(part, list) and not part else as_tensor("getitem", part)
    if tensor.dtype.kind not in "iub":
        raise TypeError(f"getitem: expected integers, slices or booleans as the index, got {tensor.dtype}")
    return tensor


def concatenate(parts: Sequence[Any], axis: int = 0) -> Tensor:
    """The parts one after the other along an axis that they have.

    >>> import densegrad as dg
    >>> dg.graph.concatenate([[1.0, 2.0], [3.0]])
    Tensor([1., 2., 3.])
    """
    return _concatenate(*_parts("concatenate", parts), axis=axis)


def stack(parts: Sequence[Any], axis: int = 0) -> Tensor:
    """The parts, all of one shape, side by side along a new axis.

    >>> import densegrad as dg
    >>> dg.graph.stack([1.0, 2.0])
    Tensor([1., 2.])
    """
    return _stack(*_parts("stack", parts), axis=axis)


def _parts(caller: str, parts: Sequence[Any]) -> Sequence[Tensor]:
    if not len(parts):
        raise ValueError(f"{caller}: expected at least 1 part, got 0")
    return conformed(caller, *parts)
