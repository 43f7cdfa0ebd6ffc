"""A layered layout of boxes and the edges between them, from the top down (Sugiyama, Tagawa and Toda, 1981).

1. A box lies below all that it is computed from, by the longest path; an input right above what first needs it.
2. An edge that passes layers gets a bend in each, which takes part in all that follows.
3. Within a layer the order is by the mean place of the neighbours; of several sweeps that with the fewest crossings.
4. Middles go to the mean of their neighbours' as far as nothing touches, by least squares.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise

SPACE = 26.0  # between neighbours of a layer
BEND = 8.0  # the width that an edge takes where it passes a layer
SWEEPS = 12


class Layout:
    """Boxes and bends in layers.

    Args:
        widths: Of each box; boxes are numbered so that edges lead to larger numbers.
        edges: Pairs of boxes (from, to), several of the same pair among them.

    Attributes:
        layers: The items of each layer from left to right: boxes by their numbers, then bends.
        routes: For each edge the items that it goes through, one in each layer from its box to the other.
        middles: The place of each item's middle.
    """

    def __init__(self, widths: Sequence[float], edges: Sequence[tuple[int, int]]) -> None:
        levels = _levels(len(widths), edges)
        self._widths = list(widths)
        self.routes = [self._route(a, b, levels) for a, b in edges]
        self.layers: list[list[int]] = [[] for _ in range(max(levels, default=-1) + 1)]
        for item, level in enumerate(levels):
            self.layers[level].append(item)
        self._above: list[list[int]] = [[] for _ in levels]
        self._below: list[list[int]] = [[] for _ in levels]
        for route in self.routes:
            for a, b in pairwise(route):
                self._below[a].append(b)
                self._above[b].append(a)
        self._order()
        self.middles = self._middles()

    def _route(self, a: int, b: int, levels: list[int]) -> list[int]:
        """From a to b, with a new bend in each layer between."""
        between = range(levels[a] + 1, levels[b])
        first = len(levels)
        levels.extend(between)
        self._widths.extend(BEND for _ in between)
        return [a, *range(first, first + len(between)), b]

    def _order(self) -> None:
        best, fewest = self.layers, self._crossings()
        for sweep in range(SWEEPS):
            if not fewest:
                break
            self.layers = self._swept(downward=sweep % 2 == 0)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = self.layers, crossings
        self.layers = best

    def _swept(self, downward: bool) -> list[list[int]]:
        """Each layer in the order of its neighbours' mean places in the layer before."""
        neighbours, step = (self._above, 1) if downward else (self._below, -1)
        places = _places_within(self.layers)
        layers = []
        for layer in self.layers[::step]:
            wanted = {item: _mean([places[n] for n in neighbours[item]], places[item]) for item in layer}
            layers.append(sorted(layer, key=wanted.__getitem__))
            places.update(_places_within(layers[-1:]))
        return layers[::step]

    def _crossings(self) -> int:
        places = _places_within(self.layers)
        count = 0
        for layer in self.layers:
            ends: list[float] = []  # of the edges further left
            for item in layer:
                below = sorted(places[n] for n in self._below[item])
                count += sum(len(ends) - bisect_right(ends, end) for end in below)
                for end in below:
                    insort(ends, end)
        return count

    def _middles(self) -> list[float]:
        middles = [0.0] * len(self._widths)
        for sweep in range(SWEEPS):
            for layer in self.layers if sweep % 2 == 0 else reversed(self.layers):
                wanted = [_mean([middles[n] for n in self._above[i] + self._below[i]], middles[i]) for i in layer]
                found = _apart(wanted, [self._widths[item] for item in layer])
                for item, middle in zip(layer, found, strict=True):
                    middles[item] = middle
        return middles


def _places_within(layers: Sequence[Sequence[int]]) -> dict[int, float]:
    """How far to the right in its layer each item stands, from 0 to 1."""
    return {item: (rank + 0.5) / len(layer) for layer in layers for rank, item in enumerate(layer)}


def _levels(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    levels = [0] * count
    for a, b in sorted(edges, key=lambda edge: edge[1]):
        levels[b] = max(levels[b], levels[a] + 1)
    for inputs in set(range(count)).difference(b for _, b in edges):
        levels[inputs] = min((levels[b] for a, b in edges if a == inputs), default=1) - 1
    return levels


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """The middles nearest to the wanted ones, by least squares, between which the widths fit.

    Less the widths to their left, the middles must not decrease: isotonic regression, by pooling neighbours.
    """
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + SPACE)
    pools: list[tuple[float, int]] = []  # the mean of each, and how many are in it
    for middle, offset in zip(wanted, offsets, strict=True):
        mean, count = middle - offset, 1
        while pools and pools[-1][0] >= mean:
            before, others = pools.pop()
            mean, count = (before * others + mean * count) / (others + count), others + count
        pools.append((mean, count))
    means = [mean for mean, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
