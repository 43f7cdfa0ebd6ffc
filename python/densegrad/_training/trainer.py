"""Training: one step, and ``fit`` over epochs of shuffled mini-batches."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.lazy_rows import whole
from densegrad._inspect.diagnosis import Diagnosis
from densegrad._model_core import ModelCore
from densegrad._plan.backend import REFUSAL
from densegrad._rows.rows import Rows, checked_rows
from densegrad._training.array_epochs import ArrayEpochs
from densegrad._training.epochs import EpochSource, run_epochs
from densegrad._training.history import History
from densegrad._training.iterable_epochs import IterableEpochs, refuse_with_batches
from densegrad._training.lbfgs import LBFGS
from densegrad._training.measure import evaluate, resolve_metrics
from densegrad._training.network import TrainingNetwork
from densegrad._training.preparation import prepared
from densegrad._training.run import TrainingRun
from densegrad._training.state import load_training_state, training_state
from densegrad.callbacks import Callback
from densegrad.callbacks import resolve as resolve_callbacks
from densegrad.errors import DivergenceError, already_training
from densegrad.losses import LossLike, as_written
from densegrad.metrics import Metric
from densegrad.optimizers import Optimizer

_BATCH_SIZE = 32  # of fit, where none is given


class Trainer:
    """A model, its loss and its optimiser, ready to step.

    Args:
        model: The model to train, in place.
        loss: A name such as ``"mse"``, an object such as ``dg.losses.Huber(delta=0.3)``, or a function of Tensors
            (prediction, y), with sample_weight behind them where there are weights, that gives the mean over the rows.
        optimizer: An optimiser object such as ``dg.SGD(0.1)``; it keeps its state between trainers.

    >>> import numpy as np, densegrad as dg
    >>> model = dg.Sequential([dg.Dense(1)], input_size=1, seed=0)
    >>> trainer = dg.Trainer(model, loss="mse", optimizer=dg.SGD(0.1))
    >>> x = np.linspace(-1, 1, 20, dtype="float32")[:, None]
    >>> losses = [trainer.step(x, 3 * x + 1) for _ in range(200)]
    >>> round(float(model.layers[0].w[0, 0]), 3), round(float(model.layers[0].b[0]), 3)
    (3.0, 1.0)
    """

    def __init__(self, model: ModelCore, loss: LossLike, optimizer: Optimizer) -> None:
        if not isinstance(model, ModelCore):
            raise TypeError(f"Trainer: expected model as an object such as dg.Sequential([...]), got {model!r}")
        if isinstance(optimizer, LBFGS):
            raise TypeError(f"Trainer: {optimizer!r} trains by model.fit, on all rows at once; a Trainer makes steps")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Trainer: expected optimizer as an object such as dg.SGD(0.1), got {optimizer!r}")
        self.model = model
        self.optimizer = optimizer
        self._loss = model.resolve_loss("Trainer", loss)
        self._written = as_written(self._loss)
        model.check_loss("Trainer", self._loss)
        self._lock = model.training_lock
        self._network = TrainingNetwork(model, self._loss, optimizer)
        self._accumulated = 0.0  # rows, or their weights, that model.gradients are the mean over

    @property
    def threads(self) -> int:
        """Threads of the core that the last step ran on, found by measuring; 1 before the first."""
        return int(self._network.ready().threads) if self._network.made else 1

    def step(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """One forward pass, backward pass and update on one batch.

        Args:
            x: (batch, input_size).
            y: (batch, outputs), or (batch,) integer labels for a loss on classes.
            sample_weight: (batch,) weights; the loss is sum(weight loss) / sum(weight).

        Returns:
            The loss before the update.

        Raises:
            ValueError, TypeError: x or y do not fit; nothing is updated.
            DivergenceError: The loss is not finite; nothing is updated.
            RuntimeError: The model is being trained already, in another thread.
        """
        if self._lock.locked():
            raise already_training("Trainer.step")
        with self._lock:
            optimizer = self.optimizer
            try:
                if not self._network.made:
                    raise ValueError("the first batch is checked before anything is made for it")
                loss: float = self._network.ready().step(x, y, optimizer.lr, optimizer.steps, sample_weight)
            except REFUSAL:
                rows = checked_rows("Trainer.step", self.model, self._loss, x, y, sample_weight)
                self._build(rows)
                network = self._network.ready()
                loss = network.step(whole(rows[0]), rows[1], optimizer.lr, optimizer.steps, rows[2])
            if not -np.inf < loss < np.inf:
                raise DivergenceError(loss, optimizer.steps, optimizer.lr)
            optimizer.steps += 1
            self.model.loss = self._written
            return loss

    def accumulate(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """Add a micro-batch to the next update, which ``apply_gradients`` makes as the whole batch would.

        ``model.gradients`` holds the mean over all rows since the last update, weighted where they have weights. Batch
        norm takes its means from each micro-batch. Arguments are those of ``step``.

        Returns:
            The loss of the micro-batch.

        Raises:
            DivergenceError: The loss is not finite; what was accumulated stays as it was.

        >>> import numpy as np, densegrad as dg
        >>> model = dg.Sequential([dg.Dense(1)], input_size=1, seed=0)
        >>> trainer = dg.Trainer(model, loss="mse", optimizer=dg.SGD(0.1))
        >>> x = np.linspace(-1, 1, 60, dtype="float32")[:, None]
        >>> for part in np.split(x, 3):
        ...     loss = trainer.accumulate(part, 3 * part)
        >>> trainer.apply_gradients()
        >>> trainer.optimizer.steps
        1
        """
        caller = "Trainer.accumulate"
        if self._lock.locked():
            raise already_training(caller)
        with self._lock:
            rows = checked_rows(caller, self.model, self._loss, x, y, sample_weight)
            self._build(rows)
            own = np.empty_like(self.model.gradients)
            part, targets, weights = whole(rows[0]), rows[1], rows[2]
            step = self.optimizer.steps
            loss: float = self._network.ready().loss_and_gradients(part, targets, own, weights, step=step)
            if not -np.inf < loss < np.inf:
                raise DivergenceError(loss, step, self.optimizer.lr)
            weight = float(len(part)) if weights is None else float(weights.sum(dtype=np.float64))
            before, self._accumulated = self._accumulated, self._accumulated + weight
            share = own.dtype.type(weight / self._accumulated)
            self.model.gradients[...] = self.model.gradients * (1 - share) + own * share if before else own
            return loss

    def apply_gradients(self) -> None:
        """Update the parameters from ``model.gradients``, as ``model.backward`` or ``accumulate`` left them."""
        if self._lock.locked():
            raise already_training("Trainer.apply_gradients")
        with self._lock:
            self.model.require_built("apply_gradients")
            self._network.ready().apply_gradients(self.model.gradients, self.optimizer.lr, self.optimizer.steps)
            self.model.loss = self._written
            self.optimizer.steps += 1
            self._accumulated = 0.0

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | None = None,
        shuffle: bool = True,
        validation_data: Sequence[Any] | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        metrics: Sequence[str | Metric] = (),
        callbacks: Sequence[Callback] = (),
        validation_split: float | None = None,
        resume: str | os.PathLike[str] | None = None,
        on_divergence: str = "raise",
        progress: bool | None = None,
        diagnose: bool = False,
        steps_per_epoch: int | None = None,
    ) -> History:
        """Train on mini-batches for some epochs.

        Everything is checked before the first update, so a refused call leaves the model as it was. Ctrl-C ends the run
        after the step that is being made, and ``history.stopped`` says so; a second one is Python's own.

        Args:
            x: (rows, input_size). What is not of the model's dtype is converted once; a large array of another dtype,
                or one mapped from a file (``np.memmap``), stays as it is, and its rows are converted as they are read.
                Without y, an iterable of batches ``(x, y)`` or ``(x, y, sample_weight)`` such as a list, a PyTorch
                ``DataLoader`` or a generator: each pass over it is an epoch, and its batches are taken as they come.
            y: (rows, outputs), or (rows,) integer labels for a loss on classes.
            epochs: Passes over all rows.
            batch_size: Rows a step, 32 by default; the last batch of an epoch may be smaller, and its loss is its own
                mean.
            shuffle: Draw a new order each epoch from the model's generator.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)``, measured at each epoch's end.
            sample_weight: (rows,) weights.
            class_weight: For a loss on classes, what a row's weight is multiplied by: a dict ``{label: weight}``, in
                which the labels left out weigh 1, a sequence with a weight for each class, or ``"balanced"``, rows /
                (classes x rows of the class). A soft target weighs the mean over its classes; with one output of a
                binary loss they are 0 and 1. It does not weigh validation_data.
            metrics: Measured at each epoch's end: names such as ``"accuracy"``, objects such as
                ``dg.metrics.TopK(3)``, or functions (prediction, target, sample_weight) -> number, recorded under
                their name.
            callbacks: Notified of the ends of steps and epochs: ``[dg.EarlyStopping(patience=3)]``.
            validation_split: The share of the rows that is measured instead of trained on, above 0 and below 1; the
                same rows at each call, of each class alike where the targets are labels.
            resume: A checkpoint's path: goes on where that run stood, to the bits of a run that never ended. Everything
                else is given as it was given then; ``epochs`` counts from the first run's beginning. A run that a
                callback has stopped has ended.
            on_divergence: Where a loss is not finite: ``"raise"`` an error, ``"stop"`` with the parameters before it,
                or ``"rollback"`` to those of the epoch's beginning and stop; ``history.stopped`` then says why.
            progress: True shows bars of epochs and steps with loss, metrics and samples per second (tqdm; widgets in a
                notebook), or lines where the output is no terminal; False shows nothing. By default bars where tqdm is
                installed and there is a terminal or a notebook.
            diagnose: Look for what usually keeps a network from learning and warn of it (``UserWarning``), once of each
                and with its cure: inputs that are not standardised, targets that are all the same, dead ReLU units,
                saturated sigmoids and tanh, gradients that vanish or explode, a learning rate that is far off.
            steps_per_epoch: Batches of an iterable that make an epoch; the next one goes on behind them, as an endless
                generator needs it.

        With an iterable, metrics are measured on ``validation_data`` alone, and a resumed run reads past the batches
        that it has trained on: the iterable has to give the same ones again.

        Returns:
            A ``History``: loss, metrics and their ``val_`` twins, one value an epoch that is complete.

        Raises:
            ValueError, TypeError: An argument does not fit.
            DivergenceError: A batch's loss is not finite; that batch's update is not made.
            RuntimeError: The model is being trained already, in another thread.
        """
        caller = f"{type(self.model).__name__}.fit"
        if self._lock.locked():
            raise already_training(caller)
        with self._lock:
            epochs = check.count(caller, "epochs", epochs)
            notified = resolve_callbacks(caller, callbacks)
            check.choice(caller, "on_divergence", on_divergence, ("raise", "stop", "rollback"))
            named = resolve_metrics(caller, self.model, metrics)
            source: EpochSource
            if y is None:
                of_arrays = {"batch_size": batch_size, "sample_weight": sample_weight}
                refuse_with_batches(caller, {**of_arrays, "validation_split": validation_split})
                if any(named.values()) and validation_data is None:
                    raise ValueError(f"{caller}: metrics of batches are measured on validation_data, got none")
                source = IterableEpochs(caller, self.model, self._network, self._loss, x, class_weight, steps_per_epoch)
                rows, measure = prepared(
                    caller, self.model, self._loss, source.first, named, validation_data, in_all=False
                )
            else:
                if steps_per_epoch is not None:
                    raise ValueError(
                        f"{caller}: steps_per_epoch expects x as an iterable of batches, got arrays x and y"
                    )
                size = _BATCH_SIZE if batch_size is None else check.count(caller, "batch_size", batch_size)
                rows = checked_rows(caller, self.model, self._loss, x, y, sample_weight, class_weight)
                rows, measure = prepared(caller, self.model, self._loss, rows, named, validation_data, validation_split)
                source = ArrayEpochs(self._network, rows, size)
            if check.flag(caller, "diagnose", diagnose):
                notified = (*notified, Diagnosis(caller, self._loss, rows))
            self._network.ready()  # whatever it refuses, it refuses before the first shuffle
            sizes = source.batch_size, source.rows, source.steps
            run = TrainingRun(
                self.model, self.optimizer, self._written, epochs, *sizes, bool(shuffle), notified, measure.directions
            )
            options: dict[str, Any] = {"resume": resume, "on_divergence": on_divergence, "progress": progress}
            return run_epochs(run, source, lambda _: measure(), caller=caller, **options)

    def run_epoch(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = None,
        shuffle: bool = True,
        sample_weight: Any = None,
    ) -> float:
        """One epoch of ``fit``, over rows or an iterable of batches; gives the mean loss over its rows."""
        options = {"batch_size": batch_size, "shuffle": shuffle, "sample_weight": sample_weight, "progress": False}
        return self.fit(x, y, **options)["loss"][0]

    def evaluate(
        self,
        x: Any,
        y: Any,
        *,
        metrics: Sequence[str | Metric] = (),
        sample_weight: Any = None,
        class_weight: Any = None,
    ) -> dict[str, float]:
        """Loss and metrics over all rows; the options are those of ``model.evaluate``."""
        caller = f"{type(self.model).__name__}.evaluate"
        return evaluate(caller, self.model, x, y, self._loss, metrics, sample_weight, class_weight)

    # ---- what a run needs to go on

    def state_dict(self) -> dict[str, Any]:
        """Parameters, the optimiser's state and all else that the next step depends on, as copies."""
        return training_state(self.model, self.optimizer)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave, of a trainer of the same layers and optimiser."""
        load_training_state(self.model, self.optimizer, state)
        self.model.loss = self._written

    # ---- inside

    def _build(self, rows: Rows) -> None:
        """Build the model by its first batch, once that has been checked."""
        if self.model.input_size is None:
            self.model.build(rows[0].shape[1])
