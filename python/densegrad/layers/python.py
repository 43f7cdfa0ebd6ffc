"""An activation of the user's own, in Python."""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard

from densegrad._base.types import FloatArray
from densegrad._plan.lowering import PlanBuilder
from densegrad.layers.base import Layer


class Function(Protocol):
    """An activation of one's own: y = f(z), and dz = dy f'(z), arrays of the shape and dtype of z."""

    def forward(self, z: FloatArray) -> FloatArray:
        """y (batch, features)."""
        ...

    def backward(self, dy: FloatArray, z: FloatArray, y: FloatArray) -> FloatArray:
        """dz (batch, features)."""
        ...


def is_function(value: Any) -> TypeGuard[Function]:
    """Tell whether a value is an object with both, and no layer."""
    return (
        not isinstance(value, Layer | type)
        and callable(getattr(value, "forward", None))
        and callable(getattr(value, "backward", None))
    )


class PythonActivation(Layer):
    """y = f(z) by an object with ``forward(z)`` and ``backward(dy, z, y)``; stands wherever a layer may.

    The plan is split there: what lies before and behind runs compiled, a step at a time. A file cannot hold it.

    >>> import densegrad as dg, numpy as np
    >>> class Sine:
    ...     def forward(self, z):
    ...         return np.sin(z)
    ...
    ...     def backward(self, dy, z, y):
    ...         return dy * np.cos(z)
    >>> model = dg.Sequential([dg.Dense(8), Sine(), dg.Dense(1)], input_size=1, seed=0)
    >>> dg.check_gradients(model, [[0.3], [1.2]], [[0.5], [0.1]], "mse").largest < 1e-7
    True
    """

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    @property
    def last_primitive(self) -> str:
        return "python"

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        return builder.node("python", (x,), builder.widths[x], attributes={"function": self.function})

    def config(self) -> dict[str, Any]:
        return {"function": self.function}
