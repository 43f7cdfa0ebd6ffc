"""Activations: y = f(z) and dz = dy f'(z), as formulas.

Every pair works on arrays of any shape; a ``by_row`` activation works on the last axis. A backward takes
``(dy, z, y)`` and reads what its row of the table says. Infinite z gives the limit; NaN gives NaN.
"""

from __future__ import annotations

import math

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
    y: FloatArray = np.where(z >= 0, 1 / (1 + e), e / (1 + e))
    return y


def sigmoid_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy y (1 - y)."""
    dz: FloatArray = dy * y * (1 - y)
    return dz


def tanh_forward(z: FloatArray) -> FloatArray:
    """y = tanh(z)."""
    y: FloatArray = np.tanh(z)
    return y


def tanh_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy (1 - y) (1 + y), which keeps its last places where y is near 1."""
    dz: FloatArray = dy * ((1 - y) * (1 + y))
    return dz


def relu_forward(z: FloatArray) -> FloatArray:
    """y = max(z, 0)."""
    y: FloatArray = np.maximum(z, 0)
    return y


def relu_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy where y > 0, else 0; the derivative at 0 is taken as 0."""
    dz: FloatArray = np.where(y > 0, dy, dy.dtype.type(0))
    return dz


def _normal_cdf(z: FloatArray) -> FloatArray:
    """Phi(z) = erfc(-z / sqrt(2)) / 2, which unlike (1 + erf) / 2 keeps its precision where z is negative."""
    erfc = np.frompyfunc(math.erfc, 1, 1)
    phi: FloatArray = np.asarray(erfc(z.astype(np.float64) * -math.sqrt(0.5)) / 2, np.float64)
    return phi


def gelu_forward(z: FloatArray) -> FloatArray:
    """y = z Phi(z); Hendrycks and Gimpel, Gaussian error linear units (2016)."""
    y: FloatArray = (np.maximum(z, -40) * _normal_cdf(z)).astype(z.dtype)  # 0, not NaN, for an infinite z
    return y


def gelu_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy (Phi(z) + z phi(z)), where phi(z) = exp(-z^2 / 2) / sqrt(2 pi)."""
    held = np.clip(z.astype(np.float64), -40, 40)
    slope = _normal_cdf(z) + held * np.exp(-held * held / 2) / math.sqrt(2 * math.pi)
    dz: FloatArray = (dy * slope).astype(dy.dtype)
    return dz


def shifted(z: FloatArray) -> FloatArray:
    """z - max(z) by row; 0 at the maximum even where that is infinite."""
    top = z.max(axis=-1, keepdims=True)
    below: FloatArray = np.where(z == top, z.dtype.type(0), z - top)
    return below


def softmax_forward(z: FloatArray) -> FloatArray:
    """y_j = exp(z_j - max z) / sum_k exp(z_k - max z), on the last axis."""
    e = np.exp(shifted(z))
    y: FloatArray = e / e.sum(axis=-1, keepdims=True)
    return y


def softmax_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz_j = y_j (dy_j - sum_k dy_k y_k): the whole Jacobian, never formed."""
    dz: FloatArray = y * (dy - (dy * y).sum(axis=-1, keepdims=True))
    return dz
