"""What readers of other formats find: layers with their arrays, put together to a model once all is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from densegrad import plan
from densegrad.layers import Activation, Dense, Layer, Residual
from densegrad.model import Sequential

_WIDE = ("w", "gamma", "mean")  # arrays whose first axis is the width of x


@dataclasses.dataclass(frozen=True)
class Part:
    """A layer and its arrays by name; those of a ``Residual`` begin with the place of the layer within it."""

    layer: Layer
    arrays: Mapping[str, np.ndarray[Any, Any]] = dataclasses.field(default_factory=dict)


def dense(w: Any, b: Any = None, **options: Any) -> Part:
    """A ``Dense`` layer of weights (in_features, units), and biases (units,) where it has any."""
    layer = Dense(w.shape[1], use_bias=b is not None, **options)
    return Part(layer, {"w": w} if b is None else {"w": w, "b": b})


def residual(parts: Iterable[Part]) -> Part:
    """A ``Residual`` around parts."""
    inner = folded(parts)
    return Part(Residual([part.layer for part in inner]), named(inner))


def folded(parts: Iterable[Part]) -> list[Part]:
    """The parts, with each activation in the dense layer before it, where that has none of its own."""
    result: list[Part] = []
    for part in parts:
        last = result[-1] if result else None
        if last and isinstance(part.layer, Activation) and isinstance(last.layer, Dense) and not last.layer.activation:
            activated = Dense(**{**last.layer.config(), "activation": part.layer.activation})
            result[-1] = Part(activated, last.arrays)
        else:
            result.append(part)
    return result


def named(parts: Iterable[Part]) -> dict[str, Any]:
    """The arrays of parts by place and name."""
    return {f"{place}.{name}": array for place, part in enumerate(parts) for name, array in part.arrays.items()}


def assembled(who: str, parts: Iterable[Part], dtype: str, input_size: int | None = None) -> Sequential:
    """The model of these parts.

    Args:
        who: Begins the words of a refusal.
        parts: First to last.
        dtype: The model's.
        input_size: Width of x; where it is not known, the first array tells.
    """
    parts = folded(parts)
    if not parts:
        raise ValueError(f"{who}: expected at least 1 layer, got none")
    arrays = {f"layers.{name}": array for name, array in named(parts).items()}
    if input_size is None:
        widths = [array.shape[0] for name, array in arrays.items() if name.rpartition(".")[2] in _WIDE]
        if not widths:
            raise ValueError(f"{who}: expected at least 1 layer that tells the number of features, got none")
        input_size = widths[0]
    model = Sequential([part.layer for part in parts], dtype=dtype)
    expected = {slot.name: slot.shape for slot in plan.lower(model.wire, input_size, dtype).slots}
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{who}: expected {name} of shape {shape}, got {arrays[name].shape}")
    model.build(input_size)
    for slot in model.slots():
        model.view(slot)[...] = arrays[slot.name]
    return model
