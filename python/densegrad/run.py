"""One call of ``fit``, as its callbacks see it and as a checkpoint keeps it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad._numpy.types import FloatArray, IndexArray
from densegrad.history import History

if TYPE_CHECKING:
    from densegrad.callbacks import Callback
    from densegrad.model import BaseModel
    from densegrad.optimizers import Optimizer
    from densegrad.training import Trainer


@dataclass
class Run:
    """Where a run stands.

    Attributes:
        trainer: Whose run it is; ``model`` and ``optimizer`` are its.
        epochs: How many there shall be.
        batch_size: Rows a step; None where an iterable makes the batches.
        rows: Rows trained on; None with an iterable.
        steps: Steps of an epoch; None with an iterable that does not tell how many batches it has.
        shuffle: Whether each epoch has an order of its own.
        callbacks: Who is told.
        write: Writes a checkpoint of this run to a path.
        epoch: Epochs that are complete.
        step: Steps of the current epoch that are made.
        losses: Of the current epoch's steps, those made.
        order: Of the current epoch's rows.
        history: Of the complete epochs.
        values: What the last complete epoch measured.
        before_epoch: State of the model's generator before it drew the order.
        interrupted: Whether Ctrl-C has ended it.
    """

    trainer: Trainer
    epochs: int
    batch_size: int | None
    rows: int | None
    steps: int | None
    shuffle: bool
    callbacks: Sequence[Callback]
    write: Callable[[Run, str], None]
    epoch: int = 0
    step: int = 0
    losses: FloatArray | list[float] = field(default_factory=list)
    order: IndexArray = field(default_factory=lambda: np.empty(0, np.intp))
    history: History = field(default_factory=History)
    values: dict[str, float] = field(default_factory=dict)
    before_epoch: Any = None
    interrupted: bool = False
    _to_save: list[str] = field(default_factory=list)

    @property
    def model(self) -> BaseModel:
        """The model that is trained."""
        return self.trainer.model

    @property
    def optimizer(self) -> Optimizer:
        """Its optimiser."""
        return self.trainer.optimizer

    @property
    def going(self) -> bool:
        """Whether there is something left to do."""
        return self.epoch < self.epochs and self.history.stopped is None

    def interrupt(self, key: str) -> None:
        """End the run for now: one that is resumed goes on."""
        self.interrupted = True
        self.stop(key)

    def stop(self, why: str) -> None:
        """End the run at the next chance; ``history.stopped`` keeps the reason."""
        self.history.stopped = self.history.stopped or why

    def save(self, path: str | os.PathLike[str]) -> None:
        """Ask for a checkpoint of the moment at which every callback has been told what this one is told now.

        It is written beside the training; whoever is told of ``on_fit_end`` finds it whole.
        """
        self._to_save.append(os.fsdecode(path))

    def tell(self, event: str) -> None:
        """Tell every callback, then write the checkpoints they asked for."""
        for callback in self.callbacks:
            getattr(callback, event)(self)
        while self._to_save:
            self.write(self, self._to_save.pop(0))

    def begin_epoch(self) -> None:
        """Draw the order of the epoch's rows."""
        self.before_epoch = self.model.generator.bit_generator.state
        if self.rows is None or self.steps is None:
            self.losses = []
            return
        self.order = np.arange(self.rows)
        if self.shuffle:
            self.model.generator.shuffle(self.order)
        self.losses = np.empty(self.steps)

    def steps_ahead(self) -> int:
        """Steps that may be made at once: to the end of the epoch, or as far as callbacks allow."""
        assert self.steps is not None  # an iterable's batches come one by one
        limits = [callback.steps_ahead(self) for callback in self.callbacks]
        return min([self.steps - self.step, *(limit for limit in limits if limit is not None)])

    def end_epoch(self, values: dict[str, float]) -> None:
        """The epoch is complete, with these values."""
        self.values = values
        self.history.append(values)
        self.epoch, self.step = self.epoch + 1, 0
