"""``densegrad.sklearn`` beside scikit-learn's own estimators: ``python benchmarks/estimators.py [speed] [accuracy]``.

Speed: one thread each, the same dtype, arguments and number of epochs; the two take turns, and what is printed are the
medians of the times and of the ratios within a turn. Without ``DENSEGRAD_DATA``, a folder with ``mnist/``, random
numbers of MNIST's size are fitted. Accuracy: means of five folds at default settings, over five seeds.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import densegrad.sklearn
from densegrad.data import read_mnist

SIDES = (densegrad.sklearn, neural_network)
WANTED = {"digits float32": 8, "digits float64": 4, "20,000 x 50": 6, "MNIST": 5, "predict": 20, "GridSearchCV": 8}
GRID = {
    "hidden_layer_sizes": [(20,), (50,), (100,)],
    "alpha": [1e-4, 1e-2],
    "learning_rate_init": [1e-3, 3e-3, 1e-2, 3e-2],
}


def fit(x: np.ndarray, y: np.ndarray, epochs: int) -> Callable[[Any], tuple[float, float]]:
    """A fit with default parameters for so many epochs: its seconds, and the score of the rows."""

    def run(side: Any) -> tuple[float, float]:
        model = side.MLPClassifier(max_iter=epochs, n_iter_no_change=np.inf, random_state=0)
        start = time.perf_counter()
        model.fit(x, y)
        return time.perf_counter() - start, model.score(x, y)

    return run


def predict_row(x: np.ndarray, y: np.ndarray) -> Callable[[Any], tuple[float, float]]:
    """A prediction of one row."""
    models = {side: side.MLPClassifier(max_iter=20, random_state=0).fit(x, y) for side in SIDES}
    row = x[:1]

    def run(side: Any) -> tuple[float, float]:
        model, count = models[side], 300
        start = time.perf_counter()
        for _ in range(count):
            model.predict(row)
        return (time.perf_counter() - start) / count, model.score(x, y)

    return run


def search(x: np.ndarray, y: np.ndarray) -> Callable[[Any], tuple[float, float]]:
    """A search of 24 candidates in three folds."""

    def run(side: Any) -> tuple[float, float]:
        found = GridSearchCV(side.MLPClassifier(max_iter=30, random_state=0), GRID, cv=3)
        start = time.perf_counter()
        found.fit(x, y)
        return time.perf_counter() - start, found.best_score_

    return run


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """The digits to train on, or random numbers of their size."""
    if folder := os.environ.get("DENSEGRAD_DATA"):
        data = read_mnist(Path(folder, "mnist"))
        return data["x_train"], data["y_train"]
    generator = np.random.default_rng(0)
    return generator.random((60_000, 784), np.float32), generator.integers(0, 10, 60_000)


def speed(rounds: int) -> None:
    """The table of times."""
    x, y = datasets.load_digits(return_X_y=True)
    x = x / 16
    table = datasets.make_classification(20_000, 50, n_informative=20, n_classes=4, random_state=0)
    cases = {
        "digits float32": fit(x.astype(np.float32), y, 60),
        "digits float64": fit(x, y, 60),
        "20,000 x 50 float32": fit(table[0].astype(np.float32), table[1], 5),
        "20,000 x 50 float64": fit(*table, 5),
        "MNIST float32": fit(*mnist(), 2),
        "predict one row float32": predict_row(x.astype(np.float32), y),
        "predict one row float64": predict_row(x, y),
        "GridSearchCV float32": search(x.astype(np.float32), y),
    }
    print("| | densegrad | scikit-learn | ratio | wanted | scores |\n|---|---|---|---|---|---|")
    for name, run in cases.items():
        times: list[list[float]] = []
        for turn in range(2 if "MNIST" in name or "Grid" in name else rounds):
            done = [run(side) for side in (SIDES if turn % 2 else SIDES[::-1])]
            done = done if turn % 2 else done[::-1]
            times.append([seconds for seconds, _ in done])
        ours, theirs = (median(column) for column in zip(*times, strict=True))
        ratio = median(b / a for a, b in times)
        wanted = next(at_least for words, at_least in WANTED.items() if name.startswith(words))
        scores = " / ".join(f"{score:.4f}" for _, score in done)
        print(f"| {name} | {ours:.3g} s | {theirs:.3g} s | {ratio:.1f} x | {wanted} x | {scores} |", flush=True)


def accuracy() -> None:
    """The table of scores."""
    print("| | densegrad | float32 | scikit-learn |\n|---|---|---|---|")
    for name in ("digits", "breast_cancer", "wine", "iris", "diabetes"):
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        kind, splitter = ("MLPRegressor", KFold) if name == "diabetes" else ("MLPClassifier", StratifiedKFold)
        columns: list[list[float]] = [[], [], []]
        for seed in range(5):
            folds = splitter(5, shuffle=True, random_state=seed)
            models = [getattr(side, kind)(random_state=seed) for side in SIDES]
            for column, model in zip(
                columns,
                [models[0], getattr(SIDES[0], kind)(random_state=seed, dtype="float32"), models[1]],
                strict=True,
            ):
                column.append(cross_val_score(make_pipeline(StandardScaler(), model), x, y, cv=folds).mean())
        print(f"| {name} | {' | '.join(f'{mean(column):.4f}' for column in columns)} |", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", default=["speed", "accuracy"], help="speed, accuracy or both")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    if "speed" in given.tables:
        speed(given.rounds)
    if "accuracy" in given.tables:
        accuracy()
