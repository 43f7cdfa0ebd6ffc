"""Training: one step, and ``fit`` over epochs of shuffled mini-batches."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import _backend, _check, checkpoint
from densegrad._epoch import Batches, Slices, refuse_with_batches
from densegrad._feed import whole
from densegrad._interrupt import interrupt_stops
from densegrad._progress import progress_bar
from densegrad.callbacks import Callback
from densegrad.callbacks import check as check_callbacks
from densegrad.diagnosis import Diagnosis
from densegrad.errors import DivergenceError, taken
from densegrad.evaluation import Named, Rows, checked_rows, held_out, measured_rows, rehearse
from densegrad.history import History
from densegrad.lbfgs import LBFGS
from densegrad.losses import AnyLoss, named
from densegrad.metrics import Metric
from densegrad.optimizers import Optimizer
from densegrad.pieces import network_of
from densegrad.run import Run

if TYPE_CHECKING:
    from densegrad.model import BaseModel


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

    def __init__(self, model: BaseModel, loss: AnyLoss, optimizer: Optimizer) -> None:
        if not hasattr(model, "plan_version"):
            raise TypeError(f"Trainer: expected model as an object such as dg.Sequential([...]), got {model!r}")
        if isinstance(optimizer, LBFGS):
            raise TypeError(f"Trainer: {optimizer!r} trains by model.fit, on all rows at once; a Trainer makes steps")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Trainer: expected optimizer as an object such as dg.SGD(0.1), got {optimizer!r}")
        self.model = model
        self.optimizer = optimizer
        self._loss = model.resolve_loss("Trainer", loss)
        self._named = named(self._loss)
        model.check_loss("Trainer", self._loss)
        self._turn = model.turn
        self._network: Any = None
        self._made_for: tuple[Any, int] | None = None
        self._accumulated = 0.0  # rows, or their weights, that model.gradients are the mean over

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
        if self._turn.locked():
            raise taken("Trainer.step")
        with self._turn:
            optimizer = self.optimizer
            try:  # straight to the backend: it refuses whatever would need a check or a conversion
                if self._network is None:
                    raise ValueError("the first batch is checked before anything is made for it")
                loss: float = self.ready().step(x, y, optimizer.lr, optimizer.steps, sample_weight)
            except (TypeError, ValueError):
                rows = checked_rows("Trainer.step", self.model, self._loss, x, y, sample_weight)
                self._build(rows)
                loss = self.ready().step(whole(rows[0]), rows[1], optimizer.lr, optimizer.steps, rows[2])
            if not -np.inf < loss < np.inf:
                raise DivergenceError(loss, optimizer.steps, optimizer.lr)
            optimizer.steps += 1
            self.model.loss = self._named
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
        who = "Trainer.accumulate"
        if self._turn.locked():
            raise taken(who)
        with self._turn:
            rows = checked_rows(who, self.model, self._loss, x, y, sample_weight)
            self._build(rows)
            own = np.empty_like(self.model.gradients)
            part, targets, weights = whole(rows[0]), rows[1], rows[2]
            step = self.optimizer.steps
            loss: float = self.ready().loss_and_gradients(part, targets, own, weights, step=step)
            if not -np.inf < loss < np.inf:
                raise DivergenceError(loss, step, self.optimizer.lr)
            weight = float(len(part)) if weights is None else float(weights.sum(dtype=np.float64))
            before, self._accumulated = self._accumulated, self._accumulated + weight
            share = own.dtype.type(weight / self._accumulated)
            self.model.gradients[...] = self.model.gradients * (1 - share) + own * share if before else own
            return loss

    def apply_gradients(self) -> None:
        """Update the parameters from ``model.gradients``, as ``model.backward`` or ``accumulate`` left them."""
        if self._turn.locked():
            raise taken("Trainer.apply_gradients")
        with self._turn:
            self.model.require_built("apply_gradients")
            self.ready().apply_gradients(self.model.gradients, self.optimizer.lr, self.optimizer.steps)
            self.model.loss = self._named
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
            callbacks: Told of the ends of steps and epochs: ``[dg.EarlyStopping(patience=3)]``.
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
        who = f"{type(self.model).__name__}.fit"
        if self._turn.locked():
            raise taken(who)
        with self._turn:
            epochs = _check.count(who, "epochs", epochs)
            told = check_callbacks(who, callbacks)
            _check.choice(who, "on_divergence", on_divergence, ("raise", "stop", "rollback"))
            names = self.model.check_metrics(who, metrics)
            size, batches = 32, None
            if y is None:
                of_arrays = {"batch_size": batch_size, "sample_weight": sample_weight}
                refuse_with_batches(who, {**of_arrays, "validation_split": validation_split})
                if any(names.values()) and validation_data is None:
                    raise ValueError(f"{who}: metrics of batches are measured on validation_data, got none")
                batches = Batches(who, self, self._loss, x, class_weight, steps_per_epoch)
                rows = batches.first
            elif steps_per_epoch is not None:
                raise ValueError(f"{who}: steps_per_epoch expects x as an iterable of batches, got arrays x and y")
            else:
                size = size if batch_size is None else _check.count(who, "batch_size", batch_size)
                rows = checked_rows(who, self.model, self._loss, x, y, sample_weight, class_weight)
            rows, validation = held_out(who, self.model, self._loss, rows, validation_data, validation_split)
            epoch = Slices(self, rows, size) if batches is None else batches
            if _check.flag(who, "diagnose", diagnose):
                told = (*told, Diagnosis(who, self._loss, rows))
            rehearse(self.model, self._loss, names, rows, validation)
            self.model.prepare(rows[0])
            self.ready()  # whatever it refuses, it refuses before the first shuffle
            with checkpoint.Writer() as writer:
                run = Run(self, epochs, epoch.batch_size, epoch.rows, epoch.steps, bool(shuffle), told, writer.save)
                if resume is not None:
                    checkpoint.resume(who, run, resume)
                with progress_bar(epochs, run.steps, progress) as bar, interrupt_stops(run.interrupt):
                    bar.begin(run.epoch, run.step)
                    run.tell("on_fit_begin")
                    while run.going:
                        self._one_epoch(run, epoch, validation, names, on_divergence, bar)
                    run.tell("on_last_step")
                writer.finish()
                run.tell("on_fit_end")
            return run.history

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

    def evaluate(self, x: Any, y: Any, **options: Any) -> dict[str, float]:
        """Loss and metrics over all rows; the options are those of ``model.evaluate``."""
        return self.model.evaluate(x, y, loss=self._named, **options)

    # ---- what a run needs to go on

    def state_dict(self) -> dict[str, Any]:
        """Parameters, the optimiser's state and all else that the next step depends on, as copies."""
        self.model.require_built("state_dict")
        return {
            "parameters": self.model.parameters.copy(),
            "optimizer": self.optimizer.state_dict(),
            "noise_seed": self.model.noise_seed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave, of a trainer of the same layers and optimiser."""
        self.model.require_built("load_state_dict")
        parameters = np.asarray(state["parameters"])
        if parameters.shape != self.model.parameters.shape or parameters.dtype != self.model.dtype:
            raise ValueError(
                f"Trainer.load_state_dict: expected {self.model.parameters.size} parameters of {self.model.dtype}, "
                f"got {parameters.size} of {parameters.dtype}"
            )
        noise_seed = _check.count("Trainer.load_state_dict", "noise_seed", state["noise_seed"], low=0)
        self.optimizer.load_state_dict(state["optimizer"], self.model.parameters)  # which checks before it takes
        self.model.parameters[...] = parameters
        self.model.noise_seed = noise_seed
        self.model.loss = self._named
        self.model.plan_changed()

    # ---- inside

    def _one_epoch(
        self, run: Run, epoch: Slices | Batches, validation: Rows | None, names: Named, on_divergence: str, bar: Any
    ) -> None:
        """The rest of an epoch, and what is measured at its end."""
        before = self.state_dict() if on_divergence == "rollback" else None
        if run.step == 0:
            run.begin_epoch()
        run.tell("on_epoch_begin")
        try:
            values = epoch.make(run, bar)
        except DivergenceError as error:
            if on_divergence == "raise":
                raise
            if before is not None:
                self.load_state_dict(before)
            run.stop(str(error))
            return
        if values is None:  # stopped before
            return
        self.model.loss = self._named
        values.update(measured_rows(self.model, self._loss, names, epoch.measured, validation))
        self.optimizer.observe(values.get("val_loss", values["loss"]))
        run.end_epoch(values)
        bar.epoch(values)
        run.tell("on_epoch_end")

    def ready(self) -> Any:
        """The network for this model, loss and optimiser; made anew when the plan or the backend changed."""
        if self._made_for != (_backend.active(), self.model.plan_version):
            optimizer = self.optimizer.bind(self.model.parameters)
            lowered = self.model.lower(self._loss, optimizer)
            module = _backend.active()
            self._network = network_of(lowered, self.model.parameters, self.optimizer.state)
            self._made_for = (module, self.model.plan_version)
        return self._network

    def _build(self, rows: Rows) -> None:
        """The first batch, once it has been checked, tells a model its input_size."""
        if self.model.input_size is None:
            self.model.build(rows[0].shape[1])
