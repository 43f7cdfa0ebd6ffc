"""The dense layer: z = x w + b and its three gradients."""

from __future__ import annotations

import numpy as np

from densegrad._base.types import FloatArray


@np.errstate(all="ignore")
def dense_forward(
    x: FloatArray, w: FloatArray, b: FloatArray | None = None, *, out: FloatArray | None = None
) -> FloatArray:
    """z = x w + b. x (batch, in), w (in, out), b (out), z (batch, out)."""
    z = x @ w
    if b is not None:
        z += b
    return store(z, out)


@np.errstate(all="ignore")
def dense_backward(
    dz: FloatArray,
    x: FloatArray,
    w: FloatArray,
    *,
    out: tuple[FloatArray, FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """dx = dz w^T, dw = x^T dz, db = sum of dz over the batch."""
    dx, dw, db = out or (None, None, None)
    return store(dz @ w.T, dx), store(x.T @ dz, dw), store(dz.sum(axis=0), db)


def store(value: FloatArray, out: FloatArray | None) -> FloatArray:
    """``value``, written into ``out`` where one is given."""
    if out is None:
        return value
    out[...] = value
    return out
