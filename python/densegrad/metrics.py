"""Metrics: what a user reads beside the loss.

Each takes (prediction, target, sample_weight) and gives a number. A metric without parameters is a name, one with
parameters an object, and any function of these three arguments will do; where it has an attribute
``higher_is_better``, callbacks go by that. The numbers are scikit-learn's, and where it warns of something undefined,
its ``zero_division=0`` or NaN is given in silence.

Classes are predicted in one of three ways: integer labels (batch,) of two or more outputs, of which the largest is
predicted; one output, yes where it is at least 1/2; or a target of the prediction's shape (batch, outputs),
several yes-or-no questions at once.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

import numpy as np

from densegrad._base import check
from densegrad._base.configured import Configured
from densegrad._base.types import FloatArray, IndexArray

__all__ = [
    "F1",
    "ClassMetric",
    "Metric",
    "Precision",
    "Recall",
    "TopK",
    "accuracy",
    "confusion_matrix",
    "mae",
    "r2",
    "rmse",
    "roc_auc",
]


Metric = Callable[..., float]

_AVERAGES = ("auto", "binary", "macro", "micro", "weighted")
_TAKEN = ("loss", "seconds")  # a history's own columns


_Function = TypeVar("_Function", bound=Metric)


def _metric(*, higher_is_better: bool, takes_labels: bool) -> Callable[[_Function], _Function]:
    """Let a function carry its direction, and whether one-hot targets are turned into labels for it."""

    def marked(function: _Function) -> _Function:
        vars(function).update(higher_is_better=higher_is_better, takes_labels=takes_labels)
        return function

    return marked


# ---- of classes


@_metric(higher_is_better=True, takes_labels=True)
def accuracy(prediction: Any, target: Any, sample_weight: FloatArray | None = None) -> float:
    """Share of right predictions, between 0 and 1.

    With integer labels (batch,) the prediction of a row of two or more outputs is its largest one. A target
    of the prediction's shape is compared element by element, both sides cut at 1/2: one output, or several
    yes-or-no questions. One-hot targets are turned into labels by ``target.argmax(axis=1)``.

    Args:
        prediction: Probabilities or scores, (batch, outputs).
        target: (batch,) labels, or (batch, outputs).
        sample_weight: (batch,) weights, or ``None``.

    >>> from densegrad.metrics import accuracy
    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    p = check.numeric("accuracy", "prediction", prediction)
    t = check.numeric("accuracy", "target", target)
    check.some_rows("accuracy", "prediction", p)
    if p.ndim == 2 and t.shape == p.shape[:1] and p.shape[1] > 1:
        right = (p.argmax(axis=1) == t).astype(np.float64)
    else:
        if p.size != t.size or len(p) != len(t):
            raise ValueError(f"accuracy: expected target of shape {p.shape} or ({len(p)},), got {t.shape}")
        right = ((p >= 0.5) == (t.reshape(p.shape) >= 0.5)).reshape(len(p), -1).mean(axis=1)
    return float(np.average(right, weights=sample_weight))


