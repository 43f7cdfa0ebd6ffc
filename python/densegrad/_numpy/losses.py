"""Losses: value and gradient with respect to the prediction, as formulas.

Each function gives the loss of every row and the gradient of that row's loss; ``loss`` in ``ops.py``
makes the (weighted) mean of both over the batch. A target has the prediction's shape, or holds one
integer label a row for ``cross_entropy`` and ``nll``, or is half as wide for ``gaussian_nll``.
"""

from __future__ import annotations

import math

import numpy as np

from densegrad._base.types import FloatArray, IndexArray
from densegrad._numpy.activations import shifted, sigmoid_forward


def mse(p: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """l = mean_j (p_j - t_j)^2; dl/dp = 2 (p - t) / outputs."""
    d = p - t
    return (d * d).mean(axis=1), d * (2 / p.shape[1])


def half_squared_error(p: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """l = 1/2 sum_j (p_j - t_j)^2; dl/dp = p - t."""
    d = p - t
    return (d * d).sum(axis=1) / 2, d


def mae(p: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """l = mean_j |p_j - t_j|; dl/dp = sign(p - t) / outputs, 0 where p = t."""
    d = p - t
    return np.abs(d).mean(axis=1), np.sign(d) / p.shape[1]


def huber(p: FloatArray, t: FloatArray, delta: float) -> tuple[FloatArray, FloatArray]:
    """l = mean_j h (|d| - h / 2), where d = p_j - t_j and h = min(|d|, delta).

    dl/dp = d / outputs where |d| <= delta, else delta sign(d) / outputs.
    """
    d = p - t
    h = np.minimum(np.abs(d), delta)
    return (h * (np.abs(d) - h / 2)).mean(axis=1), np.copysign(h, d) / p.shape[1]


def log_cosh(p: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """l = mean_j log cosh d, where d = p_j - t_j; dl/dp = tanh(d) / outputs.

    log cosh d = log(1 + 2 sinh(d / 2)^2), which keeps its precision near 0, and
    |d| - log 2 + log(1 + exp(-2 |d|)), which does not overflow.
    """
    d = p - t
    size = np.abs(d)
    near = np.log1p(2 * np.sinh(np.minimum(size, 2) / 2) ** 2)
    far = size - math.log(2) + np.log1p(np.exp(-2 * size))
    return np.where(size < 1, near, far).mean(axis=1), np.tanh(d) / p.shape[1]


def quantile(p: FloatArray, t: FloatArray, q: float) -> tuple[FloatArray, FloatArray]:
    """l = mean_j max(q d, (q - 1) d), where d = t_j - p_j; dl/dp = -q / outputs below t, (1 - q) / outputs above."""
    d = p - t
    price = np.where(d < 0, p.dtype.type(q), p.dtype.type(1 - q))
    return (price * np.abs(d)).mean(axis=1), price * np.sign(d) / p.shape[1]


def poisson(p: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """l = mean_j exp(p_j) - t_j p_j; dl/dp = (exp(p) - t) / outputs."""
    rate = np.exp(p)
    loss = rate - np.where(t == 0, 0, t * p)  # never 0 times infinity
    return np.where(rate == np.inf, np.inf, loss).mean(axis=1), (rate - t) / p.shape[1]


def gaussian_nll(p: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """l = mean_j 1/2 (s_j + z_j^2), z = (m - t) exp(-s / 2); the means m are the first half of p, s the second.

    dl/dm = z exp(-s / 2) / targets; dl/ds = 1/2 (1 - z^2) / targets.
    """
    m, s = np.split(p, 2, axis=1)
    d, precise = m - t, np.exp(-s / 2)
    z = d * np.where(d == 0, np.minimum(precise, 1), precise)  # never 0 times infinity
    loss = np.where(z * z == np.inf, np.inf, (s + z * z) / 2)
    gradient = np.concatenate([np.where(d == 0, z, z * precise), (1 - z * z) / 2], axis=1)
    return loss.mean(axis=1), gradient / t.shape[1]


def binary_cross_entropy(p: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """l = mean_j -t log p - (1 - t) log(1 - p); dl/dp = (p - t) / (p (1 - p)) / outputs.

    As in PyTorch the logarithms are held at -100 or more and p (1 - p) at 1e-12 or more, so that a
    saturated wrong answer gives a finite loss and gradient.
    """
    log_p = np.maximum(np.log(p), -100)
    log_q = np.maximum(np.log1p(-p), -100)
    dp = (p - t) / np.maximum(p * (1 - p), 1e-12)
    return -(t * log_p + (1 - t) * log_q).mean(axis=1), dp / p.shape[1]


def binary_cross_entropy_with_logits(p: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """l = mean_j t softplus(-p) + (1 - t) softplus(p); dl/dp = (sigmoid(p) - t) / outputs."""
    tail = np.log1p(np.exp(-np.abs(p)))
    wrong_low = np.where(t == 0, 0, t * (np.maximum(-p, 0) + tail))  # never 0 times infinity
    wrong_high = np.where(t == 1, 0, (1 - t) * (np.maximum(p, 0) + tail))
    return (wrong_low + wrong_high).mean(axis=1), (sigmoid_forward(p) - t) / p.shape[1]


def cross_entropy(p: FloatArray, t: FloatArray | IndexArray, label_smoothing: float) -> tuple[FloatArray, FloatArray]:
    """l = log sum_k exp(p_k) - p_t for label t, or sum_j t_j (log sum_k exp(p_k) - p_j).

    Smoothed, t makes way for (1 - label_smoothing) t + label_smoothing / classes.
    dl/dp = softmax(p) - t (softmax(p) sum_j t_j - t where the targets of a row do not sum to 1).
    """
    if label_smoothing:
        t = (1 - label_smoothing) * _one_hot(p, t) + label_smoothing / p.shape[1]
    shift = shifted(p)
    e = np.exp(shift)
    total = e.sum(axis=1, keepdims=True)
    softmax = e / total
    surprise = np.log(total) - shift  # -log softmax, without forming softmax first
    if t.ndim == 1:
        rows = np.arange(len(p))
        gradient = softmax
        gradient[rows, t] -= 1
        return surprise[rows, t], gradient
    loss = np.where(t == 0, 0, t * surprise).sum(axis=1)  # an impossible class nobody expects costs nothing
    return loss, softmax * t.sum(axis=1, keepdims=True) - t


def nll(p: FloatArray, t: FloatArray | IndexArray) -> tuple[FloatArray, FloatArray]:
    """l = -p_t for label t, or -sum_j t_j p_j; dl/dp = -t."""
    t = _one_hot(p, t)
    nothing = np.where(np.isnan(p), p, 0)  # where t = 0: never 0 times infinity, but NaN for NaN
    return -np.where(t == 0, nothing, t * p).sum(axis=1), nothing - t


def _one_hot(p: FloatArray, t: FloatArray | IndexArray) -> FloatArray:
    """Labels as rows of p's shape, with 1 at the label."""
    return np.eye(p.shape[1], dtype=p.dtype)[t] if t.ndim == 1 else t
