"""Epochs over rows that are at hand."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from densegrad._base.types import FloatArray, IndexArray
from densegrad._rows.rows import Rows, WholeRows
from densegrad._training.batch_gatherer import BatchGatherer
from densegrad._training.interrupt import interrupt_deferred
from densegrad._training.network import TrainingNetwork
from densegrad._training.progress import Progress
from densegrad._training.run import TrainingRun
from densegrad.errors import DivergenceError
from densegrad.optimizers import Optimizer

_CALL_SECONDS = 0.1  # one call into the core: short enough for Ctrl-C and a moving progress bar


class StepChunker:
    """Makes steps in calls of about a tenth of a second."""

    def __init__(self) -> None:
        self._limit = 1  # steps of the next call

    def run(
        self, network: Any, optimizer: Optimizer, rows: WholeRows, order: IndexArray, first: int, most: int, size: int
    ) -> tuple[FloatArray, float]:
        """Up to ``most`` steps from step ``first`` of an order on, of ``size`` rows: their losses, and the seconds.

        The last loss may not be finite; its step is then neither made nor counted.
        """
        x, y, sample_weight = rows
        count = min(self._limit, most)
        losses, rates = np.empty(count), optimizer.rates(count)
        start = time.perf_counter()
        with interrupt_deferred():  # the updates made and their count belong together
            ran = network.run_steps(x, y, order, first, count, size, rates, losses, optimizer.steps, sample_weight)
            optimizer.steps += ran if np.isfinite(losses[ran - 1]) else ran - 1
        seconds = time.perf_counter() - start
        in_time = int(_CALL_SECONDS * ran / max(seconds, 1e-9))
        self._limit = max(1, min(in_time, 8 * self._limit))  # a fast step is no proof for a thousand
        return losses[:ran], seconds


class ArrayEpochs:
    """Mini-batches cut from arrays, in an order of each epoch's own.

    Args:
        network: Makes the steps.
        data: x, y, sample_weight.
        batch_size: Rows a step; the last one of an epoch may have fewer.
    """

    batch_size: int | None
    rows: int | None
    steps: int | None

    def __init__(self, network: TrainingNetwork, data: Rows, batch_size: int) -> None:
        self.data = data
        self.count, self.size = len(data[1]), batch_size
        self.rows, self.batch_size, self.steps = self.count, batch_size, -(-self.count // batch_size)
        self.network = network
        self._chunker = StepChunker()

    def begin(self, run: TrainingRun) -> None:
        """Draw the order of the epoch's rows."""
        run.order = np.arange(self.count)
        if run.shuffle:
            run.model.generator.shuffle(run.order)
        run.losses = np.empty(-(-self.count // self.size))

    def make(self, run: TrainingRun, progress: Progress) -> dict[str, float] | None:
        """The steps to the end of the epoch; gives loss and seconds, or None where the run was stopped before."""
        total, size, optimizer, steps = 0.0, self.size, run.optimizer, len(run.losses)
        with BatchGatherer(*self.data, run.order, size) as gatherer:
            while run.step < steps and run.going:
                (x, y, order, sample_weight), first, available = gatherer.at(run.step)
                most, network = min(available, self.steps_ahead(run)), self.network.ready()
                rows = x, y, sample_weight
                losses, seconds = self._chunker.run(network, optimizer, rows, order, first, most, size)
                total += seconds
                done, last = run.step + len(losses), float(losses[-1])
                run.losses[run.step : done] = losses
                if not np.isfinite(last):
                    raise DivergenceError(last, optimizer.steps, optimizer.lr, run.epoch)
                progress.steps(len(losses), last, min(done * size, self.count) - run.step * size)
                run.step = done
                run.notify("on_steps_end")
        return {"loss": self.mean_loss(run), "seconds": total} if run.step == steps else None

    def steps_ahead(self, run: TrainingRun) -> int:
        """Steps that may be made in one call, from where the run stands."""
        return run.steps_ahead()

    def mean_loss(self, run: TrainingRun) -> float:
        """The loss of a complete epoch, over its rows as they were trained on."""
        sample_weight = self.data[2]
        weight = np.ones(len(run.order)) if sample_weight is None else sample_weight[run.order].astype(np.float64)
        shares = np.add.reduceat(weight, np.arange(0, len(weight), self.size))
        return float(np.average(run.losses, weights=shares))
