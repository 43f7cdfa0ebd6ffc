"""Where the parts of a drawing lie: boxes by their layout, edges as curves between them, a label on each edge."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations, pairwise
from typing import NamedTuple

import numpy as np

from densegrad._base.types import FloatArray
from densegrad.graph.draw.layout import Layout

BOX, LABEL = 61.0, 17.0  # heights
GAPS = (64.0, 96.0, 144.0, 216.0)  # between layers: the first at which no two labels meet
ALONG = np.array([0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8])  # where in a gap a label may stand
SAMPLES = np.linspace(0, 1, 25)


class Curve(NamedTuple):
    """The part of an edge in one gap, a Bezier curve that begins and ends upright, with controls at a third."""

    x0: float
    y0: float
    x1: float
    y1: float

    def points(self, t: FloatArray) -> FloatArray:
        """(2, len(t)), from above at 0 to below at 1."""
        x = self.x0 + (self.x1 - self.x0) * t**2 * (3 - 2 * t)
        return np.array([x, self.y0 + (self.y1 - self.y0) * t])


class Label(NamedTuple):
    """Where a text stands: its middle and width."""

    x: float
    y: float
    width: float

    def meets(self, other: Label) -> bool:
        """Tell whether the two overlap."""
        return abs(self.x - other.x) < (self.width + other.width) / 2 and abs(self.y - other.y) < LABEL

    def covers(self, points: FloatArray) -> int:
        """How many of the points (2, n) it covers."""
        x, y = points
        return int(np.sum((np.abs(x - self.x) < self.width / 2) & (np.abs(y - self.y) < LABEL / 2)))


class Gap:
    """The space between two layers."""

    def __init__(self) -> None:
        self.labels: list[Label] = []
        self._points: list[FloatArray] = []

    def add(self, curve: Curve) -> None:
        """A curve through the gap."""
        self._points.append(curve.points(SAMPLES))

    def cost(self, label: Label, own: Curve) -> int:
        """The cost of what the label would cover: other labels, which weigh most, and points of other curves."""
        others = sum(label.meets(other) for other in self.labels)
        return 1000 * others + label.covers(np.hstack(self._points)) - label.covers(own.points(SAMPLES))


class Arrangement:
    """Boxes, edges and labels, with the top of the first layer at 0.

    Args:
        widths: Of the boxes, which are numbered so that edges lead to larger numbers.
        edges: Pairs of boxes (from, to).
        texts: The width of each edge's label, 0 where it has none.

    Attributes:
        boxes: Each box's middle and top.
        curves: Each edge's curves from above; where it passes a layer it is straight.
        labels: Each edge's label, or ``None``.
        height: Of all layers.
    """

    def __init__(self, widths: Sequence[float], edges: Sequence[tuple[int, int]], texts: Sequence[float]) -> None:
        layout = Layout(widths, edges)
        levels = {item: level for level, layer in enumerate(layout.layers) for item in layer}
        places = _places(layout, widths)
        for gap in GAPS:
            step = BOX + gap
            self.boxes = [(layout.middles[box], levels[box] * step) for box in range(len(widths))]
            self.curves = [
                [Curve(a, n * step + BOX, b, (n + 1) * step) for n, (a, b) in enumerate(pairwise(row), levels[box])]
                for row, (box, _) in zip(places, edges, strict=True)
            ]
            self.labels = _labels(self.curves, texts)
            self.height = len(layout.layers) * step - gap
            if not any(a.meets(b) for a, b in combinations(filter(None, self.labels), 2)):
                break


def _places(layout: Layout, widths: Sequence[float]) -> list[list[float]]:
    """Where each edge leaves its box, its bends, and where it arrives."""
    starts = _ports(layout, widths, [(route[0], route[1]) for route in layout.routes])
    ends = _ports(layout, widths, [(route[-1], route[-2]) for route in layout.routes])
    return [
        [start, *(layout.middles[bend] for bend in route[1:-1]), end]
        for start, route, end in zip(starts, layout.routes, ends, strict=True)
    ]


def _ports(layout: Layout, widths: Sequence[float], ends: Sequence[tuple[int, int]]) -> list[float]:
    """Where edges touch their boxes, side by side in the order of the items that they lead to."""
    at: dict[int, list[int]] = {}
    for edge in sorted(range(len(ends)), key=lambda edge: layout.middles[ends[edge][1]]):
        at.setdefault(ends[edge][0], []).append(edge)
    ports = [0.0] * len(ends)
    for box, edges in at.items():
        for n, edge in enumerate(edges):
            ports[edge] = layout.middles[box] + widths[box] * ((n + 0.5) / len(edges) - 0.5)
    return ports


def _labels(edges: Sequence[Sequence[Curve]], texts: Sequence[float]) -> list[Label | None]:
    """Each in the middle, first or last gap of its edge, where it covers no other and the least of edges."""
    gaps: dict[float, Gap] = {}  # by the upper end
    for curve in chain.from_iterable(edges):
        gaps.setdefault(curve.y0, Gap()).add(curve)
    labels: list[Label | None] = []
    for curves, width in zip(edges, texts, strict=True):
        tried = [curves[n] for n in (len(curves) // 2, 0, -1)]
        candidates = [(Label(float(x), float(y), width), curve) for curve in tried for x, y in curve.points(ALONG).T]
        label, curve = min(candidates, key=lambda candidate: gaps[candidate[1].y0].cost(*candidate))
        labels.append(label if width else None)
        if width:
            gaps[curve.y0].labels.append(label)
    return labels
