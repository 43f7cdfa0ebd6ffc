"""Losses: value and gradient with respect to the prediction, as formulas.

Each function gives the loss of every row and the gradient of that row's loss; ``loss`` in ``ops.py``
makes the (weighted) mean of both over the batch. A target has the prediction's shape, or holds one
integer label a row for ``cross_entropy``.
"""

from __future__ import annotations

import numpy as np

from densegrad._numpy.activations import shifted, sigmoid_forward
from densegrad._numpy.types import FloatArray, IndexArray


def mse(p: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """l = mean_j (p_j - t_j)^2; dl/dp = 2 (p - t) / outputs."""
    d = p - t
    return (d * d).mean(axis=1), d * (2 / p.shape[1])


def half_squared_error(p: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """l = 1/2 sum_j (p_j - t_j)^2; dl/dp = p - t."""
    d = p - t
    return (d * d).sum(axis=1) / 2, d


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


def cross_entropy(p: FloatArray, t: FloatArray | IndexArray) -> tuple[FloatArray, FloatArray]:
    """l = log sum_k exp(p_k) - p_t for label t, or sum_j t_j (log sum_k exp(p_k) - p_j).

    dl/dp = softmax(p) - t (softmax(p) sum_j t_j - t where the targets of a row do not sum to 1).
    """
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
