"""Losses: what training minimises, as a name such as ``"mse"`` or an object such as ``Huber(delta=0.3)``.

In the formulas p is the prediction, t the target, j counts the columns of a row. With weights w of the rows, a mean is
sum(w l) / sum(w), where l is the mean of a row. The name stands for the object with its defaults.

>>> import densegrad as dg
>>> model = dg.Sequential([dg.Dense(1)], input_size=1, dtype="float64", seed=0)
>>> x, y = [[-2.0], [-1.0], [0.0], [1.0], [2.0]], [-2, -1, 30, 1, 2]  # an outlier among the points of a line
>>> history = model.fit(x, y, loss=dg.losses.Huber(delta=0.2), optimizer=dg.SGD(0.1), epochs=1000)
>>> model.predict([[1.0]]).round(2)  # least squares would say 7
array([[1.05]])
>>> model.loss
Huber(delta=0.2)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from densegrad._base import check
from densegrad._base.configured import Configured
from densegrad._base.plan import LossSpec, LossTerm
from densegrad._base.primitives import PRIMITIVES, names
from densegrad._base.types import FloatArray, IndexArray
from densegrad.graph.transforms import value_and_grad

__all__ = [
    "MAE",
    "MSE",
    "NLL",
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "CrossEntropy",
    "GaussianNLL",
    "HalfSquaredError",
    "Huber",
    "LogCosh",
    "Loss",
    "Poisson",
    "Quantile",
    "Sum",
    "available",
    "resolve",
    "resolve_sum",
]


@dataclass(frozen=True, repr=False)
class Loss(Configured):
    """The base of all losses. They are constants: equal where class and parameters are."""

    primitive: ClassVar[str]

    def __post_init__(self) -> None:
        row = PRIMITIVES[self.primitive]
        for name, value in check.attributes(type(self).__name__, row, self.attributes).items():
            object.__setattr__(self, name, value)

    @property
    def attributes(self) -> dict[str, float]:
        """The parameters by name."""
        return {a.name: getattr(self, a.name) for a in PRIMITIVES[self.primitive].attributes}


class MSE(Loss):
    """``"mse"``: the mean over all elements of (p - t)^2.

    Prediction and target are (batch, outputs). It estimates the mean of t and is the first choice for regression; an
    outlier counts by the square of its distance.

    Source: Gauss, Theoria motus corporum coelestium (1809).
    """

    primitive = "mse"


class HalfSquaredError(Loss):
    """``"half_squared_error"``: the mean over the batch of 1/2 sum_j (p_j - t_j)^2.

    Prediction and target are (batch, outputs). The quadratic loss of textbooks, whose gradient is p - t: ``"mse"``
    times half the number of outputs.

    Source: Rumelhart, Hinton & Williams, Learning representations by back-propagating errors (1986).
    """

    primitive = "half_squared_error"


class MAE(Loss):
    """``"mae"``: the mean over all elements of |p - t|.

    Prediction and target are (batch, outputs). It estimates the median of t and hardly heeds outliers; its gradient
    does not shrink near the minimum, so let the learning rate fall. Where p = t the gradient is 0.

    Source: Bloomfield & Steiger, Least absolute deviations (1983).
    """

    primitive = "mae"


@dataclass(frozen=True, repr=False)
class Huber(Loss):
    """``"huber"``: the mean over all elements of 1/2 d^2 where |d| <= delta, else delta (|d| - 1/2 delta), d = p - t.

    Prediction and target are (batch, outputs). Squares near the target and distances far from it: for regression with
    outliers, with delta about the size of errors that still are to be trusted.

    Args:
        delta: Where the parabola goes over into its tangent, above 0.

    Source: Huber, Robust estimation of a location parameter (1964); the formula is PyTorch's HuberLoss.

    >>> import densegrad as dg
    >>> dg.losses.Huber(delta=0.3)
    Huber(delta=0.3)
    """

    primitive = "huber"
    delta: float = 1.0


class LogCosh(Loss):
    """``"log_cosh"``: the mean over all elements of log(cosh(p - t)).

    Prediction and target are (batch, outputs). A Huber loss without a seam, about 1/2 d^2 near 0 and |d| - log 2 far
    out: for regression with outliers where the gradient, tanh(p - t), is to be smooth.

    Source: Green, Bayesian reconstructions from emission tomography data using a modified EM algorithm (1990).
    """

    primitive = "log_cosh"


@dataclass(frozen=True, repr=False)
class Quantile(Loss):
    """``"quantile"``: the mean over all elements of max(q (t - p), (q - 1) (t - p)), the pinball loss.

    Prediction and target are (batch, outputs). It estimates the value that t stays below with probability q: two
    models, of 0.05 and 0.95, give an interval for nine targets in ten. Where p = t the gradient is 0.

    Args:
        q: The quantile, between 0 and 1, both left out; 1/2 is the median, and the loss half of ``"mae"``.

    Source: Koenker & Bassett, Regression quantiles (1978).

    >>> import densegrad as dg
    >>> dg.losses.Quantile(0.9)
    Quantile(q=0.9)
    """

    primitive = "quantile"
    q: float = 0.5


class Poisson(Loss):
    """``"poisson"``: the mean over all elements of exp(p) - t p.

    Prediction and target are (batch, outputs); p is the logarithm of the rate, t a count, 0 or more, fractions allowed.
    For numbers of events: the last layer has no activation, and exp of what ``predict`` gives is the rate.

    Source: Nelder & Wedderburn, Generalized linear models (1972); the formula is PyTorch's PoissonNLLLoss.
    """

    primitive = "poisson"


class GaussianNLL(Loss):
    """``"gaussian_nll"``: the mean over all elements of 1/2 (s + (m - t)^2 exp(-s)), where p = (m, s).

    The target is (batch, k), the prediction (batch, 2 k): the means m of its k columns, then the logarithms s of their
    variances. For regression that says how sure it is, row by row; the last layer has no activation.

    PyTorch's GaussianNLLLoss takes m and the variances exp(s) apart, and holds the variances at its eps or more; a
    logarithm needs no such bound. Where none is below eps, both agree.

    Source: Nix & Weigend, Estimating the mean and variance of the target probability distribution (1994).
    """

    primitive = "gaussian_nll"


class BinaryCrossEntropy(Loss):
    """``"binary_cross_entropy"``: the mean over all elements of -t log(p) - (1 - t) log(1 - p).

    Prediction and target are (batch, outputs), probabilities, and so the last layer is a sigmoid: the loss is then
    computed from what goes into it. For one or several yes-or-no questions. Elsewhere the logarithms are held at -100
    or more, as in PyTorch.

    Source: Cox, The regression analysis of binary sequences (1958).
    """

    primitive = "binary_cross_entropy"


class BinaryCrossEntropyWithLogits(Loss):
    """``"binary_cross_entropy_with_logits"``: the mean over all elements of -t log(a) - (1 - t) log(1 - a).

    a = sigmoid(p). Prediction and target are (batch, outputs), logits and probabilities. For one or several yes-or-no
    questions; the last layer has no activation, and ``predict_proba`` gives a.

    Source: Cox, The regression analysis of binary sequences (1958).
    """

    primitive = "binary_cross_entropy_with_logits"


@dataclass(frozen=True, repr=False)
class CrossEntropy(Loss):
    """``"cross_entropy"``: the mean over the batch of -sum_j u_j log(softmax(p)_j).

    u = (1 - label_smoothing) t + label_smoothing / classes. The prediction is (batch, classes), logits; the target
    (batch,) integer labels, or (batch, classes) one-hot or soft rows that sum to 1. The first choice for one class out
    of several; a last layer that is a softmax is not applied twice. Smooth by 0.1 or so where answers are too sure.

    Args:
        label_smoothing: The share of the target that all classes get alike, from 0 to 1.

    Source: Bridle, Probabilistic interpretation of feedforward classification network outputs (1990); Szegedy et al.,
    Rethinking the Inception architecture for computer vision (2016).

    >>> import densegrad as dg
    >>> dg.losses.CrossEntropy(label_smoothing=0.1)
    CrossEntropy(label_smoothing=0.1)
    """

    primitive = "cross_entropy"
    label_smoothing: float = 0.0


class NLL(Loss):
    """``"nll"``: the mean over the batch of -sum_j t_j p_j.

    The prediction is (batch, classes), log-probabilities as a log-softmax gives them; the target (batch,) integer
    labels, or (batch, classes) one-hot or soft rows that sum to 1. For a model that is to give log-probabilities; else
    ``"cross_entropy"`` takes the logits themselves.

    Source: Fisher, On the mathematical foundations of theoretical statistics (1922).
    """

    primitive = "nll"


OneLoss = str | Loss | Callable[..., Any]  # a function of Tensors: (prediction, y) or (prediction, y, sample_weight)


@dataclass(frozen=True, repr=False)
class Sum:
    """The sum of weight times loss over the outputs of a ``Model``.

    Args:
        losses: One for each output, in a list or by name in a dict; one alone is that of each.
        weights: Likewise, each at least 0; 1 where none are given.

    >>> import densegrad as dg
    >>> dg.losses.Sum(["mse", "cross_entropy"], [1.0, 0.3])
    Sum(['mse', 'cross_entropy'], [1.0, 0.3])
    """

    losses: OneLoss | Sequence[OneLoss] | Mapping[str, OneLoss]
    weights: Sequence[float] | Mapping[str, float] | None = None

    def __repr__(self) -> str:
        shown = [self.losses] if self.weights is None else [self.losses, self.weights]
        return f"Sum({', '.join(map(repr, shown))})"


@dataclass(frozen=True)
class FunctionLoss:
    """A user's function of Tensors, with its gradient with respect to the prediction."""

    function: Callable[..., Any]

    def __call__(
        self, prediction: FloatArray, y: FloatArray | IndexArray, sample_weight: FloatArray | None
    ) -> tuple[float, FloatArray]:
        """The mean loss over the rows, and its gradient."""
        data = (y,) if sample_weight is None else (y, sample_weight)
        value, slope = value_and_grad(self.function)(prediction, *data)
        return float(value), np.ascontiguousarray(slope.numpy(), prediction.dtype)


