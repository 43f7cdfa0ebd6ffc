"""A drawn graph as a whole, as text and as a picture."""

from __future__ import annotations

import os

from densegrad._base.atomic_file import write_atomically
from densegrad.graph.draw.elements import DrawnNode
from densegrad.graph.draw.picture import picture


class Drawing:
    """A graph with its derivatives, as text (``str``) and as a picture, which notebooks show.

    Attributes:
        nodes: In the order in which they were computed, the inputs first.
        edges: How many there are: a traversal goes through each once.
        paths: How many ways lead along them from the differentiated inputs to the outputs: as many products as the
            chain rule adds.
    """

    def __init__(self, what: str, nodes: list[DrawnNode], outputs: list[DrawnNode]) -> None:
        self.nodes = nodes
        self.edges = sum(len(node.edges) for node in nodes)
        self.paths = _paths(nodes, outputs)
        self._outputs = outputs
        counts = ((len(nodes), "node"), (self.edges, "edge"), (self.paths, "path"))
        self._title = f"{what}: " + ", ".join(f"{n} {noun}{'s' if n != 1 else ''}" for n, noun in counts)

    @property
    def svg(self) -> str:
        """The picture."""
        return picture(self._title, self.nodes, self._outputs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to an SVG file, whole or not at all."""
        write_atomically(path, self.svg.encode())

    def _repr_svg_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        rows = [("node", "value", "derivative", "local derivatives")]
        rows += [(*node.lines, ", ".join(edge.line for edge in node.edges if edge.text)) for node in self.nodes]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([self._title, *(line.rstrip() for line in lines)])

    def __repr__(self) -> str:
        return f"<Drawing: {self._title}>"


def _paths(nodes: list[DrawnNode], outputs: list[DrawnNode]) -> int:
    """Paths to each node are those to its operands, or 1 for an input."""
    count: dict[DrawnNode, int] = {}
    for node in nodes:
        differentiated = [edge.source for edge in node.edges if edge.text]
        begins = node.derivative is not None and not node.edges
        count[node] = sum(count[source] for source in differentiated) + begins
    return sum(count[output] for output in outputs)
