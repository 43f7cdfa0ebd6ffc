"""Layers beside the dense one, as formulas. A backward gives dx and the gradients of its parameters, in their order."""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad._base.types import FloatArray

Gradients = tuple[FloatArray, tuple[FloatArray | None, ...]]


def columns_forward(x: FloatArray, first: int, count: int) -> FloatArray:
    """y_j = x_(first + j)."""
    return x[:, first : first + count].copy()


def columns_backward(dy: FloatArray, x: FloatArray, first: int) -> FloatArray:
    """dx_(first + j) = dy_j, 0 for the columns that y has not."""
    dx = np.zeros_like(x)
    dx[:, first : first + dy.shape[1]] = dy
    return dx


def standardize_forward(x: FloatArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
    """y = (x - mean) scale."""
    y: FloatArray = (x - mean) * scale
    return y


def standardize_backward(dy: FloatArray, scale: FloatArray) -> Gradients:
    """dx = dy scale; mean and scale are never trained."""
    return dy * scale, (np.zeros_like(scale), np.zeros_like(scale))


def dropout_mask(shape: tuple[int, ...], rate: float, seed: float, stream: float, step: int) -> Any:
    """Which elements stay: those whose 32 bits of Philox, drawn by place and step, are at least rate 2^32.

    The numbers are those of ``numpy.random.Philox``; each row begins with a new block of eight.
    """
    rows, columns = shape
    padded = -(-columns // 8) * 8
    generator = np.random.Philox(key=[int(seed), int(stream)], counter=[0, step, 0, 0])
    words = generator.random_raw(rows * padded // 2).astype("<u8").view("<u4")
    return words.reshape(rows, padded)[:, :columns] >= int(rate * 2**32)


def dropout_apply(x: FloatArray, mask: Any, rate: float) -> FloatArray:
    """y = x / (1 - rate) where kept, else 0; the backward is the same on dy."""
    y: FloatArray = x * (mask * x.dtype.type(1 / (1 - rate)))
    return y


def batch_norm_forward(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> FloatArray:
    """y = (x - mean) / sqrt(variance + eps) gamma + beta, both over the batch, the variance divided by its rows."""
    return batch_norm_predict(x, gamma, beta, x.mean(axis=0), x.var(axis=0), eps)


def batch_norm_predict(
    x: FloatArray, gamma: FloatArray, beta: FloatArray, mean: FloatArray, variance: FloatArray, eps: float
) -> FloatArray:
    """y = (x - mean) / sqrt(variance + eps) gamma + beta."""
    y: FloatArray = (x - mean) * (gamma / np.sqrt(variance + x.dtype.type(eps))) + beta
    return y


def batch_norm_backward(dy: FloatArray, x: FloatArray, gamma: FloatArray, eps: float) -> Gradients:
    """With h = (x - mean) / sqrt(variance + eps), means over the batch.

    dx = gamma / sqrt(variance + eps) (dy - mean of dy - h mean of (dy h)); dgamma = sum of dy h, dbeta = sum of dy.
    """
    inverse = 1 / np.sqrt(x.var(axis=0) + x.dtype.type(eps))
    h = (x - x.mean(axis=0)) * inverse
    dgamma, dbeta = (dy * h).sum(axis=0), dy.sum(axis=0)
    dx = gamma * inverse * (dy - dbeta / dy.dtype.type(len(x)) - h * (dgamma / dy.dtype.type(len(x))))
    return dx, (dgamma, dbeta, np.zeros_like(gamma), np.zeros_like(gamma))


def batch_norm_averages(x: FloatArray, mean: FloatArray, variance: FloatArray, momentum: float) -> None:
    """average <- average + momentum (of the batch - average), in place; the variance divided by rows - 1 here."""
    unbiased = len(x) / (len(x) - 1) if len(x) > 1 else 1.0
    mean += x.dtype.type(momentum) * (x.mean(axis=0) - mean)
    variance += x.dtype.type(momentum) * (x.dtype.type(unbiased) * x.var(axis=0) - variance)


def layer_norm_forward(x: FloatArray, gamma: FloatArray, beta: FloatArray, eps: float) -> FloatArray:
    """y = (x - mean) / sqrt(variance + eps) gamma + beta, both over the row."""
    centred = x - x.mean(axis=1, keepdims=True)
    y: FloatArray = centred / np.sqrt(x.var(axis=1, keepdims=True) + x.dtype.type(eps)) * gamma + beta
    return y


def layer_norm_backward(dy: FloatArray, x: FloatArray, gamma: FloatArray, eps: float) -> Gradients:
    """With h = (x - mean) / sqrt(variance + eps) and g = dy gamma, means over the row.

    dx = (g - mean of g - h mean of (g h)) / sqrt(variance + eps); dgamma = sum of dy h, dbeta = sum of dy.
    """
    inverse = 1 / np.sqrt(x.var(axis=1, keepdims=True) + x.dtype.type(eps))
    h = (x - x.mean(axis=1, keepdims=True)) * inverse
    g = dy * gamma
    dx = inverse * (g - g.mean(axis=1, keepdims=True) - h * (g * h).mean(axis=1, keepdims=True))
    return dx, ((dy * h).sum(axis=0), dy.sum(axis=0))


def prelu_forward(z: FloatArray, a: FloatArray) -> FloatArray:
    """y = z where z > 0, else a z."""
    y: FloatArray = np.where(z > 0, z, a * z)
    return y


def prelu_backward(dy: FloatArray, z: FloatArray, a: FloatArray) -> Gradients:
    """dz = dy where z > 0, else a dy; da = sum of dy z where z <= 0."""
    return np.where(z > 0, dy, a * dy), (_for_parameter(dy * np.where(z > 0, z.dtype.type(0), z), a),)


def _sigmoid(z: FloatArray) -> FloatArray:
    e = np.exp(-np.abs(z))
    s: FloatArray = np.where(z >= 0, 1 / (1 + e), e / (1 + e))
    return s


def _times_share(v: FloatArray, s: FloatArray) -> FloatArray:
    """v s, 0 for an infinite v of which nothing is left."""
    product: FloatArray = np.where(s == 0, s.dtype.type(0), v * s)
    return product


def learned_swish_forward(z: FloatArray, a: FloatArray) -> FloatArray:
    """y = z s, where s = 1 / (1 + exp(-a z))."""
    return _times_share(z, _sigmoid(a * z))


def learned_swish_backward(dy: FloatArray, z: FloatArray, a: FloatArray) -> Gradients:
    """dz = dy (s + a z s (1 - s)); da = sum of dy z^2 s (1 - s)."""
    s = _sigmoid(a * z)
    bend = _times_share(z, s * (1 - s))
    return dy * (s + a * bend), (_for_parameter(dy * z * bend, a),)


def _for_parameter(elements: FloatArray, a: FloatArray) -> FloatArray:
    """The sum over rows, and over columns too where they share the parameter."""
    sums: FloatArray = elements.sum(axis=0)
    return sums if a.size > 1 or sums.size == 1 else sums.sum(keepdims=True)
