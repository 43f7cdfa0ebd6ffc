"""What ``fit`` adds to the steps it makes: ``python benchmarks/fit.py``.

- The share of its time that the core's steps take, on 784-128-10 in batches of 64: an epoch of 60,000 rows.
- What a checkpoint every second costs on a network of 1024 units a layer trained by Adam (35 MB a checkpoint): the time
  of a run with them over one without, in turn, medians; on one thread, and on every processor that there is.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

import densegrad as dg

SECOND = 1 / 60  # in minutes


def data(rows: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """x (rows, 784) and labels of ten classes."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, 784), dtype=np.float32), rng.integers(0, 10, rows)


def share_in_the_core(epochs: int = 5) -> float:
    """Of the time that ``fit`` takes, the share of its calls into the core."""
    x, y = data(60_000)
    model = dg.Sequential([dg.Dense(128, activation="relu"), dg.Dense(10)], input_size=784, seed=0)
    start = time.perf_counter()
    history = model.fit(x, y, loss="cross_entropy", optimizer=dg.Adam(), epochs=epochs, batch_size=64, progress=False)
    return sum(history["seconds"]) / (time.perf_counter() - start)


def seconds(epochs: int, callbacks: Sequence[dg.Callback]) -> float:
    """Of one run on the wide network."""
    x, y = data(8_000)
    layers = [dg.Dense(1024, activation="relu") for _ in range(3)]
    model = dg.Sequential([*layers, dg.Dense(10)], input_size=784, seed=0)
    start = time.perf_counter()
    words: dict[str, Any] = {"loss": "cross_entropy", "optimizer": dg.Adam(), "epochs": epochs, "batch_size": 128}
    model.fit(x, y, **words, callbacks=callbacks, progress=False)
    return time.perf_counter() - start


def main() -> None:
    """Measure both, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind (default: %(default)s)")
    rounds = parser.parse_args().rounds
    dg.set_num_threads(1)
    print(f"densegrad {dg.__version__} ({dg.backend()}, {dg.isa()})")
    shares = [share_in_the_core() for _ in range(rounds)]
    print(f"784-128-10, batches of 64, 1 thread: {median(shares):.1%} of fit's time in the core")
    for threads in sorted({1, os.cpu_count() or 1}):
        dg.set_num_threads(threads)
        ratios = []
        for _ in range(rounds):
            without = seconds(4 * threads, [])
            with tempfile.TemporaryDirectory() as folder:
                callback = dg.ModelCheckpoint(os.path.join(folder, "run.safetensors"), every_minutes=SECOND)
                ratios.append(seconds(4 * threads, [callback]) / without)
        spread = f"{min(ratios) - 1:+.1%} to {max(ratios) - 1:+.1%}"
        print(f"784-1024-1024-1024-10, {threads} threads: a checkpoint a second {median(ratios) - 1:+.1%} ({spread})")


if __name__ == "__main__":
    main()
