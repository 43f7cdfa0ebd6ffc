"""Activations: y = f(z) and dz = dy f'(z), as formulas.

Every pair works on arrays of any shape; a ``by_row`` activation works on the last axis. A backward takes
``(dy, z, y)`` and reads what its row of the table says. Infinite z gives the limit; NaN gives NaN.
"""

from __future__ import annotations

import numpy as np

from densegrad._numpy.types import FloatArray


def identity_forward(z: FloatArray) -> FloatArray:
    """y = z."""
    return z.copy()


def identity_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy."""
    return dy.copy()


def sigmoid_forward(z: FloatArray) -> FloatArray:
    """y = 1 / (1 + exp(-z)), with an exponent that never overflows."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy y (1 - y)."""
    return dy * y * (1 - y)


def tanh_forward(z: FloatArray) -> FloatArray:
    """y = tanh(z)."""
    return np.tanh(z)


def tanh_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy (1 - y^2)."""
    return dy * (1 - y * y)


def relu_forward(z: FloatArray) -> FloatArray:
    """y = max(z, 0)."""
    return np.maximum(z, 0)


def relu_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy where y > 0, else 0; the derivative at 0 is taken as 0."""
    return np.where(y > 0, dy, dy.dtype.type(0))


def shifted(z: FloatArray) -> FloatArray:
    """z - max(z) by row; 0 at the maximum even where that is infinite."""
    top = z.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # inf - inf at the maximum, replaced
        return np.where(z == top, z.dtype.type(0), z - top)


def softmax_forward(z: FloatArray) -> FloatArray:
    """y_j = exp(z_j - max z) / sum_k exp(z_k - max z), on the last axis."""
    e = np.exp(shifted(z))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz_j = y_j (dy_j - sum_k dy_k y_k): the whole Jacobian, never formed."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))
