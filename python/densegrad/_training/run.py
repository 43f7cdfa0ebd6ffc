"""One call of ``fit``, as its callbacks see it and as a checkpoint keeps it."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from densegrad._base.types import FloatArray, IndexArray
from densegrad._files import checkpoint
from densegrad._model_core import ModelCore
from densegrad._training.history import History
from densegrad._training.state import load_training_state, training_state
from densegrad.callbacks import Callback
from densegrad.losses import OneLoss, Sum
from densegrad.optimizers import Optimizer


@dataclass
class TrainingRun:
    """Where a run stands.

    Attributes:
        model: The model that is trained.
        optimizer: Its optimiser.
        loss: The loss as a user writes it, which the model keeps.
        epochs: How many there shall be.
        batch_size: Rows a step; None where an iterable makes the batches.
        rows: Rows trained on; None with an iterable.
        steps: Steps of an epoch; None with an iterable that does not tell how many batches it has.
        shuffle: Whether each epoch has an order of its own.
        callbacks: Notified of its events.
        directions: Whether higher is better, by the names of the history, where the measure tells.
        epoch: Epochs that are complete.
        step: Steps of the current epoch that are made.
        losses: Of the current epoch's steps, those made.
        order: Of the current epoch's rows.
        history: Of the complete epochs.
        values: What the last complete epoch measured.
        before_epoch: State of the model's generator before it drew the order.
        interrupted: Whether Ctrl-C has ended it.
        writer: Writes its checkpoints.
    """

    model: ModelCore
    optimizer: Optimizer
    loss: OneLoss | Sum
    epochs: int
    batch_size: int | None
    rows: int | None
    steps: int | None
    shuffle: bool
    callbacks: Sequence[Callback]
    directions: Mapping[str, bool] = field(default_factory=dict)
    epoch: int = 0
    step: int = 0
    losses: FloatArray | list[float] = field(default_factory=list)
    order: IndexArray = field(default_factory=lambda: np.empty(0, np.intp))
    history: History = field(default_factory=History)
    values: dict[str, float] = field(default_factory=dict)
    before_epoch: Any = None
    interrupted: bool = False
    writer: checkpoint.Writer = field(default_factory=checkpoint.Writer)
    _to_save: list[str] = field(default_factory=list)

    @property
    def going(self) -> bool:
        """Tell whether there is something left to do."""
        return self.epoch < self.epochs and self.history.stopped is None

    def interrupt(self, key: str) -> None:
        """End the run for now: one that is resumed goes on."""
        self.interrupted = True
        self.stop(key)

    def stop(self, why: str) -> None:
        """End the run at the next chance; ``history.stopped`` keeps the reason."""
        self.history.stopped = self.history.stopped or why

    def save(self, path: str | os.PathLike[str]) -> None:
        """Ask for a checkpoint of the moment at which every callback has been notified as this one is now.

        It is written beside the training; whoever hears of ``on_fit_end`` finds it whole.
        """
        self._to_save.append(os.fsdecode(path))

    def notify(self, event: str) -> None:
        """Notify every callback, then write the checkpoints they asked for."""
        for callback in self.callbacks:
            getattr(callback, event)(self)
        while self._to_save:
            self.writer.save(self._to_save.pop(0), self.model, self.state_dict())

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

    # ---- what a checkpoint keeps

    def state_dict(self) -> dict[str, Any]:
        """All that the run needs to go on, as copies."""
        return {
            "trainer": training_state(self.model, self.optimizer),
            "generator": self.before_epoch if self.step else self.model.generator.bit_generator.state,
            "epoch": self.epoch,
            "step": self.step,
            "losses": self.losses[: self.step].copy(),
            "data": self._data(),
            "history": dict(self.history),
            "values": self.values,
            "stopped": None if self.interrupted else self.history.stopped,
            "callbacks": [[_name(callback), copy.deepcopy(callback.state_dict())] for callback in self.callbacks],
        }

    def resume(self, caller: str, path: str | os.PathLike[str]) -> Any:
        """Bring the run, its model and its optimiser to where the run of a checkpoint stood; all of it or nothing.

        Gives the losses of an epoch that is not complete, or ``None``.
        """
        name = os.fsdecode(path)
        with checkpoint.reading(caller, name):
            state = checkpoint.read(name, self.model)
            self._check_same(name, state)
            load_training_state(self.model, self.optimizer, state["trainer"])
        self.model.loss = self.loss
        self.model.generator.bit_generator.state = state["generator"]
        self.epoch, self.step, self.values = state["epoch"], state["step"], state["values"]
        self.history.stopped = state["stopped"]
        for number in range(self.epoch):
            self.history.append({key: column[number] for key, column in state["history"].items()})
        for callback, (_, kept) in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(kept)
        return state["losses"] if self.step else None

    def _check_same(self, name: str, state: Mapping[str, Any]) -> None:
        if state["data"] != self._data():
            differ = [f"{key}={value!r}, now {self._data()[key]!r}" for key, value in state["data"].items()]
            raise ValueError(f"the run of {name!r} was another: {'; '.join(differ)}")
        callbacks, now = [each for each, _ in state["callbacks"]], [_name(callback) for callback in self.callbacks]
        if callbacks != now:
            raise ValueError(f"the run of {name!r} had the callbacks {callbacks}, this one has {now}")

    def _data(self) -> dict[str, Any]:
        """The data's share in what has to be the same for the same bits."""
        return {"rows": self.rows, "batch_size": self.batch_size, "shuffle": self.shuffle}


def _name(callback: Callback) -> str:
    return type(callback).__name__
