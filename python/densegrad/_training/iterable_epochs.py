"""Epochs over an iterable of batches."""

from __future__ import annotations

import operator
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.lazy_rows import whole
from densegrad._base.plan import LossSpec
from densegrad._model_core import ModelCore
from densegrad._rows.rows import Rows, WholeRows, checked_rows
from densegrad._training.interrupt import interrupt_deferred
from densegrad._training.network import TrainingNetwork
from densegrad._training.progress import Progress
from densegrad._training.run import TrainingRun
from densegrad.errors import DivergenceError
from densegrad.layers import Standardize


class IterableEpochs:
    """Epochs over the batches of an iterable, each checked as it comes.

    Args:
        caller: For errors.
        model: The model that is trained.
        network: Makes the steps.
        loss: What they minimise.
        given: The iterable.
        class_weight: As for ``fit``.
        steps_per_epoch: Batches of an epoch; by default all of a pass.
    """

    rows: int | None = None
    batch_size: int | None = None

    def __init__(
        self,
        caller: str,
        model: ModelCore,
        network: TrainingNetwork,
        loss: LossSpec,
        given: Any,
        class_weight: Any,
        steps_per_epoch: Any,
    ) -> None:
        no_batches = isinstance(given, str | Mapping) or hasattr(given, "__array__") or hasattr(given, "columns")
        if no_batches or not isinstance(given, Iterable):
            got = type(given).__name__
            raise TypeError(f"{caller}: expected y beside x, or x as an iterable of batches (x, y), got a {got} alone")
        if isinstance(class_weight, str):
            raise ValueError(f"{caller}: class_weight={class_weight!r} expects all rows; give batches a dict")
        layer = model.layers[0]
        if isinstance(layer, Standardize) and (model.input_size is None or not layer.fitted):
            raise ValueError(f"{caller}: expected a Standardize that knows its rows, got none; call its adapt(x) first")
        self._caller, self._model, self._network = caller, model, network
        self._loss, self._given = loss, given
        self._class_weight = class_weight
        self._size = None if steps_per_epoch is None else check.count(caller, "steps_per_epoch", steps_per_epoch)
        self.steps: int | None = self._size or operator.length_hint(given) or None
        opened = iter(given)
        try:
            batch = next(opened)
        except StopIteration:
            raise ValueError(f"{caller}: expected at least 1 batch, got an iterable of none") from None
        self.first = self._checked(1, batch)
        self._opened: Iterator[Any] | None = chain([batch], opened)
        self._endless = chain.from_iterable(self._pass() for _ in iter(int, 1))
        self._taken = 0  # epochs of the endless one

    def begin(self, run: TrainingRun) -> None:
        """Nothing has been made of the epoch."""
        run.losses = []

    def make(self, run: TrainingRun, progress: Progress) -> dict[str, float] | None:
        """As for ``ArrayEpochs``."""
        seconds, weights, losses, optimizer = 0.0, [], run.losses, run.optimizer
        assert isinstance(losses, list)
        for x, y, sample_weight in self._epoch(run):
            weights.append(float(len(x)) if sample_weight is None else float(sample_weight.sum(dtype=np.float64)))
            if len(weights) <= run.step:  # trained on before the run was resumed
                continue
            start = time.perf_counter()
            with interrupt_deferred():
                rate, network = optimizer.lr, self._network.ready()
                loss = network.step(x, y, rate, optimizer.steps, sample_weight)
                if np.isfinite(loss):
                    optimizer.steps += 1
            if not np.isfinite(loss):
                raise DivergenceError(loss, optimizer.steps, rate, run.epoch)
            seconds += time.perf_counter() - start
            losses.append(loss)
            run.step += 1
            progress.steps(1, loss, len(x))
            run.notify("on_steps_end")
            if not run.going:
                return None
        return {"loss": float(np.average(losses, weights=weights)), "seconds": seconds}

    def _epoch(self, run: TrainingRun) -> Iterator[WholeRows]:
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
                f"{self._caller}: expected batches for another epoch, got none: the iterator is used up; give a list "
                f"or an object whose __iter__ begins anew, or fewer epochs"
            )

    def _checked(self, number: int, batch: Any) -> Rows:
        caller = f"{self._caller}(batch {number})"
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            got = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
            raise TypeError(f"{caller}: expected (x, y) or (x, y, sample_weight), got {got}")
        x, y, sample_weight = (*batch, None)[:3]
        return checked_rows(caller, self._model, self._loss, x, y, sample_weight, self._class_weight)


def refuse_with_batches(caller: str, given: Mapping[str, Any]) -> None:
    """Refuse what an iterable of batches brings itself, or cannot have."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{caller}: {name} expects x and y as arrays, got x as an iterable of batches, without y")