LossLike = OneLoss | Sum | Sequence[OneLoss] | Mapping[str, OneLoss]  # what a user may give for a loss

_CLASSES: dict[str, type[Loss]] = {
    cls.primitive: cls
    for cls in (
        *(MSE, HalfSquaredError, MAE, Huber, LogCosh, Quantile, Poisson, GaussianNLL),
        *(BinaryCrossEntropy, BinaryCrossEntropyWithLogits, CrossEntropy, NLL),
    )
}


def available() -> dict[str, str]:
    """Every loss with its formula; p is the prediction, t the target, j counts the outputs."""
    return {name: PRIMITIVES[name].formula for name in names("loss")}


def resolve(caller: str, loss: Any) -> LossSpec:
    """The loss a user named or made; ``prediction`` is filled in when a model is lowered."""
    if isinstance(loss, Loss):
        return LossSpec(loss.primitive, -1, loss.attributes)
    if isinstance(loss, type) and issubclass(loss, Loss):
        raise TypeError(f"{caller}: expected loss as a name or an object, got the class {loss.__name__}; call it")
    if callable(loss):
        return LossSpec("python", -1, {"function": FunctionLoss(loss)})
    row = check.primitive(caller, "loss", loss)
    return LossSpec(row.name, -1, check.attributes(caller, row, {}))


