"""Schedules: the learning rate of each update, by its number, the optimiser's first being 0.

``dg.SGD(dg.schedules.Cosine(0.1, steps=1000))``. A schedule called with a step gives the rate of that update, called
with an array of steps an array of rates: training asks once for each slice of an epoch. A function of the step does
as well, and is asked step by step. Where PyTorch has such a schedule, formula and defaults are PyTorch's, with its
epochs counted as updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from densegrad._base import check
from densegrad._base.configured import Configured
from densegrad._base.types import FloatArray

__all__ = [
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "InverseScaling",
    "OneCycle",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "Warmup",
]


LARGEST = 3e38  # still a number in float32
_AHEAD = 256  # steps that a loop of steps asks for at a time: one by one, NumPy's calls would cost more than a step

LearningRate: TypeAlias = "float | Callable[[int], float]"


class Schedule(Configured):
    """The base of all schedules.

    Arguments stay as they are: another rate is another schedule, or a number, set as ``optimizer.lr``. A schedule of
    one's own keeps its arguments as attributes of their names and is called with a step and with an array of steps.
    """

    @property
    def by_step_alone(self) -> bool:
        """Tell whether nothing but the step decides, so that rates can be asked for ahead of their steps."""
        return type(self).observe is Schedule.observe  # who does not listen does not change

    def __call__(self, step: Any) -> Any:
        """The learning rate of update ``step``, counted from 0, or those of an array of steps."""
        rate = self._rate(step if type(step) is int else np.asarray(step))
        return rate if isinstance(rate, np.ndarray) and rate.ndim else float(rate)

    def observe(self, value: float) -> None:
        """Hear the measure of an epoch that has ended; only ``ReduceOnPlateau`` minds."""

    def state_dict(self) -> dict[str, Any]:
        """The state it has come to by ``observe``, for checkpoints."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""

    def _rate(self, step: Any) -> Any:
        """The formula, for one step and for many."""
        raise NotImplementedError


class Constant(Schedule):
    """lr.

    Args:
        lr: Learning rate, above 0.

    >>> import densegrad as dg
    >>> dg.schedules.Constant(0.1)(7)
    0.1
    """

    def __init__(self, lr: float) -> None:
        self.lr = number("Constant", "lr", lr)

    def _rate(self, step: Any) -> Any:
        return np.full(np.shape(step), self.lr)


