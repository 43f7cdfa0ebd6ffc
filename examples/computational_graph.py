"""The computational graph of e = (a + b)(b + 1): local derivatives on its edges, and two ways to gather them.

    c = a + b        d = b + 1        e = c d        at a = 2, b = 1: e = 6

Each edge has the derivative of one operation by one operand:

    dc/da = 1        dc/db = 1        dd/db = 1        de/dc = d = 2        de/dd = c = 3

The chain rule is a sum over all paths, each the product of its edges; two lead from b to e:

    de/da = dc/da de/dc                    = 1 2        = 2
    de/db = dc/db de/dc + dd/db de/dd      = 1 2 + 1 3  = 5

Whoever adds up at each node goes through every edge once. Forward mode begins at one input and gathers dn/db at each
node n: a pass for each input. Reverse mode begins at the output and gathers de/dn at each: one pass in all. What that
costs is counted on a product of n inputs, y = x1 x2 ... xn, which is n - 1 multiplications p = q x:

    forward    dp = dq x + q dx            one of the two terms is not zero: n - 1 multiplications for x1 and
                                           n - i + 1 for each other input, together (n - 1)(n + 2) / 2
    reverse    dq = dp x, dx = dp q        2 multiplications at each: 2 (n - 1)

A network has one loss and up to millions of weights: it is trained in reverse mode, which is backpropagation. Last, the
2-2-2 network of two_two_two.py as a graph, with the numbers that its layers give.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

import densegrad as dg
from _figure import BLUE, GREY, RED, run

g = dg.graph
MEASURED, BY_FORMULA = (2, 10, 100, 1000), (10_000, 1_000_000, 100_000_000)
multiplications = {"forward": 0, "reverse": 0}


def e(a: Any, b: Any) -> Any:
    return (a + b) * (b + 1)


class Times(g.Primitive):
    """p = q x, which counts what its rules multiply; a derivative that is zero everywhere is None."""

    def jvp(self, tangents: Any, p: Any, q: Any, x: Any) -> Any:
        dq, dx = tangents
        terms = [d * local for d, local in ((dq, x), (dx, q)) if d is not None]
        multiplications["forward"] += len(terms)
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    def vjp(self, needed: Any, dp: Any, p: Any, q: Any, x: Any) -> Any:
        multiplications["reverse"] += 2
        return dp * x, dp * q


times = Times("times", np.multiply)


def product(x: list[Any]) -> Any:
    return functools.reduce(times, x)


def measured(mode: str, n: int) -> int:
    """Multiplications for all n derivatives of the product, which are checked."""
    x = np.linspace(0.9, 1.1, n).tolist()
    multiplications[mode] = 0
    found = g.jacobian(product, mode=mode)(x)
    assert np.allclose([float(d) for d in found], math.prod(x) / np.array(x), rtol=1e-12)
    return multiplications[mode]


def formula(mode: str, n: int) -> int:
    return (n - 1) * (n + 2) // 2 if mode == "forward" else 2 * (n - 1)


def paths(start: Any, end: Any) -> Iterator[list[float]]:
    """The local derivatives along each path."""
    if start is end:
        yield []
    for edge in end.edges:
        for path in paths(start, edge.source):
            yield [*path, edge.local.item()]


def network(i: Any, w1: Any, b1: Any, w2: Any, b2: Any, t: Any) -> Any:
    h = g.sigmoid(g.dense(i, w1, b1))
    o = g.sigmoid(g.dense(h, w2, b2))
    return g.half_squared_error(o, t)


def drawings() -> dict[str, Any]:
    numbers = ([[0.05, 0.1]], [[0.15, 0.25], [0.2, 0.3]], [0.35, 0.35], [[0.4, 0.5], [0.45, 0.55]], [0.6, 0.6])
    arrays = [np.array(a) for a in (*numbers, [[0.01, 0.99]])]
    return {
        "graph_reverse": g.draw(e, 2.0, 1.0, names="abcde"),
        "graph_forward": g.draw(e, 2.0, 1.0, mode="forward", with_respect_to="b", names="abcde"),
        "graph_two_two_two": g.draw(
            network, *arrays, names=["i", "w1", "b1", "w2", "b2", "t", "z1", "h", "z2", "o", "L"]
        ),
    }


def main() -> tuple[dict[str, list[int]]]:
    reverse, forward, two_two_two = drawings().values()
    print(reverse, forward, sep="\n\n")
    *_, output = reverse.nodes
    print("\nPath by path")
    for node in reverse.nodes[:2]:
        found = list(paths(node, output))
        total = sum(map(math.prod, found))
        terms = " + ".join(" * ".join(f"{local:g}" for local in path) for path in found)
        print(f"  de/d{node.name} = {terms} = {total:g}")
        assert total == node.derivative
    assert forward.nodes[-1].derivative == reverse.nodes[1].derivative == 5

    print("\nMultiplications for all derivatives of a product of n inputs")
    counts = {mode: [measured(mode, n) for n in MEASURED] for mode in multiplications}
    assert all(counts[mode] == [formula(mode, n) for n in MEASURED] for mode in counts)
    print(f"  {'n':>11} {'forward':>26} {'reverse':>13} {'ratio':>14}")
    for n in (*MEASURED, *BY_FORMULA):
        forward_count, reverse_count = (formula(mode, n) for mode in counts)
        how = "counted" if n in MEASURED else "by formula"
        print(f"  {n:>11,} {forward_count:>26,} {reverse_count:>13,} {forward_count / reverse_count:>14,.1f}   {how}")

    print(f"\nThe 2-2-2 network\n{two_two_two}")
    derivatives = {node.name: node.derivative for node in two_two_two.nodes}
    print(f"  dL/dw5 = {derivatives['w2'][0, 0]:.9f}, dL/dw1 = {derivatives['w1'][0, 0]:.9f}")
    return (counts,)


def draw(figure: Any, counts: dict[str, list[int]]) -> None:
    axes = figure.subplots()
    n = np.logspace(np.log10(2), 8, 100)
    for mode, color in (("forward", RED), ("reverse", BLUE)):
        axes.plot(n, formula(mode, n), color=color, label=f"{mode} mode")
        axes.plot(MEASURED, counts[mode], "o", color=color, markersize=6)
    for seconds, time in ((0.001, "1 ms"), (1, "1 second"), (86_400, "1 day"), (3.15e7, "1 year")):
        axes.axhline(seconds * 1e9, color=GREY, linestyle=":", linewidth=0.8)
        axes.text(2, seconds * 1.5e9, f"{time} at 1e9 a second", color=GREY, fontsize="small")
    axes.set(xscale="log", yscale="log", xlabel="inputs n", ylabel="multiplications", ylim=(1, 1e18))
    axes.set_title("All derivatives of a product; dots are counted")
    axes.legend(loc="lower right")


if __name__ == "__main__":
    run(main, draw, height=4, drawings=drawings)
