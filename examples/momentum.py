"""A 2-4-2 network trained by plain SGD, with momentum and with Nesterov's: three losses on one set of axes.

With g for the gradient dw, v beginning at 0:

    plain       w <- w - lr g
    momentum    v <- mu v + g        w <- w - lr v
    Nesterov    v <- mu v + g        w <- w - lr (g + mu v), which looks one step ahead

While g stays the same, v grows towards g / (1 - mu): with mu = 0.9 each step is ten times as long, and where the
gradient swings, v averages the swings away. So a small learning rate goes about ten times as far, and plain SGD needs
about ten times the steps. lr / (1 - mu) is the number to compare learning rates by.

The network, x (m, 2), learns the exclusive or, which no straight line can do:

    z1 = x w1 + b1    y1 = tanh(z1)    z2 = y1 w2 + b2        2*4 + 4 + 4*2 + 2 = 22 parameters
    L = mean of -log(softmax(z2) of the true class)
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import densegrad as dg
from _figure import BLUE, GREEN, GREY, RED, run

Array = NDArray[np.float64]
LR, MU, STEPS = 0.05, 0.9, 2000
X = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
LABELS = np.array([0, 1, 1, 0])
OPTIMIZERS = {
    "plain": lambda: dg.SGD(LR),
    "momentum": lambda: dg.SGD(LR, momentum=MU),
    "Nesterov": lambda: dg.SGD(LR, momentum=MU, nesterov=True),
}


def network() -> dg.Sequential:
    return dg.Sequential([dg.Dense(4, activation="tanh"), dg.Dense(2)], input_size=2, dtype="float64", seed=0)


def by_hand(name: str, steps: int) -> Array:
    """The parameters after some steps, by the formulas above."""
    model = network()
    w, v = model.parameters, np.zeros(model.parameters.size)
    for _ in range(steps):
        _, dy = dg.ops.loss("cross_entropy", model.forward(X), LABELS)
        model.backward(dy)
        g = model.gradients
        v = MU * v + g
        w -= LR * {"plain": g, "momentum": v, "Nesterov": g + MU * v}[name]
    return w.copy()


def main() -> tuple[dict[str, list[float]]]:
    losses, needed = {}, {}
    print(f"lr = {LR}, mu = {MU}: steps until the loss is below 0.1, from the same weights")
    for name, optimizer in OPTIMIZERS.items():
        model = network()
        trainer = dg.Trainer(model, loss="cross_entropy", optimizer=optimizer())
        losses[name] = [trainer.step(X, LABELS) for _ in range(10)]
        assert np.allclose(model.parameters, by_hand(name, 10), rtol=1e-10, atol=1e-12)
        losses[name] += [trainer.step(X, LABELS) for _ in range(STEPS - 10)]
        needed[name] = int(np.argmax(np.array(losses[name]) < 0.1))
        times = needed["plain"] / needed[name]
        print(f"  {name:<8} {needed[name]:>5} steps, plain needs {times:4.1f} times as many")
        assert needed[name] > 0
        assert (model.predict(X).argmax(axis=1) == LABELS).all()
    print(f"  1 / (1 - mu) = {1 / (1 - MU):.1f}")
    assert needed["plain"] > 5 * needed["momentum"]
    assert needed["plain"] > 5 * needed["Nesterov"]
    return (losses,)


def draw(figure: Any, losses: dict[str, list[float]]) -> None:
    axes = figure.add_subplot()
    for (name, loss), color, style in zip(losses.items(), (RED, BLUE, GREEN), ("-", "-", "--"), strict=True):
        axes.loglog(range(1, STEPS + 1), loss, style, color=color, label=name)
    axes.axhline(0.1, color=GREY, linestyle=":")
    axes.set(xlabel="step", ylabel="loss", title=f"2-4-2 on the exclusive or, lr = {LR}, mu = {MU}", ylim=(1e-3, 2))
    axes.legend(loc="lower left")


if __name__ == "__main__":
    run(main, draw)
