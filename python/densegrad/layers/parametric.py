"""Activations with a parameter that is learned."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from densegrad._base import check
from densegrad._plan.lowering import PlanBuilder
from densegrad.layers.base import Layer, array_view, gradient_view

_LARGEST = 1e30  # still a number in float32, with room to learn


class Parametric(Layer):
    """The base of both: y = f(z, a), with one a for each feature or one for all."""

    _primitive: ClassVar[str]
    a = array_view("a", "The parameter, (features,) or (1,)")
    da = gradient_view("a")

    def __init__(self, initial: float, shared: bool, trainable: bool) -> None:
        super().__init__(trainable)
        caller = type(self).__name__
        self.initial = check.real(caller, "initial", initial, -_LARGEST, _LARGEST)
        self.shared = check.flag(caller, "shared", shared)

    @property
    def last_primitive(self) -> str:
        return self._primitive

    def shapes(self, in_features: int) -> dict[str, tuple[int, ...]]:
        return {"a": (1 if self.shared else in_features,)}

    def initialize(self, generator: np.random.Generator) -> None:
        self.a[...] = self.initial

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        width = builder.widths[x]
        return builder.node(self._primitive, (x,), width, self.slots(builder, width, name))

    def config(self) -> dict[str, Any]:
        return {"initial": self.initial, "shared": self.shared, "trainable": self.trainable}


class PReLU(Parametric):
    """y = z where z > 0, else a z, with a slope a that is learned: da = sum of dy z where z <= 0.

    A ReLU that cannot die. As PyTorch's, it starts at 0.25 and has one slope for all features.

    Args:
        initial: The slope to begin with.
        shared: One slope for all features, or one for each.
        trainable: Whether training updates the slope.

    Source: He et al., Delving deep into rectifiers (2015).

    >>> import densegrad as dg
    >>> model = dg.Sequential([dg.Dense(8), dg.PReLU(), dg.Dense(1)], input_size=2, seed=0)
    >>> model.layers[1].a
    array([0.25], dtype=float32)
    """

    _primitive = "prelu"

    def __init__(self, initial: float = 0.25, *, shared: bool = True, trainable: bool = True) -> None:
        super().__init__(initial, shared, trainable)


class LearnedSwish(Parametric):
    """y = z s, s = 1 / (1 + exp(-a z)), with an a that is learned: da = sum of dy z^2 s (1 - s).

    Between a line (a = 0) and a ReLU (a large). With a fixed a it is the activation "swish".

    Args:
        initial: a to begin with.
        shared: One a for all features, or one for each.
        trainable: Whether training updates a.

    Source: Ramachandran, Zoph and Le, Searching for activation functions (2017).

    >>> import densegrad as dg
    >>> dg.LearnedSwish(shared=False)
    LearnedSwish(shared=False)
    """

    _primitive = "learned_swish"

    def __init__(self, initial: float = 1.0, *, shared: bool = True, trainable: bool = True) -> None:
        super().__init__(initial, shared, trainable)
