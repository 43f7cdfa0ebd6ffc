"""The recipe of ``docs/mnist.md`` beside scikit-learn's and PyTorch's: ``python benchmarks/mnist.py FOLDER``.

FOLDER holds MNIST's four IDX files. Each library trains 784-256-10 for fifteen epochs of batches of 64, in a process of
its own on one thread, the libraries in turn for each seed: ours and PyTorch's with dropout and Adam at a rate that
falls along a cosine, scikit-learn's with Adam as it comes, since it has neither. Prints a table of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from statistics import median
from typing import Any

UNITS, EPOCHS, BATCH_SIZE, RATE, DROPOUT = 256, 15, 64, 2e-3, 0.2

Result = tuple[float, float]  # seconds of training, test accuracy
Data = dict[str, Any]


def densegrad(data: Data, seed: int) -> Result:
    """The recipe."""
    import densegrad as dg

    layers = [dg.Dense(UNITS, activation="relu"), dg.Dropout(DROPOUT), dg.Dense(10)]
    model = dg.Sequential(layers, seed=seed)
    steps = EPOCHS * -(-len(data["y_train"]) // BATCH_SIZE)
    optimizer = dg.Adam(dg.schedules.Cosine(RATE, steps=steps))
    start = time.perf_counter()
    words: Data = {"loss": "cross_entropy", "optimizer": optimizer, "epochs": EPOCHS, "batch_size": BATCH_SIZE}
    model.fit(data["x_train"], data["y_train"], **words, progress=False)
    seconds = time.perf_counter() - start
    return seconds, model.evaluate(data["x_test"], data["y_test"], metrics=["accuracy"])["accuracy"]


def scikit_learn(data: Data, seed: int) -> Result:
    """``MLPClassifier`` as it comes."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    model = MLPClassifier((UNITS,), batch_size=BATCH_SIZE, max_iter=EPOCHS, random_state=seed)
    start = time.perf_counter()
    model.fit(data["x_train"], data["y_train"])
    return time.perf_counter() - start, model.score(data["x_test"], data["y_test"])


def pytorch(data: Data, seed: int) -> Result:
    """The recipe, by a loop over shuffled rows of tensors."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(784, UNITS), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(UNITS, 10))
    x, y = torch.from_numpy(data["x_train"]), torch.from_numpy(data["y_train"])
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-len(y) // BATCH_SIZE))
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(y)).split(BATCH_SIZE):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
    seconds = time.perf_counter() - start
    model.eval()
    with torch.no_grad():
        said = model(torch.from_numpy(data["x_test"])).argmax(1).numpy()
    return seconds, float((said == data["y_test"]).mean())


LIBRARIES = {"densegrad": densegrad, "scikit-learn": scikit_learn, "torch": pytorch}


def timed(folder: str, library: str, seed: int) -> Result:
    """One run of a library, in a process of its own."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, folder, "--run", library, str(seed)]
    answer = subprocess.run(command, env={**os.environ, **limits}, stdout=subprocess.PIPE, text=True, check=True)
    seconds, accuracy = json.loads(answer.stdout)
    return seconds, accuracy


def main() -> None:
    """Run every library for every seed, or one that a parent asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", help="where MNIST's four IDX files are")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each library (default: %(default)s)")
    parser.add_argument("--run", nargs=2, metavar=("LIBRARY", "SEED"), help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.run:
        from densegrad.data import read_mnist

        library, seed = words.run
        print(json.dumps(LIBRARIES[library](read_mnist(words.folder), int(seed))))
        return
    results = [[timed(words.folder, library, seed) for library in LIBRARIES] for seed in range(words.seeds)]
    print("| library | seconds | times as long as densegrad | test accuracy, by seed |\n|---|---|---|---|")
    for name, runs in zip(LIBRARIES, zip(*results, strict=True), strict=True):
        ratio = median(run[0] / first[0][0] for run, first in zip(runs, results, strict=True))
        accuracies = ", ".join(f"{100 * accuracy:.2f} %" for _, accuracy in runs)
        print(f"| {name} {version(name)} | {median(run[0] for run in runs):.1f} | {ratio:.2f} | {accuracies} |")


if __name__ == "__main__":
    main()
