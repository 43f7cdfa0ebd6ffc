"""Optimisers: the rule of one update, and the state it carries from step to step.

An optimiser object belongs to the parameters it has begun to train: given to ``fit`` again it goes on,
state included; a new object starts afresh. A copy, or what a pickle brings back, has a state of its own.

Names, arguments and defaults are those of PyTorch 2.13, and so are the formulas but where a docstring says
otherwise. g is the gradient dw, with weight_decay w added where the penalty is L2's; t = 1, 2, ... counts the
optimiser's updates, also for parameters that were frozen during some of them (PyTorch counts each one's own).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypedDict, TypeVar, overload

import numpy as np

from densegrad import schedules
from densegrad._base import check
from densegrad._base.configured import REQUIRED, Configured
from densegrad._base.memory import aligned_zeros
from densegrad._base.plan import OptimizerSpec, Slot
from densegrad._base.primitives import BELOW_ONE, PRIMITIVES
from densegrad._base.types import FloatArray

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RMSprop",
]


_LINE = 16  # numbers of float32 in a cache line

Value = TypeVar("Value")


class Parametrized(Protocol):
    """A model, as far as optimisers know it."""

    @property
    def parameters(self) -> FloatArray:
        """All of them in one flat buffer."""
        ...

    def slots(self) -> list[Slot]:
        """The place of each array in the buffer."""
        ...

    def view(self, slot: Slot) -> FloatArray:
        """One array of the parameters."""
        ...

    def copy(self) -> Self:
        """A model of its own with the same numbers."""
        ...


_Model = TypeVar("_Model", bound=Parametrized)


class Hyperparameter(Generic[Value]):
    """An argument of an optimiser, to be read: steps have been made with it, so that it cannot be set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, optimizer: None, owner: type) -> Hyperparameter[Value]: ...
    @overload
    def __get__(self, optimizer: Optimizer, owner: type) -> Value: ...
    def __get__(self, optimizer: Optimizer | None, owner: type) -> Hyperparameter[Value] | Value:
        if optimizer is None:
            return self
        value: Value = optimizer.hyperparameters[self._name]
        return value

    def __set__(self, optimizer: Optimizer, value: Value) -> None:
        caller = type(optimizer).__name__
        raise AttributeError(
            f"{caller}: {self._name} is fixed; make a new {caller} to train with {self._name}={value!r}"
        )


class Options(TypedDict, total=False):
    """Arguments of every optimiser beside its own, as ``Optimizer`` says; ``None`` leaves it out."""

    clip_norm: float | None
    clip_value: float | None
    average: float | None


