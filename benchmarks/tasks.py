"""What ``compare.py`` can time: the calls of a task, and the networks that they are made on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from densegrad._cli.bench import ROWS, Row


def prediction_flops(row: Row) -> int:
    """Multiplications and additions of a forward pass."""
    return sum(2 * row.batch_size * i * o for i, o in zip(row.widths[:-1], row.widths[1:], strict=True))


@dataclass(frozen=True)
class Task:
    """What a peer can do.

    Args:
        title: Its name.
        calls: Its kinds of call, as ``peers.py`` names them, each with the title of its table.
        unit: What the tables give the time of.
        about: How it is done, the same way by all.
        rows: The networks, by what ``--rows`` calls them.
        flops: Multiplications and additions of a unit.
    """

    title: str
    calls: dict[str, str]
    unit: str
    about: str
    rows: dict[str, tuple[Row, ...]]
    flops: Callable[[Row], int]


# sizes between those of the tables, where two threads begin to gain; timed where they are asked for
SQUARES = {
    "squares": tuple(
        Row(f"{width}x3", (width,) * 4, batch)
        for width in (16, 32, 48, 64, 96, 128, 192, 256)
        for batch in (1, 16, 64, 256)
    )
}

TASKS = {
    "training": Task(
        "Training",
        {"steps": "One training step", "epochs": "One step of an epoch, rows shuffled"},
        unit="step",
        about="ReLU hidden layers, linear last layer, cross-entropy on labels (one output: squared error), float32",
        rows={row.name: (row,) for row in ROWS},
        flops=lambda row: row.flops,
    ),
    "inference": Task(
        "Inference",
        {"predictions": "One prediction"},
        unit="call",
        about="ReLU hidden layers, linear last layer, float32; the same weights for all, every answer checked",
        rows={
            row.name: tuple(replace(row, batch_size=batch) for batch in (1, 1024))
            for row in ROWS
            if row.name in ("8-64-64-4", "784-128-10", "784-512-512-10")
        },
        flops=prediction_flops,
    ),
}
