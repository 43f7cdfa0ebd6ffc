"""Optimisers: the rule of one update, and the state it carries from step to step.

An optimiser object belongs to the parameters it has begun to train: given to ``fit`` again it goes on,
state included; a new object starts afresh.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from densegrad import _check, plan, schedules
from densegrad._numpy.types import FloatArray
from densegrad._primitives import PRIMITIVES


class Optimizer:
    """The base of all optimisers.

    Attributes:
        lr: Learning rate of the next update; may be set between steps, to a number or a schedule.
        steps: Updates made so far.
        state: (rows, parameters) numbers carried between steps, or ``None`` where the rule needs none.
    """

    primitive: ClassVar[str]

    def __init__(self, lr: schedules.LearningRate) -> None:
        self.lr = lr
        self.steps = 0
        self.state: FloatArray | None = None
        self._size: int | None = None

    @property
    def lr(self) -> float:
        """Learning rate of the next update; set it to a number, above 0, a schedule or a function of the step."""
        lr = self._lr
        return lr if lr is not None else self._scheduled[self.steps]

    @lr.setter
    def lr(self, value: schedules.LearningRate) -> None:
        who = type(self).__name__
        if callable(value):
            self._schedule: schedules.Schedule | None = schedules.resolve(who, value)
            self._scheduled = schedules.OneByOne(who, self._schedule)
            self._lr: float | None = None
        else:
            self._schedule, self._lr = None, schedules.number(who, "lr", value)

    def rates(self, count: int) -> FloatArray:
        """The learning rates of the next ``count`` updates, all of them in range."""
        if self._schedule is None:
            return np.full(count, self._lr)
        return schedules.rates(type(self).__name__, self._schedule, self.steps, count)

    def observe(self, value: float) -> None:
        """Tell the schedule, where there is one, the measure of an epoch that has ended."""
        if self._schedule is not None:
            self._schedule.observe(value)

    @property
    def attributes(self) -> dict[str, float]:
        """The hyperparameters of the update beside the learning rate."""
        return {a.name: getattr(self, a.name) for a in PRIMITIVES[self.primitive].attributes}

    def bind(self, parameters: FloatArray) -> plan.Optimizer:
        """Make the state for a parameter buffer at the first call; refuse a buffer of another size."""
        if self._size is None:
            rows = PRIMITIVES[self.primitive].state
            self.state = np.zeros((rows, parameters.size), parameters.dtype) if rows else None
            self._size = parameters.size
        elif self._size != parameters.size:
            raise ValueError(
                f"{type(self).__name__}: expected the model this optimizer has trained ({self._size} parameters), "
                f"got one of {parameters.size}; make a new {type(self).__name__}"
            )
        return plan.Optimizer(self.primitive, self.attributes)

    def __repr__(self) -> str:
        lr = self.lr if self._schedule is None else self._schedule
        shown = [repr(lr), *(f"{k}={v!r}" for k, v in self._changed().items())]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _changed(self) -> dict[str, Any]:
        defaults = {a.name: a.default for a in PRIMITIVES[self.primitive].attributes}
        return {k: v for k, v in self.attributes.items() if v != defaults[k]}


class SGD(Optimizer):
    """Stochastic gradient descent: w <- w - lr dw.

    Args:
        lr: Learning rate, above 0.

    >>> import densegrad as dg
    >>> dg.SGD(0.1)
    SGD(0.1)
    """

    primitive = "sgd"


class Adam(Optimizer):
    """Adam: steps scaled by moving means of the gradient and of its square.

    g = dw + weight_decay w; m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2;
    w <- w - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), t = 1, 2, ...

    Args:
        lr: Learning rate, above 0.
        betas: (beta1, beta2), each from 0 to below 1.
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty, at least 0.

    Source: Kingma & Ba, Adam: a method for stochastic optimization (2015); the formula is PyTorch's.

    >>> import densegrad as dg
    >>> dg.Adam(), dg.Adam(0.01, betas=(0.8, 0.999))
    (Adam(0.001), Adam(0.01, betas=(0.8, 0.999)))
    """

    primitive = "adam"

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr)
        try:
            beta1, beta2 = betas
        except (TypeError, ValueError):
            raise TypeError(f"Adam: expected betas as two numbers (beta1, beta2), got {betas!r}") from None
        row = PRIMITIVES[self.primitive]
        given = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
        self._attributes = _check.attributes("Adam", row, given)

    @property
    def attributes(self) -> dict[str, float]:
        """beta1, beta2, eps and weight_decay."""
        return self._attributes

    def _changed(self) -> dict[str, Any]:
        values = {"betas": (self._attributes["beta1"], self._attributes["beta2"]), **self._attributes}
        defaults = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
        return {name: values[name] for name, default in defaults.items() if values[name] != default}
