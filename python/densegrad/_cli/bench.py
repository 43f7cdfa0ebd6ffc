"""``densegrad bench``: how long a training step takes here, for networks from tiny to large.

``benchmarks/compare.py`` times the same rows side by side with other libraries.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, mode
from typing import Any

import numpy as np

from densegrad._cli import info
from densegrad._plan.threads import get_num_threads, set_num_threads
from densegrad._training.trainer import Trainer
from densegrad.layers import Dense
from densegrad.models.sequential import Sequential
from densegrad.optimizers import SGD

LEARNING_RATE = 1e-3
_BLOCKS = 5
_WARM_BLOCKS = 3  # in which threads are chosen
_BLOCK_SECONDS = 0.05
_QUICK_BATCHES = 2


@dataclass(frozen=True)
class Row:
    """A network and its training: ReLU hidden layers, a linear last one, float32, plain SGD.

    Args:
        name: What ``--rows`` calls it.
        widths: Features of a row, then the units of each layer.
        batch_size: Rows a step.
        batches: Steps an epoch of ``fit`` makes when it is timed.
    """

    name: str
    widths: tuple[int, ...]
    batch_size: int
    batches: int = 60

    @property
    def title(self) -> str:
        """Name and batch, as tables show it."""
        return f"{self.name}, {self.batch_size}"

    @property
    def loss(self) -> str:
        """Cross-entropy on integer labels where there is more than one output, else the mean squared error."""
        return "cross_entropy" if self.widths[-1] > 1 else "mse"

    @property
    def flops(self) -> int:
        """Multiplications and additions of a step: forward, dw, and dx of all layers but the first."""
        pairs = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        return sum(2 * self.batch_size * i * o * (3 if layer else 2) for layer, (i, o) in enumerate(pairs))

    def data(self, batches: int = 1) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """x (rows, features) and y: (rows,) labels or (rows, 1) values, for so many batches."""
        generator = np.random.default_rng(0)
        rows = batches * self.batch_size
        x = generator.standard_normal((rows, self.widths[0]), dtype=np.float32)
        if self.loss == "cross_entropy":
            return x, generator.integers(0, self.widths[-1], rows)
        return x, generator.standard_normal((rows, 1), dtype=np.float32)

    def trainer(self) -> Trainer:
        """A fresh model of this network, ready to step."""
        layers = [Dense(units, activation="relu") for units in self.widths[1:-1]] + [Dense(self.widths[-1])]
        model = Sequential(layers, input_size=self.widths[0], seed=0)
        return Trainer(model, self.loss, SGD(LEARNING_RATE))


ROWS = (
    Row("4-16-1", (4, 16, 1), 1, batches=2000),
    Row("8-64-64-4", (8, 64, 64, 4), 32),
    Row("50-100-1", (50, 100, 1), 200),
    Row("784-128-10", (784, 128, 10), 64, batches=938),  # an epoch of MNIST, far larger than any cache
    Row("8-256-256-4", (8, 256, 256, 4), 256),
    Row("784-512-512-10", (784, 512, 512, 10), 128),
    Row("1024x4", (1024, 1024, 1024, 1024, 1024), 1024, batches=8),
)


def run_bench(quick: bool = False, threads: bool = False) -> None:
    """Time every row and print a table.

    Args:
        quick: One step of each row, and two in ``fit``.
        threads: One thread beside as many as the core chooses, instead of steps beside ``fit``.
    """
    facts = info.facts()
    print(
        f"densegrad {facts['version']}, {facts['backend']} backend, instruction set {facts['instruction set']}, "
        f"threads {facts['threads']}; float32, plain SGD; microseconds a step"
    )
    if threads:
        _print_threads(quick)
        return
    print(f"{'network, batch':<20} {'step':>10} {'in fit':>10} {'GFLOP/s':>10}")
    for row in ROWS:
        step, in_fit = _step_seconds(row, quick), _fit_seconds(row, quick)
        print(f"{row.title:<20} {_us(step)} {_us(in_fit)} {row.flops / step / 1e9:10.3g}", flush=True)


def _print_threads(quick: bool) -> None:
    limit = get_num_threads()
    print(f"{'network, batch':<20} {'1 thread':>10} {f'up to {limit}':>10} {'gain':>10} {'chosen':>10}")
    for row in ROWS:
        one, several, chosen = _seconds_by_threads(row, limit, quick)
        gain = median(a / b for a, b in zip(one, several, strict=True))
        print(f"{row.title:<20} {_us(median(one))} {_us(median(several))} {gain:10.2f} {mode(chosen):>10}", flush=True)


def _seconds_by_threads(row: Row, limit: int, quick: bool) -> tuple[list[float], list[float], list[int]]:
    """A step's seconds in blocks on one thread, in blocks on up to ``limit`` between them, and the number chosen."""
    sides = {1: row.trainer(), limit: row.trainer()}
    seconds: dict[int, list[float]] = {threads: [] for threads in sides}
    chosen: list[int] = []
    x, y = row.data()
    try:
        for block in range(1 if quick else _WARM_BLOCKS + _BLOCKS):
            for threads, trainer in sides.items():
                if limit > 1:
                    set_num_threads(threads)
                count, start = 0, time.perf_counter()
                while count == 0 or (not quick and time.perf_counter() - start < 2 * _BLOCK_SECONDS):
                    trainer.step(x, y)
                    count += 1
                if quick or block >= _WARM_BLOCKS:
                    seconds[threads].append((time.perf_counter() - start) / count)
                    if threads == limit:
                        chosen.append(trainer.threads)
    finally:
        if limit > 1:
            set_num_threads(limit)
    return seconds[1], seconds[limit], chosen


def _us(seconds: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(seconds * 1e6)))
    return f"{seconds * 1e6:10.{min(digits, 3)}f}"


def _step_seconds(row: Row, quick: bool) -> float:
    """One step through ``Trainer.step``, always on the same batch."""
    trainer, (x, y) = row.trainer(), row.data()
    step = trainer.step

    def steps(count: int) -> None:
        for _ in range(count):
            step(x, y)

    return _seconds_a_call(steps, quick)


def _fit_seconds(row: Row, quick: bool) -> float:
    """One step of an epoch of ``fit`` on shuffled rows, everything that ``fit`` does included."""
    batches = min(row.batches, _QUICK_BATCHES) if quick else row.batches
    trainer, (x, y) = row.trainer(), row.data(batches)

    def epochs(count: int) -> None:
        trainer.fit(x, y, epochs=count, batch_size=row.batch_size, progress=False)

    return _seconds_a_call(epochs, quick) / batches


def _seconds_a_call(block: Callable[[int], None], quick: bool) -> float:
    """The median over blocks of calls, each long enough for the clock; of one call if it has to be quick."""
    if quick:
        return _timed(block, 1)
    count = 1
    block(count)  # memory is allocated and code loaded here
    while (seconds := _timed(block, count)) < _BLOCK_SECONDS:
        count = max(2 * count, int(1.1 * count * _BLOCK_SECONDS / seconds))
    return median(_timed(block, count) / count for _ in range(_BLOCKS))


def _timed(block: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    block(count)
    return time.perf_counter() - start
