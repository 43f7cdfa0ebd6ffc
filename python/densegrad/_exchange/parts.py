"""Networks as readers of other formats find them: layers with their arrays, in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from densegrad.layers import Activation, Dense, Layer, Residual


@dataclasses.dataclass(frozen=True)
class Part:
    """A layer and its arrays by name; those of a ``Residual`` begin with the place of the layer within it."""

    layer: Layer
    arrays: Mapping[str, np.ndarray[Any, Any]] = dataclasses.field(default_factory=dict)


class ReadNetwork(NamedTuple):
    """All that a reader has found.

    Attributes:
        caller: Begins the words of a refusal.
        parts: First to last.
        dtype: Of the arrays.
        input_size: Width of x; where it is not known, the first array tells.
    """

    caller: str
    parts: Iterable[Part]
    dtype: str
    input_size: int | None = None


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
