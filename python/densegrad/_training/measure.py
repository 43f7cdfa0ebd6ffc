"""Loss and metrics of a model over given rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from densegrad import metrics
from densegrad._base import check
from densegrad._base.lazy_rows import blocks
from densegrad._base.plan import LossSpec
from densegrad._model_core import ModelCore
from densegrad._plan import backend
from densegrad._plan.split_network import loss_and_gradient
from densegrad._rows.rows import OutputTerm, Rows, checked_rows, parts_of, targets_of
from densegrad.metrics import Metric

Named = Mapping[str, Mapping[str, Metric]]  # metrics of each output, by the names of both


class EpochMeasure:
    """The measures at an epoch's end: metrics of the rows trained on, loss and metrics of the validation rows.

    Args:
        model: The model.
        loss: What it is trained with.
        named: The metrics.
        rows: Those trained on; ``None`` where nothing is measured on them.
        validation: Rows beside them, if any.
    """

    def __init__(
        self, model: ModelCore, loss: LossSpec, named: Named, rows: Rows | None, validation: Rows | None
    ) -> None:
        self._model, self._loss, self._named = model, loss, named
        self._rows, self._validation = rows, validation

    def __call__(self) -> dict[str, float]:
        """The values by the names of a history."""
        values = {}
        if self._rows is not None:
            values.update(measure(self._model, self._loss, self._named, self._rows))
            del values["loss"]
        if self._validation is not None:
            found = measure(self._model, self._loss, self._named, self._validation)
            values.update({f"val_{name}": value for name, value in found.items()})
        return values

    @property
    def directions(self) -> dict[str, bool]:
        """Tell whether higher is better, by the names of a history, of each metric that tells."""
        found = {
            part.prefix + name: metrics.higher_is_better(metric)
            for part in parts_of(self._model, self._loss)
            for name, metric in self._named.get(part.output, {}).items()
        }
        return {side + name: higher for side in ("", "val_") for name, higher in found.items() if higher is not None}


def resolve_metrics(caller: str, model: ModelCore, given: Any) -> Named:
    """The metrics a user gave for a model, by output and name: a list for every output, or a dict of lists."""
    by_output = given if isinstance(given, Mapping) else dict.fromkeys(model.outputs, given)
    for name in by_output:
        check.choice(caller, "output", name, model.outputs)
    return {name: metrics.resolve(caller, own) for name, own in by_output.items()}


def evaluate(
    caller: str, model: ModelCore, x: Any, y: Any, loss: LossSpec, given: Any, sample_weight: Any, class_weight: Any
) -> dict[str, float]:
    """Check the rows, then ``measure`` them."""
    model.require_built("evaluate")
    model.check_loss(caller, loss)
    named = resolve_metrics(caller, model, given)
    return measure(model, loss, named, checked_rows(caller, model, loss, x, y, sample_weight, class_weight))


def check_metrics_on(model: ModelCore, loss: LossSpec, named: Named, *groups: Rows | None) -> None:
    """Try the library's metrics on the targets, so that what they refuse is refused before the first update."""
    for part in parts_of(model, loss):
        own = {name: metric for name, metric in named.get(part.output, {}).items() if metrics.is_own(metric)}
        for rows in groups if own else ():
            if rows is not None:
                nothing = np.broadcast_to(np.zeros((), model.dtype), (len(rows[1]), model.output_size))
                dict(_scores(part, own, nothing[:, part.columns], targets_of(part, rows[1]), rows[2]))


def measure(model: ModelCore, loss: LossSpec, named: Named, rows: Rows) -> dict[str, float]:
    """Loss and metrics of checked rows, from one forward pass; of a sum also the loss of each output."""
    x, y, sample_weight = rows
    found = [model.scores(block, loss) for block in blocks(x)]
    lowered, scores = found[0][0], found[0][1] if len(found) == 1 else np.concatenate([part for _, part in found])
    values = {"loss": 0.0}
    for part in parts_of(model, lowered):
        p, t = np.ascontiguousarray(scores[:, part.columns]), targets_of(part, y)
        value, _ = loss_and_gradient(part.term, p, t, sample_weight)
        values["loss"] += part.term.weight * value
        if loss.terms:
            values[f"{part.prefix}loss"] = value
        own = named.get(part.output, {})
        if own and part.row.link is not None:
            p = backend.active().activation_forward(part.row.link, p)
        values.update((part.prefix + name, score) for name, score in _scores(part, own, p, t, sample_weight))
    return values


def _scores(
    part: OutputTerm, named: Mapping[str, Metric], prediction: Any, y: Any, sample_weight: Any
) -> Iterator[tuple[str, float]]:
    """Each metric of the prediction, by name."""
    prediction = prediction[:, : prediction.shape[1] // part.row.predictions]  # it begins with the values themselves
    one_hot = y.ndim == 2 and prediction.shape[1] > 1 and part.row.target != "probabilities"
    labels = y.argmax(axis=1) if one_hot else y  # such a row names one class
    for name, metric in named.items():
        target = labels if metrics.takes_labels(metric) else y
        yield name, metrics.score(name, metric, prediction, target, sample_weight)
