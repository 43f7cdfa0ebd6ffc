"""The one plan: what a model lowers to, and the only thing that ``Network`` runs.

A plan is a topologically ordered list of nodes over numbered buffers. A buffer holds one value for each
row of the batch, so only its width is known here. Parameters lie in one flat buffer; a slot says where.
Both backends read these classes by attribute; names, never numbers, say which primitive a node is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Join = Literal["add", "concatenate"]  # primitives that make one buffer of two


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
class LossSpec:
    """The loss that training minimises, on the buffer ``prediction``: of all its columns, or the sum of ``terms``."""

    primitive: str
    prediction: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    terms: tuple[LossTerm, ...] = ()  # whose targets lie side by side as their columns do

    def each(self) -> tuple[LossTerm, ...]:
        """The terms, or the loss of all columns as one."""
        return self.terms or (LossTerm(self.primitive, self.attributes),)


@dataclass(frozen=True)
class OptimizerSpec:
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
    loss: LossSpec | None = None
    optimizer: OptimizerSpec | None = None
    batch_shares_penalty: bool = False  # the loss of a batch has the penalties over its rows, or over their weights

    @property
    def slots(self) -> list[Slot]:
        """Every slot once, however many nodes share it, in the order of the nodes."""
        return list({slot.offset: slot for node in self.nodes for slot in node.slots}.values())
