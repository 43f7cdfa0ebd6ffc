"""Loss and metrics of a model over given rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from densegrad import _backend, _check, metrics, plan
from densegrad._class_weight import row_weights
from densegrad._feed import Features, blocks, features
from densegrad._numpy.types import FloatArray, IndexArray
from densegrad._primitives import Primitive, loss_row
from densegrad.metrics import Metric
from densegrad.pieces import loss_and_gradient

if TYPE_CHECKING:
    from densegrad.model import BaseModel

Rows = tuple[Features, FloatArray | IndexArray, FloatArray | None]  # x, y, sample_weight
WholeRows = tuple[FloatArray, FloatArray | IndexArray, FloatArray | None]  # converted
Named = Mapping[str, Mapping[str, Metric]]  # metrics of each output, by the names of both


class Part(NamedTuple):
    """One output under its loss: its columns of the prediction and of y, and what a history puts before its values."""

    output: str
    term: plan.LossTerm
    columns: slice
    targets: slice
    prefix: str

    @property
    def row(self) -> Primitive:
        """The loss's row of the table."""
        return loss_row(self.term.primitive)


def parts_of(model: BaseModel, loss: plan.Loss) -> list[Part]:
    """The outputs that the terms of a loss read."""
    parts, column, target = [], 0, 0
    for (name, width), term in zip(model.outputs.items(), loss.each(), strict=True):
        targets = width // loss_row(term.primitive).predictions
        prefix = f"{name}_" if loss.terms else ""
        parts.append(Part(name, term, slice(column, column + width), slice(target, target + targets), prefix))
        column, target = column + width, target + targets
    return parts


def checked_rows(
    who: str, model: BaseModel, loss: plan.Loss, x: Any, y: Any, sample_weight: Any, class_weight: Any = None
) -> Rows:
    """x, y and weights, converted, and refused where anything about them is wrong; the model stays as it is."""
    x = model.join_inputs(who, x)
    width = _check.feature_count(who, x) if model.input_size is None else model.input_size
    x = features(who, x, width, model.dtype)
    sample_weight = _check.sample_weight(who, sample_weight, len(x), model.dtype)
    if loss.terms:
        if class_weight is not None:
            raise ValueError(f"{who}: class_weight expects one loss, got a sum of {len(loss.terms)}")
        return x, _joined_targets(who, model, loss, y, len(x)), sample_weight
    row, outputs = loss_row(loss.primitive), model.output_size
    if row.name == "python":
        if class_weight is not None:
            raise ValueError(f"{who}: class_weight expects a loss on classes, got a function")
        return x, _check.any_targets(who, y, len(x), model.dtype), sample_weight
    y = _check.targets(who, row, y, len(x), outputs, model.dtype)
    return x, y, row_weights(who, row, class_weight, y, outputs, sample_weight, model.dtype)


def _joined_targets(who: str, model: BaseModel, loss: plan.Loss, y: Any, rows: int) -> FloatArray:
    """The targets of all outputs side by side, labels as one-hot rows."""
    parts = parts_of(model, loss)
    if len(parts) == 1 and not isinstance(y, Mapping):
        given = [y]
    elif isinstance(y, Mapping | list | tuple):
        given = _check.parts(who, "y", y, [part.output for part in parts])
    else:
        whole = _check.matrix(who, "y", y, parts[-1].targets.stop, model.dtype)
        given = [whole[:, part.targets] for part in parts]
    arrays = []
    for part, one in zip(parts, given, strict=True):
        width = part.columns.stop - part.columns.start
        own = _check.targets(f"{who}({part.output})", part.row, one, rows, width, model.dtype)
        arrays.append(np.eye(width, dtype=model.dtype)[own] if own.ndim == 1 else own)
    return np.concatenate(arrays, axis=1)


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


def held_out(
    who: str, model: BaseModel, loss: plan.Loss, rows: Rows, data: Any, share: Any
) -> tuple[Rows, Rows | None]:
    """The rows to train on and those to measure: ``validation_data``, or ``validation_split`` of all, if either."""
    if share is None:
        return rows, validation_rows(who, model, loss, data, rows)
    if data is not None:
        raise ValueError(f"{who}: expected validation_data or validation_split, got both")
    return split_rows(who, rows, share)


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
    model: BaseModel, loss: plan.Loss, named: Named, rows: Rows | None, validation: Rows | None
) -> dict[str, float]:
    """What an epoch's end adds to the loss: metrics of the rows trained on, and all of the validation rows."""
    values = {}
    if rows is not None and any(named.values()):
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
    given: Any,
    sample_weight: Any,
    class_weight: Any,
) -> dict[str, float]:
    """Check the rows, then ``measure`` them."""
    model.require_built("evaluate")
    model.check_loss(who, loss)
    named = model.check_metrics(who, given)
    return measure(model, loss, named, checked_rows(who, model, loss, x, y, sample_weight, class_weight))


def rehearse(model: BaseModel, loss: plan.Loss, named: Named, *groups: Rows | None) -> None:
    """Try the library's metrics on the targets, so that what they refuse is refused before the first update."""
    for part in parts_of(model, loss):
        own = {name: metric for name, metric in named.get(part.output, {}).items() if metrics.is_own(metric)}
        for rows in groups:
            if rows is not None:
                nothing = np.broadcast_to(np.zeros((), model.dtype), (len(rows[0]), model.output_size))
                _scored(part, own, nothing[:, part.columns], _targets(part, rows[1]), rows[2])


def measure(model: BaseModel, loss: plan.Loss, named: Named, rows: Rows) -> dict[str, float]:
    """Loss and metrics of checked rows, from one forward pass; of a sum also the loss of each output."""
    x, y, sample_weight = rows
    ops = _backend.active()
    found = [model.scores(block, loss) for block in blocks(x)]
    lowered, scores = found[0][0], found[0][1] if len(found) == 1 else np.concatenate([part for _, part in found])
    values = {"loss": 0.0}
    for part in parts_of(model, lowered):
        p, t = np.ascontiguousarray(scores[:, part.columns]), _targets(part, y)
        value, _ = loss_and_gradient(part.term, p, t, sample_weight)
        values["loss"] += part.term.weight * float(value)
        if loss.terms:
            values[f"{part.prefix}loss"] = float(value)
        own = named.get(part.output, {})
        if own and part.row.link is not None:
            p = ops.activation_forward(part.row.link, p)
        values.update({part.prefix + name: one for name, one in _scored(part, own, p, t, sample_weight).items()})
    return values


def _targets(part: Part, y: Any) -> Any:
    """The part's own columns of y; labels are those of the only one."""
    return y if y.ndim == 1 else np.ascontiguousarray(y[:, part.targets])


def _scored(part: Part, named: Mapping[str, Metric], prediction: Any, y: Any, sample_weight: Any) -> dict[str, float]:
    """Each metric of the prediction."""
    prediction = prediction[:, : prediction.shape[1] // part.row.predictions]  # it begins with the values themselves
    one_hot = y.ndim == 2 and prediction.shape[1] > 1 and part.row.target != "probabilities"
    labels = y.argmax(axis=1) if one_hot else y  # such a row names one class
    return {
        name: metrics.score(name, metric, prediction, labels if metrics.takes_labels(metric) else y, sample_weight)
        for name, metric in named.items()
    }
