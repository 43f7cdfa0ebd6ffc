"""How an estimator trains: epochs of the core's steps, or L-BFGS."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from densegrad import _backend, checkpoint
from densegrad._epoch import Pace
from densegrad._interrupt import interrupt_stops
from densegrad._numpy.types import FloatArray, IndexArray
from densegrad._progress import Silent, progress_bar
from densegrad.callbacks import Callback
from densegrad.callbacks import check as check_callbacks
from densegrad.errors import DivergenceError
from densegrad.lbfgs import LBFGS, Objective, scipy_minimize
from densegrad.pieces import network_of
from densegrad.plan import Plan
from densegrad.run import Run
from densegrad.sklearn.tasks import Task
from densegrad.training import Trainer

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class Rows(NamedTuple):
    """What is trained on or measured: x and y as the network reads them."""

    x: FloatArray
    y: FloatArray | IndexArray
    weight: FloatArray | None


def penalised(lowered: Plan, alpha: float) -> Plan:
    """The plan with alpha / 2 w^2 for each weight of a dense layer, which the rows of a batch share."""
    if alpha == 0:
        return lowered
    nodes = tuple(
        replace(node, slots=(replace(node.slots[0], l2=alpha), *node.slots[1:])) if node.primitive == "dense" else node
        for node in lowered.nodes
    )
    return replace(lowered, nodes=nodes, batch_shares_penalty=True)


class Steps:
    """The steps of an estimator's epochs, each epoch in as few calls as Ctrl-C allows.

    Args:
        estimator: Whose they are.
        task: What it learns.
        rows: To train on.
        batch_size: Rows a step.
    """

    def __init__(self, estimator: Any, task: Task, rows: Rows, batch_size: int) -> None:
        self._optimizer = estimator._optimizer.optimizer
        self._data, self.batch_size, self._task = rows, batch_size, task
        self.rows = count = len(rows.x)
        self.steps = -(-count // batch_size)
        self._counts = np.full(self.steps, float(batch_size))
        self._counts[-1] = count - (self.steps - 1) * batch_size
        self._losses = np.empty(self.steps)
        self._network = estimator._network_for(task, self._optimizer)
        self._pace = Pace()
        self._weights = estimator.coefs_
        self._alpha = float(estimator.alpha)
        self._by_step = task.shown != 1 and self._alpha > 0
        self._constants = None if not task.poisson else task.constants(rows.y)

    def epoch(self, order: IndexArray, run: Run | None, bar: Silent, stopped: list[str]) -> float | None:
        """One epoch; its loss as ``loss_curve_`` has it, not finite where a step's was; ``None`` if stopped within."""
        done, shown = 0, np.zeros(self.steps)
        while done < self.steps:
            if stopped or (run is not None and run.history.stopped is not None):
                return None
            if self._by_step:
                shown[done] = self._penalty_of_step(order, done)
            most = 1 if self._by_step else self.steps - done
            if run is not None:
                most = min(most, run.steps_ahead())
            made, _ = self._pace.make(self._network, self._optimizer, self._data, order, done, most, self.batch_size)
            ran, last = len(made), float(made[-1])
            self._losses[done : done + ran] = made
            if not np.isfinite(last):
                return last
            done += ran
            bar.steps(ran, last, int(self._counts[done - ran : done].sum()))
            if run is not None:
                run.step = done
                run.tell("on_steps_end")
        values = self._losses
        if self._task.shown != 1:
            values = self._task.shown * values + (1 - self._task.shown) * shown
        loss = float(values @ self._counts) / len(order)
        return loss if self._constants is None else loss + self._constant(order)

    def _penalty_of_step(self, order: IndexArray, step: int) -> float:
        """What a step's loss has from alpha."""
        rows = order[step * self.batch_size : (step + 1) * self.batch_size]
        weight = self._data.weight
        share = len(rows) if weight is None else float(weight[rows].sum(dtype=np.float64))
        return _penalty(self._alpha, self._weights, share)

    def _constant(self, order: IndexArray) -> float:
        """The mean of the deviance's constants, weighted within each batch."""
        assert self._constants is not None
        constants, starts = self._constants[order], np.arange(0, len(order), self.batch_size)
        weight = np.ones(len(order)) if self._data.weight is None else self._data.weight[order].astype(np.float64)
        sums, totals = np.add.reduceat(constants * weight, starts), np.add.reduceat(weight, starts)
        means = np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0)
        return float(means @ self._counts) / len(order)


def _penalty(alpha: float, weights: Sequence[FloatArray], share: float) -> float:
    """alpha / 2 |w|^2 over the rows that share it, or over their weights."""
    return alpha / 2 * sum(float(np.vdot(w, w)) for w in weights) / share if share else 0.0


class Measured(NamedTuple):
    """A validation set and what measures it."""

    rows: Rows
    network: Any  # of what the loss reads
    loss: Any  # as lowered
    link: Any  # from there to the last layer's output


