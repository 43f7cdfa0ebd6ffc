"""Layers: what a user stacks, and how each lowers to nodes of the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import _check, initializers
from densegrad._numpy.types import FloatArray
from densegrad._primitives import PRIMITIVES

if TYPE_CHECKING:
    from densegrad.model import BaseModel
    from densegrad.plan import PlanBuilder


class Layer:
    """The base of all layers: configuration of its own, arrays that are views into its model's buffers."""

    def __init__(self) -> None:
        self._owner: BaseModel | None = None
        self.views: dict[str, FloatArray] = {}  # bound by the model: w, b, dw, db

    @property
    def last_primitive(self) -> str:
        """The primitive that makes this layer's output."""
        raise NotImplementedError

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        """Append this layer's nodes behind buffer ``x``; gives its output buffer."""
        raise NotImplementedError

    def out_features(self, in_features: int) -> int:
        """Width of this layer's output."""
        raise NotImplementedError

    def shapes(self, in_features: int) -> dict[str, tuple[int, ...]]:
        """Shape of each of this layer's arrays, in the order they lie in the flat buffer."""
        raise NotImplementedError

    def initialize(self, generator: np.random.Generator) -> None:
        """Draw this layer's arrays, which are zero until then."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as a file keeps them."""
        raise NotImplementedError

    def copy(self) -> Layer:
        """A new layer of the same configuration, free to join another model; arrays are not taken along."""
        return type(self)(**self.config())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_arguments(self)})"

    @property
    def w(self) -> FloatArray:
        """Weights (in_features, units): a view into ``model.parameters``; set with ``layer.w[...] = array``."""
        return self._view("w")

    @w.setter
    def w(self, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.w is a view into model.parameters: write layer.w[...] = array")

    @property
    def b(self) -> FloatArray:
        """Biases (units,): a view into ``model.parameters``; set with ``layer.b[...] = array``."""
        return self._view("b")

    @b.setter
    def b(self, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.b is a view into model.parameters: write layer.b[...] = array")

    @property
    def dw(self) -> FloatArray:
        """Gradients of w: a view into ``model.gradients``."""
        return self._view("dw")

    @property
    def db(self) -> FloatArray:
        """Gradients of b: a view into ``model.gradients``."""
        return self._view("db")

    def check_free(self, who: str) -> None:
        """Refuse to join a second model."""
        if self._owner is not None:
            raise ValueError(
                f"{who}: expected a layer that belongs to no model yet, got {self!r} of another; "
                "give layer.copy() instead"
            )

    def attach(self, owner: BaseModel) -> None:
        """Join a model."""
        self._owner = owner

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.config())

    def _view(self, name: str) -> FloatArray:
        if name[0] == "d" and self._owner is not None:
            self._owner.gradients  # noqa: B018  (made when first asked for)
        if name not in self.views:
            missing = "this layer has no bias" if name[-1] == "b" and self.views else "its model has no input_size yet"
            if self._owner is None:
                missing = "it has joined no model yet"
            raise AttributeError(f"{type(self).__name__}.{name}: {missing}")
        return self.views[name]


class Dense(Layer):
    """A fully connected layer: z = x w + b, y = f(z).

    x (batch, in_features), w (in_features, units), b (units,), y (batch, units).

    Args:
        units: Number of outputs, at least 1.
        activation: Name of f; ``None`` is the identity.
        init: The scheme that draws the initial w: a name, or an object such as
            ``dg.initializers.Normal(0.05)``; ``"auto"`` follows the activation: He for relu, Glorot for the
            others. b starts at zero.
        use_bias: Without a bias, z = x w.
        trainable_w, trainable_b: What training updates; ``layer.trainable = False`` freezes both.

    Raises:
        ValueError, TypeError: An argument is out of range or unknown.

    >>> import densegrad as dg
    >>> model = dg.Sequential([dg.Dense(3, activation="relu"), dg.Dense(1)], input_size=2, seed=0)
    >>> model.layers[0].w.shape, model.layers[0].b
    ((2, 3), array([0., 0., 0.], dtype=float32))
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        *,
        init: str | initializers.Initializer = "auto",
        use_bias: bool = True,
        trainable_w: bool = True,
        trainable_b: bool = True,
    ) -> None:
        super().__init__()
        self.units = _check.count("Dense", "units", units)
        self.activation = None
        if activation is not None:
            self.activation = _check.primitive("Dense", "activation", activation).name
        self.init = initializers.check("Dense", init)
        self.use_bias = _check.flag("Dense", "use_bias", use_bias)
        self._trainable = {
            "w": _check.flag("Dense", "trainable_w", trainable_w),
            "b": _check.flag("Dense", "trainable_b", trainable_b),
        }

    @property
    def trainable_w(self) -> bool:
        """Whether training updates w."""
        return self._trainable["w"]

    @trainable_w.setter
    def trainable_w(self, value: bool) -> None:
        self._set_trainable(w=value)

    @property
    def trainable_b(self) -> bool:
        """Whether training updates b."""
        return self._trainable["b"]

    @trainable_b.setter
    def trainable_b(self, value: bool) -> None:
        self._set_trainable(b=value)

    @property
    def trainable(self) -> bool:
        """Whether training updates anything in this layer; setting it sets both w and b."""
        return self.trainable_w or (self.use_bias and self.trainable_b)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._set_trainable(w=value, b=value)

    @property
    def last_primitive(self) -> str:
        return self.activation or "identity"

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        slots = tuple(
            builder.slot(f"{name}.{array}", shape, trainable=self._trainable[array])
            for array, shape in self.shapes(builder.widths[x]).items()
        )
        z = builder.node("dense", (x,), self.units, slots)
        return z if self.activation is None else builder.node(self.activation, (z,), self.units)

    def out_features(self, in_features: int) -> int:
        return self.units

    def shapes(self, in_features: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"w": (in_features, self.units)}
        return {**shapes, "b": (self.units,)} if self.use_bias else shapes

    def initialize(self, generator: np.random.Generator) -> None:
        scheme = self.init
        if scheme == "auto":
            scheme = PRIMITIVES[self.activation or "identity"].init
        initializers.fill(scheme, self.w, generator)

    def config(self) -> dict[str, Any]:
        return {
            "units": self.units,
            "activation": self.activation,
            "init": initializers.config(self.init),
            "use_bias": self.use_bias,
            "trainable_w": self.trainable_w,
            "trainable_b": self.trainable_b,
        }

    def _set_trainable(self, **values: bool) -> None:
        for name, value in values.items():
            self._trainable[name] = _check.flag("Dense", f"trainable_{name}", value)
        if self._owner is not None:
            self._owner.plan_changed()


LAYERS: dict[str, type[Layer]] = {"Dense": Dense}


def _arguments(layer: Layer) -> str:
    """The call's arguments, those at their default left out."""
    config = {name: getattr(layer, name) for name in layer.config()}
    shown = [repr(config.pop("units"))] if "units" in config else []
    defaults = type(layer).__init__.__kwdefaults__ or {}
    shown += [f"{k}={v!r}" for k, v in config.items() if v != defaults.get(k)]
    return ", ".join(shown)


def _rebuilt(cls: type[Layer], config: dict[str, Any]) -> Layer:
    return cls(**config)
