"""Tasks: the loss, the last layer under it, and how targets and outputs are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from densegrad import losses
from densegrad._base.plan import LossSpec, LossTerm
from densegrad._base.primitives import loss_row
from densegrad._base.types import FloatArray, IndexArray
from densegrad._plan import backend
from densegrad._plan.split_network import loss_and_gradient
from densegrad.activations import ActivationFunction, resolve

OUR_NAMES = {"logistic": "sigmoid"}
THEIR_NAMES = {ours: theirs for theirs, ours in OUR_NAMES.items()}
_LINKS = {"softmax": None, "sigmoid": None, "log_softmax": "exp"}  # what makes probabilities of such an output


def function_named(caller: str, activation: Any) -> ActivationFunction:
    """An activation by scikit-learn's name, by ours, or as an object."""
    return resolve(caller, OUR_NAMES.get(activation, activation) if isinstance(activation, str) else activation)


@dataclass(frozen=True)
class Task:
    """A loss on the outputs of a network.

    Attributes:
        loss: What is minimised.
        public: The same as a user writes it.
        units: Of the last layer.
        output: The last layer's activation.
        link: What makes probabilities, or a rate, of the last layer's output: an activation, ``"exp"``, or nothing.
        labels: Whether targets are integer labels.
        shown: What the loss without penalties is multiplied by for ``loss_curve_``.
        poisson: Whether ``loss_curve_`` has the constant of the deviance.
        probabilities: Whether ``linked`` gives some.
        counts: Whether targets are to be 0 or more.
    """

    loss: LossSpec
    public: Any
    units: int
    output: ActivationFunction
    link: str | None = None
    labels: bool = False
    shown: float = 1.0
    poisson: bool = False
    probabilities: bool = True
    counts: bool = False

    @property
    def sums_to_one(self) -> bool:
        """Tell whether the probabilities of a row do so by themselves."""
        return self.link == "softmax" or self.output.primitive in ("softmax", "log_softmax")

    @property
    def out_activation(self) -> str:
        """As scikit-learn calls it."""
        if self.poisson:
            return "exp"
        return THEIR_NAMES.get(self.output.primitive, self.output.primitive)

    def constants(self, y: FloatArray) -> FloatArray:
        """The constant of each row in ``loss_curve_``, which no parameter changes: sum_j t_j log t_j - t_j."""
        return np.asarray((y * np.log(np.where(y > 0, y, 1)) - y).sum(axis=1), np.float64)

    def linked(self, outputs: FloatArray) -> FloatArray:
        """Probabilities or rates."""
        if self.link is None:
            return outputs
        if self.link == "exp":
            return np.asarray(np.exp(outputs))
        linked: FloatArray = backend.active().activation_forward(self.link, outputs)
        return linked

    def value(self, scores: FloatArray, lowered: LossSpec, y: FloatArray | IndexArray, weight: Any) -> float:
        """The loss of what it reads, without penalties, as ``loss_curve_`` shows it."""
        value = self.shown * sum(term.weight * loss_and_gradient(term, scores, y, weight)[0] for term in lowered.each())
        return value + float(np.average(self.constants(y), weights=weight)) if self.poisson else value


def classification(caller: str, loss: Any, output: Any, columns: int, classes: int, multilabel: bool) -> Task:
    """The task of so many columns of a binarised y.

    ``"log_loss"`` is cross-entropy on a softmax, or where there is one column, or one for each label, the sum of the
    binary cross-entropies of sigmoids.
    """
    softmax = columns > 1 and not multilabel
    usual = "softmax" if softmax else "sigmoid"
    if isinstance(loss, str) and loss == "log_loss":
        loss = "cross_entropy" if softmax else "binary_cross_entropy"
        if output is not None and function_named(caller, output).primitive != usual:
            raise ValueError(
                f"{caller}: log_loss expected output_activation {usual!r}, got {output!r}; name another loss"
            )
        summed = losses.resolve(caller, loss)
        if columns > 1 and not softmax:  # the sum over the labels, not their mean
            summed = LossSpec("sum", -1, {}, (LossTerm(summed.primitive, summed.attributes, float(columns)),))
        return Task(summed, loss, columns, function_named(caller, usual), labels=softmax)
    resolved = losses.resolve(caller, loss)
    row = loss_row(resolved.primitive)
    if row.predictions > 1:
        raise ValueError(f"{caller}: expected a loss with one prediction for each class, got {row.name}")
    labels = row.target == "classes"
    if labels and multilabel:
        raise ValueError(f"{caller}: {row.name} expects one class a row, got y with several labels a row")
    units = max(2, classes) if labels else columns
    usual = "log_softmax" if row.name == "nll" else "identity" if row.name.endswith("with_logits") else usual
    usual = "softmax" if labels and usual == "sigmoid" else usual
    function = function_named(caller, usual if output is None else output)
    link = _LINKS.get(function.primitive, row.link if row.link != "identity" else None)
    return Task(resolved, loss, units, function, link, labels, probabilities=function.primitive in _LINKS or bool(link))


def regression(caller: str, loss: Any, output: Any, columns: int) -> Task:
    """The task of so many targets.

    ``"squared_error"`` is 1/2 sum_j (p_j - t_j)^2, shown as the mean over the targets, as scikit-learn does;
    ``"poisson"`` is the deviance's half of p = exp(z).
    """
    function = function_named(caller, "identity" if output is None else output)
    if isinstance(loss, losses.Poisson) or (isinstance(loss, str) and loss == "poisson"):
        if function.primitive != "identity":
            raise ValueError(f"{caller}: poisson expected no output_activation, got {output!r}: the output is exp")
        term = LossTerm("poisson", {}, float(columns))
        one = losses.resolve(caller, "poisson") if columns == 1 else LossSpec("sum", -1, {}, (term,))
        return Task(one, "poisson", columns, function, link="exp", poisson=True, counts=True)
    if isinstance(loss, str) and loss == "squared_error":
        resolved = losses.resolve(caller, "half_squared_error")
        return Task(resolved, "half_squared_error", columns, function, shown=1 / columns)
    resolved = losses.resolve(caller, loss)
    row = loss_row(resolved.primitive)
    if row.target in ("classes", "probabilities"):
        raise ValueError(f"{caller}: expected a loss on numbers, got {row.name}, which is on {row.target}")
    return Task(resolved, loss, columns * row.predictions, function, counts=row.target == "counts")