def measured(estimator: Any, task: Task, rows: Rows) -> Measured:
    """The validation set ready to be measured at each epoch's end."""
    model = estimator.model_
    lowered = model.lower(task.loss)
    assert lowered.loss is not None
    cut = lowered.loss.prediction != lowered.output
    network = network_of(replace(lowered, output=lowered.loss.prediction, loss=None), model.parameters)
    return Measured(rows, network, lowered.loss, task.output.primitive if cut else None)


def validate(estimator: Any, task: Task, held: Measured) -> tuple[float, float]:
    """Score and loss of the validation set, from one forward pass."""
    x, y, weight = held.rows
    scores = held.network.predict(x)
    loss = task.value(scores, held.loss, y, weight)
    outputs = scores if held.link is None else _backend.active().activation_forward(held.link, scores)
    score = estimator._score_of(task, y, outputs, weight) if np.isfinite(outputs).all() else float("nan")
    return score, loss


def stochastic(estimator: Any, task: Task, rows: Rows, held: Rows | None, *, incremental: bool) -> Callable[[], None]:
    """What trains by epochs until ``tol`` or ``max_iter`` ends them, by one where ``incremental``; all is checked."""
    count = len(rows.x)
    if estimator.batch_size == "auto":
        batch_size = min(200, count)
    else:
        if estimator.batch_size > count:
            what = "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            warnings.warn(what, stacklevel=5)
        batch_size = int(np.clip(estimator.batch_size, 1, count))
    steps = Steps(estimator, task, rows, batch_size)
    watched = None if held is None else measured(estimator, task, held)
    callbacks = check_callbacks(type(estimator).__name__, copy.deepcopy(estimator.callbacks or ()))
    return partial(_train, estimator, task, steps, watched, callbacks, incremental=incremental)


def _train(
    estimator: Any,
    task: Task,
    steps: Steps,
    watched: Measured | None,
    callbacks: Sequence[Callback],
    *,
    incremental: bool,
) -> None:
    epochs = 1 if incremental else estimator.max_iter
    stopped: list[str] = []
    with checkpoint.Writer() as writer:
        run = None
        if callbacks:
            trainer = Trainer(estimator.model_, task.public, estimator._optimizer.optimizer)
            sizes = steps.batch_size, steps.rows, steps.steps
            run = Run(trainer, epochs, *sizes, estimator.shuffle, callbacks, writer.save)
        with interrupt_stops(stopped.append), progress_bar(epochs, steps.steps, estimator.progress) as bar:
            bar.begin(0, 0)
            _tell(run, "on_fit_begin")
            _make_epochs(estimator, task, steps, watched, run, bar, stopped, incremental=incremental)
            _tell(run, "on_last_step")
        writer.finish()
        _tell(run, "on_fit_end")
    if stopped:
        warnings.warn("Training interrupted by user.", stacklevel=4)
    estimator.model_.loss = task.public
    _finish(estimator, incremental=incremental)


def _make_epochs(
    estimator: Any,
    task: Task,
    steps: Steps,
    watched: Measured | None,
    run: Run | None,
    bar: Silent,
    stopped: list[str],
    *,
    incremental: bool,
) -> None:
    """Epoch after epoch, each measured, until something ends them."""
    model, generator, solver = estimator.model_, estimator._random_state, estimator._optimizer
    seen, scheduled = run is not None or type(bar) is not Silent, solver.optimizer.scheduled
    order = np.arange(steps.rows)
    estimator.n_iter_ = 0
    for _ in range(1 if incremental else estimator.max_iter):
        if estimator.shuffle:
            drawn = np.arange(steps.rows)
            generator.shuffle(drawn)
            order = order[drawn]
        if run is not None:
            run.before_epoch, run.order, run.losses = model.generator.bit_generator.state, order, steps._losses
            _tell(run, "on_epoch_begin")
        begun = time.perf_counter()
        loss = steps.epoch(order, run, bar, stopped)
        if loss is None:
            break
        estimator.n_iter_ += 1
        estimator.t_ += steps.rows
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        _improvement(estimator, task, watched, loss)
        solver.epoch_ends(estimator.t_)
        if scheduled:
            solver.optimizer.observe(loss if watched is None else estimator.validation_loss_curve_[-1])
        if seen:
            values = _values(estimator, watched, time.perf_counter() - begun)
            bar.epoch(values)
        if run is not None:
            run.end_epoch(values)
            _tell(run, "on_epoch_end")
            if run.history.stopped is not None:
                break
        if not np.isfinite(loss):
            message = f"The loss is {loss} in iteration {estimator.n_iter_}, and no step can be made from it."
            warnings.warn(message, ConvergenceWarning, stacklevel=5)
            break
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            if solver.stops(_why(estimator), estimator.verbose):
                estimator._ended = True
                break
            estimator._no_improvement_count = 0
        if not incremental and estimator.n_iter_ == estimator.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the optimization "
                "hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )


