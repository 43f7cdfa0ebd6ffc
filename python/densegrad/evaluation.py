"""Loss and metrics of a model over given rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from densegrad import _backend, _check, metrics, plan
from densegrad._numpy.types import FloatArray, IndexArray
from densegrad._primitives import PRIMITIVES

if TYPE_CHECKING:
    from densegrad.model import BaseModel

Rows = tuple[FloatArray, FloatArray | IndexArray, FloatArray | None]  # x, y, sample_weight


def checked_rows(who: str, model: BaseModel, loss: plan.Loss, x: Any, y: Any, sample_weight: Any) -> Rows:
    """x, y and weights, converted, and refused where anything about them is wrong; the model stays as it is."""
    width = _check.feature_count(who, x) if model.input_size is None else model.input_size
    x = _check.features(who, x, width, model.dtype)
    y = _check.targets(who, PRIMITIVES[loss.primitive], y, len(x), model.output_size, model.dtype)
    return x, y, _check.sample_weight(who, sample_weight, len(x), model.dtype)


def evaluate(
    who: str,
    model: BaseModel,
    x: Any,
    y: Any,
    loss: plan.Loss,
    metric_names: Sequence[str],
    sample_weight: Any,
) -> dict[str, float]:
    """Check the rows, then ``measure`` them."""
    model.require_built("evaluate")
    model.check_loss(who, loss)
    names = metrics.check(who, metric_names)
    return measure(model, loss, names, checked_rows(who, model, loss, x, y, sample_weight))


def measure(model: BaseModel, loss: plan.Loss, metric_names: Sequence[str], rows: Rows) -> dict[str, float]:
    """Loss and metrics of checked rows, from one forward pass."""
    x, y, sample_weight = rows
    ops = _backend.active()
    lowered, scores = model.scores(x, loss)
    value, _ = ops.loss(lowered.primitive, scores, y, sample_weight, **lowered.attributes)
    row = PRIMITIVES[lowered.primitive]
    if metric_names and row.link is not None:
        scores = ops.activation_forward(row.link, scores)
    if y.ndim == 2 and scores.shape[1] > 1 and row.target != "probabilities":
        y = y.argmax(axis=1)  # one-hot rows name one class
    results = {"loss": float(value)}
    results.update({name: metrics.METRICS[name](scores, y, sample_weight) for name in metric_names})
    return results
