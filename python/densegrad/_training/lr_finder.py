"""The range test: which learning rate suits a model, its data and its optimiser."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.types import FloatArray, IndexArray
from densegrad._model_core import ModelCore
from densegrad._rows.rows import checked_rows
from densegrad._training.trainer import Trainer
from densegrad.errors import DivergenceError
from densegrad.losses import LossLike
from densegrad.optimizers import Optimizer
from densegrad.plot.curves import learning_rates

_WINDOW = 0.1  # share of the steps that a smoothed loss is the mean of
_MEMORY = 0.9  # of the running mean that tells when to stop
_RISE = 3.0  # how far the loss may rise above its best, in units of its size and of its fall


class LearningRates:
    """The losses of a range test, and what they suggest.

    Attributes:
        rates: The learning rates tried, rising.
        losses: The loss of each step, before its update.
        smoothed: The losses as means over their neighbours.
        suggestion: A quarter of the rate at which the smoothed loss is lowest: beyond that one training no longer gets
            better. ``None`` where the loss never falls by more than its noise.
    """

    def __init__(self, rates: FloatArray, losses: FloatArray) -> None:
        self.rates, self.losses = rates, losses
        self.smoothed = _smoothed(losses)
        self.suggestion = self._suggest()

    def plot(self, ax: Any = None) -> Any:
        """The losses by learning rate, and the suggestion; gives the Matplotlib axes."""
        return learning_rates(self, ax)

    def _suggest(self) -> float | None:
        lowest = int(self.smoothed.argmin())
        falling = self.smoothed[: lowest + 1]
        noise = float(np.std(self.losses[: lowest + 1] - falling))
        return float(self.rates[lowest] / 4) if falling.max() - falling[-1] > noise / 2 else None

    def __repr__(self) -> str:
        said = "no suggestion" if self.suggestion is None else f"suggestion {self.suggestion:.2g}"
        return f"<LearningRates {self.rates[0]:.2g} to {self.rates[-1]:.2g} in {len(self.rates)} steps; {said}>"


def find_learning_rate(
    model: ModelCore,
    x: Any,
    y: Any,
    loss: LossLike,
    optimizer: Optimizer,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    sample_weight: Any = None,
) -> LearningRates:
    """Train a copy while the learning rate rises from step to step: lr_i = low (high / low)^(i / (steps - 1)).

    The test ends early where the loss rises far above its best or is no longer finite. Model and optimiser are left as
    they are. Give the batch size that you will train with: the rate depends on it.

    Args:
        model: The model, trained or not.
        x, y, sample_weight: Rows to draw batches from, as for ``fit``.
        loss: Name or object.
        optimizer: Its class and arguments count, lr does not: ``dg.Adam()``.
        low, high: The first and the last learning rate, above 0.
        steps: How many there are, at least 10.
        batch_size: Rows a step.

    Returns:
        Rates and losses, with a ``suggestion`` and a ``plot()``.

    Source: Smith, Cyclical learning rates for training neural networks (2017).

    >>> import numpy as np, densegrad as dg
    >>> x = np.random.default_rng(0).normal(size=(500, 3))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> model = dg.Sequential([dg.Dense(16, "tanh"), dg.Dense(2)], input_size=3, seed=0)
    >>> found = dg.find_learning_rate(model, x, y, "cross_entropy", dg.SGD(0.1))
    >>> 0.01 < found.suggestion < 3
    True
    """
    caller = "find_learning_rate"
    low = check.real(caller, "low", low, 0.0, open_low=True)
    high = check.real(caller, "high", high, low, open_low=True)
    steps = check.count(caller, "steps", steps, low=10)
    batch_size = check.count(caller, "batch_size", batch_size)
    model, optimizer = model.copy(), copy.deepcopy(optimizer)
    trainer = Trainer(model, loss, optimizer)
    x, y, sample_weight = checked_rows(caller, model, model.resolve_loss(caller, loss), x, y, sample_weight)
    model.adapt(x)
    rates, losses = np.geomspace(low, high, steps), list[float]()
    mean, best = 0.0, np.inf
    for rate, rows in zip(rates.tolist(), _batches(len(x), batch_size, model.generator), strict=False):
        optimizer.lr = rate
        try:
            losses.append(trainer.step(x[rows], y[rows], None if sample_weight is None else sample_weight[rows]))
        except DivergenceError:
            break
        mean = _MEMORY * mean + (1 - _MEMORY) * losses[-1]
        running = mean / (1 - _MEMORY ** len(losses))
        best = min(best, running)
        if running - best > _RISE * max(abs(best), losses[0] - best):
            break
    if not losses:
        raise ValueError(f"{caller}: expected a finite loss before the first update, got one that is not")
    return LearningRates(rates[: len(losses)], np.array(losses))


def _batches(rows: int, size: int, generator: np.random.Generator) -> Iterator[IndexArray]:
    """Whole batches of shuffled rows, again and again."""
    size = min(size, rows)
    while True:
        order = generator.permutation(rows)
        for first in range(0, rows - size + 1, size):
            yield order[first : first + size]


def _smoothed(losses: FloatArray) -> FloatArray:
    """Means over the neighbours, weighted by their nearness."""
    reach = max(1, int(_WINDOW * len(losses) / 2))
    weights = 1 - np.abs(np.arange(-reach, reach + 1)) / (reach + 1)
    mean: FloatArray = np.convolve(np.pad(losses, reach, mode="edge"), weights / weights.sum(), mode="valid")
    return mean
