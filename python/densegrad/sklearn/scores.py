"""The scores of a validation set, as ``sklearn.metrics`` has them, without its checks at each epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad._numpy.types import FloatArray


def accuracy(y: Any, predicted: Any, weight: FloatArray | None) -> float:
    """The (weighted) share of rows that are predicted as they are, with all their labels."""
    right = y == predicted
    return float(np.average(right.all(axis=1) if right.ndim == 2 else right, weights=weight))


def r2(y: FloatArray, predicted: FloatArray, weight: FloatArray | None) -> float:
    """1 - sum (y - p)^2 / sum (y - mean)^2, the mean over the targets; of a constant target 1 or 0."""
    y, predicted = y.astype(np.float64, copy=False), predicted.astype(np.float64, copy=False)
    if not np.isfinite(predicted).all() or len(y) < 2:
        return float("nan")
    w = np.ones(len(y)) if weight is None else weight.astype(np.float64)
    residual = w @ (y - predicted) ** 2
    total = w @ (y - np.average(y, axis=0, weights=w)) ** 2
    scores = np.where(residual == 0, 1.0, 0.0)
    known = total > 0
    scores[known] = 1 - residual[known] / total[known]
    return float(scores.mean())
