"""Universal approximation: one hidden layer of 1 to 100 units fits a curve, by hand and by training.

With n hidden units the network is a sum of n bent steps, and with enough of them it comes as close to a continuous
curve f on [0, 1] as one likes:

    y(x) = b + sum_j w_j s(k_j x + b_j)

By hand, with sigmoids: cut [0, 1] into n + 1 pieces of width h = 1 / (n + 1), and at each cut put a steep sigmoid
(k_j = k, b_j = -k cut_j) whose w_j is the step from f in the middle of one piece to f in the middle of the next. Half
a piece from the middle, f has changed by h/2 max|f'| at most, so that

    max |y - f| <= h/2 max|f'|          (and a little where the step is under way)

Training bends the steps to the curve, and needs fewer. A single unit cannot do it however long it is trained: y is
monotone, so that a rise and a fall of f by D leave an error of D/2 somewhere.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import densegrad as dg
from _figure import BLUE, GREEN, GREY, ORANGE, RED, run

Array = NDArray[np.float64]
UNITS = (1, 3, 10, 30, 100)
SHOWN = {1: RED, 3: ORANGE, 10: GREEN}
STEEPEST = 4.5 * np.pi  # max|f'| is no more
X = np.linspace(0, 1, 1001)[:, None]


def curve(x: Array) -> Array:
    return np.sin(2 * np.pi * x) + 0.5 * np.cos(5 * np.pi * x)


def by_hand(n: int) -> Array:
    """The staircase of n sigmoids."""
    hidden, output = dg.Dense(n, activation="sigmoid"), dg.Dense(1)
    model = dg.Sequential([hidden, output], input_size=1, dtype="float64")
    h = 1 / (n + 1)
    middles, cuts = curve((np.arange(n + 1) + 0.5) * h), np.arange(1, n + 1) * h
    k = 50 / h
    hidden.w[...], hidden.b[...] = k, -k * cuts
    output.w[:, 0], output.b[...] = np.diff(middles), middles[0]
    return model.predict(X)


def trained(n: int, steps: int = 4000) -> Array:
    """n tanh units, trained on every tenth point; they begin as slopes of 10, spread over [0, 1]."""
    hidden, output = dg.Dense(n, activation="tanh"), dg.Dense(1)
    model = dg.Sequential([hidden, output], input_size=1, dtype="float64", seed=0)
    hidden.w[...] = 10
    hidden.b[...] = -10 * np.linspace(0, 1, n + 2)[1:-1]
    trainer = dg.Trainer(model, loss="mse", optimizer=dg.Adam(dg.schedules.Cosine(0.02, steps)))
    for _ in range(steps):
        trainer.step(X[::10], curve(X[::10]))
    return model.predict(X)


def main() -> tuple[dict[int, Array], Array]:
    f = curve(X)
    rise, fall = (f - np.minimum.accumulate(f)).max(), (np.maximum.accumulate(f) - f).max()
    print("max |y - f| on [0, 1]")
    print("  units     by hand  h/2 max|f'|    trained")
    fits, errors = {}, []
    for n in UNITS:
        stairs, bound = by_hand(n), STEEPEST / 2 / (n + 1)
        fits[n] = trained(n)
        errors.append((np.abs(stairs - f).max(), bound, np.abs(fits[n] - f).max()))
        print(f"  {n:>5} {errors[-1][0]:>11.4f} {errors[-1][1]:>12.4f} {errors[-1][2]:>10.4f}")
        assert errors[-1][0] < 1.02 * bound
    hand, _, learned = np.array(errors).T
    print(f"One unit is monotone, the curve rises by {rise:.2f} and falls by {fall:.2f}:")
    print(f"  it errs by {min(rise, fall) / 2:.4f} at least")
    assert learned[0] >= min(rise, fall) / 2
    assert (learned[1:] < hand[1:]).all()
    assert (learned[2:] < learned[:-2] / 2).all()  # ten times the units: at least twice as close
    return fits, np.array(errors)


def draw(figure: Any, fits: dict[int, Array], errors: Array) -> None:
    left, right = figure.subplots(1, 2)
    left.plot(X, curve(X), color=GREY, linewidth=5, alpha=0.4, label="curve")
    for n, color in SHOWN.items():
        left.plot(X, fits[n], color=color, label=f"{n} unit{'s' * (n > 1)}")
    left.set(xlabel="x", ylabel="y", title="Trained networks")
    left.legend()
    right.loglog(UNITS, errors[:, 0], "o-", color=GREY, label="by hand")
    right.loglog(UNITS, errors[:, 1], ":", color=GREY, label="h/2 max|f'|")
    right.loglog(UNITS, errors[:, 2], "o-", color=BLUE, label="trained")
    right.set(xlabel="hidden units", ylabel="max |y - f|", title="Error", xticks=UNITS, xticklabels=UNITS)
    right.minorticks_off()
    right.legend()


if __name__ == "__main__":
    run(main, draw)
