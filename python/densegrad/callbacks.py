"""Callbacks: what is done beside training, at the ends of steps and epochs.

``fit(callbacks=[...])`` notifies each in turn; all of them see the run as it is then.
"""

from __future__ import annotations

import csv
import io
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from densegrad._base import check
from densegrad._base.atomic_file import write_atomically
from densegrad._base.types import FloatArray
from densegrad._model_core import ModelCore
from densegrad.optimizers import Optimizer

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "Run",
    "TensorBoard",
]


class Run(Protocol):
    """One call of ``fit``, as its callbacks see it.

    Attributes:
        model: The model that is trained.
        optimizer: Its optimiser.
        epochs: How many there shall be.
        epoch: Epochs that are complete.
        step: Steps of the current epoch that are made.
        steps: Steps of an epoch; None with an iterable that does not tell how many batches it has.
        values: What the last complete epoch measured.
        directions: Whether higher is better, by the names of the history, where a metric tells.
    """

    model: ModelCore
    optimizer: Optimizer
    epochs: int
    epoch: int
    step: int
    steps: int | None
    values: dict[str, float]
    directions: Mapping[str, bool]

    @property
    def history(self) -> Mapping[str, list[float]]:
        """Of the complete epochs."""
        ...

    def stop(self, why: str) -> None:
        """End the run at the next chance."""
        ...

    def save(self, path: str | os.PathLike[str]) -> None:
        """Ask for a checkpoint of this moment."""
        ...


