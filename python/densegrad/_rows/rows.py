"""The door of all data: x, y and weights as a user has them become rows that the core reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from densegrad._base import check
from densegrad._base.lazy_rows import Features, features
from densegrad._base.plan import LossSpec, LossTerm
from densegrad._base.primitives import PrimitiveRow, loss_row
from densegrad._base.types import FloatArray, IndexArray
from densegrad._model_core import ModelCore
from densegrad._rows.class_weight import row_weights

Rows = tuple[Features, FloatArray | IndexArray, FloatArray | None]  # x, y, sample_weight
WholeRows = tuple[FloatArray, FloatArray | IndexArray, FloatArray | None]  # converted


class OutputTerm(NamedTuple):
    """One output under its loss: its columns of the prediction and of y, and what a history puts before its values."""

    output: str
    term: LossTerm
    columns: slice
    targets: slice
    prefix: str

    @property
    def row(self) -> PrimitiveRow:
        """The loss's row of the table."""
        return loss_row(self.term.primitive)


def parts_of(model: ModelCore, loss: LossSpec) -> list[OutputTerm]:
    """The outputs that the terms of a loss read."""
    parts, column, target = [], 0, 0
    for (name, width), term in zip(model.outputs.items(), loss.each(), strict=True):
        targets = width // loss_row(term.primitive).predictions
        prefix = f"{name}_" if loss.terms else ""
        parts.append(OutputTerm(name, term, slice(column, column + width), slice(target, target + targets), prefix))
        column, target = column + width, target + targets
    return parts


def targets_of(part: OutputTerm, y: Any) -> Any:
    """The part's own columns of y; labels are those of the only one."""
    return y if y.ndim == 1 else np.ascontiguousarray(y[:, part.targets])


def checked_rows(
    caller: str, model: ModelCore, loss: LossSpec, x: Any, y: Any, sample_weight: Any, class_weight: Any = None
) -> Rows:
    """x, y and weights, converted, and refused where anything about them is wrong; the model stays as it is."""
    x = features(caller, model.join_inputs(caller, x), model.input_size, model.dtype)
    sample_weight = check.sample_weight(caller, sample_weight, len(x), model.dtype)
    if loss.terms:
        if class_weight is not None:
            raise ValueError(f"{caller}: class_weight expects one loss, got a sum of {len(loss.terms)}")
        return x, _joined_targets(caller, model, loss, y, len(x)), sample_weight
    row, outputs = loss_row(loss.primitive), model.output_size
    if row.name == "python":
        if class_weight is not None:
            raise ValueError(f"{caller}: class_weight expects a loss on classes, got a function")
        return x, check.any_targets(caller, y, len(x), model.dtype), sample_weight
    y = check.targets(caller, row, y, len(x), outputs, model.dtype)
    return x, y, row_weights(caller, row, class_weight, y, outputs, sample_weight, model.dtype)


def _joined_targets(caller: str, model: ModelCore, loss: LossSpec, y: Any, rows: int) -> FloatArray:
    """The targets of all outputs side by side, labels as one-hot rows."""
    parts = parts_of(model, loss)
    if len(parts) == 1 and not isinstance(y, Mapping):
        given = [y]
    elif isinstance(y, Mapping | list | tuple):
        given = check.parts(caller, "y", y, [part.output for part in parts])
    else:
        whole = check.matrix(caller, "y", y, parts[-1].targets.stop, model.dtype)
        given = [whole[:, part.targets] for part in parts]
    arrays = []
    for part, one in zip(parts, given, strict=True):
        width = part.columns.stop - part.columns.start
        own = check.targets(f"{caller}({part.output})", part.row, one, rows, width, model.dtype)
        arrays.append(np.eye(width, dtype=model.dtype)[own] if own.ndim == 1 else own)
    return np.concatenate(arrays, axis=1)