def resolve_sum(caller: str, loss: Any, outputs: Sequence[str]) -> LossSpec:
    """The sum of a loss for each of the outputs."""
    given = loss if isinstance(loss, Sum) else Sum(loss)
    losses, weights = [given.losses] * len(outputs), [1.0] * len(outputs)
    if isinstance(given.losses, Mapping | list | tuple):
        losses = check.parts(caller, "loss", given.losses, outputs)
    if given.weights is not None:
        weights = check.parts(caller, "loss_weights", given.weights, outputs)
    resolved = [resolve(caller, loss) for loss in losses]
    if any(one.primitive == "python" for one in resolved):
        raise ValueError(f"{caller}: expected losses of the library for several outputs, got a function")
    terms = tuple(
        LossTerm(one.primitive, one.attributes, check.real(caller, "weight of a loss", weight, 0.0))
        for one, weight in zip(resolved, weights, strict=True)
    )
    if not any(term.weight for term in terms):
        raise ValueError(f"{caller}: expected a loss of positive weight, got {len(terms)} of weight 0")
    return LossSpec("sum", -1, {}, terms)


def as_written(loss: LossSpec) -> OneLoss | Sum:
    """The loss as a user writes it: the name, or an object where a parameter is not at its default."""
    each = [_term_as_written(term) for term in loss.each()]
    if not loss.terms:
        return each[0]
    weights = [term.weight for term in loss.terms]
    return Sum(each, None if set(weights) == {1.0} else weights)


def _term_as_written(term: LossTerm) -> OneLoss:
    if term.primitive == "python":
        wrapped: FunctionLoss = term.attributes["function"]
        return wrapped.function
    if not _changed(term.primitive, term.attributes):
        return term.primitive
    return _CLASSES[term.primitive](**term.attributes)


def to_json(loss: Any) -> Any:
    """A loss as files keep it: a name, a name with attributes, or those of a sum and their weights."""
    if isinstance(loss, Sum):
        each: Any = loss.losses  # a list, in a model that was trained
        return {"sum": [to_json(one) for one in each], "weights": loss.weights}
    if callable(loss):
        return None  # a file has no code
    return {"name": loss.primitive, **loss.attributes} if isinstance(loss, Loss) else loss


def from_json(caller: str, described: Any) -> Any:
    """The loss that a file describes."""
    if described is None:
        return None
    if isinstance(described, dict) and "sum" in described:
        return Sum([from_json(caller, one) for one in described["sum"]], described["weights"])
    if not isinstance(described, dict):
        return check.primitive(caller, "loss", described).name
    attributes = {key: value for key, value in described.items() if key != "name"}
    row = check.primitive(caller, "loss", described["name"])
    return _term_as_written(LossTerm(row.name, check.attributes(caller, row, attributes)))


def _changed(primitive: str, attributes: Any) -> dict[str, float]:
    defaults = {a.name: a.default for a in PRIMITIVES[primitive].attributes}
    return {name: value for name, value in attributes.items() if value != defaults[name]}
