"""Models of any wiring: several inputs and outputs, skip connections, shared layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.lazy_rows import Features, whole
from densegrad._base.plan import LossSpec
from densegrad._base.types import FloatArray
from densegrad._inspect.trace import Trace
from densegrad._model_core import MODELS
from densegrad._plan.lowering import PlanBuilder
from densegrad._training.history import History
from densegrad._training.lbfgs import LBFGS
from densegrad.layers import Layer, Standardize, symbolic
from densegrad.layers.symbolic import Input, SymbolicTensor
from densegrad.losses import LossLike, Sum, resolve_sum
from densegrad.models.base import BaseModel
from densegrad.models.summary import SummaryRow
from densegrad.optimizers import Optimizer

Many = SymbolicTensor | Sequence[SymbolicTensor] | Mapping[str, SymbolicTensor]


class Model(BaseModel):
    """Layers wired in any way, from one or several inputs to one or several outputs.

    Call a layer with a symbolic tensor to get the next one; ``dg.add`` and ``dg.concatenate`` join values. A layer
    called twice uses the same parameters twice. Parameters lie in the order in which their layers were first called.

    Where there are several inputs, x is a list of arrays in their order, a dict of them by name, or one array of all
    their columns side by side; so is y where there are several outputs, and ``predict`` gives a list.

    Args:
        inputs: An ``Input``, or a list of them.
        outputs: A symbolic tensor, a list of them, or a dict by name; by default they are called "output0" and so on.
        dtype: ``"float32"`` or ``"float64"``, of parameters and arithmetic.
        seed: Makes initial weights and shuffles repeatable.

    Raises:
        ValueError, TypeError: No output needs an input, an output needs one that is not given, a layer belongs to
            another model or is called at two widths.

    >>> import numpy as np, densegrad as dg
    >>> a, b = dg.Input(8, name="a"), dg.Input(3, name="b")
    >>> h = dg.Dense(16, "relu")(a)
    >>> h = dg.add(h, dg.Dense(16)(h))
    >>> model = dg.Model([a, b], dg.Dense(1)(dg.concatenate(h, b)), seed=0)
    >>> x = {"a": np.ones((5, 8)), "b": np.zeros((5, 3))}
    >>> history = model.fit(x, np.ones(5), loss="mse", optimizer=dg.SGD(0.01), epochs=300)
    >>> bool(abs(model.predict(x) - 1).max() < 1e-3)
    True
    """

    def __init__(
        self, inputs: Input | Sequence[Input], outputs: Many, *, dtype: Any = "float32", seed: int | None = None
    ) -> None:
        self._connect(inputs, outputs, dtype, seed)
        self.build(self._input_width)

    def _connect(self, inputs: Input | Sequence[Input], outputs: Many, dtype: Any, seed: int | None) -> None:
        self._inputs = _named_inputs(inputs)
        self._outputs = _named_outputs(outputs)
        self._values = symbolic.needed_for(tuple(self._outputs.values()))
        _check_connected(list(self._inputs.values()), self._values)
        layers = list(dict.fromkeys(value.maker for value in self._values if isinstance(value.maker, Layer)))
        for layer in layers:
            _check_one_width(layer, self._values)
        super().__init__(layers, None, dtype, seed)

    @property
    def inputs(self) -> dict[str, int]:
        """The width of each input, by name."""
        return {name: value.width for name, value in self._inputs.items()}

    @property
    def outputs(self) -> dict[str, int]:
        """The width of each output, by name."""
        return {name: value.width for name, value in self._outputs.items()}

    @property
    def output_size(self) -> int:
        return sum(self.outputs.values())

    @property
    def last_primitives(self) -> tuple[str, ...]:
        return tuple(map(_primitive, self._outputs.values()))

    def build(self, input_size: int) -> None:
        if input_size != self._input_width:
            raise ValueError(f"Model.build: expected input_size {self._input_width}, got {input_size}")
        super().build(input_size)

    # ---- lowering

    def wire(self, builder: PlanBuilder) -> Sequence[int]:
        buffers = dict.fromkeys(map(id, self._inputs.values()), 0)  # of each value
        if len(buffers) > 1:
            for given, first in self._input_columns():
                buffers[id(given)] = builder.node("columns", (0,), given.width, attributes={"first": first})
        for value in self._made():
            sources = [buffers[id(source)] for source in value.sources]
            if isinstance(value.maker, Layer):
                path = f"layers.{self._layers.index(value.maker)}"
                buffers[id(value)] = value.maker.lower(builder, sources[0], path)
            elif value.maker is not None:
                buffers[id(value)] = builder.join(value.maker, *sources)
        return [buffers[id(value)] for value in self._outputs.values()]

    def wiring(self) -> dict[str, Any]:
        places = {id(value): place for place, value in enumerate([*self._inputs.values(), *self._made()])}
        return {
            "inputs": [{"name": name, "width": width} for name, width in self.inputs.items()],
            "wires": [
                {
                    "by": self._layers.index(value.maker) if isinstance(value.maker, Layer) else value.maker,
                    "from": [places[id(source)] for source in value.sources],
                }
                for value in self._made()
            ],
            "outputs": {name: places[id(value)] for name, value in self._outputs.items()},
        }

    def assemble(self, layers: Sequence[Layer], state: Mapping[str, Any]) -> None:
        inputs = [Input(entry["width"], entry["name"]) for entry in state["inputs"]]
        values: list[SymbolicTensor] = list(inputs)
        for wire in state["wires"]:
            sources = [_at("value", values, place) for place in wire["from"]]
            values.append(_made_again(wire["by"], layers, sources))
        outputs = {name: _at("value", values, place) for name, place in state["outputs"].items()}
        self._connect(inputs, outputs, state["dtype"], state["seed"])
        if state["input_size"] != self._input_width:
            raise ValueError(f"Model: expected input_size {self._input_width}, got {state['input_size']}")

    def layers_behind(self, layer: Layer) -> Sequence[Layer]:
        behind = (value.maker for value in self._values if any(source.maker is layer for source in value.sources))
        return [maker for maker in behind if isinstance(maker, Layer)]

    # ---- data

    def join_inputs(self, caller: str, x: Any) -> Any:
        return self._joined(caller, "x", x, self.inputs)

    def adapt(self, x: Features) -> None:
        """Take the scaling of each ``Standardize`` that reads inputs alone from their rows."""
        if not any(isinstance(value.maker, Standardize) and not value.maker.fitted for value in self._made()):
            return
        rows: dict[Standardize, list[FloatArray]] = {}
        every = whole(x)
        columns = {id(value): every[:, first : first + value.width] for value, first in self._input_columns()}
        for value in self._made():
            if isinstance(value.maker, Standardize) and not value.maker.fitted and id(value.sources[0]) in columns:
                rows.setdefault(value.maker, []).append(columns[id(value.sources[0])])
        for layer, parts in rows.items():
            layer.adapt(np.concatenate(parts))

    def predict(self, x: Any) -> Any:
        """The output, or a list of them; otherwise as ``Sequential.predict``."""
        return _parted(super().predict(x), self.outputs)

    def forward(self, x: Any) -> Any:
        """The output for one batch in training, or a list of them, kept for ``backward``; as for ``Sequential``."""
        return _parted(super().forward(x), self.outputs)

    def backward(self, dy: Any) -> Any:
        """dx, or a list with one for each input, for the batch of the last ``forward``; fills ``gradients``.

        Args:
            dy: Gradient of a loss that lives elsewhere with respect to the output, or a list with one for each.
        """
        return _parted(super().backward(self._joined("Model.backward", "dy", dy, self.outputs)), self.inputs)

    # ---- training

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        loss: LossLike,
        optimizer: Optimizer | LBFGS,
        loss_weights: Any = None,
        **options: Any,
    ) -> History:
        """Train on mini-batches, as ``Sequential.fit``.

        Args:
            x, y: Arrays, or several in a list or dict. Labels of several outputs are turned into one-hot rows.
            loss: One alone, or one for each output in a list or dict; ``dg.losses.Sum`` has weights with them.
            loss_weights: What each output's loss is multiplied by in their sum, in a list or dict; 1 by default.
            optimizer: As for ``Sequential.fit``.
            options: As for ``Sequential.fit``. Metrics are a list for every output, or a dict of lists by output.
                Names in the history begin with the output's where there are several.
        """
        given = loss if loss_weights is None else Sum(loss, loss_weights)  # type: ignore[arg-type]
        return super().fit(x, y, loss=given, optimizer=optimizer, **options)

    def resolve_loss(self, caller: str, loss: LossLike | None) -> LossSpec:
        if len(self._outputs) == 1 and not isinstance(loss, Sum | Mapping | list | tuple):
            return super().resolve_loss(caller, loss)
        return resolve_sum(caller, loss, list(self._outputs))

    def predict_proba(self, x: Any) -> FloatArray:
        if len(self._outputs) > 1:
            raise ValueError(f"Model.predict_proba: expected a model of one output, got {len(self._outputs)}")
        return super().predict_proba(x)

    def to_torch_state_dict(self) -> dict[str, Any]:
        raise ValueError(
            f"Model.to_torch_state_dict: expected a Sequential, as which PyTorch's modules are made, got {self!r}"
        )

    def trace(self, x: Any, y: Any, loss: Any) -> Trace:
        raise ValueError("Model.trace: expected a Sequential, whose layers stand in a line")

    # ---- words

    def summary_rows(self) -> list[SummaryRow]:
        names = {id(value): name for named in (self._inputs, self._outputs) for name, value in named.items()}
        made = [value for value in self._values if id(value) not in names]
        names.update((id(value), f"v{place}") for place, value in enumerate(made, 1))
        rows = [SummaryRow(f"{name} = Input({width})", None, "", "", 0, width) for name, width in self.inputs.items()]
        for value in self._made():
            called = ", ".join(names[id(source)] for source in value.sources)
            before, layer, path = f"{names[id(value)]} = ", None, ""
            if isinstance(value.maker, Layer):
                layer, path = value.maker, f"layers.{self._layers.index(value.maker)}"
            else:
                before += str(value.maker)
            rows.append(SummaryRow(before, layer, f"({called})", path, value.sources[0].width, value.width))
        return rows

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), "inputs"])

    def __repr__(self) -> str:
        def shown(named: Mapping[str, int]) -> str:
            return ", ".join(f"{name} ({width})" for name, width in named.items())

        return f"<Model from {shown(self.inputs)} by {len(self._layers)} layers to {shown(self.outputs)}>"

    # ---- inside

    @property
    def _input_width(self) -> int:
        return sum(self.inputs.values())

    def _made(self) -> list[SymbolicTensor]:
        """The values that are no inputs."""
        return [value for value in self._values if value.sources]

    def _input_columns(self) -> list[tuple[Input, int]]:
        """Each input, and the first of its columns."""
        firsts = np.cumsum([0, *self.inputs.values()])
        return list(zip(self._inputs.values(), map(int, firsts), strict=False))

    def _joined(self, caller: str, what: str, given: Any, widths: Mapping[str, int]) -> Any:
        """Arrays in a list or dict as one array, side by side; what is one already as it is."""
        if not isinstance(given, Mapping) and (len(widths) == 1 or not isinstance(given, list | tuple)):
            return given
        parts = check.parts(caller, what, given, list(widths))
        arrays = [
            check.matrix(f"{caller}({name})", what, part, width, self.dtype)
            for (name, width), part in zip(widths.items(), parts, strict=True)
        ]
        if len({len(array) for array in arrays}) > 1:
            lengths = ", ".join(str(len(array)) for array in arrays)
            raise ValueError(f"{caller}: expected {what} with as many rows in each array, got {lengths}")
        return np.concatenate(arrays, axis=1) if len(arrays) > 1 else arrays[0]


def _parted(whole: FloatArray, widths: Mapping[str, int]) -> Any:
    """The columns of each part, in arrays of their own; where there is one, that alone."""
    if len(widths) == 1:
        return whole
    ends = np.cumsum(list(widths.values()))[:-1]
    return [np.ascontiguousarray(part) for part in np.split(whole, ends, axis=1)]


def _primitive(value: SymbolicTensor) -> str:
    """The primitive that makes a value."""
    if isinstance(value.maker, Layer):
        return value.maker.last_primitive
    return value.maker or ""


def _named_inputs(inputs: Any) -> dict[str, Input]:
    given = [inputs] if isinstance(inputs, SymbolicTensor) else inputs
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"Model: expected inputs as dg.Input(8) or a list of them, got {type(inputs).__name__}")
    for value in given:
        if not isinstance(value, Input):
            raise TypeError(f"Model: expected inputs such as dg.Input(8), got {value!r}")
    named = {f"input{i}" if value.name is None else value.name: value for i, value in enumerate(given)}
    if len(named) < len(given) or len(set(map(id, given))) < len(given):
        raise ValueError("Model: expected inputs that differ, with different names, got one twice")
    return named


def _named_outputs(outputs: Any) -> dict[str, SymbolicTensor]:
    if isinstance(outputs, SymbolicTensor):
        outputs = [outputs]
    if not isinstance(outputs, Mapping):
        if isinstance(outputs, str) or not isinstance(outputs, Sequence):
            raise TypeError(f"Model: expected outputs as a symbolic tensor or several, got {type(outputs).__name__}")
        outputs = {f"output{i}": value for i, value in enumerate(outputs)}
    if not outputs:
        raise ValueError("Model: expected at least 1 output, got 0")
    for name, value in outputs.items():
        symbolic.check_value("Model", value)
        if not isinstance(name, str):
            raise TypeError(f"Model: expected names of outputs as strings, got {name!r}")
    return dict(outputs)


def _check_connected(inputs: Sequence[Input], values: Sequence[SymbolicTensor]) -> None:
    """Refuse an input that nobody needs, and one that is needed but not given."""
    needed, given = set(map(id, values)), set(map(id, inputs))
    for one in inputs:
        if id(one) not in needed:
            raise ValueError(f"Model: expected inputs that an output needs, got {one!r}, which none does")
    for value in values:
        if isinstance(value, Input) and id(value) not in given:
            raise ValueError(f"Model: expected outputs made of the inputs alone, got one that needs {value!r} as well")


def _check_one_width(layer: Layer, values: Sequence[SymbolicTensor]) -> None:
    """Refuse a layer called at two widths: its parameters have one shape."""
    widths = sorted({value.sources[0].width for value in values if value.maker is layer})
    if len(widths) > 1:
        raise ValueError(f"Model: expected {layer!r} to be called at one width, got {' and '.join(map(str, widths))}")


def _at(what: str, items: Sequence[Any], place: Any) -> Any:
    """One of the items that a file counts."""
    if check.count("Model", f"place of a {what}", place, low=0) >= len(items):
        raise ValueError(f"Model: expected a {what} below {len(items)}, got {place}")
    return items[place]


def _made_again(maker: Any, layers: Sequence[Layer], sources: Sequence[SymbolicTensor]) -> SymbolicTensor:
    """The value that a layer, by its place, or a join gives."""
    if not isinstance(maker, str):
        if len(sources) != 1:
            raise ValueError(f"Model: expected 1 input for a layer, got {len(sources)}")
        made: SymbolicTensor = _at("layer", layers, maker)(sources[0])
        return made
    joins = {"add": symbolic.add, "concatenate": symbolic.concatenate}
    return joins[check.choice("Model", "join", maker, joins)](*sources)


MODELS["Model"] = Model