class Step(Schedule):
    """lr gamma^floor(step / step_size): down by a factor after every so many steps. PyTorch's ``StepLR``.

    Args:
        lr: First learning rate, above 0.
        step_size: Steps at each rate, at least 1.
        gamma: The factor, above 0.

    >>> import densegrad as dg
    >>> dg.schedules.Step(0.8, step_size=2, gamma=0.5)([0, 1, 2, 3, 4])
    array([0.8, 0.8, 0.4, 0.4, 0.2])
    """

    def __init__(self, lr: float, step_size: int, gamma: float = 0.1) -> None:
        self.lr = number("Step", "lr", lr)
        self.step_size = check.count("Step", "step_size", step_size)
        self.gamma = check.real("Step", "gamma", gamma, 0.0, open_low=True)

    def _rate(self, step: Any) -> Any:
        return self.lr * _power(self.gamma, step // self.step_size)


class Exponential(Schedule):
    """lr gamma^step. PyTorch's ``ExponentialLR``.

    Args:
        lr: First learning rate, above 0.
        gamma: The factor of every step, above 0; above 1 the rate climbs, which finds out where training diverges.

    >>> import densegrad as dg
    >>> dg.schedules.Exponential(0.8, gamma=0.5)([0, 1, 2])
    array([0.8, 0.4, 0.2])
    """

    def __init__(self, lr: float, gamma: float) -> None:
        self.lr = number("Exponential", "lr", lr)
        self.gamma = check.real("Exponential", "gamma", gamma, 0.0, open_low=True)

    def _rate(self, step: Any) -> Any:
        return self.lr * _power(self.gamma, step)


class InverseScaling(Schedule):
    """lr / (step + 1)^power_t. scikit-learn's ``invscaling``, which counts rows where this counts updates.

    Args:
        lr: First learning rate, above 0.
        power_t: The exponent, at least 0.

    >>> import densegrad as dg
    >>> dg.schedules.InverseScaling(0.6)([0, 3, 8])
    array([0.6, 0.3, 0.2])
    """

    def __init__(self, lr: float, power_t: float = 0.5) -> None:
        self.lr = number("InverseScaling", "lr", lr)
        self.power_t = check.real("InverseScaling", "power_t", power_t, 0.0)

    def _rate(self, step: Any) -> Any:
        return self.lr * _power(step + 1.0, -self.power_t)


class Cosine(Schedule):
    """min_lr + (lr - min_lr) (1 + cos(pi step / steps)) / 2: half a wave from lr down to min_lr.

    PyTorch's ``CosineAnnealingLR``: after ``steps`` the wave goes on and the rate climbs again.

    Args:
        lr: First learning rate, above 0.
        steps: Steps of the way down, at least 1.
        min_lr: Where it ends, at least 0.

    Source: Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts (2017).

    >>> import densegrad as dg
    >>> dg.schedules.Cosine(0.1, steps=1000)([0, 500, 1000])
    array([0.1 , 0.05, 0.  ])
    """

    def __init__(self, lr: float, steps: int, min_lr: float = 0.0) -> None:
        self.lr = number("Cosine", "lr", lr)
        self.steps = check.count("Cosine", "steps", steps)
        self.min_lr = check.real("Cosine", "min_lr", min_lr, 0.0, LARGEST)

    def _rate(self, step: Any) -> Any:
        return _wave(self.lr, self.min_lr, step / self.steps)


class CosineRestarts(Schedule):
    """``Cosine`` that begins anew from lr: cycle n, from 0, has steps t_mult^n steps.

    PyTorch's ``CosineAnnealingWarmRestarts``.

    Args:
        lr: The learning rate that each cycle begins with, above 0.
        steps: Steps of the first cycle, at least 1.
        t_mult: How many times as long as the one before each cycle is, at least 1, a whole number.
        min_lr: What each cycle comes down to, at least 0.

    Source: Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts (2017).

    >>> import densegrad as dg
    >>> dg.schedules.CosineRestarts(0.1, steps=2, t_mult=2)([0, 1, 2, 4, 6])
    array([0.1 , 0.05, 0.1 , 0.05, 0.1 ])
    """

    def __init__(self, lr: float, steps: int, t_mult: int = 1, min_lr: float = 0.0) -> None:
        self.lr = number("CosineRestarts", "lr", lr)
        self.steps = check.count("CosineRestarts", "steps", steps)
        self.t_mult = check.count("CosineRestarts", "t_mult", t_mult)
        self.min_lr = check.real("CosineRestarts", "min_lr", min_lr, 0.0, LARGEST)

    def _rate(self, step: Any) -> Any:
        if self.t_mult == 1:
            return _wave(self.lr, self.min_lr, step % self.steps / self.steps)
        last = np.max(step, initial=0)
        starts = [0, self.steps]
        while starts[-1] <= last:
            starts.append(self.t_mult * starts[-1] + self.steps)
        cycle = np.searchsorted(starts, step, side="right") - 1
        return _wave(self.lr, self.min_lr, (step - np.take(starts, cycle)) / np.take(np.diff(starts), cycle))


class OneCycle(Schedule):
    """Up from max_lr / div_factor to max_lr, then down to max_lr / (div_factor final_div_factor).

    The way up ends at step pct_start steps - 1, the way down at steps - 1, where the rate stays; each is half a wave
    of the cosine, or straight. With three phases the way down first mirrors the way up, and from the first rate goes
    on to the last. PyTorch's ``OneCycleLR`` without its cycle of the momentum; it refuses steps beyond the last.

    Args:
        max_lr: Highest learning rate, above 0.
        steps: Steps of the whole cycle, at least 1.
        pct_start: Share of the steps that the rate climbs, from 0 to 1.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        div_factor: max_lr over the first rate, above 0.
        final_div_factor: The first rate over the last, above 0.
        three_phase: Whether the way down has two parts.

    Source: Smith & Topin, Super-convergence: very fast training of neural networks using large learning rates (2018).

    >>> import densegrad as dg
    >>> dg.schedules.OneCycle(1.0, steps=10, pct_start=0.5, div_factor=4, anneal_strategy="linear")([0, 2, 4, 9])
    array([2.50e-01, 6.25e-01, 1.00e+00, 2.50e-05])
    """

    def __init__(
        self,
        max_lr: float,
        steps: int,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        caller = "OneCycle"
        self.max_lr = number(caller, "max_lr", max_lr)
        self.steps = check.count(caller, "steps", steps)
        self.pct_start = check.real(caller, "pct_start", pct_start, 0.0, 1.0)
        self.anneal_strategy = check.choice(caller, "anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.div_factor = check.real(caller, "div_factor", div_factor, 0.0, open_low=True)
        self.final_div_factor = check.real(caller, "final_div_factor", final_div_factor, 0.0, open_low=True)
        self.three_phase = check.flag(caller, "three_phase", three_phase)

    def _rate(self, step: Any) -> Any:
        first = self.max_lr / self.div_factor
        top, end, last = self.pct_start * self.steps - 1, self.steps - 1, first / self.final_div_factor
        phases = [(0.0, top, first, self.max_lr), (top, end, self.max_lr, last)]
        if self.three_phase:
            phases[1:] = [(top, 2 * top, self.max_lr, first), (2 * top, end, first, last)]
        step = np.minimum(step, end)
        rate = self._between(*phases[-1], step)
        for phase in reversed(phases[:-1]):
            rate = np.where(step <= phase[1], self._between(*phase, step), rate)
        return rate

    def _between(self, begin: float, end: float, first: float, last: float, step: Any) -> Any:
        """The rate of a phase; one of no length is at its end."""
        share = (step - begin) / (end - begin) if end != begin else 1.0
        return _wave(first, last, share) if self.anneal_strategy == "cos" else first + (last - first) * share


class Warmup(Schedule):
    """A straight way up to another schedule, which begins when it ends.

    schedule(0) (start_factor + (1 - start_factor) step / steps) before step ``steps``, then schedule(step - steps).
    PyTorch's ``LinearLR`` in a ``SequentialLR``.

    Args:
        schedule: What follows: a schedule, a number or a function of the step.
        steps: Steps of the way up, at least 1.
        start_factor: Where it begins, as a share of the rate it leads to, from 0 to 1.

    >>> import densegrad as dg
    >>> dg.schedules.Warmup(0.4, steps=4, start_factor=0)([0, 1, 2, 3, 4, 5])
    array([0. , 0.1, 0.2, 0.3, 0.4, 0.4])
    """

    def __init__(self, schedule: LearningRate, steps: int, start_factor: float = 1 / 3) -> None:
        self.schedule = schedule
        self.steps = check.count("Warmup", "steps", steps)
        self.start_factor = check.real("Warmup", "start_factor", start_factor, 0.0, 1.0)
        self._behind = resolve("Warmup", schedule)

    def observe(self, value: float) -> None:
        self._behind.observe(value)

    def state_dict(self) -> dict[str, Any]:
        return self._behind.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._behind.load_state_dict(state)

    @property
    def by_step_alone(self) -> bool:
        return self._behind.by_step_alone

    def _rate(self, step: Any) -> Any:
        step = np.asarray(step)
        rate = np.empty(step.shape)
        before = step < self.steps
        if before.any():
            share = self.start_factor + (1 - self.start_factor) * (step[before] / self.steps)
            rate[before] = self._behind(0) * share
        if not before.all():
            rate[~before] = self._behind(step[~before] - self.steps)
        return rate


class ReduceOnPlateau(Schedule):
    """lr, and a factor lower each time that the measure has not improved for more than ``patience`` epochs.

    An improvement is a measure below best (1 - threshold), or below best - threshold with the mode ``"abs"``; NaN is
    none. ``fit`` tells ``val_loss`` at each epoch's end, or the loss where there is no validation data; in a loop of
    steps call ``observe``. An object remembers the best measure and the rate it has come to: each run wants its own.
    PyTorch's ``ReduceLROnPlateau``.

    Args:
        lr: First learning rate, above 0.
        factor: What the rate is multiplied by, from 0 to below 1.
        patience: Epochs without improvement that are borne, at least 0.
        threshold: How much better counts as better, at least 0.
        threshold_mode: ``"rel"`` or ``"abs"``.
        cooldown: Epochs after a reduction that do not count, at least 0.
        min_lr: The rate goes no lower, at least 0.
        eps: A reduction of no more than this is not made, at least 0.
        mode: ``"min"``, or ``"max"`` where more is better: above best (1 + threshold), or best + threshold.

    >>> import densegrad as dg
    >>> schedule = dg.schedules.ReduceOnPlateau(0.1, factor=0.5, patience=1)
    >>> rates = []
    >>> for loss in [3.0, 2.0, 2.0, 2.0, 2.0]:
    ...     schedule.observe(loss)
    ...     rates.append(schedule(0))
    >>> rates
    [0.1, 0.1, 0.1, 0.05, 0.05]
    """

    def __init__(
        self,
        lr: float,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
        mode: str = "min",
    ) -> None:
        caller = "ReduceOnPlateau"
        self.lr = number(caller, "lr", lr)
        self.factor = check.real(caller, "factor", factor, 0.0)
        if self.factor >= 1:
            raise ValueError(f"{caller}: expected a factor below 1, got {self.factor:g}")
        self.patience = check.count(caller, "patience", patience, low=0)
        self.threshold = check.real(caller, "threshold", threshold, 0.0)
        self.threshold_mode = check.choice(caller, "threshold_mode", threshold_mode, ("rel", "abs"))
        self.cooldown = check.count(caller, "cooldown", cooldown, low=0)
        self.min_lr = check.real(caller, "min_lr", min_lr, 0.0, LARGEST)
        self.eps = check.real(caller, "eps", eps, 0.0)
        self.mode = check.choice(caller, "mode", mode, ("min", "max"))
        self._now = self.lr
        self._best = math.inf if mode == "min" else -math.inf
        self._bad = 0  # epochs without improvement
        self._resting = 0  # epochs of the cooldown that are left

    def observe(self, value: float) -> None:
        """Hear the measure of an epoch; from the next step on the rate may be lower."""
        try:
            value = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"ReduceOnPlateau.observe: expected value as a number, got {value!r}") from None
        if self._improves(value):
            self._best, self._bad = value, 0
        else:
            self._bad += 1
        if self._resting > 0:
            self._resting -= 1
            self._bad = 0
        if self._bad > self.patience:
            reduced = max(self._now * self.factor, self.min_lr)
            if self._now - reduced > self.eps:
                self._now = reduced
            self._resting, self._bad = self.cooldown, 0

    def state_dict(self) -> dict[str, Any]:
        return {"now": self._now, "best": self._best, "bad": self._bad, "resting": self._resting}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._now, self._best, self._bad, self._resting = (state[k] for k in ("now", "best", "bad", "resting"))

    def _improves(self, value: float) -> bool:
        margin = -self.threshold if self.mode == "min" else self.threshold
        bound = self._best * (1 + margin) if self.threshold_mode == "rel" else self._best + margin
        return value < bound if self.mode == "min" else value > bound

    def _rate(self, step: Any) -> Any:
        return np.full(np.shape(step), self._now)


class _Function(Schedule):
    """A function of the step, asked step by step."""

    def __init__(self, caller: str, function: Callable[[int], float]) -> None:
        self.caller = caller
        self.function = function

    def __repr__(self) -> str:
        return repr(self.function)

    @property
    def by_step_alone(self) -> bool:
        return False  # who knows

    def _rate(self, step: Any) -> Any:
        if type(step) is int:
            return self._one(step)
        return np.array([self._one(int(number)) for number in step.flat]).reshape(step.shape)

    def _one(self, step: int) -> float:
        return check.real(self.caller, f"lr at step {step}", self.function(step), 0.0, LARGEST)


# ---- for optimisers


def number(caller: str, what: str, value: Any) -> float:
    """A learning rate given as a number, above 0."""
    lr = check.real(caller, what, value, 0.0, open_low=True)
    if lr > LARGEST:
        raise ValueError(f"{caller}: expected {what} <= {LARGEST:g}, got {lr:g}")
    return lr


def resolve(caller: str, lr: Any) -> Schedule:
    """The schedule that a user's number, schedule or function means."""
    if isinstance(lr, Schedule):
        return lr
    if isinstance(lr, type):
        raise TypeError(f"{caller}: expected lr as an object such as dg.schedules.Cosine(0.1, steps=1000), got {lr!r}")
    return _Function(caller, lr) if callable(lr) else Constant(number(caller, "lr", lr))


def rates(caller: str, schedule: Schedule, first: int, count: int) -> FloatArray:
    """The learning rates of ``count`` steps from ``first`` on, all of them in range."""
    values = _asked(caller, schedule, first, count)
    wrong = ~((values >= 0) & (values <= LARGEST))
    if wrong.any():
        place = int(wrong.argmax())
        _in_range(caller, float(values[place]), first + place)
    return values


class OneByOne:
    """A schedule's rates for a loop of steps, asked for some steps ahead where nothing but the step decides."""

    def __init__(self, caller: str, schedule: Schedule) -> None:
        self.caller = caller
        self.schedule = schedule
        self._first = 0
        self._ahead: list[float] = []

    def __getitem__(self, step: int) -> float:
        if not self.schedule.by_step_alone:
            return _in_range(self.caller, self.schedule(step), step)
        place = step - self._first
        if not 0 <= place < len(self._ahead):
            self._first, place = step, 0
            self._ahead = _asked(self.caller, self.schedule, step, _AHEAD).tolist()
        return _in_range(self.caller, self._ahead[place], step)


# ---- inside


def _asked(caller: str, schedule: Schedule, first: int, count: int) -> FloatArray:
    values: FloatArray = np.asarray(schedule(np.arange(first, first + count)), np.float64)
    if values.shape != (count,):
        raise ValueError(
            f"{caller}: expected {count} rates of {schedule!r} for {count} steps, got shape {values.shape}"
        )
    return values


def _in_range(caller: str, lr: float, step: int) -> float:
    return lr if 0 <= lr <= LARGEST else check.real(caller, f"lr at step {step}", lr, 0.0, LARGEST)


def _wave(first: float, last: float, share: Any) -> Any:
    """Half a wave of the cosine, from first at share 0 to last at share 1."""
    return last + (first - last) * (1 + np.cos(np.pi * share)) / 2


def _power(base: Any, exponent: Any) -> Any:
    """base^exponent; what is too large is infinite, for whoever checks the rates."""
    with np.errstate(over="ignore"):
        return np.power(base, exponent, dtype=np.float64)
