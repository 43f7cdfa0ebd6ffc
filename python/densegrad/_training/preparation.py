"""Preparation of a run, the same for mini-batches and for L-BFGS."""

from __future__ import annotations

from typing import Any

from densegrad._base.plan import LossSpec
from densegrad._model_core import ModelCore
from densegrad._rows.rows import Rows
from densegrad._rows.splits import train_validation_split
from densegrad._training.measure import EpochMeasure, Named, check_metrics_on


def prepared(
    caller: str,
    model: ModelCore,
    loss: LossSpec,
    rows: Rows,
    named: Named,
    validation_data: Any,
    validation_split: Any = None,
    *,
    in_all: bool = True,
) -> tuple[Rows, EpochMeasure]:
    """Split checked rows, try the metrics on them and adapt the model to them; nothing is trained yet.

    Args:
        caller: For errors.
        model: The model.
        loss: What it is to minimise.
        rows: Those to train on, or where that is not all of them, ``in_all=False``, the first.
        named: The metrics.
        validation_data, validation_split: As for ``fit``.

    Returns:
        The rows to train on, and what measures at an epoch's end.
    """
    validation: Rows | None = None
    if validation_data is not None or validation_split is not None:
        rows, validation = train_validation_split(caller, model, loss, rows, validation_data, validation_split)
    if any(named.values()):
        check_metrics_on(model, loss, named, rows, validation)
    model.adapt(rows[0])
    return rows, EpochMeasure(model, loss, named, rows if in_all and any(named.values()) else None, validation)
