"""An activation as a layer of its own."""

from __future__ import annotations

from typing import Any

from densegrad import activations
from densegrad._plan.lowering import PlanBuilder
from densegrad.activations import ActivationFunction
from densegrad.layers.base import Layer


class Activation(Layer):
    """An activation alone: y = f(x), x and y (batch, features).

    ``Dense(8), Activation("tanh")`` computes what ``Dense(8, activation="tanh")`` does.

    Args:
        activation: Name of f, or an object of ``dg.activations``.

    Raises:
        ValueError, TypeError: The activation is unknown.

    >>> import densegrad as dg
    >>> model = dg.Sequential([dg.Dense(3), dg.Activation(dg.activations.ELU(0.5))], input_size=2, seed=0)
    >>> model.predict([[-1.0, 2.0]]).shape
    (1, 3)
    """

    def __init__(self, activation: str | ActivationFunction) -> None:
        super().__init__()
        self._function = activations.resolve("Activation", activation)

    @property
    def activation(self) -> str | ActivationFunction:
        """f: its name where its attributes are at their default, else the object."""
        return self._function.short

    @property
    def last_primitive(self) -> str:
        return self._function.primitive

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        return builder.activation(self._function, x)

    def config(self) -> dict[str, Any]:
        return {"activation": self.activation}
