"""A chain of diamonds: the paths of the chain rule grow exponentially, the pass that merges them does not.

    a = x / 4        b = 3 x / 4        y = a + b        and so on from y: two ways through each diamond

k diamonds have 4 k edges, and 2^k paths from end to end. Over all paths the products of their 2 k local derivatives add
up to (1/4 + 3/4)^k = 1. A pass that adds up at each node goes through each edge once, and finds the same:

    da = dy, db = dy        dx = 1/4 da + 3/4 db        4 edges a diamond

The smallest case: three nodes x, y, z with three edges between each two, alpha, beta, gamma and delta, epsilon, zeta.
Its nine paths are what comes of multiplying out

    dz/dx = (alpha + beta + gamma)(delta + epsilon + zeta) = alpha delta + beta delta + gamma delta + ...

Merged, dz/dy = delta + epsilon + zeta is added up once, and 6 edges do.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

import densegrad as dg
from _figure import BLUE, RED, run

g = dg.graph
WALKED, MERGED = range(1, 15), (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Weighted(g.Primitive):
    """y = w1 x1 + w2 x2 + ...: an edge for each operand, whose local derivative is its weight."""

    passed = 0  # edges, by reverse walks

    def __init__(self, name: str, *weights: float) -> None:
        super().__init__(name, lambda *x: np.dot(weights, x))
        self.weights = weights

    def vjp(self, needed: Any, dy: Any, y: Any, *x: Any) -> Any:
        Weighted.passed += sum(needed)
        return [weight * dy for weight in self.weights]


quarter, three_quarters, join = Weighted("quarter", 0.25), Weighted("three_quarters", 0.75), Weighted("join", 1.0, 1.0)
first, second = Weighted("first", 2.0, 3.0, 5.0), Weighted("second", 7.0, 11.0, 13.0)  # primes tell paths apart


def diamonds(x: Any, k: int) -> Any:
    for _ in range(k):
        x = join(quarter(x), three_quarters(x))
    return x


def nine(x: Any) -> Any:
    y = first(x, x, x)
    return second(y, y, y)


def merged(k: int) -> int:
    """The edges that reverse mode goes through."""
    Weighted.passed = 0
    assert float(g.grad(lambda x: diamonds(x, k))(1.0)) == 1
    return Weighted.passed


def products(drawing: dg.graph.Drawing) -> Iterator[float]:
    """The product of the local derivatives along each path, one path after the other."""
    start, end = drawing.nodes[0], drawing.nodes[-1]
    waiting = [(end, 1.0)]
    while waiting:
        node, product = waiting.pop()
        if node is start:
            yield product
        waiting += [(edge.source, product * edge.local.item()) for edge in reversed(node.edges)]


def drawings() -> dict[str, dg.graph.Drawing]:
    return {
        "graph_nine_paths": g.draw(nine, 1.0, names="xyz"),
        "graph_diamonds": g.draw(
            lambda x: diamonds(x, 3), 1.0, names=["x", *(f"{c}{n}" for n in "123" for c in "aby")]
        ),
    }


def main() -> tuple[list[int], list[int]]:
    drawing = drawings()["graph_nine_paths"]
    terms = list(products(drawing))
    print(drawing)
    print(f"  {' + '.join(f'{term:g}' for term in terms)} = {sum(terms):g}, the sum over {len(terms)} paths")
    print(f"  (2 + 3 + 5)(7 + 11 + 13) = {drawing.nodes[0].derivative:g}, merged, by {drawing.edges} edges")
    assert sorted(terms) == sorted(a * b for a in first.weights for b in second.weights)
    assert sum(terms) == drawing.nodes[0].derivative

    print("\nChains of diamonds")
    print("  diamonds    paths walked    edges on them    edges in the merged pass")
    walked = []
    for k in WALKED:
        drawing = g.draw(lambda x, k=k: diamonds(x, k), 1.0)
        found = list(products(drawing))
        walked.append(len(found))
        assert len(found) == drawing.paths == 2**k
        assert math.fsum(found) == 1
        print(f"  {k:>8} {len(found):>15,} {2 * k * len(found):>16,} {merged(k):>27,}")
    passed = [merged(k) for k in MERGED]
    assert passed == [4 * k for k in MERGED]
    print(f"  {MERGED[-1]:>8} {'2^1000':>15} {'2000 2^1000':>16} {passed[-1]:>27,}")
    return walked, passed


def draw(figure: Any, walked: list[int], passed: list[int]) -> None:
    axes = figure.subplots()
    k = np.arange(1, 61)
    axes.plot(k, 2.0**k, color=RED, label="paths")
    axes.plot(WALKED, walked, "o", color=RED, markersize=5)
    axes.plot(k, 4.0 * k, color=BLUE, label="edges of the merged pass")
    shown = [(n, edges) for n, edges in zip(MERGED, passed, strict=True) if n <= k[-1]]
    axes.plot(*zip(*shown, strict=True), "o", color=BLUE, markersize=5)
    axes.set(yscale="log", xlabel="diamonds in a row", title="Paths and edges; dots are counted")
    axes.legend()


if __name__ == "__main__":
    run(main, draw, drawings=drawings)
