"""Regression with a 1-10-1 network: y = x^2 - 0.5 under noise, and how near to it one can come.

    t = x^2 - 0.5 + noise of standard deviation s
    z1 = x w1 + b1    y1 = tanh(z1)    y = y1 w2 + b2        10 + 10 + 10 + 1 = 31 parameters
    L = mean of (y - t)^2

The network sees t and never the parabola. Two errors tell how it goes, over m points:

    against t               (y - t)^2 ends near s^2 and a little below: some of the noise is learnt
    against the parabola    averages the noise away: about s sqrt(p / m), with p <= 31 parameters in use

so that the fit is nearer to the truth than any of the points it was taught with. A straight line, the best that a
network without hidden layer can do, keeps the variance of x^2 on [-1, 1], which is 1/5 - 1/9 = 4/45.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

import densegrad as dg
from _figure import BLUE, GREY, ORANGE, RED, run

Array = NDArray[np.float64]
M, NOISE, EPOCHS = 400, 0.1, 400


def parabola(x: Array) -> Array:
    return x**2 - 0.5


def rms(e: Array) -> float:
    return float(np.sqrt(np.mean(e**2)))


def main() -> tuple[Array, Array, dict[str, Array], list[float]]:
    generator = np.random.default_rng(0)
    x = generator.uniform(-1, 1, size=(M, 1))
    t = parabola(x) + generator.normal(scale=NOISE, size=(M, 1))
    grid = np.linspace(-1, 1, 201)[:, None]

    line = dg.Sequential([dg.Dense(1)], input_size=1, dtype="float64", seed=0)
    line.fit(x, t, loss="mse", optimizer=dg.SGD(0.1), epochs=50, progress=False)
    model = dg.Sequential([dg.Dense(10, activation="tanh"), dg.Dense(1)], input_size=1, dtype="float64", seed=0)
    fits = {"untrained": model.predict(grid), "a line": line.predict(grid)}
    falling = dg.schedules.Cosine(0.5, steps=EPOCHS * math.ceil(M / 32))  # from 0.5 to 0 in the batches of all epochs
    history = model.fit(x, t, loss="mse", optimizer=dg.SGD(falling), epochs=EPOCHS, batch_size=32, progress=False)
    fits["1-10-1"] = model.predict(grid)

    against_t, against_truth = rms(model.predict(x) - t), rms(fits["1-10-1"] - parabola(grid))
    share = math.sqrt(model.parameters.size / M)
    print(f"{model.parameters.size} parameters, {M} points, s = {NOISE}")
    for epoch in (1, 10, 100, EPOCHS):
        print(f"  epoch {epoch:>3}: L = {history['loss'][epoch - 1]:.5f}")
    print(f"  s^2 = {NOISE**2:.5f}")
    print("Root mean square error")
    print(f"  against t            {against_t:.4f}   s = {NOISE:.4f}")
    print(f"  against the parabola {against_truth:.4f}   s sqrt(31 / {M}) = {NOISE * share:.4f}")
    line_error = float(np.mean((line.predict(x) - t) ** 2))
    print(f"A straight line: L = {line_error:.4f}; s^2 + 4/45 = {NOISE**2 + 4 / 45:.4f}")
    spread = 1 / math.sqrt(2 * M)  # how far the rms of m noises strays from s, relative
    assert (1 - share - 3 * spread) * NOISE < against_t < (1 + 3 * spread) * NOISE
    assert against_truth < NOISE * share
    assert abs(line_error - NOISE**2 - 4 / 45) < 0.02
    return x, t, fits, history["loss"]


def draw(figure: Any, x: Array, t: Array, fits: dict[str, Array], losses: list[float]) -> None:
    left, right = figure.subplots(1, 2)
    grid = np.linspace(-1, 1, 201)
    left.plot(x, t, ".", color=GREY, markersize=3, alpha=0.6)
    left.plot(grid, parabola(grid), "--", color="black", linewidth=1, zorder=3, label="$x^2 - 0.5$")
    for (name, y), color in zip(fits.items(), (ORANGE, RED, BLUE), strict=True):
        left.plot(grid, y, color=color, linewidth=2.8, label=name)
    left.set(xlabel="x", ylabel="y", title=f"{M} points and what was made of them", ylim=(-1, 1.3))
    left.legend(loc="upper center", ncols=2)
    right.loglog(range(1, len(losses) + 1), losses, color=BLUE, label="L")
    right.axhline(NOISE**2, color=GREY, linestyle=":", label="$s^2$, the noise")
    right.set(xlabel="epoch", ylabel="L", title="Training")
    right.legend()


if __name__ == "__main__":
    run(main, draw)
