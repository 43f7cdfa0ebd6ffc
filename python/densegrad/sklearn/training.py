"""Training of an estimator: epochs of the core's steps, or L-BFGS."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.optimize import _check_optimize_result

from densegrad._base.plan import Plan
from densegrad._base.types import FloatArray, IndexArray
from densegrad._base.warn import warn
from densegrad._plan import backend
from densegrad._plan.split_network import network_of
from densegrad._training.array_epochs import ArrayEpochs
from densegrad._training.epochs import run_epochs
from densegrad._training.lbfgs import LBFGS, Objective, scipy_minimize
from densegrad._training.run import TrainingRun
from densegrad.callbacks import Callback, resolve
from densegrad.errors import DivergenceError
from densegrad.sklearn.tasks import Task

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)


class NetworkRows(NamedTuple):
    """Rows to be trained on or measured: x and y as the network reads them."""

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


class SklearnEpochs(ArrayEpochs):
    """The epochs of an estimator: scikit-learn's orders of the rows, and the loss of an epoch as it is shown there.

    Args:
        estimator: Whose they are.
        task: What it learns.
        rows: To train on.
        batch_size: Rows a step.
    """

    def __init__(self, estimator: Any, task: Task, rows: NetworkRows, batch_size: int) -> None:
        super().__init__(estimator._network_for(task), rows, batch_size)
        self._task, self._weights = task, estimator.coefs_
        self._generator = estimator._random_state if estimator.shuffle else None
        self._order = np.arange(self.count)
        steps = -(-self.count // batch_size)
        self._counts = np.full(steps, float(batch_size))
        self._counts[-1] = self.count - (steps - 1) * batch_size
        self._alpha = float(estimator.alpha)
        self._by_step = task.shown != 1 and self._alpha > 0
        self._constants = None if not task.poisson else task.constants(rows.y)

    def begin(self, run: TrainingRun) -> None:
        """Shuffle the order of the epoch before."""
        if self._generator is not None:
            drawn = np.arange(self.count)
            self._generator.shuffle(drawn)
            self._order = self._order[drawn]
        run.order, run.losses = self._order, np.empty(len(self._counts))
        self._penalties = np.zeros(len(self._counts))

    def steps_ahead(self, run: TrainingRun) -> int:
        """One step where the penalty is shown another way than the loss, and so is taken before each."""
        if not self._by_step:
            return run.steps_ahead()
        rows = run.order[run.step * self.size : (run.step + 1) * self.size]
        weight = self.data[2]
        share = len(rows) if weight is None else float(weight[rows].sum(dtype=np.float64))
        self._penalties[run.step] = _penalty(self._alpha, self._weights, share)
        return 1

    def mean_loss(self, run: TrainingRun) -> float:
        """The loss of a complete epoch as ``loss_curve_`` has it."""
        values = np.asarray(run.losses)
        if self._task.shown != 1:
            values = self._task.shown * values + (1 - self._task.shown) * self._penalties
        loss = float(values @ self._counts) / self.count
        return loss if self._constants is None else loss + self._constant(run.order)

    def _constant(self, order: IndexArray) -> float:
        """The mean of the deviance's constants, weighted within each batch."""
        assert self._constants is not None
        constants, starts = self._constants[order], np.arange(0, len(order), self.size)
        weight = np.ones(len(order)) if self.data[2] is None else self.data[2][order].astype(np.float64)
        sums, totals = np.add.reduceat(constants * weight, starts), np.add.reduceat(weight, starts)
        means = np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0)
        return float(means @ self._counts) / len(order)


def _penalty(alpha: float, weights: Sequence[FloatArray], share: float) -> float:
    """alpha / 2 |w|^2 over the rows that share it, or over their weights."""
    return alpha / 2 * sum(float(np.vdot(w, w)) for w in weights) / share if share else 0.0


class Measured(NamedTuple):
    """A validation set and what measures it."""

    rows: NetworkRows
    network: Any  # of what the loss reads
    loss: Any  # as lowered
    link: Any  # from there to the last layer's output


def measured(estimator: Any, task: Task, rows: NetworkRows) -> Measured:
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
    outputs = scores if held.link is None else backend.active().activation_forward(held.link, scores)
    score = estimator._score_of(task, y, outputs, weight) if np.isfinite(outputs).all() else float("nan")
    return score, loss


