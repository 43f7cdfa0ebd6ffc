"""Least squares against cross-entropy for a logistic output: the gradient where the answer is badly wrong.

One logistic neuron, y = 1 / (1 + exp(-z)), and the label t:

    half squared error   L = 1/2 (y - t)^2                          dz = (y - t) y (1 - y)
    cross-entropy        L = -t log(y) - (1 - t) log(1 - y)         dz = y - t

At z = -6 with label 1 the answer is 0.0025, badly wrong. Cross-entropy pulls with almost its full force, 1; least
squares with 0.0025, because the sigmoid's derivative y (1 - y) is nearly 0 there: the worse, the weaker.

How long does it take back to y = 1/2? With the input 1 and no bias, z is the only weight, and a step is
z <- z - lr dz. For small steps that is dz/ds = lr (1 - y) under cross-entropy and lr y (1 - y)^2 under least
squares, where s counts steps; integrated from z = -a to 0:

    cross-entropy   lr s = a + 1 - exp(-a)
    least squares   lr s = exp(a) - 1 + 3 a + 3 (1 - exp(-a)) + (1 - exp(-2 a)) / 2

The first grows with a, the second with exp(a).
"""

from typing import Any

import numpy as np

import densegrad as dg
from _figure import BLUE, GREY, RED, run

LR = 0.2
SQUARES, CROSS = "half_squared_error", "binary_cross_entropy"
NAMES = {SQUARES: "least squares", CROSS: "cross-entropy"}
COLORS = {SQUARES: RED, CROSS: BLUE}


def neuron(z: float) -> tuple[dg.Sequential, dg.Dense]:
    """A logistic neuron whose z is its one weight, because its input is 1."""
    layer = dg.Dense(1, activation="sigmoid", use_bias=False)
    model = dg.Sequential([layer], input_size=1, dtype="float64")
    layer.w[...] = z
    return model, layer


def way_back(loss: str, a: float) -> list[float]:
    """The answers y of each step from z = -a, label 1, until y = 1/2."""
    model, layer = neuron(-a)
    trainer = dg.Trainer(model, loss=loss, optimizer=dg.SGD(LR))
    x, t = np.ones((1, 1)), np.ones((1, 1))
    answers = []
    while layer.w[0, 0] < 0:
        answers.append(1 / (1 + np.exp(-layer.w[0, 0])))
        trainer.step(x, t)
    return answers


def main() -> tuple[dict[str, list[float]]]:
    print("dz where the label is 1")
    print("      z            y  least squares  cross-entropy")
    for z in (-10.0, -6.0, -3.0, 0.0, 3.0):
        seen = {loss: neuron(z)[0].trace([[1.0]], [[1.0]], loss).layers[0] for loss in NAMES}
        y = seen[SQUARES].y[0, 0]
        dz = {loss: layer.dz[0, 0] for loss, layer in seen.items()}
        print(f"  {z:>5.0f} {y:>12.3e} {dz[SQUARES]:>14.3e} {dz[CROSS]:>14.3e}")
        assert np.isclose(dz[CROSS], y - 1, rtol=1e-9)
        assert np.isclose(dz[SQUARES], (y - 1) * y * (1 - y), rtol=1e-9)

    print("Steps from z = -a back to y = 1/2, and the formula")
    for a in (2.0, 4.0, 6.0):
        integral = {CROSS: a + 1 - np.exp(-a)}
        integral[SQUARES] = np.exp(a) - 1 + 3 * a + 3 * (1 - np.exp(-a)) + (1 - np.exp(-2 * a)) / 2
        answers = {loss: way_back(loss, a) for loss in NAMES}
        print(f"  a = {a:.0f}", end="")
        for loss, name in NAMES.items():
            steps, formula = len(answers[loss]), integral[loss] / LR
            print(f"   {name} {steps:>5} ({formula:.1f})", end="")
            assert abs(steps - formula) < 2 + 0.01 * formula
        print()
    return (answers,)


def draw(figure: Any, answers: dict[str, list[float]]) -> None:
    left, right = figure.subplots(1, 2)
    z = np.linspace(-10, 10, 401)
    y = 1 / (1 + np.exp(-z))
    for loss, dz in ((SQUARES, (y - 1) * y * (1 - y)), (CROSS, y - 1)):
        left.plot(z, np.abs(dz), color=COLORS[loss], label=NAMES[loss])
        right.plot(range(1, len(answers[loss]) + 1), answers[loss], color=COLORS[loss], label=NAMES[loss])
    left.set(xlabel="z, label 1", ylabel="|dz|", title="How hard the loss pulls")
    left.annotate("badly wrong", (-8, 0.5), ha="center", color=GREY)
    left.annotate("right", (8, 0.5), ha="center", color=GREY)
    right.set(xscale="log", xlabel="step", ylabel="y, which should be 1", title="The way back from z = -6")
    left.legend()
    right.legend()


if __name__ == "__main__":
    run(main, draw)
