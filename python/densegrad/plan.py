"""The one plan: what a model lowers to, and the only thing that ``Network`` runs.

A plan is a topologically ordered list of nodes over numbered buffers. A buffer holds one value for each
row of the batch, so only its width is known here. Parameters lie in one flat buffer; a slot says where.
Both backends read these classes by attribute; names, never numbers, say which primitive a node is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from densegrad._primitives import loss_row

if TYPE_CHECKING:
    from densegrad.activations import ActivationFunction
    from densegrad.wiring import Join


@dataclass(frozen=True)
class Slot:
    """Where one array of parameters lies in the flat buffer."""

    name: str
    offset: int
    shape: tuple[int, ...]
    trainable: bool
    l1: float = 0.0  # the loss has l1 |w| + l2 w^2 / 2 more for each number
    l2: float = 0.0

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Node:
    """One primitive applied to buffers: ``output = primitive(*inputs; slots, attributes)``."""

    primitive: str
    inputs: tuple[int, ...]
    output: int
    slots: tuple[Slot, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LossTerm:
    """``weight`` times a loss of so many columns of the prediction, those behind the term before it."""

    primitive: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    columns: int = 0


@dataclass(frozen=True)
class Loss:
    """The loss that training minimises, on the buffer ``prediction``: of all its columns, or the sum of ``terms``."""

    primitive: str
    prediction: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    terms: tuple[LossTerm, ...] = ()  # whose targets lie side by side as their columns do

    def each(self) -> tuple[LossTerm, ...]:
        """The terms, or the loss of all columns as one."""
        return self.terms or (LossTerm(self.primitive, self.attributes),)


@dataclass(frozen=True)
class Optimizer:
    """The update that training applies to every trainable slot; 0 stands for no clipping and no average."""

    primitive: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    clip_value: float = 0.0
    clip_norm: float = 0.0
    average: float = 0.0  # decay of a moving average of the parameters, the last row of the state


@dataclass(frozen=True)
class Plan:
    """Nodes in topological order, the width of every buffer, and where the plan begins and ends."""

    dtype: str
    widths: tuple[int, ...]
    nodes: tuple[Node, ...]
    input: int
    output: int
    parameter_count: int
    loss: Loss | None = None
    optimizer: Optimizer | None = None
    batch_shares_penalty: bool = False  # the loss of a batch has the penalties over its rows, or over their weights

    @property
    def slots(self) -> list[Slot]:
        """Every slot once, however many nodes share it, in the order of the nodes."""
        return list({slot.offset: slot for node in self.nodes for slot in node.slots}.values())


class PlanBuilder:
    """Collects nodes while layers lower themselves one after another."""

    def __init__(self, input_size: int, noise_seed: int) -> None:
        self.widths = [input_size]
        self.nodes: list[Node] = []
        self.parameter_count = 0
        self.noise_seed = noise_seed
        self._slots: dict[str, Slot] = {}
        self._streams = 0

    def slot(self, name: str, shape: tuple[int, ...], *, trainable: bool, l1: float = 0.0, l2: float = 0.0) -> Slot:
        """The next free place of the flat buffer, or the one that this name has already."""
        if name not in self._slots:
            self._slots[name] = Slot(name, self.parameter_count, shape, trainable, l1, l2)
            self.parameter_count += self._slots[name].size
        return self._slots[name]

    def next_stream(self) -> int:
        """A stream of random numbers that no other node draws from."""
        self._streams += 1
        return self._streams - 1

    def node(
        self,
        primitive: str,
        inputs: tuple[int, ...],
        width: int,
        slots: tuple[Slot, ...] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> int:
        """Append a node; gives the number of its output buffer."""
        output = len(self.widths)
        self.widths.append(width)
        self.nodes.append(Node(primitive, inputs, output, slots, dict(attributes or {})))
        return output

    def join(self, primitive: Join, a: int, b: int) -> int:
        """Append a + b, or both side by side; gives the number of the buffer."""
        width = self.widths[a] + self.widths[b] if primitive == "concatenate" else self.widths[a]
        return self.node(primitive, (a, b), width)

    def concatenate(self, buffers: Sequence[int]) -> int:
        """Append what puts several buffers side by side; one stays as it is."""
        whole = buffers[0]
        for buffer in buffers[1:]:
            whole = self.join("concatenate", whole, buffer)
        return whole

    def activation(self, function: ActivationFunction, z: int) -> int:
        """Append y = f(z) behind buffer ``z``; gives the number of y."""
        return self.node(function.primitive, (z,), self.widths[z], attributes=function.attributes)


Wire = Callable[[PlanBuilder], Sequence[int]]  # appends a model's nodes behind buffer 0; gives those of its outputs


def lower(
    wire: Wire,
    input_size: int,
    dtype: str,
    loss: Loss | None = None,
    optimizer: Optimizer | None = None,
    noise_seed: int = 0,
) -> Plan:
    """Lower what ``wire`` appends; what ``loss`` reads is filled in here, and ``noise_seed`` is what dropout draws by.

    A last activation that the loss absorbs (softmax under cross-entropy) stays in the plan for
    ``predict``, while the loss reads its input: applied once, and dz = a - y without a Jacobian.
    """
    builder = PlanBuilder(input_size, noise_seed)
    outputs = wire(builder)
    output = builder.concatenate(outputs)
    if loss is not None and not loss.terms:
        primitive, prediction = _fused(loss.primitive, builder.nodes, output)
        loss = replace(loss, primitive=primitive, prediction=prediction)
    elif loss is not None:
        loss = _sum(loss, builder, outputs, output)
    return Plan(
        dtype=dtype,
        widths=tuple(builder.widths),
        nodes=tuple(builder.nodes),
        input=0,
        output=output,
        parameter_count=builder.parameter_count,
        loss=loss,
        optimizer=optimizer,
    )


def _sum(loss: Loss, builder: PlanBuilder, outputs: Sequence[int], output: int) -> Loss:
    """A sum with a term for each output; what the terms read lies side by side as the outputs do."""
    fused = [_fused(term.primitive, builder.nodes, one) for term, one in zip(loss.terms, outputs, strict=True)]
    read = [buffer for _, buffer in fused]
    terms = tuple(
        replace(term, primitive=primitive, columns=builder.widths[buffer])
        for term, (primitive, buffer) in zip(loss.terms, fused, strict=True)
    )
    return replace(loss, prediction=output if read == list(outputs) else builder.concatenate(read), terms=terms)


def _fused(loss: str, nodes: list[Node], output: int) -> tuple[str, int]:
    """The loss to compute for one on ``output``, and the buffer it reads."""
    fuses = loss_row(loss).fuses
    for node in nodes:
        if node.output == output and fuses and node.primitive == fuses[0]:
            return fuses[1], node.inputs[0]
    return loss, output
