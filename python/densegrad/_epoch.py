"""How the steps of an epoch are made: in slices over rows at hand, or one by one from an iterable of batches."""

from __future__ import annotations

import operator
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import _check, plan
from densegrad._feed import Feed, whole
from densegrad._interrupt import interrupt_deferred
from densegrad._numpy.types import FloatArray, IndexArray
from densegrad.errors import DivergenceError
from densegrad.evaluation import Rows, WholeRows, checked_rows
from densegrad.layers import Standardize
from densegrad.run import Run

if TYPE_CHECKING:
    from densegrad._progress import Silent
    from densegrad.optimizers import Optimizer
    from densegrad.training import Trainer

_SLICE_SECONDS = 0.1  # one call into the core: short enough for Ctrl-C and a moving progress bar


class Pace:
    """Makes steps in calls of about a tenth of a second."""

    def __init__(self) -> None:
        self._limit = 1  # steps of the next call

    def make(
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
        in_time = int(_SLICE_SECONDS * ran / max(seconds, 1e-9))
        self._limit = max(1, min(in_time, 8 * self._limit))  # a fast step is no proof for a thousand
        return losses[:ran], seconds


class Slices:
    """Epochs over rows that are at hand, in slices of about a tenth of a second.

    Args:
        trainer: Whose network makes the steps.
        rows: x, y, sample_weight.
        batch_size: Rows a step.
    """

    def __init__(self, trainer: Trainer, rows: Rows, batch_size: int) -> None:
        self._trainer = trainer
        self.measured = self._data = rows
        self.rows = len(rows[0])
        self.batch_size = batch_size
        self.steps = -(-self.rows // batch_size)
        self._pace = Pace()

    def make(self, run: Run, bar: Silent) -> dict[str, float] | None:
        """The steps to the end of the epoch; gives loss and seconds, or None where the run was stopped before."""
        total, size, optimizer = 0.0, self.batch_size, self._trainer.optimizer
        with Feed(*self._data, run.order, size) as feed:
            while run.step < self.steps and run.going:
                (x, y, order, sample_weight), first, available = feed.at(run.step)
                network, most = self._trainer.ready(), min(available, run.steps_ahead())
                losses, seconds = self._pace.make(network, optimizer, (x, y, sample_weight), order, first, most, size)
                total += seconds
                done, last = run.step + len(losses), float(losses[-1])
                run.losses[run.step : done] = losses
                if not np.isfinite(last):
                    raise DivergenceError(last, optimizer.steps, optimizer.lr, run.epoch)
                bar.steps(len(losses), last, min(done * size, self.rows) - run.step * size)
                run.step = done
                run.tell("on_steps_end")
        return {"loss": self._mean_loss(run), "seconds": total} if run.step == self.steps else None

    def _mean_loss(self, run: Run) -> float:
        """Over the epoch's rows, as they were trained on."""
        sample_weight = self._data[2]
        weight = np.ones(len(run.order)) if sample_weight is None else sample_weight[run.order].astype(np.float64)
        shares = np.add.reduceat(weight, np.arange(0, len(weight), self.batch_size))
        return float(np.average(run.losses, weights=shares))


class Batches:
    """Epochs over the batches of an iterable, each checked as it comes.

    Args:
        who: For errors.
        trainer: Whose network makes the steps.
        loss: What it trains with.
        given: The iterable.
        class_weight: As for ``fit``.
        steps_per_epoch: Batches of an epoch; by default all of a pass.
    """

    measured: Rows | None = None  # rows that metrics could be measured on
    rows: int | None = None
    batch_size: int | None = None

    def __init__(
        self, who: str, trainer: Trainer, loss: plan.Loss, given: Any, class_weight: Any, steps_per_epoch: Any
    ) -> None:
        no_batches = isinstance(given, str | Mapping) or hasattr(given, "__array__") or hasattr(given, "columns")
        if no_batches or not isinstance(given, Iterable):
            came = type(given).__name__
            raise TypeError(f"{who}: expected y beside x, or x as an iterable of batches (x, y), got a {came} alone")
        if isinstance(class_weight, str):
            raise ValueError(f"{who}: class_weight={class_weight!r} expects all rows; give batches a dict")
        layer = trainer.model.layers[0]
        if isinstance(layer, Standardize) and (trainer.model.input_size is None or not layer.fitted):
            raise ValueError(f"{who}: expected a Standardize that knows its rows, got none; call its adapt(x) first")
        self._who, self._trainer, self._loss, self._given = who, trainer, loss, given
        self._class_weight = class_weight
        self._size = None if steps_per_epoch is None else _check.count(who, "steps_per_epoch", steps_per_epoch)
        self.steps: int | None = self._size or operator.length_hint(given) or None
        opened = iter(given)
        try:
            batch = next(opened)
        except StopIteration:
            raise ValueError(f"{who}: expected at least 1 batch, got an iterable of none") from None
        self.first = self._checked(1, batch)
        self._opened: Iterator[Any] | None = chain([batch], opened)
        self._endless = chain.from_iterable(self._pass() for _ in iter(int, 1))
        self._taken = 0  # epochs of the endless one

    def make(self, run: Run, bar: Silent) -> dict[str, float] | None:
        """As for ``Slices``."""
        seconds, weights, losses, optimizer = 0.0, [], run.losses, self._trainer.optimizer
        assert isinstance(losses, list)
        for x, y, sample_weight in self._epoch(run):
            weights.append(float(len(x)) if sample_weight is None else float(sample_weight.sum(dtype=np.float64)))
            if len(weights) <= run.step:  # trained on before the run was resumed
                continue
            start = time.perf_counter()
            with interrupt_deferred():
                rate, network = optimizer.lr, self._trainer.ready()
                loss = network.step(x, y, rate, optimizer.steps, sample_weight)
                if np.isfinite(loss):
                    optimizer.steps += 1
            if not np.isfinite(loss):
                raise DivergenceError(loss, optimizer.steps, rate, run.epoch)
            seconds += time.perf_counter() - start
            losses.append(loss)
            run.step += 1
            bar.steps(1, loss, len(x))
            run.tell("on_steps_end")
            if not run.going:
                return None
        return {"loss": float(np.average(losses, weights=weights)), "seconds": seconds}

    def _epoch(self, run: Run) -> Iterator[WholeRows]:
        if self._size is None:
            return self._pass()
        for _ in islice(self._endless, (run.epoch - self._taken) * self._size):
            pass  # trained on before the run was resumed
        self._taken = run.epoch + 1
        return islice(self._endless, self._size)

    def _pass(self) -> Iterator[WholeRows]:
        """Once through the iterable."""
        opened = iter(self._given) if self._opened is None else self._opened
        self._opened, count = None, 0
        for count, batch in enumerate(opened, 1):
            x, y, sample_weight = self._checked(count, batch)
            yield whole(x), y, sample_weight
        if count == 0:
            raise ValueError(
                f"{self._who}: expected batches for another epoch, got none: the iterator is used up; give a list or "
                f"an object whose __iter__ begins anew, or fewer epochs"
            )

    def _checked(self, number: int, batch: Any) -> Rows:
        who = f"{self._who}(batch {number})"
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            came = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
            raise TypeError(f"{who}: expected (x, y) or (x, y, sample_weight), got {came}")
        x, y, sample_weight = (*batch, None)[:3]
        return checked_rows(who, self._trainer.model, self._loss, x, y, sample_weight, self._class_weight)


def refuse_with_batches(who: str, given: Mapping[str, Any]) -> None:
    """Refuse what an iterable of batches brings itself, or cannot have."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{who}: {name} expects x and y as arrays, got x as an iterable of batches, without y")
