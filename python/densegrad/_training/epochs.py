"""The loop over epochs: the only one. Who trains gives it a source of steps, a measure and a stopping rule."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Protocol

from densegrad._training.history import History
from densegrad._training.interrupt import interrupt_stops
from densegrad._training.progress import Progress, progress_bar
from densegrad._training.run import TrainingRun
from densegrad._training.state import load_training_state, training_state
from densegrad.errors import DivergenceError


class EpochSource(Protocol):
    """The steps of epochs."""

    @property
    def rows(self) -> int | None:
        """Rows of an epoch, where they are counted."""
        ...

    @property
    def batch_size(self) -> int | None:
        """Rows a step, where that is one number."""
        ...

    @property
    def steps(self) -> int | None:
        """Steps of an epoch, where they are counted."""
        ...

    def begin(self, run: TrainingRun) -> None:
        """Make ``run`` ready for the first step of an epoch."""
        ...

    def make(self, run: TrainingRun, progress: Progress) -> dict[str, float] | None:
        """The steps to the end of the epoch; gives loss and seconds, or None where the run was stopped before."""
        ...


def run_epochs(
    run: TrainingRun,
    source: EpochSource,
    measure: Callable[[dict[str, float]], dict[str, float]],
    *,
    caller: str = "fit",
    resume: str | os.PathLike[str] | None = None,
    on_divergence: str = "raise",
    stopping_rule: Callable[[TrainingRun], None] | None = None,
    progress: bool | None = None,
) -> History:
    """Make the epochs of a run.

    Args:
        run: A new one.
        source: Makes the steps.
        measure: Gives what each epoch's end adds to its loss and seconds, which it is given.
        caller: For errors.
        resume: A checkpoint's path, from where the run goes on.
        on_divergence: Where a loss is not finite: ``"raise"`` the error, ``"stop"``, ``"rollback"`` to the epoch's
            beginning and stop, or ``"record"``: the epoch ends with that loss, and the rule decides.
        stopping_rule: Called after each epoch; ends a run by its ``stop``.
        progress: As for ``Trainer.fit``.
    """
    with run.writer as writer:
        made = None if resume is None else run.resume(caller, resume)
        if made is not None:
            _begin(run, source)
            run.losses[: run.step] = made
        with progress_bar(run.epochs, run.steps, progress) as bar, interrupt_stops(run.interrupt):
            bar.begin(run.epoch, run.step)
            run.notify("on_fit_begin")
            while run.going:
                _one_epoch(run, source, measure, on_divergence, bar)
                if stopping_rule is not None and run.history.stopped is None:
                    stopping_rule(run)
            run.notify("on_last_step")
        writer.finish()
        run.notify("on_fit_end")
    return run.history


def _begin(run: TrainingRun, source: EpochSource) -> None:
    if run.callbacks:  # who alone may ask for a checkpoint; reading the state takes as long as some steps
        run.before_epoch = run.model.generator.bit_generator.state
    source.begin(run)


def _one_epoch(
    run: TrainingRun,
    source: EpochSource,
    measure: Callable[[dict[str, float]], dict[str, float]],
    on_divergence: str,
    bar: Progress,
) -> None:
    """The rest of an epoch, and what is measured at its end."""
    before = training_state(run.model, run.optimizer) if on_divergence == "rollback" else None
    if run.step == 0:
        _begin(run, source)
    run.notify("on_epoch_begin")
    begun = time.perf_counter()
    try:
        values = source.make(run, bar)
    except DivergenceError as error:
        if on_divergence == "raise":
            raise
        if on_divergence != "record":
            if before is not None:
                load_training_state(run.model, run.optimizer, before)
                run.model.loss = run.loss
            run.stop(str(error))
            return
        values = {"loss": error.loss, "seconds": time.perf_counter() - begun}
    if values is None:  # stopped before
        return
    run.model.loss = run.loss
    values.update(measure(values))
    run.optimizer.observe(values.get("val_loss", values["loss"]))
    run.end_epoch(values)
    bar.epoch(values)
    run.notify("on_epoch_end")