class ClassMetric(Configured):
    """The base of the metrics of classes that have parameters.

    Attributes:
        higher_is_better: The direction, which callbacks ask for.
        takes_labels: Whether one-hot targets are turned into labels for it.
    """

    higher_is_better: ClassVar[bool] = True
    takes_labels: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Its name in a history."""
        raise NotImplementedError

    def __call__(self, prediction: Any, target: Any, sample_weight: FloatArray | None = None) -> float:
        """The metric of (batch, outputs) scores and (batch,) labels or (batch, outputs) targets."""
        raise NotImplementedError


class TopK(ClassMetric):
    """Share of the rows whose label is among the k largest outputs; of equal outputs the first comes first.

    Args:
        k: How many outputs count, at least 1; ``TopK(1)`` is the accuracy, and ``"top_3_accuracy"`` names ``TopK(3)``.

    >>> import densegrad as dg
    >>> dg.metrics.TopK(2)([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]], [1, 2])
    0.5
    """

    def __init__(self, k: int) -> None:
        self.k = check.count("TopK", "k", k)

    @property
    def name(self) -> str:
        return f"top_{self.k}_accuracy"

    def __call__(self, prediction: Any, target: Any, sample_weight: FloatArray | None = None) -> float:
        p, t, weight = _classified(self.name, prediction, target, sample_weight)
        if t.ndim != 1:
            raise ValueError(
                f"{self.name}: expected labels of shape ({len(p)},) and at least 2 outputs, "
                f"got shape {np.shape(target)} and {p.shape[1]}"
            )
        own = np.take_along_axis(p, t[:, None], axis=1)
        before = (p == own) & (np.arange(p.shape[1]) < t[:, None])
        ahead = np.count_nonzero(~(p <= own) | before, axis=1)  # a label whose output is NaN is behind all others
        return float(np.average(ahead < self.k, weights=weight))


class _ByClass(ClassMetric):
    """A ratio of each class's counts, averaged."""

    _base: ClassVar[str]

    def __init__(self, average: str = "auto") -> None:
        self.average = check.choice(type(self).__name__, "average", average, _AVERAGES)

    @property
    def name(self) -> str:
        return self._base if self.average in ("auto", "binary") else f"{self._base}_{self.average}"

    def __call__(self, prediction: Any, target: Any, sample_weight: FloatArray | None = None) -> float:
        p, t, weight = _classified(self.name, prediction, target, sample_weight)
        several = p.shape[1] > 2 or (t.ndim == 2 and p.shape[1] > 1)
        average = self.average
        if average == "auto":
            average = "macro" if several else "binary"
        elif average == "binary" and several:
            kind = "classes" if t.ndim == 1 else "yes-or-no outputs"
            raise ValueError(
                f"{self.name}: average='binary' expects one output or two classes, got {p.shape[1]} {kind}; "
                f"give {type(self).__name__}(average='macro')"
            )
        counts, occurs = _counts(p, t, weight)
        counts = counts[:, 1:] if average == "binary" else counts[:, occurs]
        if average == "micro":
            counts = counts.sum(axis=1, keepdims=True)
        numerator, denominator = self._ratio(*counts)
        ratio = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
        support = counts[2]
        if average != "weighted" or not support.any():
            return float(ratio.mean())
        return float(np.average(ratio, weights=support))

    def _ratio(self, hits: FloatArray, predicted: FloatArray, actual: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Numerator and denominator from a class's weights of right predictions, all predictions and all rows."""
        raise NotImplementedError


class Precision(_ByClass):
    """Share of the rows predicted as a class that are of it; 0 where no row is.

    Args:
        average: What is done with several classes. ``"binary"``: class 1 counts, or the yes of one output.
            ``"macro"``: mean over the classes that occur among labels or predictions. ``"weighted"``: that mean
            weighted by each class's rows. ``"micro"``: one share over all classes. ``"auto"``: binary for one
            output or two classes, macro otherwise.

    >>> import densegrad as dg
    >>> dg.metrics.Precision()([[0.9], [0.8], [0.3]], [1, 0, 1])
    0.5
    """

    _base = "precision"

    def _ratio(self, hits: FloatArray, predicted: FloatArray, actual: FloatArray) -> tuple[FloatArray, FloatArray]:
        return hits, predicted


class Recall(_ByClass):
    """Share of the rows of a class that are predicted as it; 0 where there are none.

    Args:
        average: As for ``Precision``.

    >>> import densegrad as dg
    >>> dg.metrics.Recall(average="macro")([[0.9, 0.1, 0], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]], [0, 1, 1])
    0.75
    """

    _base = "recall"

    def _ratio(self, hits: FloatArray, predicted: FloatArray, actual: FloatArray) -> tuple[FloatArray, FloatArray]:
        return hits, actual


class F1(_ByClass):
    """2 precision recall / (precision + recall), by class; 0 where a class is neither predicted nor there.

    Args:
        average: As for ``Precision``.

    >>> import densegrad as dg
    >>> dg.metrics.F1(average="macro")
    F1(average='macro')
    """

    _base = "f1"

    def _ratio(self, hits: FloatArray, predicted: FloatArray, actual: FloatArray) -> tuple[FloatArray, FloatArray]:
        return 2 * hits, predicted + actual


@_metric(higher_is_better=True, takes_labels=True)
def roc_auc(prediction: Any, target: Any, sample_weight: FloatArray | None = None) -> float:
    """Chance that a row of the class scores above one that is not, ties counting half: the area under the ROC curve.

    sum_ij w_i w_j ([p_i > p_j] + [p_i = p_j] / 2) / sum_ij w_i w_j, i over the class's rows, j over the others,
    taken from the ranks in n log n. One output, or the second of two, gives one such area; more classes or several
    yes-or-no outputs give the mean of each against the rest. NaN where a class has all rows or none.

    Args:
        prediction: Probabilities or scores, (batch, outputs).
        target: (batch,) labels, or (batch, outputs).
        sample_weight: (batch,) weights, or ``None``.

    >>> import densegrad as dg
    >>> dg.metrics.roc_auc([[0.1], [0.4], [0.35], [0.8]], [0, 0, 1, 1])
    0.75
    """
    p, t, weight = _classified("roc_auc", prediction, target, sample_weight)
    if t.ndim == 1:
        classes = range(p.shape[1]) if p.shape[1] > 2 else [1]
        return float(np.mean([_area(p[:, label], t == label, weight) for label in classes]))
    return float(np.mean([_area(*column, weight) for column in zip(p.T, t.T, strict=True)]))


def confusion_matrix(prediction: Any, target: Any, sample_weight: FloatArray | None = None) -> FloatArray | IndexArray:
    """How many rows of class i (a line) were predicted as class j (a column), or their weight.

    Args:
        prediction: Probabilities or scores, (batch, outputs).
        target: (batch,) labels, or (batch, 1) of yes or no for one output.
        sample_weight: (batch,) weights, or ``None``.

    Returns:
        (outputs, outputs), or (2, 2) for one output.

    >>> import densegrad as dg
    >>> dg.metrics.confusion_matrix([[0.9], [0.8], [0.3], [0.7]], [1, 0, 1, 1])
    array([[0, 1],
           [1, 2]])
    """
    p, t, weight = _classified("confusion_matrix", prediction, target, sample_weight)
    if t.ndim == 2 and p.shape[1] > 1:
        raise ValueError(f"confusion_matrix: expected labels of shape ({len(p)},), got {t.shape}")
    predictions, labels, classes = _labelled(p, t)
    places = labels * classes + predictions
    weights = None if sample_weight is None else weight
    return np.bincount(places, weights, classes * classes).reshape(classes, classes)


# ---- of values


@_metric(higher_is_better=True, takes_labels=False)
def r2(prediction: Any, target: Any, sample_weight: FloatArray | None = None) -> float:
    """1 - sum w (t - p)^2 / sum w (t - mean(t))^2, the mean over the outputs: 1 is perfect, 0 the mean's own score.

    A target that does not vary gives 1 where it is met and 0 otherwise; fewer than two rows give NaN.

    Args:
        prediction: (batch, outputs).
        target: Of the same shape, or (batch,) for one output.
        sample_weight: (batch,) weights w, or ``None``.

    >>> import densegrad as dg
    >>> dg.metrics.r2([[1.0], [2.0], [4.0]], [1, 2, 3])
    0.5
    """
    p, t, weight = _valued("r2", prediction, target, sample_weight)
    if len(t) < 2:
        return float("nan")
    spread = t - t[weight.argmax()]  # so that a constant is exactly 0
    residual = weight @ (t - p) ** 2
    total = weight @ (spread - np.average(spread, axis=0, weights=weight)) ** 2
    ratio = np.divide(residual, total, out=(residual != 0).astype(np.float64), where=total != 0)
    return float(np.mean(1 - ratio))


@_metric(higher_is_better=False, takes_labels=False)
def mae(prediction: Any, target: Any, sample_weight: FloatArray | None = None) -> float:
    """Mean of abs(p - t) over rows and outputs, as in the arguments of ``r2``.

    >>> import densegrad as dg
    >>> dg.metrics.mae([[1.0], [2.0], [4.0]], [1, 2, 3.5])
    0.16666666666666666
    """
    p, t, weight = _valued("mae", prediction, target, sample_weight)
    return float(np.average(np.abs(p - t).mean(axis=1), weights=weight))


@_metric(higher_is_better=False, takes_labels=False)
def rmse(prediction: Any, target: Any, sample_weight: FloatArray | None = None) -> float:
    """sqrt(mean over the rows of (p - t)^2), the mean over the outputs; arguments as for ``r2``.

    >>> import densegrad as dg
    >>> dg.metrics.rmse([[1.0], [2.0]], [4, 6])
    3.5355339059327378
    """
    p, t, weight = _valued("rmse", prediction, target, sample_weight)
    return float(np.sqrt(np.average((p - t) ** 2, axis=0, weights=weight)).mean())


# ---- by name

METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    **{
        metric.name: metric
        for kind in (Precision, Recall, F1)
        for metric in map(kind, ("auto", "macro", "micro", "weighted"))
    },
    "roc_auc": roc_auc,
    "r2": r2,
    "mae": mae,
    "rmse": rmse,
}


