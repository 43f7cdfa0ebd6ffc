"""The quick test before a step, of what a network takes without conversion.

The words for a user are found above the seam; a refusal here only says that they are needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad._base.plan import Plan
from densegrad._numpy.loss_terms import parts

_SUM_TOLERANCE = 1e-4


def validate_batch(plan: Plan, x: Any, y: Any, sample_weight: Any) -> None:
    """Refuse a batch that the plan cannot read as it lies."""
    if plan.loss is None:
        raise ValueError("Network.step: expected a plan with a loss, got one without")
    every = list(parts(plan))
    validate_floats("Network.step", x, plan.dtype, (None, plan.widths[plan.input]))
    if len(x) == 0:
        raise ValueError("Network.step: expected at least 1 row, got 0")
    if len(every) == 1 and every[0].row.target == "classes" and getattr(y, "ndim", 0) == 1:
        width = every[0].targets.stop
        if type(y) is not np.ndarray or y.dtype != np.int64 or len(y) != len(x) or width < 2:
            raise TypeError("Network.step: expected y of int64 labels, one for each row")
        if y.min() < 0 or y.max() >= width:
            raise ValueError("Network.step: a label is out of range")
    else:
        validate_floats("Network.step", y, plan.dtype, (len(x), every[-1].targets.stop))
        for part in every:
            _validate_targets(part.row.target, y[:, part.targets])
    if sample_weight is not None:
        validate_floats("Network.step", sample_weight, plan.dtype, (len(x),))
        if sample_weight.min() < 0 or not sample_weight.any():
            raise ValueError("Network.step: weights are negative or all zero")


def _validate_targets(kind: str, y: Any) -> None:
    """Refuse numbers out of the range of a loss."""
    if kind == "counts" and y.min() < 0:
        raise ValueError("Network.step: a target is negative")
    if kind in ("probabilities", "classes") and (y.min() < 0 or y.max() > 1):
        raise ValueError("Network.step: a target is not a probability")
    if kind == "classes" and (y.shape[1] < 2 or (np.abs(y.sum(axis=1) - 1) > _SUM_TOLERANCE).any()):
        raise ValueError("Network.step: a row of targets does not sum to 1")


def validate_floats(caller: str, a: Any, dtype: str, shape: tuple[int | None, ...]) -> None:
    """Refuse what is not an array of finite numbers of that dtype and shape, row by row; None stands for any size."""
    if type(a) is not np.ndarray or a.dtype != dtype or not a.flags.c_contiguous:
        raise TypeError(f"{caller}: expected a C-contiguous array of {dtype}")
    if a.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, a.shape, strict=True)):
        raise ValueError(f"{caller}: expected shape {shape}, got {a.shape}")
    with np.errstate(all="ignore"):
        if not np.isfinite(a.sum()) and not np.isfinite(a).all():
            raise ValueError(f"{caller}: a number is not finite")
