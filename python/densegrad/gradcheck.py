"""Gradients against central differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad._feed import whole
from densegrad.evaluation import checked_rows
from densegrad.losses import Loss, resolve
from densegrad.pieces import network_of

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


def check_gradients(model: BaseModel, x: Any, y: Any, loss: str | Loss) -> GradientReport:
    """Compare the gradients of a loss with central differences, parameter by parameter.

    For each number p the difference (L(p + h) - L(p - h)) / 2h, h = 6e-6 max(1, |p|), is computed in
    float64 on a copy of the model; the error of an array is max |gradient - difference| over
    max |gradient|, |difference|, maxima taken over the array, but at least 1e-3 of the largest gradient of all and
    1e-6: below that a difference is nothing but rounding. The rows of x count as a parameter too.
    The model is in training meanwhile: dropout keeps one mask, and batch norm takes the batch's mean and variance.
    A ReLU whose input lies within h of 0 makes a false alarm.

    Args:
        model: Left as it is.
        x, y: A few rows; each number of the model costs two forward passes.
        loss: Name or object.

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
    rows, y, _ = checked_rows("check_gradients", exact, named, x, y, None)
    x = whole(rows).copy()
    lowered = exact.lower(named)
    network = network_of(lowered, exact.parameters)
    gradients = np.zeros_like(exact.parameters)
    dx = np.zeros_like(x)
    network.loss_and_gradients(x, y, gradients, dx=dx)

    unused = np.empty_like(gradients)
    primitives = {node.primitive for node in lowered.nodes}

    def value() -> float:
        if primitives & {"dropout", "batch_norm"}:  # whose prediction is another function
            return float(network.loss_and_gradients(x, y, unused))
        return float(network.loss(x, y))

    def differences(flat: Any) -> Any:
        result = np.empty_like(flat)
        for i, p in enumerate(flat.copy()):
            h = _STEP * max(1.0, abs(p))
            flat[i] = p + h
            above = value()
            flat[i] = p - h
            below = value()
            flat[i] = p
            result[i] = (above - below) / (2 * h)
        return result

    pairs = {}
    numeric = differences(exact.parameters)
    for node in lowered.nodes:
        for slot in node.slots if node.primitive != "standardize" else ():
            part = slice(slot.offset, slot.offset + slot.size)
            pairs[slot.name] = gradients[part], numeric[part]
    pairs["x"] = dx.ravel(), differences(x.reshape(-1))
    sizes = {name: max(np.abs(one).max() for one in pair) for name, pair in pairs.items()}
    floor = max(1e-3 * max(sizes.values()), 1e-6)
    return GradientReport(
        {name: float(np.abs(g - d).max() / max(sizes[name], floor)) for name, (g, d) in pairs.items()}
    )
