"""Models: layers over one flat parameter buffer, lowered to a plan that ``Network`` runs."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import _backend, _check, files, metrics, plan
from densegrad._feed import Features, blocks, features
from densegrad._html import preformatted
from densegrad._memory import aligned_zeros
from densegrad._numpy.types import FloatArray
from densegrad._primitives import PRIMITIVES, loss_row
from densegrad.layers import Layer, PythonActivation, Standardize, describe, flattened, is_function
from densegrad.losses import AnyLoss, Given, Loss, Sum, resolve
from densegrad.pieces import network_of
from densegrad.summary import Step, Summary, stacked, summarize

if TYPE_CHECKING:
    from densegrad.history import History
    from densegrad.lbfgs import LBFGS
    from densegrad.metrics import Metric
    from densegrad.optimizers import Optimizer
    from densegrad.trace import Trace


_OUTPUT = "output0"  # the name of an output that has none


class BaseModel:
    """What every model has: parameters, prediction, training, files."""

    def __init__(self, layers: Iterable[Layer], input_size: int | None, dtype: Any, seed: int | None) -> None:
        who = type(self).__name__
        if not isinstance(layers, Iterable):
            raise TypeError(f"{who}: expected layers as a list such as [dg.Dense(10)], got {layers!r}")
        self._layers = tuple(PythonActivation(layer) if is_function(layer) else layer for layer in layers)
        if not self._layers:
            raise ValueError(f"{who}: expected at least 1 layer, got 0")
        for layer in self._layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"{who}: expected layers such as dg.Dense(10), got {layer!r}")
        every = list(flattened(self._layers))
        if len({id(layer) for layer in every}) < len(every):
            raise ValueError(f"{who}: expected each layer once, got one twice; give layer.copy() instead")
        for layer in self._layers:  # all are checked before any is taken
            layer.check_free(who)
        self.dtype = _check.dtype(who, dtype)
        self.seed = None if seed is None else _check.count(who, "seed", seed, low=0)
        self.generator = np.random.default_rng(self.seed)
        self.loss: Given | Sum | None = None
        self.input_size: int | None = None
        self._parameters: FloatArray | None = None
        self._gradients: FloatArray | None = None
        self._inference: tuple[Any, Any] = (None, None)
        self._inference_version = 0
        self._forwards = 0  # each draws masks of its own
        self.noise_seed = 0  # of dropout; drawn when there is any
        self._plan_version = 0
        self.turn = threading.Lock()  # of whoever trains
        size = None if input_size is None else _check.count(who, "input_size", input_size)
        for layer in self._layers:
            layer.attach(self)
        if size is not None:
            self.build(size)

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

    def resolve_loss(self, who: str, loss: AnyLoss | None) -> plan.Loss:
        """The loss a user named or made for this model."""
        return resolve(who, loss)

    def check_metrics(self, who: str, given: Any) -> Mapping[str, Mapping[str, Metric]]:
        """The metrics a user gave for this model, by output and name."""
        return {_OUTPUT: metrics.check(who, given)}

    def wire(self, builder: plan.PlanBuilder) -> Sequence[int]:
        """Append this model's nodes behind buffer 0; gives the buffers of its outputs."""
        raise NotImplementedError

    def wiring(self) -> dict[str, Any]:
        """What ``assemble`` needs beside the layers, as a file keeps it."""
        return {}

    def assemble(self, layers: Sequence[Layer], state: Mapping[str, Any]) -> None:
        """Make this a model of such layers, without parameters, by what ``wiring`` gave and its dtype and seed."""
        raise NotImplementedError

    def layers_behind(self, layer: Layer) -> Sequence[Layer]:
        """The layers that read the output of one."""
        raise NotImplementedError

    def steps(self) -> list[Step]:
        """The rows of a summary."""
        raise NotImplementedError

    def join_inputs(self, who: str, x: Any) -> Any:
        """x as one array, where the model takes several."""
        return x

    def slots(self) -> list[plan.Slot]:
        """Where each array of parameters lies in the flat buffer."""
        return self.lower().slots

    def view(self, slot: plan.Slot, parameters: FloatArray | None = None) -> FloatArray:
        """One array of the parameters, or of a buffer laid out as they are, as a view."""
        whole = self.parameters if parameters is None else parameters
        return whole[slot.offset : slot.offset + slot.size].reshape(slot.shape)

    def build(self, input_size: int) -> None:
        """Make and initialise the parameters, once; done by the constructor or the first batch."""
        who = f"{type(self).__name__}.build"
        input_size = _check.count(who, "input_size", input_size)
        if self.input_size is not None:
            raise ValueError(
                f"{who}: expected a model without parameters, got one built for {self.input_size} features"
            )
        count = plan.lower(self.wire, input_size, self.dtype).parameter_count
        self._parameters = aligned_zeros(count, self.dtype)  # may be more than there is: nothing has changed yet
        self.input_size = input_size
        self._bind(self._parameters, prefix="")
        for layer in self._layers:
            layer.initialize(self.generator)
        if any(node.primitive == "dropout" for node in self.lower().nodes):
            self.noise_seed = int(self.generator.integers(2**48))

    def lower(self, loss: plan.Loss | None = None, optimizer: plan.Optimizer | None = None) -> plan.Plan:
        """The plan of this model, as it stands now."""
        self.require_built("lower")
        assert self.input_size is not None
        return plan.lower(self.wire, self.input_size, self.dtype, loss, optimizer, self.noise_seed)

    def plan_changed(self) -> None:
        """A layer's configuration has changed: plans made before are out of date."""
        self._plan_version += 1

    @property
    def plan_version(self) -> int:
        """Counts the changes that put plans out of date."""
        return self._plan_version

    # ---- prediction

    def predict(self, x: Any) -> FloatArray:
        """The last layer's output.

        Args:
            x: (batch, input_size); lists, integers, frames and other dtypes are converted to the model's.

        Returns:
            (batch, outputs) in the model's dtype.

        Threads may predict with one model at once. While another one trains it, a prediction may come from
        parameters of which some are updated and some are not: predict with a ``copy()`` then.

        Raises:
            ValueError, TypeError: x has another shape, is not numeric or not finite.
        """
        module, network = self._inference
        y: FloatArray
        if type(x) is np.ndarray and module is _backend.active():
            try:  # straight to the backend: it refuses whatever would need a check or a conversion
                y = network.predict(x)
                return y
            except (TypeError, ValueError):
                pass
        self.require_built("predict")
        assert self.input_size is not None
        who = f"{type(self).__name__}.predict"
        rows = features(who, self.join_inputs(who, x), self.input_size, self.dtype, empty=True)
        parts = [self._network().predict(block) for block in blocks(rows)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def predict_proba(self, x: Any) -> FloatArray:
        """Probabilities (batch, outputs): the prediction through the link of the loss trained with.

        Softmax for ``cross_entropy`` and ``nll``, sigmoid for ``binary_cross_entropy_with_logits``; an output that
        already is a softmax or a sigmoid is given as it is.
        """
        who = f"{type(self).__name__}.predict_proba"
        x = self._features("predict_proba", x, empty=True)
        if self.loss is not None:
            loss, scores = self.scores(x, self.resolve_loss(who, self.loss))
            link = loss_row(loss.each()[0].primitive).link
            if link is not None:
                y: FloatArray = _backend.active().activation_forward(link, scores)
                return y
        if _range(self.last_primitives[0]) == (0, 1):
            return self.predict(x)
        trained = "no loss yet" if self.loss is None else repr(self.loss)
        raise ValueError(f"{who}: expected a model trained with a loss on probabilities, got {trained}")

    def forward(self, x: Any) -> FloatArray:
        """The output for one batch in training, kept for ``backward``.

        Dropout draws a new mask at each call, and batch norm takes mean and variance of the batch.
        """
        x = self._features("forward", x)
        y: FloatArray = self._network().forward(x, step=self._forwards)
        self._forwards += 1
        return y

    def backward(self, dy: Any) -> FloatArray:
        """dx for the batch of the last ``forward``; fills ``gradients``, ``layer.dw`` and ``layer.db``.

        Args:
            dy: Gradient of a loss that lives elsewhere with respect to the output, (batch, outputs).
        """
        who = f"{type(self).__name__}.backward"
        dy = _check.array(who, "dy", dy, self.dtype)
        if dy.ndim != 2 or dy.shape[1] != self.output_size:
            raise ValueError(f"{who}: expected dy of shape (batch, {self.output_size}), got {dy.shape}")
        dx: FloatArray = self._network().backward(dy, self.gradients)
        return dx

    # ---- training

    def prepare(self, x: Features) -> None:
        """What the first rows to train on tell a model: its input_size, and the scaling of a first ``Standardize``."""
        if self.input_size is None:
            self.build(x.shape[1])
        first = self._layers[0]
        if isinstance(first, Standardize) and not first.fitted:
            first.adapt(x)

    def fit(self, x: Any, y: Any = None, *, loss: AnyLoss, optimizer: Optimizer | LBFGS, **options: Any) -> History:
        """Train on mini-batches; the options and their meaning are those of ``Trainer.fit``.

        ``LBFGS`` trains on all rows at once instead, and says what that changes.
        """
        from densegrad import lbfgs  # the floor above, which trains models
        from densegrad.training import Trainer

        if isinstance(optimizer, lbfgs.LBFGS):
            return lbfgs.fit(self, x, y, loss=loss, optimizer=optimizer, **options)
        return Trainer(self, loss=loss, optimizer=optimizer).fit(x, y, **options)

    def evaluate(
        self,
        x: Any,
        y: Any,
        *,
        loss: AnyLoss | None = None,
        metrics: Sequence[str | Metric] = (),
        sample_weight: Any = None,
        class_weight: Any = None,
    ) -> dict[str, float]:
        """The loss and metrics over all rows.

        Args:
            x, y: As for ``fit``.
            loss: Name or object; by default the one trained with.
            metrics: Names such as ``"accuracy"``, objects or functions, as for ``fit``.
            sample_weight: (batch,) weights.
            class_weight: As for ``fit``; ``"balanced"`` counts the classes of these rows.

        Returns:
            ``{"loss": ..., metric: ...}``.
        """
        from densegrad.evaluation import evaluate

        who = f"{type(self).__name__}.evaluate"
        if loss is None and self.loss is None:
            raise ValueError(f"{who}: expected loss=..., because the model has not been trained with one")
        return evaluate(
            who, self, x, y, self.resolve_loss(who, loss or self.loss), metrics, sample_weight, class_weight
        )

    def trace(self, x: Any, y: Any, loss: str | Loss) -> Trace:
        """Every quantity of one forward and backward pass: x, z, y, dy, dz, dw, db of each layer."""
        from densegrad.trace import trace

        return trace(self, x, y, loss)

    def summary(self) -> Summary:
        """A table of layers, shapes and parameters; prints as text."""
        return summarize(self)

    def plot(self, ax: Any = None) -> Any:
        """The network as a picture, weights as colours where it is small; gives the Matplotlib axes."""
        from densegrad import plot

        return plot.network(self, ax)

    def _repr_html_(self) -> str:
        """What a notebook shows: the summary."""
        return preformatted(repr(self) if self.input_size is None else self.summary())

    # ---- copies and files

    def copy(self, dtype: Any = None) -> Any:
        """A model of its own with the same layers and numbers, in another dtype where one is given."""
        return copy.deepcopy(self) if dtype is None else self._in_dtype(_check.dtype("copy", dtype))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file, atomically; ``dg.load`` reads it back."""
        files.save(self, path)

    def to_onnx(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The model as ONNX (opset 20), with the input ``x`` and the output ``y``, both (batch, features).

        Several inputs or outputs of a ``Model`` are columns of the two, side by side. Numbers are in the model's dtype.
        onnxruntime has few activations in float64: give it those of ``model.copy("float32")``.

        Args:
            path: Where it is written to, atomically.

        Returns:
            The ``onnx.ModelProto``, which ``dg.from_onnx`` reads back. Needs onnx: ``pip install 'densegrad[onnx]'``.
        """
        from densegrad.exchange.onnx_writer import to_onnx

        return to_onnx(self, path)

    def to_torch_state_dict(self) -> dict[str, Any]:
        """What ``torch.nn.Sequential.load_state_dict`` takes: a copy of each array, by PyTorch's names.

        The modules of that Sequential are, in order, a ``Linear`` for each ``Dense``, behind it its activation as a
        module of its own unless it is ``None``, and one module for each other layer: ``BatchNorm1d``, ``LayerNorm``,
        ``PReLU``, ``Dropout`` or an activation. Needs PyTorch: ``pip install torch``.

        Raises:
            ValueError: A layer has no counterpart there: ``Residual``, ``Standardize``, ``LearnedSwish``.
        """
        from densegrad.exchange.torch import to_torch_state_dict

        return to_torch_state_dict(self)

    def to_cpp(self, path: str | os.PathLike[str] | None = None, *, name: str = "model") -> str:
        """The model as one C++17 header, with its weights and ``name::forward(x, y)`` for a row; for small devices.

        The function allocates nothing and needs no library but the language's own. Its numbers are of the model's
        dtype, and differ from ``predict``'s by rounding.

        Args:
            path: Where it is written to, atomically.
            name: The header's namespace.

        Returns:
            The header's text.

        >>> import densegrad as dg
        >>> model = dg.Sequential([dg.Dense(2, "relu")], input_size=3, seed=0)
        >>> print(model.to_cpp().partition(";")[0])
        // 3 inputs, 2 outputs, 8 parameters
        """
        from densegrad.exchange.cpp import to_cpp

        return to_cpp(self, path, name)

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

    def _in_dtype(self, dtype: str) -> BaseModel:
        other = object.__new__(type(self))
        other.__setstate__({**self.__getstate__(), "dtype": dtype})
        return other

    # ---- inside

    def _bind(self, flat: FloatArray, prefix: str) -> None:
        for slot in self.slots():
            _, *path, name = slot.name.split(".")
            layer: Any = self
            for index in path:
                layer = layer.layers[int(index)]
            layer.views[prefix + name] = flat[slot.offset : slot.offset + slot.size].reshape(slot.shape)

    def require_built(self, what: str) -> None:
        """Refuse what needs parameters before there are any."""
        if self.input_size is None:
            raise ValueError(
                f"{type(self).__name__}.{what}: expected a model that knows its input_size; "
                "give input_size=... or train it first"
            )

    def _features(self, method: str, x: Any, *, empty: bool = False) -> FloatArray:
        self.require_built(method)
        assert self.input_size is not None
        who = f"{type(self).__name__}.{method}"
        return _check.features(who, self.join_inputs(who, x), self.input_size, self.dtype, empty=empty)

    def _network(self) -> Any:
        """The network that predicts, made anew when the backend changes."""
        module = _backend.active()
        if self._inference[0] is not module or self._inference_version != self._plan_version:
            self._inference = (module, network_of(self.lower(), self.parameters))
            self._inference_version = self._plan_version
        return self._inference[1]

    def check_loss(self, who: str, loss: plan.Loss) -> None:
        """Refuse a loss on probabilities over a last layer that does not give them."""
        for term, last in zip(loss.each(), self.last_primitives, strict=True):
            row = loss_row(term.primitive)
            if row.target == "probabilities" and row.link == "identity" and _range(last) != (0, 1):
                raise ValueError(
                    f"{who}: {row.name} expects probabilities from the last layer; give it activation='sigmoid', "
                    f"or train with {row.name}_with_logits"
                )

    def scores(self, x: FloatArray, loss: plan.Loss) -> tuple[plan.Loss, FloatArray]:
        """The loss as lowered, fused where it absorbs the last activation, and what it reads."""
        lowered = self.lower(loss)
        assert lowered.loss is not None
        if lowered.loss.prediction == lowered.output:
            return lowered.loss, self._network().predict(x)
        cut = replace(lowered, output=lowered.loss.prediction)
        return lowered.loss, network_of(cut, self.parameters).predict(x)


def _range(primitive: str) -> tuple[float, float]:
    """The range of what a primitive gives."""
    row = PRIMITIVES.get(primitive)
    return (-np.inf, np.inf) if row is None else row.range


class Sequential(BaseModel):
    """A stack of layers, each feeding the next.

    Args:
        layers: The layers, first to last; a layer belongs to one model.
        input_size: Features of a row; where it is not given, the first batch of ``fit`` tells.
        dtype: ``"float32"`` or ``"float64"``, of parameters and arithmetic.
        seed: Makes initial weights and shuffles repeatable.

    >>> import numpy as np, densegrad as dg
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = np.array([0, 1, 1, 0])
    >>> model = dg.Sequential([dg.Dense(16, activation="tanh"), dg.Dense(2)], input_size=2, seed=0)
    >>> history = model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.5), epochs=500, batch_size=4)
    >>> model.predict(x).argmax(axis=1)
    array([0, 1, 1, 0])
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        input_size: int | None = None,
        *,
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__(layers, input_size, dtype, seed)

    @property
    def output_size(self) -> int:
        width = self.input_size or 0  # what a layer makes of it does not depend on it, where it is not known
        for layer in self._layers:
            width = layer.out_features(width)
        return width

    @property
    def last_primitives(self) -> tuple[str, ...]:
        return (self._layers[-1].last_primitive,)

    def wire(self, builder: plan.PlanBuilder) -> Sequence[int]:
        buffer = 0
        for index, layer in enumerate(self._layers):
            buffer = layer.lower(builder, buffer, f"layers.{index}")
        return [buffer]

    def assemble(self, layers: Sequence[Layer], state: Mapping[str, Any]) -> None:
        BaseModel.__init__(self, layers, None, state["dtype"], state["seed"])

    def layers_behind(self, layer: Layer) -> Sequence[Layer]:
        place = self._layers.index(layer) if layer in self._layers else len(self._layers)
        return self._layers[place + 1 : place + 2]

    def steps(self) -> list[Step]:
        return stacked(self._layers, "layers.", self.input_size or 0)

    def __repr__(self) -> str:
        shown = [f"[{', '.join(map(repr, self._layers))}]"]
        shown += [f"input_size={self.input_size}"] if self.input_size is not None else []
        shown += [f"dtype={self.dtype!r}"] if self.dtype != "float32" else []
        shown += [f"seed={self.seed}"] if self.seed is not None else []
        return f"Sequential({', '.join(shown)})"


files.MODELS["Sequential"] = Sequential
