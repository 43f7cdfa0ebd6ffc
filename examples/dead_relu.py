"""Dead ReLU: units that never answer again, how they come about, and what cures them.

    y = max(z, 0)        dz = dy where z > 0, else 0        dw = x^T dz        db = sum of dz

A unit whose z is below 0 for every sample gives 0 everywhere and has dz = 0 everywhere: dw and db are exactly 0, and
no training moves it any more. One step too large can put it there, by pushing b far down.

Here 32 units begin dead: the inputs lie in [-1, 1], so b = -(|w1| + |w2|) makes z = x w + b <= 0 for all of them.
The output is then a constant, and the best constant, the share q of class 1, has the loss

    H = -q log(q) - (1 - q) log(1 - q)

The cures that let some gradient through where z <= 0, and so bring the units back from the same weights:

    leaky_relu   y = 0.01 z         dz = 0.01 dy
    elu          y = exp(z) - 1     dz = dy exp(z)
    gelu         y = z Phi(z)       small but not 0 for moderate z

And a cure before the fact: a learning rate small enough that no unit is pushed out.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import densegrad as dg
from _figure import BLUE, GREEN, GREY, ORANGE, RED, run

Array = NDArray[np.float64]
UNITS, STEPS = 32, 2000
LOSS = "binary_cross_entropy_with_logits"
RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def network(activation: str, seed: int) -> dg.Sequential:
    """2-32-1; all activations begin with the weights that suit ReLU."""
    hidden = dg.Dense(UNITS, activation=activation, init="he_normal")
    return dg.Sequential([hidden, dg.Dense(1)], input_size=2, dtype="float64", seed=seed)


def dead(model: dg.Sequential, x: Array) -> int:
    """How many hidden units have z <= 0 for every sample."""
    hidden = model.layers[0]
    return int((dg.ops.dense_forward(x, hidden.w, hidden.b) <= 0).all(axis=0).sum())


def main() -> tuple[list[float], dict[str, list[float]], float]:
    x = np.random.default_rng(0).uniform(-1, 1, size=(200, 2))
    t = (np.hypot(x[:, :1], x[:, 1:]) < 0.75).astype(float)  # inside a circle?

    print(f"How they die: dead units of {UNITS} after 100 steps, the mean of five networks")
    shares = []
    for lr in RATES:
        counts = []
        for seed in range(5):
            model = network("relu", seed)
            trainer = dg.Trainer(model, loss=LOSS, optimizer=dg.SGD(lr))
            for _ in range(100):
                trainer.step(x, t)
            counts.append(dead(model, x))
        shares.append(float(np.mean(counts)) / UNITS)
        print(f"  lr = {lr:>4}: {np.mean(counts):4.1f}")
    assert shares[0] == 0
    assert shares[-1] > 0.9

    q = t.mean()
    entropy = float(-q * np.log(q) - (1 - q) * np.log(1 - q))
    print(f"All {UNITS} dead at the start, then {STEPS} steps with lr = 0.5; a constant has H = {entropy:.4f}")
    losses = {}
    for activation in ("relu", "leaky_relu", "elu", "gelu"):
        model = network(activation, seed=1)
        hidden = model.layers[0]
        hidden.b[...] = -np.abs(hidden.w).sum(axis=0)
        assert dead(model, x) == UNITS
        before, gradient = hidden.w.copy(), np.abs(model.trace(x, t, LOSS).layers[0].dw).max()
        trainer = dg.Trainer(model, loss=LOSS, optimizer=dg.SGD(0.5))
        losses[activation] = [trainer.step(x, t) for _ in range(STEPS)]
        left = dead(model, x)
        print(f"  {activation:<10} largest dw at first {gradient:.1e}, dead at last {left:>2}, ", end="")
        print(f"loss {losses[activation][-1]:.4f}")
        if activation == "relu":
            assert gradient == 0
            assert np.array_equal(hidden.w, before)  # to the last bit
            assert np.isclose(losses[activation][-1], entropy, rtol=1e-6)
        else:
            assert gradient > 0
            assert left < UNITS
            assert losses[activation][-1] < entropy / 2
    return shares, losses, entropy


def draw(figure: Any, shares: list[float], losses: dict[str, list[float]], entropy: float) -> None:
    left, right = figure.subplots(1, 2)
    left.semilogx(RATES, shares, "o-", color=RED)
    left.set(xlabel="learning rate", ylabel="share of dead units", title="How they die: steps too large")
    for (activation, loss), color in zip(losses.items(), (RED, ORANGE, GREEN, BLUE), strict=True):
        right.semilogx(range(1, STEPS + 1), loss, color=color, label=activation)
    right.axhline(entropy, color=GREY, linestyle=":", zorder=0, label="best constant")
    right.set(xlabel="step", ylabel="loss", title="From the same dead weights", ylim=(0, None))
    right.legend(loc="lower left")


if __name__ == "__main__":
    run(main, draw)