def _improvement(estimator: Any, task: Task, held: Measured | None, loss: float) -> None:
    """Measure the validation set, count the epochs without improvement and keep the best parameters."""
    keeps = estimator._keeps_best
    finite = np.isfinite(loss)
    if held is not None:
        score, held_loss = validate(estimator, task, held) if finite else (float("nan"), float("nan"))
        estimator.validation_scores_.append(score)
        estimator.validation_loss_curve_.append(held_loss)
        if estimator.verbose:
            print(f"Validation score: {score:f}")
        better = score > estimator.best_validation_score_
        if estimator.early_stopping:
            _count(estimator, worse=score < estimator.best_validation_score_ + estimator.tol)
        if better:
            estimator.best_validation_score_ = score
    if held is None or not estimator.early_stopping:
        _count(estimator, worse=loss > estimator.best_loss_ - estimator.tol)
        improved = loss < estimator.best_loss_
        if improved:
            estimator.best_loss_ = loss
        better = improved if held is None else better
    if keeps and better:
        estimator._best_parameters = estimator.model_.parameters.copy()


def _count(estimator: Any, *, worse: bool) -> None:
    estimator._no_improvement_count = estimator._no_improvement_count + 1 if worse else 0


def _values(estimator: Any, held: Measured | None, seconds: float) -> dict[str, float]:
    """What callbacks and progress see of an epoch."""
    values = {"loss": estimator.loss_, "seconds": seconds}
    if held is not None:
        values["val_loss"] = estimator.validation_loss_curve_[-1]
        values[f"val_{estimator._score_name}"] = estimator.validation_scores_[-1]
    return values


def _why(estimator: Any) -> str:
    what = "Validation score" if estimator.early_stopping else "Training loss"
    return (
        f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive epochs."
    )


def _finish(estimator: Any, *, incremental: bool) -> None:
    """Put the best parameters back, and refuse those that are no numbers."""
    best = estimator._best_parameters
    if best is not None and estimator._keeps_best and (not incremental or estimator._ended):
        estimator.model_.parameters[...] = best
    diverged = bool(estimator.loss_curve_) and not np.isfinite(estimator.loss_curve_[-1])
    lost = diverged and (best is None or not estimator._keeps_best)
    estimator._ended &= incremental  # which ends later calls of partial_fit, too
    if lost or not np.isfinite(estimator.model_.parameters).all():
        raise ValueError(NOT_FINITE)


def _tell(run: Run | None, event: str) -> None:
    if run is not None:
        run.tell(event)


def lbfgs(estimator: Any, task: Task, rows: Rows, held: Rows | None) -> Callable[[], None]:
    """What trains by L-BFGS over all rows, in float64, by SciPy as scikit-learn calls it; all is checked.

    Where there are several targets the sum of their squared errors is minimised, and its mean shown.
    """
    who = type(estimator).__name__
    refused = {"callbacks": estimator.callbacks, "clip_norm": estimator.clip_norm, "schedule": estimator.schedule}
    for name, value in {**refused, "X_val": held}.items():
        if value is not None and value != []:
            raise ValueError(f"{who}: expected no {name} with solver='lbfgs', which makes no epochs of steps")
    minimize = scipy_minimize()
    lowered = penalised(estimator.model_.lower(task.loss), float(estimator.alpha))
    objective = Objective(who, estimator.model_, lowered, LBFGS(), (rows.x, rows.y, rows.weight))
    return partial(_minimize, estimator, task, rows, objective, minimize)


def _minimize(estimator: Any, task: Task, rows: Rows, objective: Objective, minimize: Any) -> None:
    from sklearn.utils.optimize import _check_optimize_result

    model = estimator.model_
    try:
        result = minimize(
            objective,
            objective.flat[objective.trainable],
            method="L-BFGS-B",
            jac=True,
            options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
        )
    except DivergenceError:
        raise ValueError(NOT_FINITE) from None
    estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    model.parameters[objective.trainable] = result.x
    model.loss = task.public
    estimator.loss_ = _shown(estimator, task, rows, float(result.fun))
    if not np.isfinite(model.parameters).all():
        raise ValueError(NOT_FINITE)


def _shown(estimator: Any, task: Task, rows: Rows, value: float) -> float:
    """The loss as scikit-learn has it."""
    weight = rows.weight
    share = len(rows.x) if weight is None else float(weight.sum(dtype=np.float64))
    penalty = _penalty(float(estimator.alpha), estimator.coefs_, share)
    shown = task.shown * (value - penalty) + penalty if task.shown != 1 else value
    return shown + float(np.average(task.constants(rows.y), weights=weight)) if task.poisson else shown
