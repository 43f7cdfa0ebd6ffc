"""Seeing a network train: a learning rate found, a run diagnosed, and six pictures of what came out.

Two half moons, 400 points, and a 2-8-8-2 network of tanh units:

1. dg.find_learning_rate trains a copy at rates that rise from step to step and suggests one.
2. fit(diagnose=True) at that rate has nothing to say; with features in other units and a rate far off it says so.
3. Each picture takes the axes to draw on, and gives them back.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

import densegrad as dg
from _figure import run

Array = NDArray[Any]


def moons(rows: int) -> tuple[Array, Array]:
    """Two half circles of points, the second one turned round, with noise."""
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 2
    angle = rng.uniform(0, np.pi, rows)
    x = np.where(y[:, None] == 0, np.c_[np.cos(angle), np.sin(angle)], np.c_[1 - np.cos(angle), 0.5 - np.sin(angle)])
    return x + rng.normal(scale=0.2, size=(rows, 2)), y


def network() -> dg.Sequential:
    hidden = [dg.Dense(8, activation="tanh") for _ in range(2)]
    return dg.Sequential([*hidden, dg.Dense(2)], input_size=2, seed=1)


def fit(x: Array, y: Array, optimizer: dg.Optimizer) -> tuple[dg.Sequential, dg.History, list[str]]:
    """The trained model, its history, and what the diagnosis says."""
    model = network()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        history = model.fit(
            x,
            y,
            loss="cross_entropy",
            optimizer=optimizer,
            epochs=60,
            validation_split=0.25,
            metrics=["accuracy"],
            diagnose=True,
        )
    return model, history, [str(warning.message) for warning in told]


def main() -> tuple[dg.LearningRates, dg.Sequential, dg.History, Array, Array]:
    x, y = moons(400)
    found = dg.find_learning_rate(network(), x, y, "cross_entropy", dg.Adam())
    print(found)
    assert found.suggestion is not None

    model, history, told = fit(x, y, dg.Adam(found.suggestion))
    print(f"lr = {found.suggestion:.2g}: {history}")
    print(f"  warnings: {told or 'none'}")
    assert told == []
    assert history["val_accuracy"][-1] > 0.9

    _, history_of_sick, told = fit(1000 * x, y, dg.Adam(1.0))
    print(f"features times 1000, lr = 1: loss {history_of_sick['loss'][-1]:.3g}")
    for message in told:
        print(f"  {message}")
    assert any("not standardised" in message for message in told)
    assert any("far too large" in message for message in told)
    return found, model, history, x, y


def draw(figure: Any, found: dg.LearningRates, model: dg.Sequential, history: dg.History, x: Array, y: Array) -> None:
    axes = figure.subplots(3, 2)
    found.plot(axes[0, 0]).set_title("dg.find_learning_rate(...).plot()")
    history.plot(axes[0, 1]).set_title("history.plot()")
    model.plot(axes[1, 0]).set_title("model.plot()")
    dg.plot.gradient_flow(network(), x, y, "cross_entropy", axes[1, 1]).set_title("dg.plot.gradient_flow")
    dg.plot.decision_boundary(model, x, y, axes[2, 0]).set_title("dg.plot.decision_boundary")
    matrix = dg.plot.confusion_matrix(y, model.predict(x), axes[2, 1])
    matrix.set_title(f"dg.plot.confusion_matrix: {matrix.get_title()}")


if __name__ == "__main__":
    run(main, draw, height=9.6)