class Callback:
    """The base of all callbacks, for those of one's own: each method may be left as it is.

    ``run`` has ``model``, ``optimizer``, ``history``; ``epochs``, how many there shall be, ``epoch``, how
    many are complete, ``step`` and ``steps``, made and in all of the current epoch; ``values``, what the last complete
    epoch measured; ``stop(why)``, which ends the run at the next chance.

    >>> import densegrad as dg
    >>> class Print(dg.Callback):
    ...     def on_epoch_end(self, run):
    ...         print(f"epoch {run.epoch} of {run.epochs}, step {run.optimizer.steps}")
    >>> model = dg.Sequential([dg.Dense(1)], input_size=1, seed=0)
    >>> history = model.fit([[0.0], [1.0]], [1.0, 3.0], loss="mse", optimizer=dg.SGD(0.5), epochs=2,
    ...                     callbacks=[Print()])
    epoch 1 of 2, step 1
    epoch 2 of 2, step 2
    """

    def on_fit_begin(self, run: Run) -> None:
        """Everything is checked and ready; nothing has been trained."""

    def on_epoch_begin(self, run: Run) -> None:
        """An epoch begins, or goes on where a checkpoint was written."""

    def on_steps_end(self, run: Run) -> None:
        """Some steps have been made, those of about a tenth of a second."""

    def on_epoch_end(self, run: Run) -> None:
        """An epoch is complete and its values are in ``run.values`` and in the history."""

    def on_last_step(self, run: Run) -> None:
        """The last step has been made, by plan or after ``run.stop`` or Ctrl-C; parameters are as it left them."""

    def on_fit_end(self, run: Run) -> None:
        """The run is over; what changes parameters for the model's user does so now. Not called after an error."""

    def steps_ahead(self, run: Run) -> int | None:
        """How many steps may be made before ``on_steps_end`` is called again; ``None`` leaves it open."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint: numbers, texts, lists and dicts of them, and arrays by name."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""


class LambdaCallback(Callback):
    """Functions as a callback.

    Args:
        functions: Functions of the run, named as the methods of ``Callback``: ``on_epoch_end=...``.

    >>> import densegrad as dg
    >>> seen = []
    >>> callback = dg.LambdaCallback(on_epoch_end=lambda run: seen.append(run.epoch))
    >>> model = dg.Sequential([dg.Dense(1)], input_size=1, seed=0)
    >>> history = model.fit([[0.0], [1.0]], [1.0, 3.0], loss="mse", optimizer=dg.SGD(0.5), epochs=3,
    ...                     callbacks=[callback])
    >>> seen
    [1, 2, 3]
    """

    def __init__(self, **functions: Callable[[Run], Any]) -> None:
        for name, function in functions.items():
            check.choice("LambdaCallback", "event", name, EVENTS)
            if not callable(function):
                raise TypeError(f"LambdaCallback: expected {name} as a function of the run, got {function!r}")
            setattr(self, name, function)


EVENTS = ("on_fit_begin", "on_epoch_begin", "on_steps_end", "on_epoch_end", "on_last_step", "on_fit_end")


_LESS_IS_BETTER = ("loss", "mae", "mse", "rmse", "seconds")  # ends of names, where no metric tells


class Monitor:
    """A measure of the epochs and the best of it so far.

    Args:
        caller: Whose it is, for errors.
        name: A name of the history; ``None`` means ``val_loss``, or ``loss`` where there is no validation data.
        mode: ``"min"``, ``"max"``, or ``"auto"``: as the metric tells; where none does, less is better of what ends in
            loss, mae, mse, rmse or seconds.
        min_delta: By how much it has to be better to count.
    """

    def __init__(self, caller: str, name: str | None, mode: str, min_delta: float = 0.0) -> None:
        self.caller = caller
        self.name = name
        self.mode = check.choice(caller, "mode", mode, ("auto", "min", "max"))
        self.min_delta = check.real(caller, "min_delta", min_delta, 0.0)
        self.best: float | None = None

    def watched(self, run: Run) -> str:
        """The name of the measure."""
        return self.name or ("val_loss" if "val_loss" in run.values else "loss")

    def value(self, run: Run) -> float:
        """The measure of the last epoch."""
        name = self.watched(run)
        if name not in run.values:
            raise ValueError(
                f"{self.caller}: expected a monitor among {', '.join(run.values)}, got {name!r}; "
                "name it in fit's metrics, and give validation data for what begins with val_"
            )
        return float(run.values[name])

    def improves(self, run: Run) -> bool:
        """Tell whether the last epoch is the best so far, which is then kept in mind."""
        value = self.value(run)
        if math.isnan(value):
            return False
        sign = -1 if self._higher_is_better(run) else 1
        if self.best is not None and sign * (self.best - value) <= self.min_delta:
            return False
        self.best = value
        return True

    def _higher_is_better(self, run: Run) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name = self.watched(run)
        return run.directions.get(name, not name.endswith(_LESS_IS_BETTER))


class EarlyStopping(Callback):
    """Ends a run whose measure no longer improves, and gives back the best parameters.

    The textbook's rule: training goes on as long as the validation error falls.

    Args:
        monitor: A name of the history such as ``"val_accuracy"``; by default ``val_loss``, or ``loss``
            where there is no validation data.
        patience: Epochs without improvement that are borne, at least 0: one more ends the run.
        min_delta: By how much the measure has to be better to count, at least 0.
        mode: ``"min"``, ``"max"``, or ``"auto"``: as the metric tells, or by the name: less is better of losses
            and errors.
        restore_best: Whether the model ends with the parameters of its best epoch.
        start_from: Epochs at the beginning that do not count.

    Attributes:
        best: The best measure so far.
        best_epoch: Epochs that were complete then.

    Source: Prechelt, Early stopping - but when? (1998).

    >>> import densegrad as dg
    >>> x, y = [[0.0], [1.0]], [1.0, 3.0]
    >>> model = dg.Sequential([dg.Dense(1)], input_size=1, seed=0)
    >>> stopping = dg.EarlyStopping(patience=3, min_delta=1e-6)
    >>> history = model.fit(x, y, loss="mse", optimizer=dg.SGD(0.5), epochs=1000, callbacks=[stopping])
    >>> history.epochs < 100, history.stopped
    (True, 'EarlyStopping: loss has not improved for 4 epochs')
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 0,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
        start_from: int = 0,
    ) -> None:
        caller = "EarlyStopping"
        self.patience = check.count(caller, "patience", patience, low=0)
        self.restore_best = check.flag(caller, "restore_best", restore_best)
        self.start_from = check.count(caller, "start_from", start_from, low=0)
        self._monitor = Monitor(caller, monitor, mode, min_delta)
        self._forget()

    def _forget(self) -> None:
        self._monitor.best = None
        self.best_epoch: int | None = None
        self._waited = 0
        self._parameters: FloatArray | None = None

    @property
    def best(self) -> float | None:
        """The best measure so far."""
        return self._monitor.best

    def on_fit_begin(self, run: Run) -> None:
        if run.epoch == 0 and run.step == 0:
            self._forget()

    def on_epoch_end(self, run: Run) -> None:
        if run.epoch <= self.start_from:
            return
        if self._monitor.improves(run):
            self.best_epoch, self._waited = run.epoch, 0
            self._parameters = run.model.parameters.copy() if self.restore_best else None
            return
        self._waited += 1
        if self._waited > self.patience:
            run.stop(f"EarlyStopping: {self._monitor.watched(run)} has not improved for {self._waited} epochs")

    def on_fit_end(self, run: Run) -> None:
        if self._parameters is not None:
            run.model.parameters[...] = self._parameters

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"best": self.best, "best_epoch": self.best_epoch, "waited": self._waited}
        return state if self._parameters is None else {**state, "parameters": self._parameters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._monitor.best, self.best_epoch, self._waited = state["best"], state["best_epoch"], state["waited"]
        self._parameters = state.get("parameters")


class ReduceLROnPlateau(Callback):
    """Multiplies the learning rate where a measure no longer improves.

    For any measure of the history and an optimiser whose lr is a number; ``dg.schedules.ReduceOnPlateau`` is the same
    for the loss, as a schedule.

    Args:
        monitor: A name of the history; by default ``val_loss``, or ``loss`` where there is no validation data.
        factor: What the rate is multiplied by, above 0 and below 1.
        patience: Epochs without improvement that are borne, at least 0.
        min_delta: By how much the measure has to be better to count, at least 0.
        mode: As for ``EarlyStopping``.
        cooldown: Epochs after a reduction that do not count, at least 0.
        min_lr: The rate goes no lower, at least 0.
    """

    def __init__(
        self,
        monitor: str | None = None,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        caller = "ReduceLROnPlateau"
        self.factor = check.real(caller, "factor", factor, 0.0, 1.0, open_low=True, open_high=True)
        self.patience = check.count(caller, "patience", patience, low=0)
        self.cooldown = check.count(caller, "cooldown", cooldown, low=0)
        self.min_lr = check.real(caller, "min_lr", min_lr, 0.0)
        self._monitor = Monitor(caller, monitor, mode, min_delta)
        self._waited = self._resting = 0

    def on_fit_begin(self, run: Run) -> None:
        if run.optimizer.scheduled:
            raise ValueError(
                f"ReduceLROnPlateau: expected an optimizer whose lr is a number, got {run.optimizer!r}; "
                "a schedule decides by itself"
            )
        if run.epoch == 0 and run.step == 0:
            self._monitor.best, self._waited, self._resting = None, 0, 0

    def on_epoch_end(self, run: Run) -> None:
        if self._monitor.improves(run):
            self._waited = 0
        elif self._resting == 0:
            self._waited += 1
        self._resting = max(0, self._resting - 1)
        if self._waited > self.patience:
            run.optimizer.lr = max(run.optimizer.lr * self.factor, self.min_lr)
            self._waited, self._resting = 0, self.cooldown

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._monitor.best, "waited": self._waited, "resting": self._resting}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._monitor.best, self._waited, self._resting = state["best"], state["waited"], state["resting"]


class ModelCheckpoint(Callback):
    """Writes checkpoints, from which ``fit(resume=path)`` goes on, to the bit, and which ``dg.load`` reads as models.

    A file is written beside the last one, flushed to the disk and then put in its place: whenever the process ends, a
    whole one is there.

    Args:
        path: The file.
        monitor: Write only where this measure is the best so far; by default always.
        mode: As for ``EarlyStopping``.
        every_epochs: Write at the end of each such number of epochs; with ``every_steps`` or ``every_minutes`` alone,
            at the end of the run only.
        every_steps: Write after each such number of steps.
        every_minutes: Write when so many minutes have passed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = None,
        mode: str = "auto",
        every_epochs: int | None = None,
        every_steps: int | None = None,
        every_minutes: float | None = None,
    ) -> None:
        caller = "ModelCheckpoint"
        self.path = os.fsdecode(path)
        often = every_steps is not None or every_minutes is not None
        if often and monitor is not None:
            raise ValueError(f"{caller}: expected every_epochs with a monitor, which is measured at an epoch's end")
        every_epochs = 1 if every_epochs is None and not often else every_epochs
        self.every_epochs = None if every_epochs is None else check.count(caller, "every_epochs", every_epochs)
        self.every_steps = None if every_steps is None else check.count(caller, "every_steps", every_steps)
        self.every_minutes = (
            None if every_minutes is None else check.real(caller, "every_minutes", every_minutes, 0.0, open_low=True)
        )
        self._monitor = None if monitor is None else Monitor(caller, monitor, mode)
        self._written = time.monotonic()

    def on_fit_begin(self, run: Run) -> None:
        folder = os.path.dirname(self.path) or "."
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"ModelCheckpoint: the folder {folder!r} does not exist")
        self._written = time.monotonic()

    def steps_ahead(self, run: Run) -> int | None:
        if self.every_steps is None:
            return None
        return self.every_steps - run.optimizer.steps % self.every_steps

    def on_steps_end(self, run: Run) -> None:
        by_steps = self.every_steps is not None and run.optimizer.steps % self.every_steps == 0
        minutes = (time.monotonic() - self._written) / 60
        if by_steps or (self.every_minutes is not None and minutes >= self.every_minutes):
            self._write(run)

    def on_epoch_end(self, run: Run) -> None:
        if self.every_epochs is None or run.epoch % self.every_epochs:
            return
        if self._monitor is None or self._monitor.improves(run):
            self._write(run)

    def on_last_step(self, run: Run) -> None:
        if self._monitor is None:
            self._write(run)

    def _write(self, run: Run) -> None:
        run.save(self.path)
        self._written = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {} if self._monitor is None else {"best": self._monitor.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._monitor is not None:
            self._monitor.best = state["best"]


class CSVLogger(Callback):
    """Writes the history to a CSV file, a row an epoch, complete after each.

    Args:
        path: The file; what was there is replaced.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)

    def on_epoch_end(self, run: Run) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *run.history])
        columns = [np.asarray(values).tolist() for values in run.history.values()]
        writer.writerows([number, *row] for number, row in enumerate(zip(*columns, strict=True), start=1))
        write_atomically(self.path, text.getvalue().encode())


