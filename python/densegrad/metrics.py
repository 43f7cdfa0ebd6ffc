"""Metrics: what a user reads beside the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from densegrad import _check
from densegrad._numpy.types import FloatArray

Metric = Callable[..., float]


def accuracy(prediction: Any, target: Any, sample_weight: FloatArray | None = None) -> float:
    """Share of right answers, between 0 and 1.

    With integer labels (batch,) the answer of a row of two or more outputs is its largest one. A target of
    the prediction's shape is compared element by element, both sides cut at 1/2: one output, or several
    yes-or-no questions. One-hot targets are turned into labels by ``target.argmax(axis=1)``.

    Args:
        prediction: Probabilities or scores, (batch, outputs).
        target: (batch,) labels, or (batch, outputs).
        sample_weight: (batch,) weights, or ``None``.

    >>> from densegrad.metrics import accuracy
    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    p = _check.numeric("accuracy", "prediction", prediction)
    t = _check.numeric("accuracy", "target", target)
    _check.some_rows("accuracy", "prediction", p)
    if p.ndim == 2 and t.shape == p.shape[:1] and p.shape[1] > 1:
        right = (p.argmax(axis=1) == t).astype(np.float64)
    else:
        if p.size != t.size or len(p) != len(t):
            raise ValueError(f"accuracy: expected target of shape {p.shape} or ({len(p)},), got {t.shape}")
        right = ((p >= 0.5) == (t.reshape(p.shape) >= 0.5)).reshape(len(p), -1).mean(axis=1)
    return float(np.average(right, weights=sample_weight))


METRICS: dict[str, Metric] = {"accuracy": accuracy}


def check(who: str, metrics: Any) -> list[str]:
    """The names in ``metrics``, each known."""
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise TypeError(f"{who}: expected metrics as a list of names, got {metrics!r}")
    return [_check.choice(who, "metric", name, METRICS) for name in metrics]
