"""Dropout on digits: a 64-50-10 network with and without, where a fifth of the training labels are wrong.

Dropout with rate p sets each hidden output to 0 with probability p while training, anew in every step, and scales the
others so that the mean stays. Nothing is dropped in predictions.

    training      y' = y m / (1 - p)        m = 0 with probability p, else 1, so that the mean of y' is y
    prediction    y' = y

No unit can count on another one being there, which makes it hard to learn single images by heart. To see that, every
fifth training label is replaced by another digit. Who has understood the digits agrees with 80 % of these labels;
whatever is above 80 % has been learnt by heart, and is paid for on the test images, whose labels are right.

The images are scikit-learn's: pip install 'densegrad[demo]'.
"""

from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import densegrad as dg
from _figure import BLUE, GREEN, GREY, RED, run

RATES = (0.0, 0.2, 0.5)
WRONG, EPOCHS = 0.2, 100


def network(rate: float) -> dg.Sequential:
    dropout = [dg.Dropout(rate)] if rate else []
    return dg.Sequential([dg.Dense(50, activation="relu"), *dropout, dg.Dense(10)], input_size=64, seed=0)


def main() -> tuple[dict[float, dg.History]]:
    x, t = load_digits(return_X_y=True)
    x = x / 16
    test = np.arange(len(x)) % 5 == 0
    labels = t[~test]
    generator = np.random.default_rng(0)
    wrong = generator.permutation(len(labels)) < WRONG * len(labels)
    labels[wrong] = (labels[wrong] + generator.integers(1, 10, wrong.sum())) % 10

    dropped = dg.Sequential([dg.Dropout(0.2)], input_size=50, seed=0).forward(np.ones((1000, 50)))
    print(f"Rate 0.2 makes of 50,000 ones {np.mean(dropped == 0):.1%} zeros, and the others {dropped.max():.4f}")
    print(f"  so that their mean is {dropped.mean():.3f}")
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1.25)}
    assert abs(dropped.mean() - 1) < 0.01  # nine standard errors

    histories, by_heart, understood = {}, {}, {}
    print(f"{len(labels)} training images, {wrong.sum()} of them labelled wrongly; {test.sum()} test images")
    print("  rate   agrees with the training labels   right on the test images   (mean of the last ten epochs)")
    for rate in RATES:
        model = network(rate)
        histories[rate] = model.fit(
            x[~test],
            labels,
            loss="cross_entropy",
            optimizer=dg.SGD(0.3),
            epochs=EPOCHS,
            validation_data=(x[test], t[test]),
            metrics=["accuracy"],
            progress=False,
        )
        by_heart[rate] = np.mean(histories[rate]["accuracy"][-10:])
        understood[rate] = np.mean(histories[rate]["val_accuracy"][-10:])
        print(f"  {rate:>4}   {by_heart[rate]:>31.1%}   {understood[rate]:>24.1%}")
        assert (model.predict(x[test]) == model.predict(x[test])).all()  # nothing is dropped here
    assert by_heart[0.0] > by_heart[0.2] > by_heart[0.5] > 1 - WRONG - 0.05
    assert by_heart[0.0] > 1 - WRONG + 0.03
    assert understood[0.5] > understood[0.0] + 0.05
    return (histories,)


def draw(figure: Any, histories: dict[float, dg.History]) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    for (rate, history), color in zip(histories.items(), (RED, GREEN, BLUE), strict=True):
        label = f"dropout {rate}" if rate else "without"
        left.plot(history["accuracy"], color=color, linewidth=1.3, label=label)
        right.plot(history["val_accuracy"], color=color, linewidth=1.3, label=label)
    left.axhline(1 - WRONG, color=GREY, linestyle=":")
    left.set(xlabel="epoch", ylabel="accuracy", title="Against the training labels, 20 % wrong", ylim=(0.6, 1))
    left.annotate("above this line: learnt by heart", (2, 0.84), color=GREY)
    right.set(xlabel="epoch", title="On the test images")
    right.legend(loc="lower left")


if __name__ == "__main__":
    run(main, draw)
