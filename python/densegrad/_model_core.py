"""The core of every model: layers over one flat parameter buffer, lowered to a plan that ``Network`` runs.

It knows losses, which a plan holds, and nothing of training.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from densegrad._base import check
from densegrad._base.lazy_rows import Features
from densegrad._base.memory import aligned_zeros
from densegrad._base.plan import LossSpec, OptimizerSpec, Plan, Slot
from densegrad._base.primitives import PRIMITIVES, loss_row
from densegrad._base.types import FloatArray
from densegrad._plan import backend
from densegrad._plan.lowering import PlanBuilder, lower
from densegrad._plan.split_network import network_of
from densegrad.layers import Layer, PythonActivation, Standardize, describe, flattened, is_function
from densegrad.losses import LossLike, OneLoss, Sum, resolve

_OUTPUT = "output0"  # the name of an output that has none
_Core = TypeVar("_Core", bound="ModelCore")

MODELS: dict[str, type[ModelCore]] = {}  # the classes that a file may name, by their names


class ModelCore:
    """Layers, their parameters, and the plan of both.

    Attributes:
        dtype: Of parameters and arithmetic.
        seed: Of ``generator``.
        generator: Draws initial weights and shuffles.
        loss: The one last trained with, as a user writes it; ``None`` before.
        input_size: Features of a row; ``None`` before ``build``.
        noise_seed: What dropout draws by; drawn when there is any.
        plan_version: Counts the changes that put plans out of date.
        training_lock: Held by whoever trains.
    """

    def __init__(self, layers: Iterable[Layer], input_size: int | None, dtype: Any, seed: int | None) -> None:
        caller = type(self).__name__
        if not isinstance(layers, Iterable):
            raise TypeError(f"{caller}: expected layers as a list such as [dg.Dense(10)], got {layers!r}")
        self._layers = tuple(PythonActivation(layer) if is_function(layer) else layer for layer in layers)
        if not self._layers:
            raise ValueError(f"{caller}: expected at least 1 layer, got 0")
        for layer in self._layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"{caller}: expected layers such as dg.Dense(10), got {layer!r}")
        every = list(flattened(self._layers))
        if len({id(layer) for layer in every}) < len(every):
            raise ValueError(f"{caller}: expected each layer once, got one twice; give layer.copy() instead")
        for layer in self._layers:  # all are checked before any is taken
            layer.check_free(caller)
        self.dtype = check.dtype(caller, dtype)
        self.seed = None if seed is None else check.count(caller, "seed", seed, low=0)
        self.generator = np.random.default_rng(self.seed)
        self.loss: OneLoss | Sum | None = None
        self.input_size: int | None = None
        self.noise_seed = 0
        self.plan_version = 0
        self.training_lock = threading.Lock()
        self._parameters: FloatArray | None = None
        self._gradients: FloatArray | None = None
        self._inference: tuple[Any, Any] = (None, None)  # a backend, and the network that predicts on it
        self._inference_version = 0
        self._forwards = 0  # each draws masks of its own
        size = None if input_size is None else check.count(caller, "input_size", input_size)
        for layer in self._layers:
            layer.attach(self)
        if size is not None:
            self.build(size)

    # ---- the wiring, which each class of models has of its own

    @property
    def output_size(self) -> int:
        """Number of columns of the output."""
        raise NotImplementedError

    @property
    def outputs(self) -> dict[str, int]:
        """The width of each output, by name."""
        return {_OUTPUT: self.output_size}

    @property
    def last_primitives(self) -> tuple[str, ...]:
        """The primitive that makes each output."""
        raise NotImplementedError

    def wire(self, builder: PlanBuilder) -> Sequence[int]:
        """Append this model's nodes behind buffer 0; gives the buffers of its outputs."""
        raise NotImplementedError

    def wiring(self) -> dict[str, Any]:
        """The wires between the layers, as a file keeps them and ``assemble`` needs them."""
        return {}

    def assemble(self, layers: Sequence[Layer], state: Mapping[str, Any]) -> None:
        """Make this a model of such layers, without parameters, by what ``wiring`` gave and its dtype and seed."""
        raise NotImplementedError

    def layers_behind(self, layer: Layer) -> Sequence[Layer]:
        """The layers that read the output of one."""
        raise NotImplementedError

    def join_inputs(self, caller: str, x: Any) -> Any:
        """x as one array, where the model takes several."""
        return x

    # ---- parameters

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, first to last."""
        return self._layers

    @property
    def parameters(self) -> FloatArray:
        """All parameters in one flat buffer, layer by layer, w before b; ``layer.w`` and ``.b`` are views."""
        self.require_built("parameters")
        assert self._parameters is not None
        return self._parameters

    @property
    def gradients(self) -> FloatArray:
        """The gradients of the last ``backward``, laid out as ``parameters``; ``layer.dw`` and ``.db`` are views."""
        self.require_built("gradients")
        if self._gradients is None:
            self._gradients = aligned_zeros(self.parameters.size, self.dtype)
            self._bind(self._gradients, prefix="d")
        return self._gradients

    def slots(self) -> list[Slot]:
        """The place of each array of parameters in the flat buffer."""
        return self.lower().slots

    def view(self, slot: Slot, parameters: FloatArray | None = None) -> FloatArray:
        """One array of the parameters, or of a buffer laid out as they are, as a view."""
        whole = self.parameters if parameters is None else parameters
        return whole[slot.offset : slot.offset + slot.size].reshape(slot.shape)

    def build(self, input_size: int) -> None:
        """Make and initialise the parameters, once; done by the constructor or the first batch."""
        caller = f"{type(self).__name__}.build"
        input_size = check.count(caller, "input_size", input_size)
        if self.input_size is not None:
            raise ValueError(
                f"{caller}: expected a model without parameters, got one built for {self.input_size} features"
            )
        count = lower(self.wire, input_size, self.dtype).parameter_count
        self._parameters = aligned_zeros(count, self.dtype)  # may be more than there is: nothing has changed yet
        self.input_size = input_size
        self._bind(self._parameters, prefix="")
        for layer in self._layers:
            layer.initialize(self.generator)
        if any(node.primitive == "dropout" for node in self.lower().nodes):
            self.noise_seed = int(self.generator.integers(2**48))

    def adapt(self, x: Features) -> None:
        """Take from the first rows to train on the input_size, and the scaling of a first ``Standardize``."""
        if self.input_size is None:
            self.build(x.shape[1])
        first = self._layers[0]
        if isinstance(first, Standardize) and not first.fitted:
            first.adapt(x)

    def require_built(self, what: str) -> None:
        """Refuse what needs parameters before there are any."""
        if self.input_size is None:
            raise ValueError(
                f"{type(self).__name__}.{what}: expected a model that knows its input_size; "
                "give input_size=... or train it first"
            )

    def _bind(self, flat: FloatArray, prefix: str) -> None:
        for slot in self.slots():
            _, *path, name = slot.name.split(".")
            layer: Any = self
            for index in path:
                layer = layer.layers[int(index)]
            layer.views[prefix + name] = self.view(slot, flat)

    # ---- the plan

    def lower(self, loss: LossSpec | None = None, optimizer: OptimizerSpec | None = None) -> Plan:
        """The plan of this model, as it stands now."""
        self.require_built("lower")
        assert self.input_size is not None
        return lower(self.wire, self.input_size, self.dtype, loss, optimizer, self.noise_seed)

    def plan_changed(self) -> None:
        """A layer's configuration has changed: plans made before are out of date."""
        self.plan_version += 1

    def network(self) -> Any:
        """The network that predicts, made anew when the plan or the backend changes."""
        module = backend.active()
        if self._inference[0] is not module or self._inference_version != self.plan_version:
            self._inference = (module, network_of(self.lower(), self.parameters))
            self._inference_version = self.plan_version
        return self._inference[1]

    def scores(self, x: FloatArray, loss: LossSpec) -> tuple[LossSpec, FloatArray]:
        """The loss as lowered, fused where it absorbs the last activation, and what it reads."""
        lowered = self.lower(loss)
        assert lowered.loss is not None
        if lowered.loss.prediction == lowered.output:
            return lowered.loss, self.network().predict(x)
        cut = replace(lowered, output=lowered.loss.prediction)
        return lowered.loss, network_of(cut, self.parameters).predict(x)

    def resolve_loss(self, caller: str, loss: LossLike | None) -> LossSpec:
        """The loss a user named or made for this model."""
        return resolve(caller, loss)

    def check_loss(self, caller: str, loss: LossSpec) -> None:
        """Refuse a loss on probabilities over a last layer that does not give them."""
        for term, last in zip(loss.each(), self.last_primitives, strict=True):
            row = loss_row(term.primitive)
            if row.target == "probabilities" and row.link == "identity" and range_of(last) != (0, 1):
                raise ValueError(
                    f"{caller}: {row.name} expects probabilities from the last layer; give it activation='sigmoid', "
                    f"or train with {row.name}_with_logits"
                )

    # ---- copies

    def copy(self: _Core, dtype: Any = None) -> _Core:
        """A model of its own with the same layers and numbers, in another dtype where one is given."""
        if dtype is None:
            return copy.deepcopy(self)
        other = object.__new__(type(self))
        other.__setstate__({**self.__getstate__(), "dtype": check.dtype("copy", dtype)})
        return other

    def config(self) -> dict[str, Any]:
        """The constructor's arguments; a file keeps an object among a layer's as its own ``config``."""
        return {
            "class": type(self).__name__,
            "layers": [describe(layer) for layer in self._layers],
            **self.wiring(),
            "input_size": self.input_size,
            "dtype": self.dtype,
            "seed": self.seed,
        }

    def __getstate__(self) -> dict[str, Any]:
        return {
            "layers": [(type(layer), layer.config()) for layer in self._layers],
            **self.wiring(),
            "input_size": self.input_size,
            "dtype": self.dtype,
            "seed": self.seed,
            "loss": self.loss,
            "generator": copy.deepcopy(self.generator),
            "noise_seed": self.noise_seed,
            "forwards": self._forwards,
            "parameters": None if self._parameters is None else self._parameters.copy(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        layers = [cls(**config) for cls, config in state["layers"]]
        self.assemble(layers, state)
        if state["input_size"] is not None:
            self.build(state["input_size"])
        self.loss = state["loss"]
        if state["parameters"] is not None:
            self.parameters[...] = state["parameters"]
        self.generator = state["generator"]
        self.noise_seed = state["noise_seed"]
        self._forwards = state["forwards"]


def range_of(primitive: str) -> tuple[float, float]:
    """The range of what a primitive gives."""
    row = PRIMITIVES.get(primitive)
    return (-np.inf, np.inf) if row is None else row.range
