"""What denormal numbers cost a training step: ``python benchmarks/denormals.py``.

A run whose gradients vanish, or whose weights have decayed to nothing, is full of numbers below the smallest normal
one, which make some instructions of many processors a hundred times slower. Each line compares steps on such weights
and data with steps on ordinary ones, block by block.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

import densegrad as dg
from densegrad.activations import available

BLOCKS = 9
BLOCK_SECONDS = 0.02
NETWORKS = (((8, 64, 64, 4), 32), ((784, 128, 10), 64), ((256, 256, 256, 10), 128))
OPTIMIZERS = {"SGD": lambda: dg.SGD(1e-30), "Adam": lambda: dg.Adam(1e-30)}  # so slow that everything stays as it is
DENORMAL = np.float32(1e-41)


def step_of(widths: tuple[int, ...], batch: int, activation: str, optimizer: str, scale: float) -> Callable[[], float]:
    """A step on weights and data of that scale."""
    layers = [dg.Dense(units, activation) for units in widths[1:-1]] + [dg.Dense(widths[-1])]
    model = dg.Sequential(layers, input_size=widths[0], seed=0)
    model.parameters[...] *= scale
    generator = np.random.default_rng(0)
    x = generator.standard_normal((batch, widths[0]), dtype=np.float32) * np.float32(scale)
    y = generator.integers(0, widths[-1], batch)
    trainer = dg.Trainer(model, "cross_entropy", OPTIMIZERS[optimizer]())
    return lambda: trainer.step(x, y)


def seconds(step: Callable[[], float], count: int) -> float:
    """Seconds a step."""
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


def main() -> None:
    """Print a line for each network, activation and optimiser."""
    print("time of a step on denormal numbers over that on ordinary ones")
    for widths, batch in NETWORKS:
        for activation in available():
            for optimizer in OPTIMIZERS:
                ordinary = step_of(widths, batch, activation, optimizer, 1)
                denormal = step_of(widths, batch, activation, optimizer, DENORMAL)
                seconds(denormal, 5)
                count = max(5, int(BLOCK_SECONDS / seconds(ordinary, 5)))
                ratios = [seconds(denormal, count) / seconds(ordinary, count) for _ in range(BLOCKS)]
                name = "-".join(map(str, widths))
                print(f"{name:<16} batch {batch:<4} {activation:<9} {optimizer:<5} {median(ratios):.3f}", flush=True)


if __name__ == "__main__":
    main()