class TensorBoard(Callback):
    """Writes loss, metrics and learning rate as TensorBoard's scalars.

    Args:
        folder: Where the event files go. Needs TensorBoard: ``pip install 'densegrad[tensorboard]'``.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fsdecode(folder)
        self._writer: Any = None

    def on_fit_begin(self, run: Run) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError("TensorBoard needs tensorboardX: pip install 'densegrad[tensorboard]'") from None
        self._writer = SummaryWriter(self.folder)

    def on_epoch_end(self, run: Run) -> None:
        for name, value in {**run.values, "lr": run.optimizer.lr}.items():
            self._writer.add_scalar(name, value, run.epoch)

    def on_fit_end(self, run: Run) -> None:
        self._writer.close()


def resolve(caller: str, callbacks: Any) -> tuple[Callback, ...]:
    """The callbacks of a run, refused where one is not one."""
    if isinstance(callbacks, Callback) or not hasattr(callbacks, "__iter__"):
        raise TypeError(f"{caller}: expected callbacks as a list such as [dg.EarlyStopping()], got {callbacks!r}")
    for callback in (given := tuple(callbacks)):
        if not isinstance(callback, Callback):
            raise TypeError(f"{caller}: expected callbacks such as dg.EarlyStopping(), got {callback!r}")
    return given