def resolve(caller: str, metrics: Any) -> dict[str, Metric]:
    """The metrics by the name that a history gives each; names, objects and functions are taken."""
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise TypeError(f"{caller}: expected metrics as a list of names, got {metrics!r}")
    named: dict[str, Metric] = {}
    for given in metrics:
        name, metric = _named(caller, given)
        if named.setdefault(name, metric) is not metric:
            raise ValueError(f"{caller}: expected metrics of different names, got two called {name!r}")
        if name in _TAKEN:
            raise ValueError(f"{caller}: expected a metric of another name than {' and '.join(_TAKEN)}, got {name!r}")
    return named


def is_own(metric: Metric) -> bool:
    """Tell whether this module has it; a user's own is called with just what the loss reads."""
    return getattr(metric, "__module__", None) == __name__


def higher_is_better(metric: Metric) -> bool | None:
    """The direction that a metric tells as ``higher_is_better``; ``None`` where it tells none."""
    higher: bool | None = getattr(metric, "higher_is_better", None)
    return higher


def takes_labels(metric: Metric) -> bool:
    """Tell whether one-hot targets are turned into labels for it."""
    return bool(getattr(metric, "takes_labels", False))


def score(name: str, metric: Metric, prediction: Any, target: Any, sample_weight: Any) -> float:
    """The metric's value, refused where it is no number."""
    value = metric(prediction, target, sample_weight)
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "biuf":
        raise TypeError(f"metric {name!r}: expected a number, got {type(value).__name__}")
    return float(number)


