"""Products of matrices, by the library's own kernels where they can read the arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from densegrad import _backend
from densegrad._numpy.types import FloatArray
from densegrad.graph.primitive import Derivatives, Primitive, cast, together
from densegrad.graph.recording import here
from densegrad.graph.reductions import broadcast_to, sum, unbroadcast
from densegrad.graph.shapes import reshape, transpose
from densegrad.graph.tensor import Tensor, new


def _matmul_value(a: FloatArray, b: FloatArray) -> FloatArray:
    if a.ndim == b.ndim == 2 and a.dtype.kind == "f" and a.flags.c_contiguous and b.flags.c_contiguous:
        return _dense_value(a, b)
    y: FloatArray = np.matmul(a, b)
    return y


def _dense_value(x: FloatArray, w: FloatArray, b: FloatArray | None = None) -> FloatArray:
    z: FloatArray = _backend.active().dense_forward(_in_order(x), _in_order(w), None if b is None else _in_order(b))
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

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """dz = dx w + x dw + db."""
        dz = _matmul.jvp(tangents[:2], y, *inputs[:2])
        db = tangents[2] if len(tangents) > 2 else None
        if db is None:
            return dz
        return broadcast_to(db, y.shape) if dz is None else dz + db

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """dx = dz w^T, dw = x^T dz, db = the sum of dz over the batch; all three by one kernel where nobody records."""
        x, w, *_ = inputs
        if needed[0] and here.paused:
            arrays = [_in_order(t._array) for t in (dy, x, w)]
            return [new(d) for d in _backend.active().dense_backward(*arrays)[: len(inputs)]]
        dx, dw = _matmul.vjp(needed[:2], dy, y, x, w)
        return [dx, dw, sum(dy, 0) if needed[2] else None] if len(inputs) > 2 else [dx, dw]


_matmul = _Matmul("matmul", _matmul_value, "shapes (..., n, k) and (..., k, m)")
_dense = _Dense("dense", _dense_value)


def matmul(a: Any, b: Any) -> Tensor:
    """a b: rows by columns, of matrices, vectors, and stacks of matrices that broadcast, as NumPy's ``@``.

    >>> import densegrad as dg
    >>> dg.graph.matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0])
    Tensor([21., 43.])
    """
    a, b = together("matmul", a, b)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(f"matmul: expected shapes (..., n, k) and (..., k, m), got {a.shape} and {b.shape}")
    if a.ndim > 1 and b.ndim > 1:
        return _matmul(a, b)
    y = _matmul(a if a.ndim > 1 else reshape(a, (1, -1)), b if b.ndim > 1 else reshape(b, (-1, 1)))
    batch = y.shape[:-2]
    return reshape(y, (*batch, *(y.shape[-2:-1] if a.ndim > 1 else ()), *(y.shape[-1:] if b.ndim > 1 else ())))


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
    x, w = together("dense", x, w)
    if b is not None:
        x, b = together("dense", x, b)
        x, w = together("dense", x, w)
    if x.dtype.kind != "f":
        x, w = cast(x, "float64"), cast(w, "float64")
        b = None if b is None else cast(b, "float64")
    _check_dense(x, w, b)
    return _dense(x, w) if b is None else _dense(x, w, b)


def _check_dense(x: Tensor, w: Tensor, b: Tensor | None) -> None:
    columns = w.shape[1:]
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0] or (b is not None and b.shape != columns):
        expected, got = "x (batch, in) and w (in, out)", f"{x.shape} and {w.shape}"
        if b is not None:
            expected, got = f"{expected} and b (out,)", f"{got} and {b.shape}"
        raise ValueError(f"dense: expected {expected}, got {got}")
