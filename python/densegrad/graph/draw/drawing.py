"""Seeing the graph: values, local derivatives on the edges, and those that a traversal gathers at the nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.types import FloatArray
from densegrad.graph.core.recording import paused
from densegrad.graph.core.structure import leaves
from densegrad.graph.core.tensor import Node, Tensor, new
from densegrad.graph.draw.drawn import Drawing
from densegrad.graph.draw.elements import DrawnEdge, DrawnNode, written_jacobian
from densegrad.graph.draw.naming import formula, named_inputs, names_of
from densegrad.graph.transforms import Function, record

MOST_NODES = 300  # more is no picture to look at
LARGEST_JACOBIAN = 4096  # elements; writing it out takes a rule for each row or column
Local = Callable[[Node, int], FloatArray]
Symbol = Callable[[str], str]


def draw(
    function: Function,
    *args: Any,
    mode: str = "reverse",
    names: Sequence[str] = (),
    with_respect_to: str | tuple[Any, ...] | None = None,
) -> Drawing:
    """The graph of a function: values, local derivatives on the edges, and what a traversal gathers at the nodes.

    In reverse mode that is the derivative of the output by every node, from one traversal; in forward mode the
    derivative of every node by one input, from a traversal for that input. Of arrays with more than 4 elements shape
    and norm are shown. Local derivatives of arrays are matrices (elements of the result x elements of the operand).

    Args:
        function: Gives Tensors, nested in any way; for reverse mode one number.
        args: Where.
        mode: ``"reverse"`` or ``"forward"``.
        names: What to call the nodes, in the order in which they are computed, inputs first. The rest are called as the
            function calls its arguments and itself, or ``v1``, ``v2``, ...
        with_respect_to: The input for forward mode by name, the first unless given; where it is an array, in a tuple
            with the index of an element: ``("w", 0, 1)``.

    >>> import densegrad as dg
    >>> e = lambda a, b: (a + b) * (b + 1)
    >>> print(dg.graph.draw(e, 2.0, 1.0, names="abcde"))
    derivatives of e, reverse mode: 5 nodes, 5 edges, 3 paths
    node       value  derivative  local derivatives
    a          2      de/da = 2
    b          1      de/db = 5
    c = a + b  3      de/dc = 2   dc/da = 1, dc/db = 1
    d = b + 1  2      de/dd = 3   dd/db = 1
    e = c * d  6      de/de = 1   de/dc = 2, de/dd = 3
    """
    check.choice("draw", "mode", mode, ("reverse", "forward"))
    graph = _NamedGraph(function, args, names)
    return graph.backward(with_respect_to) if mode == "reverse" else graph.forward(with_respect_to)


class _NamedGraph:
    """A recording with a name for each node."""

    def __init__(self, function: Function, args: Sequence[Any], names: Sequence[str]) -> None:
        if not any(np.asarray(leaf).dtype.kind == "f" for leaf in leaves(args)):
            raise TypeError("draw: expected an argument of float numbers, got none; write 2.0 for 2")
        self._recorded = record(function, *args)
        self._nodes = self._recorded.nodes
        if len(self._nodes) > MOST_NODES:
            raise ValueError(f"draw: expected at most {MOST_NODES} nodes, got {len(self._nodes)}; draw a smaller case")
        self._results: list[Tensor] = list(leaves(self._recorded.outputs))
        made = [y.node for y in self._results if y.node is not None]
        self._outputs = [node for node in dict.fromkeys(made) if node in set(self._nodes)]
        if not self._outputs:
            raise ValueError("draw: expected a result that depends on the arguments, got one that does not")
        inputs = named_inputs(function, self._recorded.inputs)
        self._names = names_of(self._nodes, inputs, self._outputs, function, names)
        self._variables = {self._names[x]: x for x in inputs if x.value.dtype.kind == "f"}
        self._active = _active(self._nodes, self._variables.values())
        if not self._active.issuperset(self._outputs):
            got = ", ".join(str(y.value.dtype) for y in self._outputs)
            raise TypeError(f"draw: expected float results that depend on float arguments, got {got}")

    def backward(self, with_respect_to: Any) -> Drawing:
        """The drawing with what reverse mode gathers."""
        if with_respect_to is not None:
            raise ValueError("draw: expected with_respect_to only with mode='forward'; reverse mode is by every node")
        if [y.size for y in self._results] != [1]:
            shapes = " and ".join(str(y.shape) for y in self._results)
            raise ValueError(
                f"draw: expected a function that gives one number, got shape {shapes}; "
                "take the sum or an element, or mode='forward'"
            )
        y = self._names[self._outputs[0]]
        return self._drawing(
            f"derivatives of {y}, reverse mode", self._recorded.backward(), lambda name: f"d{y}/d{name}", _by_rows
        )

    def forward(self, with_respect_to: Any) -> Drawing:
        """The drawing with what forward mode gathers."""
        chosen = next(iter(self._variables)) if with_respect_to is None else with_respect_to
        name, *index = chosen if isinstance(chosen, tuple) and chosen else (chosen,)
        check.choice("draw", "with_respect_to", name, self._variables)
        place = tuple(check.count("draw", "an index in with_respect_to", n, low=0) for n in index)
        tangents = [np.zeros_like(x.value) for x in self._variables.values()]
        tangents[list(self._variables).index(name)] = _direction(name, self._variables[name].value, place)
        x = f"{name}[{', '.join(map(str, place))}]" if place else name
        found = self._recorded.forward(tangents)
        return self._drawing(f"derivatives by {x}, forward mode", found, lambda name: f"d{name}/d{x}", _by_columns)

    def _drawing(self, what: str, found: Mapping[Node, Tensor], symbol: Symbol, local: Local) -> Drawing:
        drawn: dict[Node, DrawnNode] = {}
        for node in self._nodes:
            drawn[node] = self._node(node, found.get(node), symbol)
            for place, operand in enumerate(node.inputs):
                if operand.node in drawn:
                    drawn[node].edges.append(self._edge(drawn[operand.node], node, place, local))
        return Drawing(what, list(drawn.values()), [drawn[node] for node in self._outputs])

    def _node(self, node: Node, found: Tensor | None, symbol: Symbol) -> DrawnNode:
        name, derivative = self._names[node], None
        if node in self._active:
            derivative = np.zeros_like(node.value) if found is None else found.numpy()
        return DrawnNode(name, formula(node, self._names), node.value, derivative, symbol(name))

    def _edge(self, source: DrawnNode, node: Node, place: int, local: Local) -> DrawnEdge:
        matrix, text = None, ""
        if self._active.issuperset((node, node.inputs[place].node)):
            rows, columns = node.value.size, source.value.size
            text = f"{rows} x {columns}"
            if rows * columns <= LARGEST_JACOBIAN:
                with paused():
                    matrix = local(node, place)
                text = written_jacobian(matrix)
        return DrawnEdge(source, matrix, text, f"d{self._names[node]}/d{source.name}")


def _active(nodes: Iterable[Node], variables: Iterable[Node]) -> set[Node]:
    """Where derivatives are: float numbers that come from float variables."""
    active = set(variables)
    for node in nodes:
        if node.value.dtype.kind == "f" and any(x.node in active for x in node.inputs):
            active.add(node)
    return active


def _direction(name: str, x: FloatArray, place: tuple[int, ...]) -> FloatArray:
    """1 at the place, 0 elsewhere."""
    direction = np.zeros_like(x)
    if (place or x.size != 1) and place not in np.ndindex(x.shape):
        first = (name, *(0 for _ in x.shape))
        raise ValueError(
            f"draw: expected with_respect_to to name an element of {name!r}, of shape {x.shape}, such as {first}, "
            f"got index {place}"
        )
    direction[place] = 1
    return direction


def _by_rows(node: Node, place: int) -> FloatArray:
    """The Jacobian by one operand, by the vjp rule."""
    y, inputs = new(node.value), tuple(new(x.numpy()) for x in node.inputs)
    needed = [n == place for n in range(len(inputs))]
    matrix = np.zeros((y.size, inputs[place].size), y.dtype)
    for row, direction in zip(matrix, np.eye(y.size, dtype=y.dtype), strict=True):
        found = node.primitive.vjp(needed, new(direction.reshape(y.shape)), y, *inputs, **node.attributes)[place]
        row[...] = 0 if found is None else found.numpy().ravel()
    return matrix


def _by_columns(node: Node, place: int) -> FloatArray:
    """The Jacobian by one operand, by the jvp rule."""
    y, inputs = new(node.value), tuple(new(x.numpy()) for x in node.inputs)
    x = inputs[place]
    matrix = np.zeros((y.size, x.size), y.dtype)
    for column, direction in zip(matrix.T, np.eye(x.size, dtype=x.dtype), strict=True):
        tangents = [new(direction.reshape(x.shape)) if n == place else None for n in range(len(inputs))]
        found = node.primitive.jvp(tangents, y, *inputs, **node.attributes)
        column[...] = 0 if found is None else found.numpy().ravel()
    return matrix