def _named(caller: str, given: Any) -> tuple[str, Metric]:
    if isinstance(given, str):
        if top := re.fullmatch("top_([0-9]+)_accuracy", given):
            return given, TopK(int(top[1]))
        return given, METRICS[check.choice(caller, "metric", given, METRICS)]
    if isinstance(given, type) or not callable(given):
        raise TypeError(
            f"{caller}: expected metric as a name such as 'accuracy', an object such as dg.metrics.TopK(5) or a "
            f"function (prediction, target, sample_weight) -> number, got {given!r}"
        )
    name = given.name if isinstance(given, ClassMetric) else getattr(given, "__name__", type(given).__name__)
    try:
        inspect.signature(given).bind(None, None, None)
    except ValueError:
        pass  # some builtins do not tell their arguments
    except TypeError as error:
        raise TypeError(
            f"{caller}: expected metric {name!r} to take (prediction, target, sample_weight): {error}"
        ) from None
    return name, given


# ---- inside


def _classified(
    caller: str, prediction: Any, target: Any, sample_weight: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], FloatArray]:
    """p (batch, outputs); the target as (batch,) labels or (batch, outputs) of yes or no; weights (batch,)."""
    p = _rows(caller, check.numeric(caller, "prediction", prediction))
    t = check.numeric(caller, "target", target)
    if p.shape[1] > 1 and t.shape == p.shape[:1]:
        t = check.labels(caller, t, len(p), p.shape[1])
    else:
        yes = _alike(caller, p, check.array(caller, "target", t, "float64"), labels=True)
        check.probabilities(caller, "target", yes)
        t = yes >= 0.5
    return p, t, _weights(caller, sample_weight, len(p))


