"""A block that adds its input to its output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from densegrad._plan.lowering import PlanBuilder
from densegrad.layers.base import Layer, Owner
from densegrad.layers.python import PythonActivation, is_function


class Residual(Layer):
    """y = x + f(x), where f is a stack of layers that keeps the width.

    Gradients reach x past f as well as through it, so that deep stacks train.

    Args:
        layers: The layers of f, first to last.

    Source: He et al., Deep residual learning for image recognition (2016).

    >>> import densegrad as dg
    >>> block = dg.Residual([dg.Dense(16, activation="relu"), dg.Dense(16)])
    >>> dg.Sequential([dg.Dense(16), block, dg.Dense(1)], input_size=3, seed=0).parameters.size
    625
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        if not isinstance(layers, Iterable):
            raise TypeError(f"Residual: expected layers as a list such as [dg.Dense(10)], got {layers!r}")
        self._layers = tuple(PythonActivation(layer) if is_function(layer) else layer for layer in layers)
        if not self._layers:
            raise ValueError("Residual: expected at least 1 layer, got 0")
        for layer in self._layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"Residual: expected layers such as dg.Dense(10), got {layer!r}")

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self._layers

    @property
    def trainable(self) -> bool:
        """Tell whether training updates anything in these layers; setting it sets each of them."""
        return any(layer.trainable for layer in self._layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._layers:
            layer.trainable = value

    @property
    def last_primitive(self) -> str:
        return "add"

    def out_features(self, in_features: int) -> int:
        width = in_features
        for layer in self._layers:
            width = layer.out_features(width)
        if width != in_features:
            raise ValueError(f"Residual: expected layers that keep the width {in_features}, got {width} outputs")
        return width

    def initialize(self, generator: np.random.Generator) -> None:
        for layer in self._layers:
            layer.initialize(generator)

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        y = x
        for index, layer in enumerate(self._layers):
            y = layer.lower(builder, y, f"{name}.{index}")
        return builder.node("add", (x, y), self.out_features(builder.widths[x]))

    def check_free(self, caller: str) -> None:
        super().check_free(caller)
        for layer in self._layers:
            layer.check_free(caller)

    def attach(self, owner: Owner) -> None:
        super().attach(owner)
        for layer in self._layers:
            layer.attach(owner)

    def config(self) -> dict[str, Any]:
        return {"layers": [layer.copy() for layer in self._layers]}
