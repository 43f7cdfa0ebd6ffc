"""Gradients against central differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, overload

import numpy as np

from densegrad import graph
from densegrad._base import html
from densegrad._base.lazy_rows import whole
from densegrad._base.types import FloatArray
from densegrad._model_core import ModelCore
from densegrad._plan.split_network import network_of
from densegrad._rows.rows import checked_rows
from densegrad.graph.core.custom import MissingRuleError
from densegrad.graph.core.structure import leaves, paths, rebuilt
from densegrad.losses import LossLike

_STEP = 6e-6  # the cube root of float64's epsilon: truncation and rounding errors are balanced there


class GradientReport(Mapping[str, float]):
    """Largest relative error by parameter, or by argument of a function, such as ``report["layers.0.w"]``."""

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

    def _repr_html_(self) -> str:
        """A notebook's view: a table with a row a parameter."""
        rows = [[name, f"{error:.1e}"] for name, error in self._errors.items()]
        return html.table("GradientReport", ["parameter", "relative error"], rows, f"largest {self.largest:.1e}")


@overload
def check_gradients(model: ModelCore, x: Any, y: Any, loss: LossLike) -> GradientReport: ...
@overload
def check_gradients(model: Callable[..., Any], *args: Any) -> GradientReport: ...
def check_gradients(model: ModelCore | Callable[..., Any], *args: Any, **named: Any) -> GradientReport:
    """Compare derivatives with central differences: ``(model, x, y, loss)``, or ``(function, *args)``.

    For each number p the difference (L(p + h) - L(p - h)) / 2h, h = 6e-6 max(1, |p|), is computed in
    float64 on a copy; the error of an array is max |gradient - difference| over
    max |gradient|, |difference|, maxima taken over the array, but at least 1e-3 of the largest gradient of all and
    1e-6: below that a difference is nothing but rounding. A ReLU whose input lies within h of 0 makes a false alarm.

    The rows of a model's x count as a parameter too. The model is in training meanwhile: dropout keeps one mask, and
    batch norm takes the batch's mean and variance.

    A function of Tensors is differentiated by every float and array of floats in its arguments, in both modes; L is the
    sum of its outputs, each number times a weight between 1/2 and 3/2. Forward mode is left out where a primitive has
    no jvp.

    Args:
        model: A model or a function; left as it is.
        args: x, y and the loss, as a name or an object; or the function's arguments. A few rows are enough: each number
            costs two passes.
        named: The same by name.

    Returns:
        A report by parameter, or by argument as ``"0"`` for reverse and ``"0.jvp"`` for forward mode: about 1e-9 for
        right derivatives.

    >>> import densegrad as dg
    >>> model = dg.Sequential([dg.Dense(3, activation="tanh"), dg.Dense(2)], input_size=2, seed=0)
    >>> dg.check_gradients(model, [[1.0, 2.0], [0.5, -1.0]], [0, 1], "cross_entropy").largest < 1e-7
    True
    >>> dg.check_gradients(lambda a, b: (a + b) * (b + 1), 2.0, 1.0).largest < 1e-7
    True
    """
    if isinstance(model, ModelCore):
        return _check_model(model, *args, **named)
    if not callable(model):
        raise TypeError(f"check_gradients: expected a model or a function of Tensors, got {type(model).__name__}")
    return _check_function(model, *args, **named)


def _check_model(model: ModelCore, x: Any, y: Any, loss: LossLike) -> GradientReport:
    model.require_built("check_gradients")
    named = model.resolve_loss("check_gradients", loss)
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

    pairs = {}
    numeric = _differences(value, exact.parameters)
    for node in lowered.nodes:
        for slot in node.slots if node.primitive != "standardize" else ():
            part = slice(slot.offset, slot.offset + slot.size)
            pairs[slot.name] = gradients[part], numeric[part]
    pairs["x"] = dx.ravel(), _differences(value, x.reshape(-1))
    return _report(pairs)


def _check_function(function: Callable[..., Any], *args: Any) -> GradientReport:
    given = leaves(args)
    names = {path: n for n, path in enumerate(paths(args)) if _is_float(given[n])}
    numbers = [np.array(given[n], np.float64) for n in names.values()]

    def total(tensors: Any) -> graph.Tensor:
        chosen = dict(zip(names.values(), tensors, strict=True))
        result = function(*rebuilt(args, (chosen.get(n, leaf) for n, leaf in enumerate(given))))
        generator = np.random.default_rng(0)
        outputs = [graph.sum(y * generator.uniform(0.5, 1.5, y.shape)) for y in leaves(result)]
        return graph.sum(graph.stack(outputs))

    reverse = graph.grad(total)(numbers)
    numeric = [_differences(lambda: float(total([graph.Tensor(a) for a in numbers])), a.reshape(-1)) for a in numbers]
    pairs = {name: (d.numpy().ravel(), n) for name, d, n in zip(names, reverse, numeric, strict=True)}
    try:
        forward = graph.jacobian_forward(total)(numbers)
    except MissingRuleError:
        return _report(pairs)
    ahead = {f"{name}.jvp": (d.numpy().ravel(), n) for name, d, n in zip(names, forward, numeric, strict=True)}
    return _report(pairs | ahead)


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, float) or getattr(getattr(leaf, "dtype", None), "kind", "") == "f"


def _differences(value: Callable[[], float], flat: FloatArray) -> FloatArray:
    """Central differences of a value by each number of an array, which is changed meanwhile."""
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


def _report(pairs: Mapping[str, tuple[FloatArray, FloatArray]]) -> GradientReport:
    """From gradients and differences by name."""
    sizes = {name: max(np.abs(one).max(initial=0) for one in pair) for name, pair in pairs.items()}
    floor = max(1e-3 * max(sizes.values(), default=0), 1e-6)
    return GradientReport(
        {name: float(np.abs(g - d).max(initial=0) / max(sizes[name], floor)) for name, (g, d) in pairs.items()}
    )
