"""Activations: y = f(z) and dz = dy f'(z), as formulas.

Every pair works on arrays of any shape; a ``by_row`` activation works on the last axis. A backward takes
``(dy, z, y)`` and reads what its row of the table says. Infinite z gives the limit; NaN gives NaN.
"""

from __future__ import annotations

import math

import numpy as np

from densegrad._base.types import FloatArray


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


def leaky_relu_forward(z: FloatArray, slope: float) -> FloatArray:
    """y = z where z > 0, slope z elsewhere; Maas, Hannun and Ng, Rectifier nonlinearities (2013)."""
    y: FloatArray = np.where(z > 0, z, slope * z)
    return y


def leaky_relu_backward(dy: FloatArray, z: FloatArray, y: FloatArray, slope: float) -> FloatArray:
    """dz = dy where y > 0, else slope dy."""
    dz: FloatArray = np.where(y > 0, dy, slope * dy)
    return dz


def elu_forward(z: FloatArray, alpha: float) -> FloatArray:
    """y = z where z > 0, alpha (exp(z) - 1) elsewhere; Clevert, Unterthiner and Hochreiter (2016)."""
    y: FloatArray = np.where(z > 0, z, alpha * np.expm1(z))
    return y


def elu_backward(dy: FloatArray, z: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    """dz = dy where y > 0, else dy (y + alpha), which is dy alpha exp(z)."""
    dz: FloatArray = np.where(y > 0, dy, dy * (y + alpha))
    return dz


_SELU_ABOVE, _SELU_BELOW = 1.0507009873554804934, 1.7580993408473768600  # scale, and scale alpha


def selu_forward(z: FloatArray) -> FloatArray:
    """y = scale z where z > 0, scale alpha (exp(z) - 1) elsewhere; Klambauer et al. (2017)."""
    y: FloatArray = np.where(z > 0, _SELU_ABOVE * z, _SELU_BELOW * np.expm1(z))
    return y


def selu_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy scale where y > 0, else dy (y + scale alpha)."""
    dz: FloatArray = np.where(y > 0, dy * _SELU_ABOVE, dy * (y + _SELU_BELOW))
    return dz


def softplus_forward(z: FloatArray) -> FloatArray:
    """y = log(1 + exp(z)), with an exponent that never overflows."""
    y: FloatArray = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
    return y


def softplus_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy sigmoid(z), which is dy (1 - exp(-y))."""
    dz: FloatArray = dy * -np.expm1(-y)
    return dz


def _finite(z: FloatArray) -> FloatArray:
    """The largest number instead of infinity."""
    held: FloatArray = np.clip(z, np.finfo(z.dtype).min, np.finfo(z.dtype).max)
    return held


def swish_forward(z: FloatArray, beta: float) -> FloatArray:
    """y = z sigmoid(beta z); Ramachandran, Zoph and Le, Searching for activation functions (2017)."""
    s = sigmoid_forward(beta * _finite(z))
    y: FloatArray = np.where(s == 0, s, z * s)  # 0, not NaN, for an infinite z
    return y


def swish_backward(dy: FloatArray, z: FloatArray, y: FloatArray, beta: float) -> FloatArray:
    """dz = dy s (1 + beta z (1 - s)), where s = sigmoid(beta z) and 1 - s = sigmoid(-beta z)."""
    t = np.clip(beta * z, -800, 800)  # beyond, s is 0 or 1
    dz: FloatArray = dy * sigmoid_forward(t) * (1 + t * sigmoid_forward(-t))
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


def gelu_tanh_forward(z: FloatArray) -> FloatArray:
    """y = z (1 + tanh(t / 2)) / 2 = z sigmoid(t), where t = sqrt(8 / pi) (z + 0.044715 z^3)."""
    held = np.clip(z.astype(np.float64), -40, 40)
    s = sigmoid_forward(math.sqrt(8 / math.pi) * (held + 0.044715 * held**3))
    y: FloatArray = (np.maximum(z, -40) * s).astype(z.dtype)
    return y


def gelu_tanh_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy s (1 + z (1 - s) dt/dz), where s = sigmoid(t) and 1 - s = sigmoid(-t)."""
    held = np.clip(z.astype(np.float64), -40, 40)
    t = math.sqrt(8 / math.pi) * (held + 0.044715 * held**3)
    slope = math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * held**2)
    dz: FloatArray = (dy * sigmoid_forward(t) * (1 + held * sigmoid_forward(-t) * slope)).astype(dy.dtype)
    return dz


def _tanh_of_softplus(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """w = tanh(log(1 + exp(z))) and 1 - w, from e = exp(-|z|).

    w = (1 + 2 e) / (1 + 2 e + 2 e^2), or e (2 + e) / (e (2 + e) + 2) where z < 0.
    """
    e = np.exp(-np.abs(z))
    n, rest = np.where(z < 0, e * (2 + e), 1 + 2 * e), np.where(z < 0, 2, 2 * e * e)
    return n / (n + rest), rest / (n + rest)


def mish_forward(z: FloatArray) -> FloatArray:
    """y = z tanh(softplus(z)); Misra, Mish: a self regularized non-monotonic activation function (2019)."""
    w, _ = _tanh_of_softplus(z.astype(np.float64))
    y: FloatArray = np.where(w == 0, w, z * w).astype(z.dtype)  # 0, not NaN, for an infinite z
    return y


def mish_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy (w + z (1 - w^2) sigmoid(z)), where w = tanh(softplus(z))."""
    held = np.clip(z, -800, 800)  # beyond, w or 1 - w is 0
    w, rest = _tanh_of_softplus(held)
    dz: FloatArray = dy * (w + held * rest * (1 + w) * sigmoid_forward(held))
    return dz


def softsign_forward(z: FloatArray) -> FloatArray:
    """y = z / (1 + |z|)."""
    held = _finite(z)
    y: FloatArray = held / (1 + np.abs(held))
    return y


def softsign_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy / (1 + |z|)^2, which is dy (1 - |y|)^2."""
    dz: FloatArray = dy * (1 - np.abs(y)) ** 2
    return dz


def hard_sigmoid_forward(z: FloatArray) -> FloatArray:
    """y = min(max(z + 3, 0), 6) / 6."""
    y: FloatArray = np.clip(z + 3, 0, 6) / 6
    return y


def hard_sigmoid_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy / 6 where 0 < y < 1, else 0; the derivative at -3 and 3 is taken as 0."""
    dz: FloatArray = np.where((y > 0) & (y < 1), dy / 6, dy.dtype.type(0))
    return dz


def hard_tanh_forward(z: FloatArray) -> FloatArray:
    """y = min(max(z, -1), 1)."""
    y: FloatArray = np.clip(z, -1, 1)
    return y


def hard_tanh_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy where -1 < y < 1, else 0; the derivative at -1 and 1 is taken as 0."""
    dz: FloatArray = np.where(np.abs(y) < 1, dy, dy.dtype.type(0))
    return dz


def hard_swish_forward(z: FloatArray) -> FloatArray:
    """y = z min(max(z + 3, 0), 6) / 6; Howard et al., Searching for MobileNetV3 (2019)."""
    y: FloatArray = np.maximum(z, -3) * (np.clip(z + 3, 0, 6) / 6)
    return y


def hard_swish_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz = dy where z >= 3, dy (z + 3/2) / 3 where z > -3, else 0."""
    below = np.where(z < 3, dy * ((z + 1.5) / 3), dy)
    dz: FloatArray = np.where(z > -3, below, dy.dtype.type(0))
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


def log_softmax_forward(z: FloatArray) -> FloatArray:
    """y_j = (z_j - max z) - log sum_k exp(z_k - max z), on the last axis.

    The largest adds 1 to that sum. What the others add is summed alone, so that the logarithm of a sum near 1 keeps
    its precision.
    """
    below = shifted(z)
    largest = below == 0
    others = np.where(largest, 0, np.exp(below)).sum(axis=-1, keepdims=True, dtype=z.dtype)
    log_sum = np.log1p(others + (largest.sum(axis=-1, keepdims=True) - 1).astype(z.dtype))
    y: FloatArray = below - log_sum
    return y


def log_softmax_backward(dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
    """dz_j = dy_j - exp(y_j) sum_k dy_k."""
    dz: FloatArray = dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)
    return dz