class Optimizer(Configured):
    """The base of all optimisers.

    Each takes, as keywords, what is done to whole gradients before an update and to the parameters behind it:

    Args:
        lr: Learning rate, above 0: a number, a schedule or a function of the step.
        clip_value: Each number of the gradients is cut to within +-clip_value, above 0.
        clip_norm: All gradients are then scaled by min(1, clip_norm / (norm + 1e-6)), where norm = sqrt(sum(g^2)) goes
            over all that is trained; above 0. Penalties of layers are in the gradients, weight decay is not.
        average: Keeps a moving average of what is trained, a <- average a + (1 - average) w after each update, from the
            parameters before the first; above 0 and below 1. ``averaged`` gives a model of it.

    Source: Pascanu et al., On the difficulty of training recurrent neural networks (2013); Polyak & Juditsky,
    Acceleration of stochastic approximation by averaging (1992).

    >>> import densegrad as dg
    >>> dg.Adam(clip_norm=1.0, average=0.99)
    Adam(0.001, clip_norm=1.0, average=0.99)

    Attributes:
        lr: Learning rate of the next update; may be set between steps, to a number or a schedule.
        steps: Updates made so far.
        state: (rows, parameters) numbers carried between steps, the moving average last, or ``None``.
        hyperparameters: What else it was made with, by name.
    """

    primitives: ClassVar[tuple[str, ...]]  # the rows of the table that its arguments choose from
    primitive: str  # the one chosen
    _start: float = 0.0  # what the state is filled with
    clip_norm = Hyperparameter[float | None]()
    clip_value = Hyperparameter[float | None]()
    average = Hyperparameter[float | None]()

    def __init__(
        self,
        lr: schedules.LearningRate,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        average: float | None = None,
    ) -> None:
        self.lr = lr
        self.hyperparameters: dict[str, Any] = {
            "clip_norm": self._optional("clip_norm", clip_norm, np.inf),
            "clip_value": self._optional("clip_value", clip_value, np.inf),
            "average": self._optional("average", average, BELOW_ONE),
        }
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
        caller = type(self).__name__
        if callable(value):
            self._schedule: schedules.Schedule | None = schedules.resolve(caller, value)
            self._scheduled = schedules.OneByOne(caller, self._schedule)
            self._lr: float | None = None
        else:
            self._schedule, self._lr = None, schedules.number(caller, "lr", value)

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
        return {a.name: self.hyperparameters[a.name] for a in PRIMITIVES[self.primitive].attributes}

    def bind(self, parameters: FloatArray) -> OptimizerSpec:
        """Make the state for a parameter buffer at the first call; refuse a buffer of another size."""
        if self._size is None:
            rows = PRIMITIVES[self.primitive].state + (self.average is not None)
            if rows:
                self.state = _aligned_rows(rows, parameters.size, parameters.dtype.name)
                if self._start:
                    self.state.fill(self._start)
                if self.average is not None:
                    self.state[-1] = parameters
            self._size = parameters.size
        elif self._size != parameters.size:
            raise ValueError(
                f"{type(self).__name__}: expected the model this optimizer has trained ({self._size} parameters), "
                f"got one of {parameters.size}; make a new {type(self).__name__}"
            )
        return OptimizerSpec(
            self.primitive,
            self.attributes,
            clip_value=self.clip_value or 0.0,
            clip_norm=self.clip_norm or 0.0,
            average=self.average or 0.0,
        )

    def averaged(self, model: _Model) -> _Model:
        """A copy of the model with the moving average of what was trained in the place of its last values.

        Args:
            model: The model that this optimiser has trained.

        Raises:
            ValueError: The optimiser was made without ``average``, or has trained another model or none.
        """
        caller = f"{type(self).__name__}.averaged"
        if self.average is None or self.state is None:
            missing = "one without" if self.average is None else "one that has not trained"
            raise ValueError(f"{caller}: expected an optimizer made with average=... that has trained, got {missing}")
        if model.parameters.size != self._size:
            raise ValueError(
                f"{caller}: expected the model this optimizer has trained ({self._size} parameters), "
                f"got one of {model.parameters.size}"
            )
        other = model.copy()
        for slot in other.slots():
            if slot.trainable:
                other.view(slot)[...] = self.state[-1, slot.offset : slot.offset + slot.size].reshape(slot.shape)
        return other

    @property
    def scheduled(self) -> bool:
        """Tell whether a schedule or a function decides the learning rate."""
        return self._schedule is not None

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on, as copies: a checkpoint's part of it."""
        return {
            "name": type(self).__name__,
            "hyperparameters": {name: _plain(value) for name, value in self.hyperparameters.items()},
            "lr": self._lr,
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "steps": self.steps,
            "state": None if self.state is None else self.state.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any], parameters: FloatArray) -> None:
        """Take back what ``state_dict`` gave, of an optimiser made with the same arguments for such parameters."""
        caller = f"{type(self).__name__}.load_state_dict"
        own = self.state_dict()
        for what in ("name", "hyperparameters"):
            if state[what] != own[what]:
                raise ValueError(f"{caller}: expected the {what} {own[what]!r}, got {state[what]!r}")
        if (state["schedule"] is None) != (self._schedule is None):
            kind = "number" if self._schedule is None else "schedule"
            raise ValueError(f"{caller}: expected lr as a {kind}, as it is here")
        steps = check.count(caller, "steps", state["steps"], low=0)
        self.bind(parameters)
        given, kept = state["state"], self.state
        if (given is None) != (kept is None) or (given is not None and kept is not None and given.shape != kept.shape):
            shapes = ["none" if each is None else f"shape {np.shape(each)}" for each in (kept, given)]
            raise ValueError(f"{caller}: expected a state of {shapes[0]}, got {shapes[1]}")
        if self._schedule is None:
            self.lr = state["lr"]
        else:
            self._schedule.load_state_dict(state["schedule"])
        if kept is not None:
            kept[...] = given
        self.steps = steps

    @classmethod
    @cache
    def defaults(cls) -> dict[str, Any]:
        """The constructor's defaults by name; the learning rate is always told."""
        options = {name: each.default for name, each in inspect.signature(Optimizer).parameters.items()}
        return {**super().defaults(), **options, "lr": REQUIRED}

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {**super().arguments(), "lr": self.lr if self._schedule is None else self._schedule}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": None if self.state is None else self.state.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.state is not None:
            rows, columns = self.state.shape
            aligned = _aligned_rows(rows, columns, self.state.dtype.name)
            aligned[...] = self.state
            self.state = aligned

    def _optional(self, name: str, value: float | None, high: float) -> float | None:
        if value is None:
            return None
        return check.real(type(self).__name__, name, value, 0.0, high, open_low=True)

    def _take(self, **given: Any) -> None:
        """Keep hyperparameters: numbers in the ranges that the table has, the others flags."""
        caller = type(self).__name__
        if "betas" in given:
            given["beta1"], given["beta2"] = _pair(caller, given.pop("betas"))
        known = {a.name: a for name in self.primitives for a in PRIMITIVES[name].attributes}
        for name, value in given.items():
            number = known.get(name)
            self.hyperparameters[name] = (
                check.flag(caller, name, value)
                if number is None
                else check.real(caller, name, value, number.low, number.high)
            )
        if "beta1" in given:
            self.hyperparameters["betas"] = (self.hyperparameters["beta1"], self.hyperparameters["beta2"])


