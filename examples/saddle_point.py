"""A saddle point and a local minimum, met by plain SGD and by SGD with momentum.

    plain       w <- w - lr dw
    momentum    v <- mu v + dw        w <- w - lr v        lr = 0.05, mu = 0.9

The saddle: two linear neurons in a row, y = w2 w1 x, one sample x = 1, t = 1.

    L = 1/2 (w1 w2 - 1)^2        dw1 = (w1 w2 - 1) w2        dw2 = (w1 w2 - 1) w1

At w = 0 the gradient is 0, and the curvature is +1 along (1, -1), -1 along (1, 1): who comes down the one valley
stops on the ridge of the other. What is left of p = w1 + w2 grows by a factor r a step, so leaving takes about
log(1/p) / log(r) steps:

    plain       r = 1 + lr                                          = 1.05
    momentum    r^2 - (1 + mu + lr) r + mu = 0, its larger root     = 1.20, nearly four times as fast

The local minimum: one neuron y = tanh(w x) with one weight, and two samples that want different ones, x = 4, t = 0.3
and x = 1/2, t = 0.9. From w = -1 plain SGD ends in the first hollow. Momentum arrives with speed and rolls through it
to the lower one; from a deeper hollow it would not get out either.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import densegrad as dg
from _figure import BLUE, GREY, RED, run

Array = NDArray[np.float64]
LR, MU = 0.05, 0.9
LOSS = "half_squared_error"
PAIR = (np.array([[1.0]]), np.array([[1.0]]))
TUG = (np.array([[4.0], [0.5]]), np.array([[0.3], [0.9]]))


def path(layers: list[dg.Dense], data: tuple[Array, Array], start: list[float], mu: float, steps: int) -> Array:
    """All weights at each step, (steps + 1, weights)."""
    model = dg.Sequential(layers, input_size=1, dtype="float64")
    model.parameters[...] = start
    trainer = dg.Trainer(model, loss=LOSS, optimizer=dg.SGD(LR, momentum=mu))
    weights = [model.parameters.copy()]
    for _ in range(steps):
        trainer.step(*data)
        weights.append(model.parameters.copy())
    return np.array(weights)


def two_in_a_row(start: list[float], mu: float, steps: int) -> Array:
    return path([dg.Dense(1, use_bias=False), dg.Dense(1, use_bias=False)], PAIR, start, mu, steps)


def one_neuron(mu: float) -> Array:
    return path([dg.Dense(1, activation="tanh", use_bias=False)], TUG, [-1.0], mu, 1000)[:, 0]


def tug_loss(w: Array) -> Array:
    x, t = TUG
    return np.mean((np.tanh(x * w) - t) ** 2, axis=0) / 2


def main() -> tuple[dict[str, Array], dict[str, Array]]:
    saddles, hollows = {}, {}
    b = 1 + MU + LR
    rates = {"plain": 1 + LR, "momentum": (b + np.sqrt(b * b - 4 * MU)) / 2}
    print("The saddle")
    for name, mu in (("plain", 0.0), ("momentum", MU)):
        p = two_in_a_row([1e-9, 1e-9], mu, steps=60).sum(axis=1)
        rate = (p[60] / p[40]) ** (1 / 20)
        saddles[name] = two_in_a_row([1.0, -0.99], mu, steps=300)
        away = int(np.argmax(saddles[name].prod(axis=1) > 0.5))  # the first step at which L < 1/8
        print(f"  {name:<8}  r = {rate:.4f}, by the formula {rates[name]:.4f}; from (1, -0.99) away in {away} steps")
        assert np.isclose(rate, rates[name], rtol=1e-3)
        assert np.isclose(saddles[name][-1].prod(), 1, atol=1e-3)

    print("The local minimum")
    for name, mu in (("plain", 0.0), ("momentum", MU)):
        hollows[name] = one_neuron(mu)
        end = hollows[name][-1]
        print(f"  {name:<8}  ends at w = {end:.4f}, L = {tug_loss(end)[0]:.4f}")
    stuck, through = hollows["plain"][-1], hollows["momentum"][-1]
    around = tug_loss(stuck + np.array([-0.01, 0, 0.01]))
    assert around[1] < around[0]  # a minimum
    assert around[1] < around[2]
    assert tug_loss(through)[0] < around[1]  # but not the lowest
    return saddles, hollows


def draw(figure: Any, saddles: dict[str, Array], hollows: dict[str, Array]) -> None:
    left, right = figure.subplots(1, 2)
    w1, w2 = np.meshgrid(np.linspace(-1.3, 1.7, 100), np.linspace(-1.3, 1.7, 100))
    left.contour(w1, w2, (w1 * w2 - 1) ** 2 / 2, levels=12, colors="#d0d0d0", linewidths=0.8)
    for name, color, shift in (("plain", RED, 0), ("momentum", BLUE, 0.02)):
        left.plot(*saddles[name].T, "o-", color=color, markersize=2.5, linewidth=1, label=name)
        right.plot(hollows[name], tug_loss(hollows[name]) + shift, "o", color=color, markersize=2.5, label=name)
        right.plot(hollows[name][-1], tug_loss(hollows[name][-1]) + shift, "o", color=color, markersize=9)
    left.plot(0, 0, "x", color="black", markersize=9)
    left.set(xlabel="w1", ylabel="w2", title="Saddle point at 0", aspect="equal")
    left.legend(loc="lower left")
    w = np.linspace(-1.2, 4, 300)
    right.plot(w, tug_loss(w), color=GREY, linewidth=1, zorder=0)
    right.set(xlabel="w", ylabel="L", title="Local minimum")
    right.legend()


if __name__ == "__main__":
    run(main, draw, height=4)
