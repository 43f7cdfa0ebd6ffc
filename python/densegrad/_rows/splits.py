"""Rows that are measured instead of trained on: given beside the others, or a share of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.plan import LossSpec
from densegrad._model_core import ModelCore
from densegrad._rows.rows import Rows, checked_rows


def validation_rows(caller: str, model: ModelCore, loss: LossSpec, data: Any, training: Rows) -> Rows | None:
    """The rows of ``validation_data`` beside those to train on, checked; ``None`` stays ``None``."""
    if data is None:
        return None
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise TypeError(
            f"{caller}: expected validation_data as (x, y) or (x, y, sample_weight), got {type(data).__name__}"
        )
    x, y, *weights = data
    caller = f"{caller}(validation_data)"
    rows = checked_rows(caller, model, loss, x, y, weights[0] if weights else None)
    if rows[0].shape[1] != training[0].shape[1]:  # of a model that is built only after this check
        raise ValueError(f"{caller}: expected x of shape (batch, {training[0].shape[1]}), got {rows[0].shape}")
    return rows


def train_validation_split(
    caller: str, model: ModelCore, loss: LossSpec, rows: Rows, data: Any, share: Any
) -> tuple[Rows, Rows | None]:
    """The rows to train on and those to measure: ``validation_data``, or ``validation_split`` of all, if either."""
    if share is None:
        return rows, validation_rows(caller, model, loss, data, rows)
    if data is not None:
        raise ValueError(f"{caller}: expected validation_data or validation_split, got both")
    return split_rows(caller, rows, share)


def split_rows(caller: str, rows: Rows, share: Any) -> tuple[Rows, Rows]:
    """The rows to train on and those to measure: ``share`` of all, of each class alike where y are labels."""
    share = check.real(caller, "validation_split", share, 0.0, 1.0, open_low=True, open_high=True)
    y = rows[1]
    generator = np.random.default_rng(0)  # the same rows at each call, so that nothing measured has been trained on
    groups = [np.flatnonzero(y == label) for label in np.unique(y)] if y.dtype.kind in "iu" else [np.arange(len(y))]
    measured = np.zeros(len(y), bool)
    for group in groups:
        measured[generator.permutation(group)[: round(share * len(group))]] = True
    if not 0 < measured.sum() < len(y):
        raise ValueError(
            f"{caller}: expected a validation_split that leaves rows on both sides, got {share:g} of {len(y)} rows"
        )
    parts = [tuple(None if part is None else part[chosen] for part in rows) for chosen in (~measured, measured)]
    return parts[0], parts[1]  # type: ignore[return-value]
