"""The fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad import activations, initializers
from densegrad._base import check
from densegrad._base.primitives import PRIMITIVES
from densegrad._plan.lowering import PlanBuilder
from densegrad.activations import ActivationFunction
from densegrad.layers.activation import Activation
from densegrad.layers.base import Layer, array_view, gradient_view


class Dense(Layer):
    """A fully connected layer: z = x w + b, y = f(z).

    x (batch, in_features), w (in_features, units), b (units,), y (batch, units).

    Args:
        units: Number of outputs, at least 1.
        activation: Name of f, or an object of ``dg.activations``; ``None`` is the identity.
        init: The scheme that draws the initial w: a name, or an object such as
            ``dg.initializers.Normal(0.05)``; ``"auto"`` follows the activation: He for relu, Glorot for the
            others. b starts at zero.
        use_bias: Without a bias, z = x w.
        trainable_w, trainable_b: What training updates; ``layer.trainable = False`` freezes both.
        l1, l2: Penalties, at least 0: the training loss has l1 |w| + l2 w^2 / 2 more for each number of w. ``evaluate``
            and the loss of validation data have not.

    Raises:
        ValueError, TypeError: An argument is out of range or unknown.

    >>> import densegrad as dg
    >>> model = dg.Sequential([dg.Dense(3, activation="relu"), dg.Dense(1)], input_size=2, seed=0)
    >>> model.layers[0].w.shape, model.layers[0].b
    ((2, 3), array([0., 0., 0.], dtype=float32))
    """

    w = array_view("w", "Weights (in_features, units)")
    b = array_view("b", "Biases (units,)")
    dw = gradient_view("w")
    db = gradient_view("b")

    def __init__(
        self,
        units: int,
        activation: str | ActivationFunction | None = None,
        *,
        init: str | initializers.Initializer = "auto",
        use_bias: bool = True,
        trainable_w: bool = True,
        trainable_b: bool = True,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__()
        self.units = check.count("Dense", "units", units)
        self._function = None if activation is None else activations.resolve("Dense", activation)
        self.init = initializers.resolve("Dense", init)
        self.use_bias = check.flag("Dense", "use_bias", use_bias)
        self.l1 = check.real("Dense", "l1", l1, 0.0)
        self.l2 = check.real("Dense", "l2", l2, 0.0)
        self._trains = {
            "w": check.flag("Dense", "trainable_w", trainable_w),
            "b": check.flag("Dense", "trainable_b", trainable_b),
        }

    @property
    def activation(self) -> str | ActivationFunction | None:
        """f: its name where its attributes are at their default, else the object; ``None`` where none was given."""
        return None if self._function is None else self._function.short

    @property
    def trainable_w(self) -> bool:
        """Tell whether training updates w."""
        return self._trains["w"]

    @trainable_w.setter
    def trainable_w(self, value: bool) -> None:
        self._set_trainable(w=value)

    @property
    def trainable_b(self) -> bool:
        """Tell whether training updates b."""
        return self._trains["b"]

    @trainable_b.setter
    def trainable_b(self, value: bool) -> None:
        self._set_trainable(b=value)

    @property
    def trainable(self) -> bool:
        """Tell whether training updates anything in this layer; setting it sets both w and b."""
        return self.trainable_w or (self.use_bias and self.trainable_b)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._set_trainable(w=value, b=value)

    @property
    def last_primitive(self) -> str:
        return "identity" if self._function is None else self._function.primitive

    def penalties(self, array: str) -> dict[str, float]:
        return {"l1": self.l1, "l2": self.l2} if array == "w" else {}

    def trains(self, array: str) -> bool:
        return self._trains[array]

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        z = builder.node("dense", (x,), self.units, self.slots(builder, builder.widths[x], name))
        return z if self._function is None else builder.activation(self._function, z)

    def out_features(self, in_features: int) -> int:
        return self.units

    def shapes(self, in_features: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"w": (in_features, self.units)}
        return {**shapes, "b": (self.units,)} if self.use_bias else shapes

    def initialize(self, generator: np.random.Generator) -> None:
        scheme = self.init
        if scheme == "auto":
            scheme = PRIMITIVES[self._activated_by()].init
        initializers.fill(scheme, self.w, generator)

    def config(self) -> dict[str, Any]:
        return {
            "units": self.units,
            "activation": self.activation,
            "init": initializers.config(self.init),
            "use_bias": self.use_bias,
            "trainable_w": self.trainable_w,
            "trainable_b": self.trainable_b,
            "l1": self.l1,
            "l2": self.l2,
        }

    def _activated_by(self) -> str:
        """The primitive that reads z: this layer's own, or that of an ``Activation`` behind it."""
        if self._function is None and self._owner is not None:
            for layer in self._owner.layers_behind(self):
                if isinstance(layer, Activation):
                    return layer.last_primitive
        return self.last_primitive

    def _set_trainable(self, **values: bool) -> None:
        for name, value in values.items():
            self._trains[name] = check.flag("Dense", f"trainable_{name}", value)
        self._changed()
