"""L-BFGS: training on all rows at once, for small data; SciPy makes the iterations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.configured import Configured
from densegrad._base.lazy_rows import whole
from densegrad._base.plan import Plan
from densegrad._base.types import FloatArray
from densegrad._model_core import ModelCore
from densegrad._plan.split_network import network_of
from densegrad._rows.rows import Rows, checked_rows
from densegrad._training.history import History
from densegrad._training.interrupt import interrupt_deferred
from densegrad._training.measure import resolve_metrics
from densegrad._training.preparation import prepared
from densegrad._training.progress import progress_bar
from densegrad.errors import DivergenceError, already_training
from densegrad.losses import LossLike, as_written
from densegrad.metrics import Metric

_NOT_OF_PARAMETERS = {"dropout": "Dropout", "batch_norm": "BatchNorm"}


class LBFGS(Configured):
    """Limited-memory BFGS: w <- w - a H dw, by the gradient over all rows, the step a from a line search.

    H is what the last ``history`` iterations tell of the inverse Hessian. ``model.fit(..., optimizer=dg.LBFGS())``
    minimises the loss over all rows: an epoch is an iteration, which costs about one pass over the data, and fit
    ends early where ``gtol`` or ``ftol`` is met. ``batch_size`` is left out or at least the number of rows;
    ``shuffle`` means nothing. The history has the loss after each iteration. Each call begins with an empty memory.

    All arithmetic is float64, whatever the model's dtype: the line search tells losses apart that are equal in
    float32. The data and what the network needs for all rows at once must fit in memory.

    Args:
        max_iter: Iterations at most, where ``fit`` is not given its ``epochs``.
        gtol: Ends where no element of the gradient is larger, at least 0.
        ftol: Ends where an iteration lowers the loss f by less than ftol max(f, 1), at least 0.
        history: Iterations remembered, each by two numbers for each parameter.

    Attributes:
        steps: Iterations made.
        converged: Whether the last ``fit`` ended because ``gtol`` or ``ftol`` was met.
        message: Why the last ``fit`` ended, in SciPy's words.

    Source: Liu & Nocedal, On the limited memory BFGS method for large scale optimization (1989); Zhu et al., Algorithm
    778: L-BFGS-B (1997). Needs SciPy: ``pip install 'densegrad[lbfgs]'``.

    >>> import numpy as np, densegrad as dg
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> model = dg.Sequential([dg.Dense(5, "tanh"), dg.Dense(1)], input_size=1, dtype="float64", seed=0)
    >>> history = model.fit(x, np.sin(3 * x), loss="mse", optimizer=dg.LBFGS(), epochs=200)
    >>> history["loss"][-1] < 1e-4
    True
    """

    def __init__(self, max_iter: int = 200, gtol: float = 1e-5, ftol: float = 1e-9, history: int = 10) -> None:
        self.max_iter = check.count("LBFGS", "max_iter", max_iter)
        self.gtol = check.real("LBFGS", "gtol", gtol, 0.0)
        self.ftol = check.real("LBFGS", "ftol", ftol, 0.0)
        self.history = check.count("LBFGS", "history", history)
        self.steps = 0
        self.converged = False
        self.message = ""


def minimize_loss(
    model: ModelCore,
    x: Any,
    y: Any,
    *,
    loss: LossLike,
    optimizer: LBFGS,
    epochs: int | None = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    validation_data: Sequence[Any] | None = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    metrics: Sequence[str | Metric] = (),
    validation_split: float | None = None,
    progress: bool | None = None,
    **others: Any,
) -> History:
    """``model.fit`` by ``LBFGS``; arguments as for ``Trainer.fit``, those about batches as ``LBFGS`` says.

    Where it is interrupted, or a loss is not finite, the model keeps the parameters of the last whole iteration,
    the best so far.
    """
    caller = f"{type(model).__name__}.fit"
    for name in others:
        raise TypeError(f"{caller}: LBFGS takes no {name}: it makes no steps on batches, and has no run to go on with")
    if y is None:
        raise ValueError(f"{caller}: LBFGS trains on all rows at once; expected x and y as arrays, got x alone")
    minimize = scipy_minimize()
    if model.training_lock.locked():
        raise already_training(caller)
    with model.training_lock:
        resolved = model.resolve_loss(caller, loss)
        model.check_loss(caller, resolved)
        iterations = optimizer.max_iter if epochs is None else check.count(caller, "epochs", epochs)
        named = resolve_metrics(caller, model, metrics)
        rows = checked_rows(caller, model, resolved, x, y, sample_weight, class_weight)
        _check_whole(caller, batch_size, len(rows[0]))
        rows, measure = prepared(caller, model, resolved, rows, named, validation_data, validation_split)
        objective = Objective(caller, model, model.lower(resolved), optimizer, rows)
        history = History()
        with progress_bar(iterations, 1, progress) as bar:
            start = time.perf_counter()

            def accept(w: FloatArray) -> None:
                """The end of an iteration: the model takes its parameters."""
                with interrupt_deferred():
                    model.parameters[objective.trainable] = w
                    model.loss = as_written(resolved)
                    optimizer.steps += 1
                record()

            def record() -> None:
                nonlocal start
                values = {"loss": objective.value, "seconds": time.perf_counter() - start, **measure()}
                history.append(values)
                bar.steps(1, objective.value, len(rows[0]))
                bar.epoch(values)
                start = time.perf_counter()

            result = minimize(
                objective,
                objective.flat[objective.trainable],
                method="L-BFGS-B",
                jac=True,
                callback=accept,
                options={
                    "maxiter": iterations,
                    "maxfun": 100 * iterations,  # SciPy's line search makes 20 evaluations at most
                    "maxcor": optimizer.history,
                    "gtol": optimizer.gtol,
                    "ftol": optimizer.ftol,
                },
            )
            if not history:  # there was nothing to gain
                record()
        optimizer.converged, optimizer.message = bool(result.success), str(result.message)
        return history


class Objective:
    """The loss over all rows and its gradient, of the trainable parameters in float64.

    Args:
        caller: For errors.
        model: Whose parameters they are; it keeps its own.
        lowered: Its plan, with the loss.
        optimizer: Whose iterations a ``DivergenceError`` counts.
        rows: All of them.

    Attributes:
        flat: All parameters, in float64.
        trainable: The places of those that are trained.
        value: Of the last call.
    """

    def __init__(self, caller: str, model: ModelCore, lowered: Plan, optimizer: LBFGS, rows: Rows) -> None:
        lowered = replace(lowered, dtype="float64")
        for node in lowered.nodes:
            if node.primitive in _NOT_OF_PARAMETERS:
                layer = _NOT_OF_PARAMETERS[node.primitive]
                raise ValueError(
                    f"{caller}: LBFGS expected a loss that parameters alone decide, got a model with {layer}"
                )
        spans = [np.arange(slot.offset, slot.offset + slot.size) for slot in model.slots() if slot.trainable]
        if not spans:
            raise ValueError(f"{caller}: LBFGS expected a model with something to train, got every layer frozen")
        self.trainable = np.concatenate(spans)
        self.flat = model.parameters.astype(np.float64)
        self.value = np.nan
        self._gradients = np.zeros_like(self.flat)
        self._optimizer = optimizer
        x, y, sample_weight = rows
        self._x = whole(x).astype(np.float64, copy=False)
        self._y = y.astype(np.float64, copy=False) if y.dtype.kind == "f" else y
        self._weight = None if sample_weight is None else sample_weight.astype(np.float64, copy=False)
        self._network = network_of(lowered, self.flat)

    def __call__(self, w: FloatArray) -> tuple[float, FloatArray]:
        """The loss at w and its gradient."""
        self.flat[self.trainable] = w
        self.value = self._network.loss_and_gradients(self._x, self._y, self._gradients, self._weight)
        if not np.isfinite(self.value):
            raise DivergenceError(self.value, self._optimizer.steps)
        return self.value, self._gradients[self.trainable]


def scipy_minimize() -> Any:
    """SciPy's, or an ``ImportError`` that says what to install."""
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise ImportError("LBFGS needs SciPy: pip install 'densegrad[lbfgs]'") from None
    return minimize


def _check_whole(caller: str, batch_size: Any, rows: int) -> None:
    if batch_size is not None and check.count(caller, "batch_size", batch_size) < rows:
        raise ValueError(
            f"{caller}: LBFGS trains on all {rows} rows at once; expected batch_size=None or >= {rows}, "
            f"got {batch_size}"
        )
