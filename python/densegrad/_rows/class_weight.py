"""Weights of classes as weights of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.primitives import PRIMITIVES, PrimitiveRow, names
from densegrad._base.types import FloatArray, IndexArray


def row_weights(
    caller: str,
    loss: PrimitiveRow,
    class_weight: Any,
    y: FloatArray | IndexArray,
    outputs: int,
    sample_weight: FloatArray | None,
    dtype: str,
) -> FloatArray | None:
    """s_i sum_c t_ic w_c for each row i, where s is the sample_weight and t_ic row i's share in class c.

    A label has all of its row's share. ``"balanced"`` stands for w_c = n / (k n_c): n rows, k classes that occur, n_c
    rows of class c, or the sum of their shares. A dict need not name every class; the others weigh 1.

    Source of the formula: King & Zeng, Logistic regression in rare events data (2001), as in scikit-learn.
    """
    if class_weight is None:
        return sample_weight
    classes = _class_count(caller, loss, outputs)
    if y.ndim == 1:
        counts = np.bincount(y, minlength=classes).astype(np.float64)
        weights = _weights(caller, class_weight, classes, counts)[y]
    else:
        shares = y.astype(np.float64)
        if outputs == 1:
            shares = np.concatenate([1 - shares, shares], axis=1)
        weights = shares @ _weights(caller, class_weight, classes, shares.sum(axis=0))
    if sample_weight is not None:
        weights = weights * sample_weight
    result = check.array(caller, "class_weight", weights, dtype)
    if not result.any():
        raise ValueError(
            f"{caller}: expected a class_weight that leaves a row some weight, got 0 for all {len(y)} rows"
        )
    return result


def _class_count(caller: str, loss: PrimitiveRow, outputs: int) -> int:
    if loss.target == "classes":
        return outputs
    if loss.target == "probabilities" and outputs == 1:
        return 2
    if loss.target == "probabilities":
        raise ValueError(f"{caller}: class_weight expects one class a row, {loss.name} asks {outputs} questions")
    fitting = [name for name in names("loss") if PRIMITIVES[name].target in ("classes", "probabilities")]
    raise ValueError(f"{caller}: class_weight expects a loss on classes ({', '.join(fitting)}), got {loss.name}")


def _weights(caller: str, class_weight: Any, classes: int, counts: FloatArray) -> FloatArray:
    """The weight of each class."""
    if isinstance(class_weight, str):
        check.choice(caller, "class_weight", class_weight, ["balanced"])
        weights, present = np.zeros(classes), counts > 0
        weights[present] = counts.sum() / (present.sum() * counts[present])
        return weights
    if isinstance(class_weight, Mapping):
        weights = np.ones(classes)
        for label, weight in class_weight.items():
            if label not in range(classes):
                raise ValueError(f"{caller}: expected labels 0 to {classes - 1} in class_weight, got {label!r}")
            weights[int(label)] = check.real(caller, f"class_weight of label {label}", weight, 0.0)
        return weights
    weights = check.array(caller, "class_weight", class_weight, "float64")
    if weights.shape != (classes,):
        raise ValueError(f"{caller}: expected class_weight of shape ({classes},), got {weights.shape}")
    if (weights < 0).any():
        label = int(np.argmax(weights < 0))
        raise ValueError(f"{caller}: expected class_weight >= 0, got {weights[label]:g} for label {label}")
    return weights
