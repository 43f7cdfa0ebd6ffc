"""Zig-zag: why an activation that is not centred at zero learns slower, as paths on a loss surface.

A neuron behind two others sees their outputs h1, h2. Its gradient is, for one sample,

    y = h1 w1 + h2 w2        dw1 = dz h1        dw2 = dz h2

A sigmoid gives h > 0, so dw1 and dw2 have the same sign, dz's, in every sample: w1 and w2 go up together or down
together. Where one must rise and the other fall, the path goes there in zig-zag. tanh is centred at zero.

For the whole batch the surface is a bowl with its lowest point at w*, and the distance e = w - w* obeys

    L = mean of 1/2 (y - t)^2 = 1/2 e^T H e        H = mean of h h^T        e <- (I - lr H) e

With the mean m and the variance v of h, H is about v I + m^2 [[1, 1], [1, 1]]: v across the diagonal, v + 2 m^2
along it. A sigmoid's m near 1/2 makes the bowl a narrow valley. The best learning rate, 2 / (smallest + largest
eigenvalue), shrinks e by (k - 1) / (k + 1) a step, where k = largest / smallest.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import densegrad as dg
from _figure import BLUE, GREY, RED, run

Array = NDArray[np.float64]
BEST = np.array([1.0, -1.0])  # w*: from START, w1 must rise and w2 fall
START = np.array([-1.0, 0.2])
LOSS = "half_squared_error"


def descend(activation: str, z: Array) -> tuple[Array, Array, float]:
    """The path of w by gradient descent to 1 % of the distance, H, and the share of samples with signs alike."""
    hidden, output = dg.Dense(2, activation=activation, trainable_w=False, use_bias=False), dg.Dense(1, use_bias=False)
    model = dg.Sequential([hidden, output], input_size=2, dtype="float64")
    hidden.w[...] = np.eye(2)  # h = f(z); what is learned is behind it
    output.w[...] = START[:, None]
    h = dg.ops.activation_forward(activation, z)
    t = h @ BEST[:, None]
    hessian = h.T @ h / len(h)
    lr = 2 / np.linalg.eigvalsh(hessian).sum()

    dw = model.trace(z, t, LOSS).layers[1].dz * h  # sample by sample, (samples, 2)
    alike = float(np.mean(dw[:, 0] * dw[:, 1] > 0))

    trainer = dg.Trainer(model, loss=LOSS, optimizer=dg.SGD(lr))
    path = [output.w[:, 0].copy()]
    while np.linalg.norm(path[-1] - BEST) > 0.01 * np.linalg.norm(START - BEST):
        trainer.step(z, t)
        path.append(output.w[:, 0].copy())
        assert np.allclose(path[-1] - BEST, (np.eye(2) - lr * hessian) @ (path[-2] - BEST), rtol=0, atol=1e-12)
    return np.array(path), hessian, alike


def main() -> tuple[dict[str, Array], dict[str, Array]]:
    z = np.random.default_rng(0).normal(size=(500, 2))
    paths, hessians = {}, {}
    for activation in ("sigmoid", "tanh"):
        paths[activation], hessians[activation], alike = descend(activation, z)
        small, large = np.linalg.eigvalsh(hessians[activation])
        k = large / small
        steps = len(paths[activation]) - 1
        predicted = np.log(0.01) / np.log((k - 1) / (k + 1))
        together = np.mean(np.diff(paths[activation], axis=0).prod(axis=1) > 0)
        print(f"{activation}: dw1 and dw2 have the same sign in {alike:.0%} of the samples")
        print(f"  w1 and w2 move the same way in {together:.0%} of the steps")
        print(f"  eigenvalues of H {small:.3f} and {large:.3f}, k = {k:.1f}")
        print(f"  steps to 1 % of the distance: {steps}; log(0.01) / log((k - 1) / (k + 1)) = {predicted:.1f}")
        assert (alike == 1) == (together == 1) == (activation == "sigmoid")
        assert steps <= np.ceil(predicted)  # each step shrinks e by that factor at least
    assert len(paths["sigmoid"]) > 5 * len(paths["tanh"])
    return paths, hessians


def draw(figure: Any, paths: dict[str, Array], hessians: dict[str, Array]) -> None:
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    w1, w2 = np.meshgrid(np.linspace(-1.4, 1.6, 120), np.linspace(-1.4, 0.8, 120))
    e = np.stack([w1 - BEST[0], w2 - BEST[1]], axis=-1)
    for ax, activation, color in zip(axes, paths, (RED, BLUE), strict=True):
        loss = np.einsum("...i,ij,...j", e, hessians[activation], e) / 2
        ax.contour(w1, w2, loss, levels=loss.max() * np.linspace(0.02, 1, 9) ** 2, colors="#c8c8c8", linewidths=0.8)
        ax.plot(*paths[activation].T, "o-", color=color, markersize=3.5)
        ax.plot(*BEST, "*", color=GREY, markersize=12)
        ax.set(title=f"{activation}: {len(paths[activation]) - 1} steps", xlabel="w1", aspect="equal")
    axes[0].set_ylabel("w2")


if __name__ == "__main__":
    run(main, draw)
