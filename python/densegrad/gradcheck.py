"""Gradients against central differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import _backend
from densegrad.evaluation import checked_rows
from densegrad.losses import resolve

if TYPE_CHECKING:
    from densegrad.model import BaseModel

_STEP = 6e-6  # the cube root of float64's epsilon: truncation and rounding errors are balanced there


class GradientReport(Mapping[str, float]):
    """Largest relative error by parameter, such as ``report["layers.0.w"]``."""

    def __init__(self, errors: dict[str, float]) -> None:
        self._errors = errors

    @property
    def largest(self) -> float:
        """The largest of all errors."""
        return max(self._errors.values())

    def __getitem__(self, name: str) -> float:
        return self._errors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._errors)

    def __len__(self) -> int:
        return len(self._errors)

    def __repr__(self) -> str:
        rows = [f"{name}: {error:.1e}" for name, error in self._errors.items()]
        return f"<GradientReport largest {self.largest:.1e}; {', '.join(rows)}>"


def check_gradients(model: BaseModel, x: Any, y: Any, loss: str) -> GradientReport:
    """Compare the gradients of a loss with central differences, parameter by parameter.

    For each number p the difference (L(p + h) - L(p - h)) / 2h, h = 6e-6 max(1, |p|), is computed in
    float64 on a copy of the model; the error of an array is max |gradient - difference| over
    max(|gradient|, |difference|, 1e-6), maxima taken over the array. The rows of x count as a parameter too.
    A ReLU whose input lies within h of 0 makes a false alarm.

    Args:
        model: Left as it is.
        x, y: A few rows; each number of the model costs two forward passes.
        loss: Name of the loss.

    Returns:
        A report by parameter: about 1e-9 for right gradients.

    >>> import densegrad as dg
    >>> model = dg.Sequential([dg.Dense(3, activation="tanh"), dg.Dense(2)], input_size=2, seed=0)
    >>> dg.check_gradients(model, [[1.0, 2.0], [0.5, -1.0]], [0, 1], "cross_entropy").largest < 1e-7
    True
    """
    model.require_built("check_gradients")
    named = resolve("check_gradients", loss)
    exact = model.copy(dtype="float64")
    x, y, _ = checked_rows("check_gradients", exact, named, x, y, None)
    x = x.copy()
    lowered = exact.lower(named)
    network = _backend.active().Network(lowered, exact.parameters)
    gradients = np.zeros_like(exact.parameters)
    dx = np.zeros_like(x)
    network.loss_and_gradients(x, y, gradients, dx=dx)

    def differences(flat: Any) -> Any:
        result = np.empty_like(flat)
        for i, p in enumerate(flat.copy()):
            h = _STEP * max(1.0, abs(p))
            flat[i] = p + h
            above = network.loss(x, y)
            flat[i] = p - h
            below = network.loss(x, y)
            flat[i] = p
            result[i] = (above - below) / (2 * h)
        return result

    errors = {}
    numeric = differences(exact.parameters)
    for slot in exact.slots():
        part = slice(slot.offset, slot.offset + slot.size)
        errors[slot.name] = _relative(gradients[part], numeric[part])
    errors["x"] = _relative(dx.ravel(), differences(x.reshape(-1)))
    return GradientReport(errors)


def _relative(gradient: Any, difference: Any) -> float:
    scale = max(np.abs(gradient).max(), np.abs(difference).max(), 1e-6)
    return float(np.abs(gradient - difference).max() / scale)
