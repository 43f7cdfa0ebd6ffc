"""Two moons: the same 2-16-16-1 network with every activation, from the same weights and for the same steps.

    upper moon  (cos a, sin a)                    a from 0 to pi, and noise on both
    lower moon  (1 - cos a, 1/2 - sin a)

The network says class 1 where its output is above 0. With the identity it is a single affine map, however many layers
it has, because (x w1 + b1) w2 + b2 = x (w1 w2) + (b1 w2 + b2): its border is a straight line, and no straight line
divides the moons. Anything bent will do, if it is used where it bends: hard_sigmoid is straight between -3 and 3, and
from small weights its network ends as a line too. So all begin with wide ones, of standard deviation 1.5.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

import densegrad as dg
from _figure import BLUE, RED, run

Array = NDArray[np.float64]
COLUMNS, WIDE = 5, dg.initializers.Normal(1.5)
LEARNED = {  # activations that are layers, because they have a parameter to learn
    "PReLU": (dg.PReLU, "y = z where z > 0, a z elsewhere, a learned"),
    "LearnedSwish": (dg.LearnedSwish, "y = z sigmoid(a z), a learned"),
}


def moons(m: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """m points x (m, 2) and their labels t (m, 1)."""
    a, t = generator.uniform(0, np.pi, m), np.arange(m) % 2
    upper, lower = np.array([np.cos(a), np.sin(a)]), np.array([1 - np.cos(a), 0.5 - np.sin(a)])
    return np.where(t, lower, upper).T + generator.normal(scale=0.12, size=(m, 2)), t[:, None]


def trained(activation: str, x: Array, t: Array) -> dg.Sequential:
    layers: list[dg.Layer] = []
    for _ in range(2):
        if activation in LEARNED:
            layers += [dg.Dense(16, init=WIDE), LEARNED[activation][0]()]
        else:
            layers += [dg.Dense(16, activation=activation, init=WIDE)]
    model = dg.Sequential([*layers, dg.Dense(1, init=WIDE)], input_size=2, dtype="float64", seed=0)
    trainer = dg.Trainer(model, loss="binary_cross_entropy_with_logits", optimizer=dg.Adam(0.02))
    for _ in range(500):
        trainer.step(x, t)
    return model


def main() -> tuple[dict[str, dg.Sequential], dict[str, float], Array, Array]:
    generator = np.random.default_rng(0)
    x, t = moons(300, generator)
    fresh, labels = moons(5000, generator)
    models, accuracies = {}, {}
    print("Right on 5000 fresh points")
    formulas = {**dg.activations.available(), **{name: formula for name, (_, formula) in LEARNED.items()}}
    for activation, formula in formulas.items():
        models[activation] = trained(activation, x, t)
        accuracies[activation] = float(np.mean((models[activation].predict(fresh) > 0) == labels))
        print(f"  {activation:<13} {accuracies[activation]:6.1%}   {formula}")
    bent = {name: accuracy for name, accuracy in accuracies.items() if name != "identity"}
    assert min(bent.values()) > 0.97
    assert accuracies["identity"] < 0.9

    first, second, last = models["identity"].layers
    w = first.w @ second.w @ last.w
    b = (first.b @ second.w + second.b) @ last.w + last.b
    assert np.allclose(models["identity"].predict(fresh), fresh @ w + b)
    print(f"The network of identities is one affine map: z = {w[0, 0]:.3f} x1 {w[1, 0]:+.3f} x2 {b[0]:+.3f}")
    return models, accuracies, x, t[:, 0]


def draw(figure: Any, models: dict[str, dg.Sequential], accuracies: dict[str, float], x: Array, t: Array) -> None:
    axes = figure.subplots(math.ceil(len(models) / COLUMNS), COLUMNS, sharex=True, sharey=True).ravel()
    x1, x2 = np.meshgrid(np.linspace(-1.5, 2.5, 120), np.linspace(-1, 1.5, 120))
    grid = np.stack([x1.ravel(), x2.ravel()], axis=1)
    for ax, (activation, model) in zip(axes, models.items(), strict=False):
        z = model.predict(grid).reshape(x1.shape)
        ax.contourf(x1, x2, z, levels=[-np.inf, 0, np.inf], colors=["#f6dce0", "#dbe3f0"])
        for label, color in ((0, RED), (1, BLUE)):
            ax.plot(*x[t == label].T, ".", color=color, markersize=1.5)
        ax.set_title(f"{activation} {accuracies[activation]:.1%}", fontsize=8)
    for ax in axes:
        ax.axis("off")


if __name__ == "__main__":
    run(main, draw, height=6)