def _aligned_rows(rows: int, columns: int, dtype: str) -> FloatArray:
    """Zeros, of which each row starts on a cache line: the widest vector then loads one line, not two."""
    stride = -(-columns // _LINE) * _LINE
    return aligned_zeros(rows * stride, dtype).reshape(rows, stride)[:, :columns]


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _pair(caller: str, betas: Any) -> tuple[Any, Any]:
    try:
        beta1, beta2 = betas
    except (TypeError, ValueError):
        raise TypeError(f"{caller}: expected betas as two numbers (beta1, beta2), got {betas!r}") from None
    return beta1, beta2


class SGD(Optimizer):
    """Stochastic gradient descent: w <- w - lr g, g = dw + weight_decay w.

    With momentum b <- momentum b + (1 - dampening) g, though the first b is g, and w <- w - lr b;
    with Nesterov's b <- momentum b + g and w <- w - lr (g + momentum b).

    Args:
        lr: Learning rate, above 0.
        momentum: How much of b goes on, from 0 to 1.
        dampening: How much of g stays out of b, from 0 to 1; 0 with ``nesterov``.
        weight_decay: L2 penalty, at least 0.
        nesterov: Look ahead by one step; expects a momentum.
        options: ``clip_norm``, ``clip_value`` and ``average``, as in ``Optimizer``.

    Source: Polyak, Some methods of speeding up the convergence of iteration methods (1964); Sutskever et al., On the
    importance of initialization and momentum in deep learning (2013).

    >>> import densegrad as dg
    >>> dg.SGD(0.1), dg.SGD(0.1, momentum=0.9, nesterov=True)
    (SGD(0.1), SGD(0.1, momentum=0.9, nesterov=True))
    """

    primitives = ("sgd", "sgd_weight_decay", "sgd_momentum", "sgd_nesterov")
    momentum = Hyperparameter[float]()
    dampening = Hyperparameter[float]()
    weight_decay = Hyperparameter[float]()
    nesterov = Hyperparameter[bool]()

    def __init__(
        self,
        lr: schedules.LearningRate = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr, **options)
        self._take(momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov)
        if self.nesterov and not (self.momentum > 0 and self.dampening == 0):
            raise ValueError(
                "SGD: expected momentum > 0 and dampening = 0 with nesterov=True, "
                f"got momentum {self.momentum:g} and dampening {self.dampening:g}"
            )
        if self.momentum > 0:
            self.primitive = "sgd_nesterov" if self.nesterov else "sgd_momentum"
        else:
            self.primitive = "sgd_weight_decay" if self.weight_decay > 0 else "sgd"


class Adam(Optimizer):
    """Adam: steps scaled by moving means of the gradient and of its square.

    g = dw + weight_decay w; m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2;
    w <- w - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), t = 1, 2, ...;
    with ``amsgrad`` the largest v so far stands in the place of v.

    Args:
        lr: Learning rate, above 0.
        betas: (beta1, beta2), each from 0 to below 1.
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty, at least 0.
        amsgrad: Never lengthen a step because v has fallen.
        eps_hat: Add eps to sqrt(v) itself, before v is divided by 1 - beta2^t: the form at the end of the paper's
            section 2, and scikit-learn's and TensorFlow's, which holds the first steps of small gradients back. Not
            with ``amsgrad``.
        options: ``clip_norm``, ``clip_value`` and ``average``, as in ``Optimizer``.

    Source: Kingma & Ba, Adam: a method for stochastic optimization (2015); Reddi et al., On the convergence of Adam and
    beyond (2018), whose u is, as in PyTorch, the largest v before its division by 1 - beta2^t.

    >>> import densegrad as dg
    >>> dg.Adam(), dg.Adam(0.01, betas=(0.8, 0.999))
    (Adam(0.001), Adam(0.01, betas=(0.8, 0.999)))
    """

    primitives = ("adam", "adam_amsgrad", "adam_eps_hat")
    betas = Hyperparameter[tuple[float, float]]()
    eps = Hyperparameter[float]()
    weight_decay = Hyperparameter[float]()
    amsgrad = Hyperparameter[bool]()
    eps_hat = Hyperparameter[bool]()

    def __init__(
        self,
        lr: schedules.LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        eps_hat: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr, **options)
        self._take(betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, eps_hat=eps_hat)
        if self.amsgrad and self.eps_hat:
            raise ValueError("Adam: expected amsgrad or eps_hat, got both")
        self.primitive = "adam_amsgrad" if self.amsgrad else "adam_eps_hat" if self.eps_hat else "adam"


class AdamW(Optimizer):
    """Adam with decoupled weight decay: w <- (1 - lr weight_decay) w, then Adam's step on dw alone.

    Args:
        lr: Learning rate, above 0.
        betas: (beta1, beta2), each from 0 to below 1.
        eps: Added to the denominator, at least 0.
        weight_decay: How much of w is lost in a step of lr = 1, at least 0.
        amsgrad: Never lengthen a step because v has fallen.
        options: ``clip_norm``, ``clip_value`` and ``average``, as in ``Optimizer``.

    Source: Loshchilov & Hutter, Decoupled weight decay regularization (2019).

    >>> import densegrad as dg
    >>> dg.AdamW(weight_decay=0.1)
    AdamW(0.001, weight_decay=0.1)
    """

    primitives = ("adamw", "adamw_amsgrad")
    betas = Hyperparameter[tuple[float, float]]()
    eps = Hyperparameter[float]()
    weight_decay = Hyperparameter[float]()
    amsgrad = Hyperparameter[bool]()

    def __init__(
        self,
        lr: schedules.LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr, **options)
        self._take(betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)
        self.primitive = "adamw_amsgrad" if self.amsgrad else "adamw"


class RMSprop(Optimizer):
    """RMSprop: steps scaled by a moving mean of the squared gradient.

    g = dw + weight_decay w; v <- alpha v + (1 - alpha) g^2; d = g / (sqrt(v) + eps); w <- w - lr d;
    with momentum b <- momentum b + d; w <- w - lr b;
    centred by a <- alpha a + (1 - alpha) g, the variance v - a^2 in the place of v. Where rounding leaves less than 0
    of the variance it counts as 0; PyTorch's step is NaN there.

    Args:
        lr: Learning rate, above 0.
        alpha: How much of the mean goes on, from 0 to 1.
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty, at least 0.
        momentum: How much of b goes on, from 0 to 1.
        centered: Scale by the variance.
        options: ``clip_norm``, ``clip_value`` and ``average``, as in ``Optimizer``.

    Source: Tieleman & Hinton, Lecture 6.5 - rmsprop (2012); centred: Graves, Generating sequences with recurrent neural
    networks (2013).

    >>> import densegrad as dg
    >>> dg.RMSprop(momentum=0.9, centered=True)
    RMSprop(0.01, momentum=0.9, centered=True)
    """

    primitives = ("rmsprop", "rmsprop_momentum", "rmsprop_centered", "rmsprop_centered_momentum")
    alpha = Hyperparameter[float]()
    eps = Hyperparameter[float]()
    weight_decay = Hyperparameter[float]()
    momentum = Hyperparameter[float]()
    centered = Hyperparameter[bool]()

    def __init__(
        self,
        lr: schedules.LearningRate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr, **options)
        self._take(alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered)
        self.primitive = f"rmsprop{'_centered' if self.centered else ''}{'_momentum' if self.momentum > 0 else ''}"


class Adagrad(Optimizer):
    """Adagrad: steps scaled by the sum of all squared gradients.

    g = dw + weight_decay w; v <- v + g^2; w <- w - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps), t = 1, 2, ...

    Args:
        lr: Learning rate, above 0.
        lr_decay: How fast the learning rate falls, at least 0.
        weight_decay: L2 penalty, at least 0.
        initial_accumulator_value: The first v, at least 0.
        eps: Added to the denominator, at least 0.
        options: ``clip_norm``, ``clip_value`` and ``average``, as in ``Optimizer``.

    Source: Duchi et al., Adaptive subgradient methods for online learning and stochastic optimization (2011).

    >>> import densegrad as dg
    >>> dg.Adagrad(0.1, initial_accumulator_value=0.1)
    Adagrad(0.1, initial_accumulator_value=0.1)
    """

    primitives = ("adagrad",)
    primitive = "adagrad"
    lr_decay = Hyperparameter[float]()
    weight_decay = Hyperparameter[float]()
    initial_accumulator_value = Hyperparameter[float]()
    eps = Hyperparameter[float]()

    def __init__(
        self,
        lr: schedules.LearningRate = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr, **options)
        self._take(lr_decay=lr_decay, weight_decay=weight_decay, eps=eps)
        self._start = check.real("Adagrad", "initial_accumulator_value", initial_accumulator_value, 0.0)
        self.hyperparameters["initial_accumulator_value"] = self._start


class Adadelta(Optimizer):
    """Adadelta: steps as long as recent steps were, for gradients as large as recent gradients were.

    g = dw + weight_decay w; v <- rho v + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(v + eps) g;
    u <- rho u + (1 - rho) d^2; w <- w - lr d

    Args:
        lr: Learning rate, above 0.
        rho: How much of the means goes on, from 0 to 1.
        eps: Added to both means, at least 0.
        weight_decay: L2 penalty, at least 0.
        options: ``clip_norm``, ``clip_value`` and ``average``, as in ``Optimizer``.

    Source: Zeiler, ADADELTA: an adaptive learning rate method (2012).

    >>> import densegrad as dg
    >>> dg.Adadelta(rho=0.95)
    Adadelta(1.0, rho=0.95)
    """

    primitives = ("adadelta",)
    primitive = "adadelta"
    rho = Hyperparameter[float]()
    eps = Hyperparameter[float]()
    weight_decay = Hyperparameter[float]()

    def __init__(
        self,
        lr: schedules.LearningRate = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr, **options)
        self._take(rho=rho, eps=eps, weight_decay=weight_decay)


class Adamax(Optimizer):
    """Adamax: Adam by the largest recent gradient instead of the mean of squares.

    g = dw + weight_decay w; m <- beta1 m + (1 - beta1) g; u <- max(beta2 u, |g| + eps);
    w <- w - lr m / (1 - beta1^t) / u, t = 1, 2, ...

    Args:
        lr: Learning rate, above 0.
        betas: (beta1, beta2), each from 0 to below 1.
        eps: Added to |g|, at least 0.
        weight_decay: L2 penalty, at least 0.
        options: ``clip_norm``, ``clip_value`` and ``average``, as in ``Optimizer``.

    Source: Kingma & Ba, Adam: a method for stochastic optimization (2015), section 7.1.

    >>> import densegrad as dg
    >>> dg.Adamax()
    Adamax(0.002)
    """

    primitives = ("adamax",)
    primitive = "adamax"
    betas = Hyperparameter[tuple[float, float]]()
    eps = Hyperparameter[float]()
    weight_decay = Hyperparameter[float]()

    def __init__(
        self,
        lr: schedules.LearningRate = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr, **options)
        self._take(betas=betas, eps=eps, weight_decay=weight_decay)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum.

    g = dw + weight_decay w; m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2;
    n = (1 - mu_t) g / (1 - P_t) + mu_(t+1) m / (1 - P_(t+1)); w <- w - lr n / (sqrt(v / (1 - beta2^t)) + eps),
    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2), P_t = mu_1 mu_2 ... mu_t, t = 1, 2, ...
    PyTorch keeps P_t in its default dtype: float32 shows in the eighth digit of the first steps.

    Args:
        lr: Learning rate, above 0.
        betas: (beta1, beta2), each from 0 to below 1.
        eps: Added to the denominator, at least 0.
        weight_decay: L2 penalty, at least 0.
        momentum_decay: How fast mu_t rises to beta1, at least 0.
        decoupled_weight_decay: w <- (1 - lr weight_decay) w instead of the penalty, as in ``AdamW``.
        options: ``clip_norm``, ``clip_value`` and ``average``, as in ``Optimizer``.

    Source: Dozat, Incorporating Nesterov momentum into Adam (2016).

    >>> import densegrad as dg
    >>> dg.NAdam(weight_decay=0.01, decoupled_weight_decay=True)
    NAdam(0.002, weight_decay=0.01, decoupled_weight_decay=True)
    """

    primitives = ("nadam", "nadam_decoupled")
    betas = Hyperparameter[tuple[float, float]]()
    eps = Hyperparameter[float]()
    weight_decay = Hyperparameter[float]()
    momentum_decay = Hyperparameter[float]()
    decoupled_weight_decay = Hyperparameter[bool]()

    def __init__(
        self,
        lr: schedules.LearningRate = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr, **options)
        self._take(
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
        )
        self.primitive = "nadam_decoupled" if self.decoupled_weight_decay else "nadam"


class Lion(Optimizer):
    """Lion: steps of one length, by the sign of a moving mean.

    w <- (1 - lr weight_decay) w - lr sign(beta1 m + (1 - beta1) dw); m <- beta2 m + (1 - beta2) dw

    Args:
        lr: Learning rate, above 0; about a third to a tenth of Adam's.
        betas: (beta1, beta2), each from 0 to below 1.
        weight_decay: How much of w is lost in a step of lr = 1, at least 0; about three to ten times AdamW's.
        options: ``clip_norm``, ``clip_value`` and ``average``, as in ``Optimizer``.

    Source: Chen et al., Symbolic discovery of optimization algorithms (2023), algorithm 2; PyTorch has none.

    >>> import densegrad as dg
    >>> dg.Lion(3e-4, weight_decay=0.1)
    Lion(0.0003, weight_decay=0.1)
    """

    primitives = ("lion",)
    primitive = "lion"
    betas = Hyperparameter[tuple[float, float]]()
    weight_decay = Hyperparameter[float]()

    def __init__(
        self,
        lr: schedules.LearningRate = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr, **options)
        self._take(betas=betas, weight_decay=weight_decay)
