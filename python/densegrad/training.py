"""Training: one step, and ``fit`` over epochs of shuffled mini-batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from densegrad import _backend, _check
from densegrad._interrupt import interrupt_deferred
from densegrad._progress import progress_bar
from densegrad.errors import DivergenceError, taken
from densegrad.evaluation import Rows, checked_rows, measured_rows, rehearse, validation_rows
from densegrad.history import History
from densegrad.lbfgs import LBFGS
from densegrad.losses import Loss, named, resolve
from densegrad.metrics import Metric
from densegrad.metrics import check as check_metrics
from densegrad.optimizers import Optimizer
from densegrad.pieces import network_of

if TYPE_CHECKING:
    from densegrad.model import BaseModel

_SLICE_SECONDS = 0.1  # one call into the core: short enough for Ctrl-C and a moving progress bar


class Trainer:
    """A model, its loss and its optimiser, ready to step.

    Args:
        model: The model to train, in place.
        loss: A name such as ``"mse"``, or an object such as ``dg.losses.Huber(delta=0.3)``.
        optimizer: An optimiser object such as ``dg.SGD(0.1)``; it keeps its state between trainers.

    >>> import numpy as np, densegrad as dg
    >>> model = dg.Sequential([dg.Dense(1)], input_size=1, seed=0)
    >>> trainer = dg.Trainer(model, loss="mse", optimizer=dg.SGD(0.1))
    >>> x = np.linspace(-1, 1, 20, dtype="float32")[:, None]
    >>> losses = [trainer.step(x, 3 * x + 1) for _ in range(200)]
    >>> round(float(model.layers[0].w[0, 0]), 3), round(float(model.layers[0].b[0]), 3)
    (3.0, 1.0)
    """

    def __init__(self, model: BaseModel, loss: str | Loss, optimizer: Optimizer) -> None:
        if not hasattr(model, "plan_version"):
            raise TypeError(f"Trainer: expected model as an object such as dg.Sequential([...]), got {model!r}")
        if isinstance(optimizer, LBFGS):
            raise TypeError(f"Trainer: {optimizer!r} trains by model.fit, on all rows at once; a Trainer makes steps")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Trainer: expected optimizer as an object such as dg.SGD(0.1), got {optimizer!r}")
        self.model = model
        self.optimizer = optimizer
        self._loss = resolve("Trainer", loss)
        self._named = named(self._loss)
        model.check_loss("Trainer", self._loss)
        self._turn = model.turn
        self._network: Any = None
        self._made_for: tuple[Any, int] | None = None
        self._slice: tuple[int, int] = (0, 1)  # steps that a slice of an epoch has, for batches of that size

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
                loss: float = self._ready().step(x, y, optimizer.lr, optimizer.steps, sample_weight)
            except (TypeError, ValueError):
                rows = checked_rows("Trainer.step", self.model, self._loss, x, y, sample_weight)
                self._build(rows)
                loss = self._ready().step(rows[0], rows[1], optimizer.lr, optimizer.steps, rows[2])
            if not -np.inf < loss < np.inf:
                raise DivergenceError(loss, optimizer.steps, optimizer.lr)
            optimizer.steps += 1
            self.model.loss = self._named
            return loss

    def apply_gradients(self) -> None:
        """Update the parameters from ``model.gradients``, as the last ``model.backward`` left them."""
        if self._turn.locked():
            raise taken("Trainer.apply_gradients")
        with self._turn:
            self.model.require_built("apply_gradients")
            self._ready().apply_gradients(self.model.gradients, self.optimizer.lr, self.optimizer.steps)
            self.model.loss = self._named
            self.optimizer.steps += 1

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: Sequence[Any] | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        metrics: Sequence[str | Metric] = (),
        progress: bool | None = None,
    ) -> History:
        """Train on mini-batches for some epochs.

        Everything is checked before the first update, so a refused call leaves the model as it was.

        Args:
            x: (rows, input_size); what is not of the model's dtype is converted once.
            y: (rows, outputs), or (rows,) integer labels for a loss on classes.
            epochs: Passes over all rows.
            batch_size: Rows a step; the last batch of an epoch may be smaller, and its loss is its own mean.
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
            progress: True shows a bar (tqdm), False nothing; by default a bar where tqdm is installed and
                the output is a terminal.

        Returns:
            A ``History``: loss, metrics and their ``val_`` twins, one value an epoch.

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
            batch_size = _check.count(who, "batch_size", batch_size)
            names = check_metrics(who, metrics)
            rows = checked_rows(who, self.model, self._loss, x, y, sample_weight, class_weight)
            validation = validation_rows(who, self.model, self._loss, validation_data, rows)
            rehearse(self.model, self._loss, names, rows, validation)
            self.model.prepare(rows[0])
            self._ready()  # whatever it refuses, it refuses before the first shuffle
            history = History()
            batches = -(-len(rows[0]) // batch_size)
            with progress_bar(epochs * batches, batch_size, progress) as bar:
                for epoch in range(epochs):
                    order = np.arange(len(rows[0]))
                    if shuffle:
                        self.model.generator.shuffle(order)
                    values = self._run_epoch(epoch, rows, order, batch_size, bar)
                    self.model.loss = self._named
                    values.update(measured_rows(self.model, self._loss, names, rows, validation))
                    self.optimizer.observe(values.get("val_loss", values["loss"]))
                    history.append(values)
                    bar.epoch(epoch + 1, epochs, values)
            return history

    def _run_epoch(self, epoch: int, rows: Rows, order: Any, batch_size: int, bar: Any) -> dict[str, float]:
        """All batches of one epoch, in slices of about a tenth of a second."""
        network, optimizer = self._ready(), self.optimizer
        x, y, sample_weight = rows
        batches = -(-len(order) // batch_size)
        losses = np.empty(batches)
        done, seconds = 0, 0.0
        while done < batches:
            limit = self._slice[1] if self._slice[0] == batch_size else 1
            size = min(limit, batches - done)
            rates = optimizer.rates(size)
            start = time.perf_counter()
            with interrupt_deferred():  # the updates made and their count belong together
                ran = network.run_steps(
                    x, y, order, done, size, batch_size, rates, losses[done:], optimizer.steps, sample_weight
                )
                last = float(losses[done + ran - 1])
                optimizer.steps += ran if np.isfinite(last) else ran - 1
            if not np.isfinite(last):
                raise DivergenceError(last, optimizer.steps, optimizer.lr, epoch)
            elapsed = time.perf_counter() - start
            seconds += elapsed
            done += ran
            bar.steps(ran)
            in_time = int(_SLICE_SECONDS * ran / max(elapsed, 1e-9))
            self._slice = batch_size, max(1, min(in_time, 8 * limit))  # one fast step is no proof for a thousand
        weight = np.ones(len(order)) if sample_weight is None else sample_weight[order].astype(np.float64)
        shares = np.add.reduceat(weight, np.arange(0, len(order), batch_size))
        return {"loss": float(np.average(losses, weights=shares)), "seconds": seconds}

    def _ready(self) -> Any:
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
