"""Loss and metrics of a model over given rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import _backend, _check, metrics, plan
from densegrad._class_weight import row_weights
from densegrad._feed import Features, blocks, features
from densegrad._numpy.types import FloatArray, IndexArray
from densegrad._primitives import PRIMITIVES
from densegrad.metrics import Metric

if TYPE_CHECKING:
    from densegrad.model import BaseModel

Rows = tuple[Features, FloatArray | IndexArray, FloatArray | None]  # x, y, sample_weight


def checked_rows(
    who: str, model: BaseModel, loss: plan.Loss, x: Any, y: Any, sample_weight: Any, class_weight: Any = None
) -> Rows:
    """x, y and weights, converted, and refused where anything about them is wrong; the model stays as it is."""
    row, outputs = PRIMITIVES[loss.primitive], model.output_size
    x = model.join_inputs(who, x)
    width = _check.feature_count(who, x) if model.input_size is None else model.input_size
    x = features(who, x, width, model.dtype)
    y = _check.targets(who, row, y, len(x), outputs, model.dtype)
    sample_weight = _check.sample_weight(who, sample_weight, len(x), model.dtype)
    return x, y, row_weights(who, row, class_weight, y, outputs, sample_weight, model.dtype)


def validation_rows(who: str, model: BaseModel, loss: plan.Loss, data: Any, training: Rows) -> Rows | None:
    """The rows of ``validation_data`` beside those to train on, checked; ``None`` stays ``None``."""
    if data is None:
        return None
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise TypeError(
            f"{who}: expected validation_data as (x, y) or (x, y, sample_weight), got {type(data).__name__}"
        )
    x, y, *weights = data
    who = f"{who}(validation_data)"
    rows = checked_rows(who, model, loss, x, y, weights[0] if weights else None)
    if rows[0].shape[1] != training[0].shape[1]:  # of a model that is built only after this check
        raise ValueError(f"{who}: expected x of shape (batch, {training[0].shape[1]}), got {rows[0].shape}")
    return rows


def split_rows(who: str, rows: Rows, share: Any) -> tuple[Rows, Rows]:
    """The rows to train on and those to measure: ``share`` of all, of each class alike where y are labels."""
    share = _check.real(who, "validation_split", share, 0.0, 1.0, open_low=True, open_high=True)
    y = rows[1]
    generator = np.random.default_rng(0)  # the same rows at each call, so that nothing measured has been trained on
    groups = [np.flatnonzero(y == label) for label in np.unique(y)] if y.dtype.kind in "iu" else [np.arange(len(y))]
    measured = np.zeros(len(y), bool)
    for group in groups:
        measured[generator.permutation(group)[: round(share * len(group))]] = True
    if not 0 < measured.sum() < len(y):
        raise ValueError(
            f"{who}: expected a validation_split that leaves rows on both sides, got {share:g} of {len(y)} rows"
        )
    parts = [tuple(None if part is None else part[chosen] for part in rows) for chosen in (~measured, measured)]
    return parts[0], parts[1]  # type: ignore[return-value]


def measured_rows(
    model: BaseModel, loss: plan.Loss, named: Mapping[str, Metric], rows: Rows, validation: Rows | None
) -> dict[str, float]:
    """What an epoch's end adds to the loss: metrics of the rows trained on, and all of the validation rows."""
    values = {}
    if named:
        values.update(measure(model, loss, named, rows))
        del values["loss"]
    if validation is not None:
        values.update({f"val_{name}": value for name, value in measure(model, loss, named, validation).items()})
    return values


def evaluate(
    who: str,
    model: BaseModel,
    x: Any,
    y: Any,
    loss: plan.Loss,
    given: Sequence[str | Metric],
    sample_weight: Any,
    class_weight: Any,
) -> dict[str, float]:
    """Check the rows, then ``measure`` them."""
    model.require_built("evaluate")
    model.check_loss(who, loss)
    named = metrics.check(who, given)
    return measure(model, loss, named, checked_rows(who, model, loss, x, y, sample_weight, class_weight))


def rehearse(model: BaseModel, loss: plan.Loss, named: Mapping[str, Metric], *parts: Rows | None) -> None:
    """Try the library's metrics on the targets, so that what they refuse is refused before the first update."""
    for rows in parts:
        if rows is not None:
            nothing = np.broadcast_to(np.zeros((), model.dtype), (len(rows[0]), model.output_size))
            _scored(loss, {name: metric for name, metric in named.items() if metrics.is_own(metric)}, nothing, rows)


def measure(model: BaseModel, loss: plan.Loss, named: Mapping[str, Metric], rows: Rows) -> dict[str, float]:
    """Loss and metrics of checked rows, from one forward pass."""
    x, y, sample_weight = rows
    ops = _backend.active()
    parts = [model.scores(block, loss) for block in blocks(x)]
    lowered, scores = parts[0][0], np.concatenate([part for _, part in parts]) if len(parts) > 1 else parts[0][1]
    value, _ = ops.loss(lowered.primitive, scores, y, sample_weight, **lowered.attributes)
    link = PRIMITIVES[lowered.primitive].link
    if named and link is not None:
        scores = ops.activation_forward(link, scores)
    return {"loss": float(value), **_scored(lowered, named, scores, rows)}


def _scored(loss: plan.Loss, named: Mapping[str, Metric], prediction: FloatArray, rows: Rows) -> dict[str, float]:
    """Each metric of the prediction."""
    _, y, sample_weight = rows
    row = PRIMITIVES[loss.primitive]
    prediction = prediction[:, : prediction.shape[1] // row.predictions]  # it begins with the values themselves
    one_hot = y.ndim == 2 and prediction.shape[1] > 1 and row.target != "probabilities"
    labels = y.argmax(axis=1) if one_hot else y  # such a row names one class
    return {
        name: metrics.score(name, metric, prediction, labels if metrics.takes_labels(metric) else y, sample_weight)
        for name, metric in named.items()
    }
