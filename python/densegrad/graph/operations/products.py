"""Products of matrices, by the library's own kernels where they can read the arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from densegrad._base.types import FloatArray
from densegrad._plan import backend
from densegrad.graph.core.primitives import Derivatives, Primitive, cast, conformed, pair
from densegrad.graph.core.recording import here
from densegrad.graph.core.tensor import Tensor, new
from densegrad.graph.operations.elementwise import UFUNCS
from densegrad.graph.operations.reductions import broadcast_to, sum, unbroadcast
from densegrad.graph.operations.shapes import reshape, transpose


def _matmul_value(a: FloatArray, b: FloatArray) -> FloatArray:
    if a.ndim == b.ndim == 2 and a.dtype.kind == "f" and a.flags.c_contiguous and b.flags.c_contiguous:
        return _dense_value(a, b)
    y: FloatArray = np.matmul(a, b)
    return y


def _dense_value(x: FloatArray, w: FloatArray, b: FloatArray | None = None) -> FloatArray:
    z: FloatArray = backend.active().dense_forward(_in_order(x), _in_order(w), None if b is None else _in_order(b))
    return z


def _in_order(a: FloatArray) -> FloatArray:
    """As the kernels read it."""
    return a if a.flags.c_contiguous else np.ascontiguousarray(a)


def _swapped(x: Tensor) -> Tensor:
    return transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


class _Matmul(Primitive):
    """y = a b of matrices, or of stacks of them that broadcast."""

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """dy = da b + a db."""
        (da, db), (a, b) = tangents, inputs
        left = None if da is None else self(da, b)
        right = None if db is None else self(a, db)
        return left if right is None else right if left is None else left + right

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """da = dy b^T, db = a^T dy."""
        a, b = inputs
        da = unbroadcast(self(dy, _swapped(b)), a.shape) if needed[0] else None
        db = unbroadcast(self(_swapped(a), dy), b.shape) if needed[1] else None
        return [da, db]


class _Dense(Primitive):
    """z = x w + b."""

    in_table = True

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """dz = dx w + x dw + db."""
        dz = _matmul.jvp(tangents[:2], y, *inputs[:2])
        db = tangents[2] if len(tangents) > 2 else None
        if db is None:
            return dz
        return broadcast_to(db, y.shape) if dz is None else dz + db

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """dx = dz w^T, dw = x^T dz, db = the sum of dz over the batch; by the kernel where nobody records."""
        x, w, *b = inputs
        if here.paused:
            arrays = _dense_gradients(needed[0], *(_in_order(t._array) for t in (dy, x, w)))
            return [None if d is None else new(d) for d in arrays[: len(inputs)]]
        return [*_matmul.vjp(needed[:2], dy, y, x, w), *(sum(dy, 0) for _ in b)]


def _dense_gradients(with_dx: bool, dz: FloatArray, x: FloatArray, w: FloatArray) -> tuple[FloatArray | None, ...]:
    """dx, dw and db; without dx, which is a third of the work, where nobody needs it."""
    if not with_dx:
        return None, _dense_value(x.T, dz), dz.sum(axis=0)
    gradients: tuple[FloatArray, ...] = backend.active().dense_backward(dz, x, w)
    return gradients


_matmul = _Matmul("matmul", _matmul_value, "shapes (..., n, k) and (..., k, m)")
_dense = _Dense("dense", _dense_value)


def matmul(a: Any, b: Any) -> Tensor:
    """a b: rows by columns, of matrices, vectors, and stacks of matrices that broadcast, as NumPy's ``@``.

    >>> import densegrad as dg
    >>> dg.graph.matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0])
    Tensor([21., 43.])
    """
    a, b = pair("matmul", a, b)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(f"matmul: expected shapes (..., n, k) and (..., k, m), got {a.shape} and {b.shape}")
    if a.ndim > 1 and b.ndim > 1:
        return _matmul(a, b)
    y = _matmul(a if a.ndim > 1 else reshape(a, (1, -1)), b if b.ndim > 1 else reshape(b, (-1, 1)))
    batch = y.shape[:-2]
    return reshape(y, (*batch, *(y.shape[-2:-1] if a.ndim > 1 else ()), *(y.shape[-1:] if b.ndim > 1 else ())))


UFUNCS["matmul"] = matmul


def dense(x: Any, w: Any, b: Any = None) -> Tensor:
    """z = x w + b, by the kernel of the layer ``Dense``.

    Args:
        x: (batch, in_features).
        w: (in_features, out_features).
        b: (out_features,), or ``None``.

    >>> import densegrad as dg
    >>> dg.graph.dense([[1.0, 2.0]], [[1.0, 0.0], [3.0, -1.0]], [0.5, 0.5])
    Tensor([[ 7.5, -1.5]])
    """
    inputs = conformed("dense", x, w) if b is None else conformed("dense", x, w, b)
    if inputs[0]._array.dtype.kind != "f":
        inputs = [cast(t, "float64") for t in inputs]
    shapes = [t._array.shape for t in inputs]
    in_features, out_features = shapes[0][1:], shapes[1][1:]
    fit = len(shapes[0]) == len(shapes[1]) == 2 and in_features == shapes[1][:1] and shapes[2:] in ([], [out_features])
    if not fit:
        expected = "x (batch, in), w (in, out)" + ("" if b is None else " and b (out,)")
        raise ValueError(f"dense: expected {expected}, got {' and '.join(map(str, shapes))}")
    return _dense(*inputs)