def stochastic(
    estimator: Any, task: Task, rows: NetworkRows, held: NetworkRows | None, *, incremental: bool
) -> Callable[[], None]:
    """Training by epochs until ``tol`` or ``max_iter`` ends them, by one where ``incremental``; all is checked."""
    count = len(rows.x)
    if estimator.batch_size == "auto":
        batch_size = min(200, count)
    else:
        if estimator.batch_size > count:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        batch_size = int(np.clip(estimator.batch_size, 1, count))
    callbacks = resolve(type(estimator).__name__, copy.deepcopy(estimator.callbacks or ()))
    source = SklearnEpochs(estimator, task, rows, batch_size)
    source.network.ready()
    measure = EpochEnd(estimator, task, source.count, None if held is None else measured(estimator, task, held))
    return partial(_train, estimator, source, measure, callbacks, incremental=incremental)


def _train(
    estimator: Any, source: SklearnEpochs, measure: EpochEnd, callbacks: Sequence[Callback], *, incremental: bool
) -> None:
    model, optimizer, loss = estimator.model_, estimator._optimizer.optimizer, measure.task.public
    epochs = 1 if incremental else estimator.max_iter
    sizes = source.batch_size, source.rows, source.steps
    directions = {f"val_{estimator._score_name}": True}
    run = TrainingRun(model, optimizer, loss, epochs, *sizes, estimator.shuffle, callbacks, directions)
    rule = partial(_stop, estimator, incremental)
    estimator.n_iter_ = 0
    run_epochs(run, source, measure, on_divergence="record", stopping_rule=rule, progress=estimator.progress)
    if run.interrupted:
        warn("Training interrupted by user.")
    model.loss = loss
    _finish(estimator, incremental=incremental)


def _stop(estimator: Any, incremental: bool, run: TrainingRun) -> None:
    """The stopping rule: a loss that is not finite, too many epochs without improvement."""
    if not np.isfinite(estimator.loss_):
        message = f"The loss is {estimator.loss_} in iteration {estimator.n_iter_}, and no step can be made from it."
        warn(message, ConvergenceWarning)
        run.stop(message)
        return
    if estimator._no_improvement_count > estimator.n_iter_no_change:
        why = _why(estimator)
        if estimator._optimizer.stops(why, estimator.verbose):
            estimator._ended = True
            run.stop(why)
            return
        estimator._no_improvement_count = 0
    if not incremental and estimator.n_iter_ == estimator.max_iter:
        warn(
            f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the optimization "
            "hasn't converged yet.",
            ConvergenceWarning,
        )


class EpochEnd:
    """The measure of an epoch's end: the estimator's attributes are brought up to date.

    Args:
        estimator: Whose epoch it is.
        task: What it learns.
        rows: How many an epoch has.
        held: The validation set, if there is one.
    """

    def __init__(self, estimator: Any, task: Task, rows: int, held: Measured | None) -> None:
        self.task = task
        self._estimator, self._rows, self._held = estimator, rows, held

    def __call__(self, values: dict[str, float]) -> dict[str, float]:
        """Loss and score of the validation set, by the names that callbacks and progress see."""
        estimator, loss = self._estimator, values["loss"]
        estimator.n_iter_ += 1
        estimator.t_ += self._rows
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        _improvement(estimator, self.task, self._held, loss)
        estimator._optimizer.epoch_ends(estimator.t_)
        if self._held is None:
            return {}
        score = estimator.validation_scores_[-1]
        return {"val_loss": estimator.validation_loss_curve_[-1], f"val_{estimator._score_name}": score}


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


def lbfgs(estimator: Any, task: Task, rows: NetworkRows, held: NetworkRows | None) -> Callable[[], None]:
    """Training by L-BFGS over all rows, in float64, by SciPy as scikit-learn calls it; all is checked.

    Where there are several targets the sum of their squared errors is minimised, and its mean shown.
    """
    caller = type(estimator).__name__
    refused = {"callbacks": estimator.callbacks, "clip_norm": estimator.clip_norm, "schedule": estimator.schedule}
    for name, value in {**refused, "X_val": held}.items():
        if value is not None and value != []:
            raise ValueError(f"{caller}: expected no {name} with solver='lbfgs', which makes no epochs of steps")
    minimize = scipy_minimize()
    lowered = penalised(estimator.model_.lower(task.loss), float(estimator.alpha))
    objective = Objective(caller, estimator.model_, lowered, LBFGS(), (rows.x, rows.y, rows.weight))
    return partial(_minimize, estimator, task, rows, objective, minimize)


def _minimize(estimator: Any, task: Task, rows: NetworkRows, objective: Objective, minimize: Any) -> None:
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


def _shown(estimator: Any, task: Task, rows: NetworkRows, value: float) -> float:
    """The loss as scikit-learn has it."""
    weight = rows.weight
    share = len(rows.x) if weight is None else float(weight.sum(dtype=np.float64))
    penalty = _penalty(float(estimator.alpha), estimator.coefs_, share)
    shown = task.shown * (value - penalty) + penalty if task.shown != 1 else value
    return shown + float(np.average(task.constants(rows.y), weights=weight)) if task.poisson else shown
