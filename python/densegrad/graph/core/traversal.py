"""The two traversals of a graph: backward with the vjp rules, forward with the jvp rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from densegrad.graph.core.recording import here
from densegrad.graph.core.tensor import Node, Tensor, new


class Graph:
    """The nodes between variables and what was computed from them.

    Nodes that no variable leads to count as constants, whoever made them: so derivatives within derivatives keep apart.

    Attributes:
        nodes: In topological order, the variables among them.
    """

    def __init__(self, variables: Sequence[Tensor], outputs: Iterable[Tensor]) -> None:
        self.nodes = [v.node for v in variables if v.node is not None]  # made one after the other, before all else
        self._begin = set(self.nodes)
        self._active = set(self.nodes)
        for node in _reachable(outputs, self.nodes[0].number if self.nodes else 0):
            if node not in self._active and not self._active.isdisjoint([tensor.node for tensor in node.inputs]):
                self._active.add(node)
                self.nodes.append(node)

    def backward(
        self, outputs: Sequence[Tensor], given: Sequence[Tensor], keep: Iterable[Node] = ()
    ) -> dict[Node, Tensor]:
        """The cotangents of the variables, and of nodes to ``keep``, from those of the outputs; zeros are left out."""
        cotangents: dict[Any, Tensor] = {}
        for y, dy in zip(outputs, given, strict=True):
            if y.node is not None:
                cotangents[y.node] = cotangents[y.node] + dy if y.node in cotangents else dy
        kept = self._begin.union(keep)
        for node in reversed(self.nodes):
            d = cotangents.get(node) if node in kept else cotangents.pop(node, None)
            if d is None or node in self._begin:
                continue
            parents = [tensor.node for tensor in node.inputs]
            needed = [parent in self._active for parent in parents]
            y, inputs = _operands(node)
            found = node.primitive.vjp(needed, d, y, *inputs, **node.attributes)
            for parent, need, dx in zip(parents, needed, found, strict=True):
                if need and dx is not None:
                    before = cotangents.get(parent)
                    cotangents[parent] = dx if before is None else before + dx
        return cotangents

    def forward(self, variables: Sequence[Tensor], given: Sequence[Tensor]) -> dict[Node, Tensor]:
        """The tangents of all nodes, from those of variables; zeros are left out."""
        tangents = {x.node: dx for x, dx in zip(variables, given, strict=True) if x.node is not None}
        for node in self.nodes:
            if node in self._begin:
                continue
            dx = [None if tensor.node is None else tangents.get(tensor.node) for tensor in node.inputs]
            if any(d is not None for d in dx):
                y, inputs = _operands(node)
                dy = node.primitive.jvp(dx, y, *inputs, **node.attributes)
                if dy is not None:
                    tangents[node] = dy
        return tangents


def _reachable(outputs: Iterable[Tensor], first: int) -> list[Node]:
    """The nodes that led to the outputs from the first variable on, in topological order."""
    found: set[Node] = set()
    waiting = list(outputs)
    while waiting:
        node = waiting.pop().node
        if node is not None and node.number >= first and node not in found:
            found.add(node)
            waiting.extend(node.inputs)
    return sorted(found, key=attrgetter("number"))


def _operands(node: Node) -> tuple[Tensor, tuple[Tensor, ...]]:
    """y and the inputs, for a rule; as constants where their own derivative call has ended."""
    if node.scope is here.scope:
        return new(node.value, node), node.inputs
    return new(node.value), tuple(new(tensor._array) for tensor in node.inputs)
