"""A plan's loss as terms: which columns of the prediction and of the targets each of them reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from densegrad._base.plan import LossTerm, Plan
from densegrad._base.primitives import PRIMITIVES, PrimitiveRow
from densegrad._base.types import FloatArray, IndexArray
from densegrad._numpy import ops


class TermColumns(NamedTuple):
    """A term with its row of the table, its columns of the prediction, and its columns of the targets."""

    term: LossTerm
    row: PrimitiveRow
    columns: slice
    targets: slice


def parts(plan: Plan) -> Iterator[TermColumns]:
    """The terms of a plan's loss, in order."""
    if plan.loss is None:
        raise ValueError("Network: expected a plan with a loss, got one without")
    column = target = 0
    for term in plan.loss.each():
        row = PRIMITIVES[term.primitive]
        columns = term.columns or plan.widths[plan.loss.prediction]
        width = columns // row.predictions
        yield TermColumns(term, row, slice(column, column + columns), slice(target, target + width))
        column, target = column + columns, target + width


def loss_of(
    plan: Plan, prediction: FloatArray, y: FloatArray | IndexArray, sample_weight: FloatArray | None
) -> tuple[float, FloatArray]:
    """The sum over the terms of weight times loss, and its gradient with respect to the prediction."""
    value, gradient = 0.0, np.empty_like(prediction)
    for term, _, columns, targets in parts(plan):
        y_own = y if y.ndim == 1 else y[:, targets]
        own, d = ops.loss(term.primitive, prediction[:, columns], y_own, sample_weight, **dict(term.attributes))
        value += term.weight * own
        gradient[:, columns] = prediction.dtype.type(term.weight) * d
    return value, gradient
