"""The vanishing gradient: ten layers of sigmoids against ten of ReLUs, gradient norm by layer.

Backpropagation goes down the layers by one rule, where dz means dL/dz and l counts the layers upwards:

    z_l = y_(l-1) w_l + b_l        y_l = f(z_l)
    dz_l = (dz_(l+1) w_(l+1)^T) f'(z_l)        dw_l = y_(l-1)^T dz_l

so each layer multiplies the gradient by its weights and by f'. For the sigmoid

    f'(z) = y (1 - y) <= 1/4        |dz_l| <= 1/4 |w_(l+1)| |dz_(l+1)|

with |w| the largest factor by which w can stretch a row. Weights that keep the signal level (Glorot) stretch by
about 1, so every layer leaves a quarter, and nine of them 4^-9 = 4e-6. ReLU has f' = 1 where it is active and 0
where it is not; weights drawn twice as large in variance (He) make up for the inactive half.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import densegrad as dg
from _figure import BLUE, GREY, RED, run

Array = NDArray[np.float64]
LAYERS, NETWORKS, STEPS = 10, 10, 500
LOSS = "binary_cross_entropy_with_logits"


def network(activation: str, seed: int) -> dg.Sequential:
    """2-32-...-32-1: nine hidden layers and a logistic output; weights by the scheme that suits the activation."""
    hidden = [dg.Dense(32, activation=activation) for _ in range(LAYERS - 1)]
    return dg.Sequential([*hidden, dg.Dense(1)], input_size=2, dtype="float64", seed=seed)


def gradient_norms(model: dg.Sequential, x: Array, t: Array) -> list[float]:
    """|dw| of every layer, first layer first; where the layer is a sigmoid, the bound above is checked."""
    layers = model.trace(x, t, LOSS).layers
    for below, above, dense in zip(layers, layers[1:], model.layers[1:], strict=False):
        if below.activation == "sigmoid":
            bound = np.linalg.norm(dense.w, ord=2) / 4 * np.linalg.norm(above.dz)
            assert np.linalg.norm(below.dz) <= bound
    return [float(np.linalg.norm(layer.dw)) for layer in layers]


def main() -> tuple[dict[str, Array], dict[str, list[float]]]:
    x = np.random.default_rng(0).normal(size=(100, 2))
    t = (x[:, :1] * x[:, 1:] > 0).astype(float)  # do both coordinates have the same sign?

    norms, losses = {}, {}
    for activation in ("sigmoid", "relu"):
        norms[activation] = np.array([gradient_norms(network(activation, seed), x, t) for seed in range(NETWORKS)])
        trainer = dg.Trainer(network(activation, seed=0), loss=LOSS, optimizer=dg.SGD(0.02))
        losses[activation] = [trainer.step(x, t) for _ in range(STEPS)]

    print(f"|dw| by layer before training, the median of {NETWORKS} networks")
    print("  layer      sigmoid         relu")
    for layer in range(LAYERS):
        print(f"  {layer + 1:>5} {np.median(norms['sigmoid'][:, layer]):>12.2e}", end="")
        print(f" {np.median(norms['relu'][:, layer]):>12.2e}")
    ratios = {activation: norm[:, 0] / norm[:, -1] for activation, norm in norms.items()}
    print(f"  first against last: {np.median(ratios['sigmoid']):.1e} and {np.median(ratios['relu']):.2f}")
    print(f"  nine quarters, 4^-9 = {4.0**-9:.1e}; the first layer's own input is centred, which takes a little more")
    assert (ratios["sigmoid"] < 1e-4).all()
    assert ((ratios["relu"] > 0.1) & (ratios["relu"] < 10)).all()

    print(f"Loss after {STEPS} steps: {losses['sigmoid'][-1]:.3f} and {losses['relu'][-1]:.3f}")
    print(f"  a constant answer has log 2 = {np.log(2):.3f}")
    assert losses["sigmoid"][-1] > 0.95 * np.log(2)
    assert losses["relu"][-1] < 0.1 * np.log(2)
    return norms, losses


def draw(figure: Any, norms: dict[str, Array], losses: dict[str, list[float]]) -> None:
    left, right = figure.subplots(1, 2)
    layers = np.arange(1, LAYERS + 1)
    for activation, color in (("relu", BLUE), ("sigmoid", RED)):
        left.plot(layers, norms[activation].T, color=color, linewidth=0.8, alpha=0.3)
        left.plot(layers, np.median(norms[activation], axis=0), "o-", color=color, label=activation)
        right.plot(losses[activation], color=color, label=activation)
    quarters = np.median(norms["sigmoid"][:, -1]) * 0.25 ** (LAYERS - layers)
    left.plot(layers, quarters, ":", color=GREY, label="a quarter a layer")
    left.set(yscale="log", xlabel="layer", ylabel="|dw|", title="Gradient norm before training", xticks=layers)
    left.legend()
    right.axhline(np.log(2), color=GREY, linestyle=":", label="constant answer")
    right.set(xlabel="step", ylabel="loss", title="Training")
    right.legend()


if __name__ == "__main__":
    run(main, draw)
