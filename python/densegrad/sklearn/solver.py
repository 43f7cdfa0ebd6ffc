"""Solvers as scikit-learn has them: an optimiser and what becomes of its learning rate from epoch to epoch."""

from __future__ import annotations

import copy
from typing import Any

from densegrad._training.lbfgs import LBFGS
from densegrad.optimizers import SGD, Adam, Optimizer

_LEAST = 1e-6  # learning rate at which "adaptive" stops


class Solver:
    """An optimiser, and its learning rate by ``constant``, ``invscaling`` or ``adaptive``; a schedule's is its own.

    scikit-learn's momentum is v <- momentum v - lr g, which keeps the rates of its steps; that of ``SGD`` is -v / lr.
    """

    def __init__(self, optimizer: Optimizer, mode: str, initial: float, power_t: float) -> None:
        self.optimizer = optimizer
        self._mode, self._initial, self._power_t = mode, initial, power_t

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return self.optimizer.lr

    def epoch_ends(self, t: int) -> None:
        """``t`` rows have been trained on in all."""
        if self._mode == "invscaling":
            self._set(float(self._initial) / (t + 1) ** self._power_t)

    def stops(self, why: str, verbose: Any) -> bool:
        """Tell whether no improvement ends the run; ``adaptive`` goes on with a fifth of the rate."""
        adaptive = self._mode == "adaptive"
        if adaptive and self.learning_rate > _LEAST:
            self._set(self.learning_rate / 5)
            what = f"Setting learning rate to {self.learning_rate:f}"
        else:
            what = "Learning rate too small. Stopping." if adaptive else "Stopping."
        if verbose:
            print(f"{why} {what}")
        return what.endswith("Stopping.")

    def _set(self, lr: float) -> None:
        if self.optimizer.state is not None:
            self.optimizer.state *= self.learning_rate / lr
        self.optimizer.lr = lr


def make_solver(estimator: Any) -> Solver:
    """The solver that the estimator's arguments ask for."""
    caller = type(estimator).__name__
    if estimator.optimizer is not None:
        if isinstance(estimator.optimizer, LBFGS):
            raise ValueError(f"{caller}: expected solver='lbfgs', got optimizer={estimator.optimizer!r}")
        if not isinstance(estimator.optimizer, Optimizer):
            raise TypeError(
                f"{caller}: expected optimizer as an object such as dg.AdamW(), got {estimator.optimizer!r}"
            )
        for name in ("schedule", "clip_norm"):
            if getattr(estimator, name) is not None:
                raise ValueError(f"{caller}: expected {name} as an argument of the optimizer, got both")
        return Solver(copy.deepcopy(estimator.optimizer), "constant", 0.0, 0.0)
    mode = estimator.learning_rate if estimator.solver == "sgd" and estimator.schedule is None else "constant"
    lr = estimator.learning_rate_init if estimator.schedule is None else copy.deepcopy(estimator.schedule)
    optimizer: Optimizer
    if estimator.solver == "sgd":
        nesterov = bool(estimator.nesterovs_momentum and estimator.momentum > 0)
        optimizer = SGD(lr, estimator.momentum, nesterov=nesterov, clip_norm=estimator.clip_norm)
    else:
        betas = (estimator.beta_1, estimator.beta_2)
        optimizer = Adam(lr, betas, estimator.epsilon, eps_hat=True, clip_norm=estimator.clip_norm)
    return Solver(optimizer, mode, estimator.learning_rate_init, estimator.power_t)
