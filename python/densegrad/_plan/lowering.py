"""Lowering: what layers append, node by node, becomes a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from densegrad._base.plan import Join, LossSpec, Node, OptimizerSpec, Plan, Slot
from densegrad._base.primitives import loss_row


class ElementFunction(Protocol):
    """An activation: the name of its primitive, and what shapes it."""

    @property
    def primitive(self) -> str:
        """The row of the table."""
        ...

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Its attributes by name."""
        ...


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

    def activation(self, function: ElementFunction, z: int) -> int:
        """Append y = f(z) behind buffer ``z``; gives the number of y."""
        return self.node(function.primitive, (z,), self.widths[z], attributes=function.attributes)


Wire = Callable[[PlanBuilder], Sequence[int]]  # appends a model's nodes behind buffer 0; gives those of its outputs


def lower(
    wire: Wire,
    input_size: int,
    dtype: str,
    loss: LossSpec | None = None,
    optimizer: OptimizerSpec | None = None,
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


def _sum(loss: LossSpec, builder: PlanBuilder, outputs: Sequence[int], output: int) -> LossSpec:
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
