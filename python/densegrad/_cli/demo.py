"""``densegrad demo``: train on handwritten digits, show what came out, keep it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from densegrad import plot
from densegrad._cli import info
from densegrad.data import read_mnist
from densegrad.layers import Dense
from densegrad.models.sequential import Sequential
from densegrad.optimizers import SGD


def run_demo(data: str | None, epochs: int, output: str) -> float:
    """Train, print and save; gives the test accuracy."""
    digits, hidden, batch_size, lr = _embedded() if data is None else _mnist(data)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    x, y = digits["x_train"], digits["y_train"]
    model = Sequential([Dense(hidden, activation="relu"), Dense(10)], input_size=x.shape[1], seed=0)
    print(f"{len(x):,} training and {len(digits['x_test']):,} test images of {x.shape[1]} pixels")
    print(model.summary(), end="\n\n")
    history = model.fit(
        x,
        y,
        loss="cross_entropy",
        optimizer=SGD(lr),
        epochs=epochs,
        batch_size=batch_size,
        validation_data=(digits["x_test"], digits["y_test"]),
        metrics=["accuracy"],
        progress=True,
    )
    sys.stderr.flush()
    samples = len(x) * epochs / sum(history["seconds"])
    accuracy = history["val_accuracy"][-1]
    model_file, picture = folder / "densegrad-demo.safetensors", folder / "densegrad-demo.png"
    model.save(model_file)
    axes = plot.learning_curve(history, plot.new_figure().add_subplot())
    axes.set_title(f"test accuracy {accuracy:.2%}, {samples:,.0f} samples/s")
    axes.figure.savefig(picture, dpi=120)
    print(f"test accuracy       {accuracy:.2%}")
    print(f"samples per second  {samples:,.0f}")
    for name in ("backend", "instruction set", "threads"):
        print(f"{name:<19} {info.facts()[name]}")
    print(f"learning curve      {picture}")
    print(f"model               {model_file}")
    return accuracy


def _embedded() -> tuple[dict[str, np.ndarray[Any, Any]], int, int, float]:
    """scikit-learn's 1,797 digits of 8 x 8 pixels, every fifth held out for the test."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("the embedded digits need scikit-learn: pip install 'densegrad[demo]'") from None
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    test = np.arange(len(x)) % 5 == 0
    return {"x_train": x[~test], "y_train": y[~test], "x_test": x[test], "y_test": y[test]}, 64, 32, 0.5


def _mnist(folder: str) -> tuple[dict[str, np.ndarray[Any, Any]], int, int, float]:
    return read_mnist(folder), 256, 64, 0.3
