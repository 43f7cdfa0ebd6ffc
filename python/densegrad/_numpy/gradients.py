"""Changes of whole gradients between the way back and an update."""

from __future__ import annotations

import numpy as np

from densegrad._base.types import FloatArray


def penalize(w: FloatArray, l1: float, l2: float, g: FloatArray) -> float:
    """g <- g + l1 sign(w) + l2 w, in place; gives the sum of l1 |w| + l2 w^2 / 2."""
    g += w.dtype.type(l1) * np.sign(w) + w.dtype.type(l2) * w
    exact = w.astype(np.float64)
    return float((l1 * np.abs(exact) + l2 / 2 * exact * exact).sum())


def share(rows: int, sample_weight: FloatArray | None) -> float:
    """1 / rows, or 1 over the sum of their weights: what a row's loss counts in the mean."""
    total = float(rows) if sample_weight is None else float(sample_weight.sum(dtype=np.float64))
    return 1 / total if total else 0.0


def clip(parts: list[FloatArray], clip_value: float, clip_norm: float) -> None:
    """Keeps each number within +-clip_value, then the norm of them all within clip_norm; 0 stands for no limit."""
    if clip_value > 0:
        for g in parts:
            np.clip(g, -clip_value, clip_value, out=g)
    if clip_norm > 0:
        norm = float(np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in parts)))
        for g in parts:
            np.multiply(g, g.dtype.type(min(1.0, clip_norm / (norm + 1e-6))), out=g)


def moving_average(average: FloatArray, w: FloatArray, share: float) -> None:
    """average <- average + share (w - average), in place."""
    average += average.dtype.type(share) * (w - average)
