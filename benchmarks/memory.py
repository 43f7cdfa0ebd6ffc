"""Peak memory of training the largest row, ours and PyTorch's: ``python benchmarks/memory.py``.

Each trains in a process of its own, with plain SGD, always on the same batch. Counted is what the process takes
beyond what it held before: its libraries, all of whose code a step on the smallest row has called in, and the batch.
"""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from densegrad._cli.bench import LEARNING_RATE, ROWS, Row

STEPS = 3
ALLOWANCE = 1.25
MB = 1e6


def densegrad(row: Row, x: Any, y: Any) -> None:
    """Some steps of ours."""
    trainer = row.trainer()
    for _ in range(STEPS):
        trainer.step(x, y)


def torch(row: Row, x: Any, y: Any) -> None:
    """Some steps of PyTorch's."""
    import torch
    from torch import nn

    layers: list[Any] = []
    for fan_in, units in zip(row.widths[:-1], row.widths[1:], strict=True):
        layers += [nn.Linear(fan_in, units), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    loss = nn.functional.cross_entropy if row.loss == "cross_entropy" else nn.functional.mse_loss
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(net(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        optimizer.step()


PEERS: dict[str, Callable[[Row, Any, Any], None]] = {"densegrad": densegrad, "torch": torch}


def peak() -> int:
    """The most bytes that this process has held at once."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if platform.system() == "Darwin" else 1024 * size


def measure(peer: str) -> int:
    """Bytes that training the largest row adds to this process."""
    train = PEERS[peer]
    train(ROWS[0], *ROWS[0].data())
    x, y = ROWS[-1].data()
    before = peak()
    train(ROWS[-1], x, y)
    return peak() - before


def allowed(row: Row, *, stored_gradients: bool) -> float:
    """1.25 (parameters + one set of activations + stored gradients), in bytes.

    The activations are the input and every layer's output.
    """
    parameters = sum((i + 1) * o for i, o in zip(row.widths[:-1], row.widths[1:], strict=True))
    activations = row.batch_size * sum(row.widths)
    return ALLOWANCE * 4 * (parameters * (2 if stored_gradients else 1) + activations)


def main() -> None:
    """Print a line for each library that is installed."""
    row = ROWS[-1]
    print(f"training {row.title} in float32, plain SGD; peak memory beyond the libraries and the batch")
    for peer in PEERS:
        child = subprocess.run([sys.executable, __file__, peer], capture_output=True, text=True, check=False)
        if child.returncode == 0:
            print(f"{peer:<10} {int(child.stdout) / MB:6.1f} MB")
        else:
            print(f"{peer:<10} left out: {child.stderr.splitlines()[-1]}")
    print("1.25 (parameters + one set of activations + stored gradients):")
    print(f"{'':<10} {allowed(row, stored_gradients=False) / MB:6.1f} MB where no gradients are stored")
    print(f"{'':<10} {allowed(row, stored_gradients=True) / MB:6.1f} MB where they are")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(sys.argv[1]))
    else:
        main()
