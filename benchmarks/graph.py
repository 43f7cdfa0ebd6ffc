"""A training step written in Tensors, against PyTorch eager and our own Sequential: ``python benchmarks/graph.py``.

The network is 8-64-64-4 with relu, 32 rows, cross-entropy and plain SGD, in float32 on one thread. Sides take turns,
block by block; what is printed are medians, of the times and of the ratios within a turn.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

import densegrad as dg
from densegrad import graph as g

WIDTHS, BATCH, LR = (8, 64, 64, 4), 32, 0.01
BLOCKS, STEPS = 31, 300


def network() -> dg.Sequential:
    """The network that all sides begin with."""
    layers = [dg.Dense(units, "relu") for units in WIDTHS[1:-1]] + [dg.Dense(WIDTHS[-1])]
    return dg.Sequential(layers, input_size=WIDTHS[0], seed=0)


def tensor_step(x: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """``value_and_grad`` of a function, then w - lr dw."""
    parameters = [g.Tensor(a) for layer in network().layers for a in (layer.w, layer.b)]

    def loss(p: list[g.Tensor], x: np.ndarray, labels: np.ndarray) -> g.Tensor:
        y = g.relu(g.dense(x, p[0], p[1]))
        y = g.relu(g.dense(y, p[2], p[3]))
        return g.cross_entropy(g.dense(y, p[4], p[5]), labels)

    differentiated = g.value_and_grad(loss)

    def step() -> float:
        value, gradients = differentiated(parameters, x, labels)
        parameters[:] = [w - LR * dw for w, dw in zip(parameters, gradients, strict=True)]
        return float(value)

    return step


def torch_step(x: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """The same in PyTorch eager."""
    torch.set_num_threads(1)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(labels)
    parameters = [
        torch.tensor(np.array(a), requires_grad=True) for layer in network().layers for a in (layer.w, layer.b)
    ]

    def step() -> float:
        y = inputs
        for n in range(0, 6, 2):
            y = torch.addmm(parameters[n + 1], y, parameters[n])
            y = torch.relu(y) if n < 4 else y
        loss = torch.nn.functional.cross_entropy(y, targets)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for w, dw in zip(parameters, gradients, strict=True):
                w.sub_(dw, alpha=LR)
        return loss.item()

    return step


def layer_step(x: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """The compiled step of a Trainer."""
    trainer = dg.Trainer(network(), "cross_entropy", dg.SGD(LR))
    return lambda: trainer.step(x, labels)


def microseconds(step: Callable[[], float]) -> float:
    """Of a step, over a block."""
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - start) / STEPS * 1e6


def main() -> None:
    """Print a line for each side."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((BATCH, WIDTHS[0]), dtype=np.float32)
    labels = generator.integers(0, WIDTHS[-1], BATCH)
    sides = {
        name: make(x, labels)
        for name, make in (("Tensors", tensor_step), ("PyTorch eager", torch_step), ("Sequential", layer_step))
    }
    after = [[step() for _ in range(STEPS)][-1] for step in sides.values()]
    np.testing.assert_allclose(after, after[0], rtol=1e-4)  # the same training, or the times say nothing
    turns = [{name: microseconds(step) for name, step in sides.items()} for _ in range(BLOCKS)]
    for name in sides:
        ratio = median(turn[name] / turn["Tensors"] for turn in turns)
        print(f"{name:<14} {median(turn[name] for turn in turns):7.1f} us a step, {ratio:5.2f} x Tensors")


if __name__ == "__main__":
    main()