def _valued(caller: str, prediction: Any, target: Any, sample_weight: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Prediction and target as (batch, outputs) of float64, weights as (batch,)."""
    p = _rows(caller, check.converted(caller, "prediction", prediction, "float64"))
    t = _alike(caller, p, check.array(caller, "target", target, "float64"), labels=False)
    return p, t, _weights(caller, sample_weight, len(p))


def _rows(caller: str, p: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if p.ndim not in (1, 2) or (p.ndim == 2 and p.shape[1] == 0):
        raise ValueError(f"{caller}: expected prediction of shape (batch, outputs), got {p.shape}")
    check.some_rows(caller, "prediction", p)
    return p.reshape(len(p), -1)


def _alike(caller: str, p: np.ndarray[Any, Any], t: FloatArray, *, labels: bool) -> FloatArray:
    """The target in the shape of p, which a (batch,) target of one output has not yet."""
    flat = p.shape[1] == 1
    if t.shape != p.shape and not (flat and t.shape == (len(p),)):
        also = f" or ({len(p)},)" if flat or labels else ""
        raise ValueError(f"{caller}: expected target of shape {p.shape}{also}, got {t.shape}")
    return t.reshape(p.shape)


def _weights(caller: str, sample_weight: Any, rows: int) -> FloatArray:
    weights = check.sample_weight(caller, sample_weight, rows, "float64")
    return np.ones(rows) if weights is None else weights


def _labelled(p: np.ndarray[Any, Any], t: np.ndarray[Any, Any]) -> tuple[IndexArray, IndexArray, int]:
    """Predictions, labels and the number of classes, for labels or one output."""
    if t.ndim == 1:
        return p.argmax(axis=1), t, p.shape[1]
    return (p[:, 0] >= 0.5).astype(np.int64), t[:, 0].astype(np.int64), 2


def _counts(
    p: np.ndarray[Any, Any], t: np.ndarray[Any, Any], weight: FloatArray
) -> tuple[FloatArray, np.ndarray[Any, np.dtype[np.bool_]]]:
    """By class or yes-or-no output: the weights (3, classes) of right predictions, of all predictions and of all rows.

    And whether a row has the class or a prediction names it; a question is always there.
    """
    if t.ndim == 2 and p.shape[1] > 1:
        yes = p >= 0.5
        return np.stack([weight @ (yes & t), weight @ yes, weight @ t]), np.full(p.shape[1], True)
    predictions, labels, classes = _labelled(p, t)
    hits = np.bincount(labels, weight * (predictions == labels), classes)
    predicted, actual = np.bincount(predictions, weight, classes), np.bincount(labels, weight, classes)
    occurs = np.bincount(predictions, minlength=classes) + np.bincount(labels, minlength=classes) > 0
    return np.stack([hits, predicted, actual]), occurs


def _area(p: np.ndarray[Any, Any], yes: np.ndarray[Any, Any], weight: FloatArray) -> float:
    """Area under the ROC curve of one score."""
    order = p.argsort()
    p, positive = p[order], np.where(yes, weight, 0.0)[order]
    if np.isnan(p[-1]):
        return float("nan")
    firsts = np.flatnonzero(np.concatenate([[True], p[1:] != p[:-1]]))  # of each run of equal scores
    positive, negative = (np.add.reduceat(part, firsts) for part in (positive, weight[order] - positive))
    below = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    return float(positive @ (below + negative / 2) / pairs) if pairs > 0 else float("nan")
