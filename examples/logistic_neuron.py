"""A single logistic neuron on points of a plane: its decision line, and what the best one would be.

    z = x w + b        y = 1 / (1 + exp(-z)), the probability of class 1        x (m, 2), w (2, 1), b (1,)

The neuron says class 1 where z > 0. The line z = 0 is perpendicular to w, and |w| says how fast the probability
rises on the way across: the distance from the line is z / |w|.

For two round clouds of normal points, m_0 and m_1 their middles and s their standard deviation, Bayes' rule gives
the probability of class 1 exactly, and it is such a neuron:

    w = (m_1 - m_0) / s^2        b = -(|m_1|^2 - |m_0|^2) / (2 s^2)        accuracy = Phi(|m_1 - m_0| / (2 s))

with Phi the normal distribution function. Learning comes close to it as far as the sample tells. Where it ends,
under cross-entropy, db = mean of y - t = 0: the mean of the probabilities is the share of class 1.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

import densegrad as dg
from _figure import BLUE, GREY, RED, run

Array = NDArray[np.float64]
M0, M1, S = np.array([-1.0, -0.5]), np.array([1.0, 1.0]), 0.8


def clouds(m: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """m points x of the two clouds, and their labels t."""
    t = generator.integers(0, 2, size=(m, 1)).astype(float)
    return np.where(t == 1, M1, M0) + generator.normal(scale=S, size=(m, 2)), t


def main() -> tuple[Array, Array, Array, float]:
    generator = np.random.default_rng(0)
    x, t = clouds(1000, generator)
    neuron = dg.Dense(1, activation="sigmoid")
    model = dg.Sequential([neuron], input_size=2, dtype="float64", seed=0)
    trainer = dg.Trainer(model, loss="binary_cross_entropy", optimizer=dg.SGD(1.0))
    for step in range(1001):
        loss = trainer.step(x, t)
        if step in {0, 1, 10, 100, 1000}:
            print(f"  step {step:>4}: loss {loss:.6f}")
    w, b = neuron.w[:, 0], float(neuron.b[0])

    bayes_w = (M1 - M0) / S**2
    bayes_b = -(M1 @ M1 - M0 @ M0) / (2 * S**2)
    y = model.predict(x)
    fresh, labels = clouds(20_000, generator)
    accuracy = np.mean((model.predict(fresh) > 0.5) == labels)
    best = (1 + math.erf(np.linalg.norm(M1 - M0) / (2 * S) / math.sqrt(2))) / 2
    angle = math.degrees(math.acos(w @ bayes_w / np.linalg.norm(w) / np.linalg.norm(bayes_w)))
    print("              w1       w2        b")
    print(f"  learnt {w[0]:7.3f}  {w[1]:7.3f}  {b:7.3f}   accuracy {accuracy:.3f} on fresh points")
    print(f"  Bayes  {bayes_w[0]:7.3f}  {bayes_w[1]:7.3f}  {bayes_b:7.3f}   accuracy {best:.3f}, the best there is")
    print(f"  the two lines differ by {angle:.1f} degrees")
    print(f"  mean of y {y.mean():.6f}, share of class 1 {t.mean():.6f}")
    assert abs(accuracy - best) < 0.01
    assert angle < 10
    assert abs(y.mean() - t.mean()) < 1e-4
    assert math.isclose(x[0] @ w + b, math.log(y[0, 0] / (1 - y[0, 0])))  # the log-odds are linear in x
    return x, t[:, 0], w, b


def draw(figure: Any, x: Array, t: Array, w: Array, b: float) -> None:
    left, right = figure.subplots(1, 2)
    x1, x2 = np.meshgrid(np.linspace(-3.8, 3.8, 100), np.linspace(-3, 3.6, 100))
    y = 1 / (1 + np.exp(-(w[0] * x1 + w[1] * x2 + b)))
    for label, color, place in ((0, RED, (-3.2, 1.5)), (1, BLUE, (2, 2.8))):
        left.plot(*x[t == label][:200].T, ".", color=color, markersize=4)
        left.annotate(f"class {label}", place, color=color)
    left.contour(x1, x2, y, levels=[0.05, 0.5, 0.95], colors=[GREY, "black", GREY], linestyles=[":", "-", ":"])
    foot = -b * w / (w @ w)  # the point of the line that is nearest to 0
    unit = w / np.linalg.norm(w)
    left.annotate("", foot + 1.3 * unit, foot, arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 2})
    left.annotate("w", foot + 1.4 * unit, weight="bold")
    left.set(xlabel="x1", ylabel="x2", aspect="equal", title="Decision line; dotted: y = 0.05 and y = 0.95")

    distance = (x @ w + b) / np.linalg.norm(w)
    edges = np.arange(-1.75, 2, 0.5)
    shares = [t[(distance >= low) & (distance < low + 0.5)].mean() for low in edges[:-1]]
    z = np.linspace(-2, 2, 200)
    right.plot(z, 1 / (1 + np.exp(-z * np.linalg.norm(w))), color=GREY, label="y")
    right.plot(edges[:-1] + 0.25, shares, "o", color=BLUE, label="share of class 1 there")
    right.set(xlabel="distance from the line, z / |w|", ylabel="probability of class 1", title="Across the line")
    right.legend(loc="upper left")


if __name__ == "__main__":
    run(main, draw, height=4)
