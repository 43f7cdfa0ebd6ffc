"""The base of layers: a configuration of its own, and arrays that are views into its model's buffers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from densegrad._base import check
from densegrad._base.configured import Configured
from densegrad._base.plan import Slot
from densegrad._base.types import FloatArray
from densegrad._plan.lowering import PlanBuilder
from densegrad.layers.symbolic import SymbolicTensor, check_value


class Owner(Protocol):
    """The model that a layer belongs to, as its layers know it."""

    @property
    def gradients(self) -> FloatArray:
        """All gradients, which are made when they are first asked for."""
        ...

    def plan_changed(self) -> None:
        """A layer's configuration has changed."""
        ...

    def layers_behind(self, layer: Layer) -> Sequence[Layer]:
        """The layers that read the output of one."""
        ...


class Layer(Configured):
    """The base of all layers.

    Attributes:
        views: Its arrays by name, and their gradients by "d" and that name, once its model is built.
    """

    _untrained: ClassVar[tuple[str, ...]] = ()  # arrays that training never updates

    def __init__(self, trainable: bool = True) -> None:
        self._owner: Owner | None = None
        self.views: dict[str, FloatArray] = {}
        self._trainable = check.flag(type(self).__name__, "trainable", trainable)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers within this one."""
        return ()

    def __call__(self, x: SymbolicTensor) -> SymbolicTensor:
        """The symbolic output for a symbolic input, for a ``Model``; called again, it uses the same parameters."""
        value = check_value(type(self).__name__, x)
        return SymbolicTensor(self.out_features(value.width), self, (value,))

    @property
    def trainable(self) -> bool:
        """Tell whether training updates anything in this layer; may be set at any time."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = check.flag(type(self).__name__, "trainable", value)
        self._changed()

    @property
    def last_primitive(self) -> str:
        """The primitive that makes this layer's output."""
        raise NotImplementedError

    def lower(self, builder: PlanBuilder, x: int, name: str) -> int:
        """Append this layer's nodes behind buffer ``x``; gives its output buffer."""
        raise NotImplementedError

    def out_features(self, in_features: int) -> int:
        """Width of this layer's output; refuses an input that does not fit."""
        return in_features

    def shapes(self, in_features: int) -> dict[str, tuple[int, ...]]:
        """Shape of each of this layer's arrays, in the order they lie in the flat buffer."""
        return {}

    def slots(self, builder: PlanBuilder, in_features: int, name: str) -> tuple[Slot, ...]:
        """The next places of the flat buffer, for this layer's arrays."""
        return tuple(
            builder.slot(f"{name}.{array}", shape, trainable=self.trains(array), **self.penalties(array))
            for array, shape in self.shapes(in_features).items()
        )

    def penalties(self, array: str) -> dict[str, float]:
        """l1 and l2 of an array, where it has any."""
        return {}

    def trains(self, array: str) -> bool:
        """Tell whether training updates an array."""
        return self.trainable and array not in self._untrained

    def initialize(self, generator: np.random.Generator) -> None:
        """Draw this layer's arrays, which are zero until then."""

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as a file keeps them."""
        raise NotImplementedError

    def copy(self) -> Layer:
        """A new layer of the same configuration, free to join another model; arrays are not taken along."""
        return type(self)(**self.config())

    def check_free(self, caller: str) -> None:
        """Refuse to join a second model."""
        if self._owner is not None:
            raise ValueError(
                f"{caller}: expected a layer that belongs to no model yet, got {self!r} of another; "
                "give layer.copy() instead"
            )

    def attach(self, owner: Owner) -> None:
        """Join a model."""
        self._owner = owner

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.config())

    def _changed(self) -> None:
        if self._owner is not None:
            self._owner.plan_changed()

    def _gradient(self, name: str) -> FloatArray:
        if self._owner is not None:
            self._owner.gradients  # noqa: B018  (made when first asked for)
        return self._view(f"d{name}")

    def _view(self, name: str) -> FloatArray:
        if name not in self.views:
            missing = "it has joined no model yet" if self._owner is None else "its model has no input_size yet"
            if self.views:
                missing = f"this layer has no {'bias' if name in {'b', 'db'} else name}"
            raise AttributeError(f"{type(self).__name__}.{name}: {missing}")
        return self.views[name]


def flattened(layers: Iterable[Layer]) -> Iterator[Layer]:
    """The layers and those within them, in order."""
    for layer in layers:
        yield layer
        yield from flattened(layer.layers)


def array_view(name: str, text: str) -> Any:
    """A property that gives one of a layer's arrays, and refuses to be set."""

    def get(layer: Layer) -> FloatArray:
        return layer._view(name)

    def refuse(layer: Layer, value: Any) -> None:
        caller = f"{type(layer).__name__}.{name}"
        raise AttributeError(f"{caller} is a view into model.parameters: write layer.{name}[...] = array")

    return property(
        get, refuse, doc=f"{text}: a view into ``model.parameters``; set with ``layer.{name}[...] = array``."
    )


def gradient_view(name: str) -> Any:
    """A property that gives the gradients of one of a layer's arrays."""
    return property(lambda layer: layer._gradient(name), doc=f"Gradients of {name}: a view into ``model.gradients``.")


def _rebuilt(cls: type[Layer], config: dict[str, Any]) -> Layer:
    return cls(**config)
