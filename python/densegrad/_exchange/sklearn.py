"""Fitted networks of scikit-learn, layer by layer."""

from __future__ import annotations

from typing import Any

from densegrad._base import check
from densegrad._base.primitives import PRIMITIVES
from densegrad._exchange.optional import imported
from densegrad._exchange.parts import ReadNetwork, dense

_WHO = "from_sklearn"
_ACTIVATIONS = {"identity": None, "logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "softmax": "softmax"}


def read_sklearn(estimator: Any) -> ReadNetwork:
    """The network of a fitted estimator; ``dg.from_sklearn`` says of which."""
    networks = imported(_WHO, "sklearn.neural_network", "densegrad[sklearn]")
    if not isinstance(estimator, networks.MLPClassifier | networks.MLPRegressor):
        raise TypeError(f"{_WHO}: expected an MLPClassifier or MLPRegressor, got {type(estimator).__name__}")
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"{_WHO}: expected a fitted {type(estimator).__name__}; call its fit first")
    last = check.choice(_WHO, "activation of the outputs", estimator.out_activation_, _ACTIVATIONS)
    hidden = check.choice(_WHO, "activation", estimator.activation, _ACTIVATIONS)
    functions = [hidden] * (len(estimator.coefs_) - 1) + [last]
    parts = [
        dense(w, b, activation=_ACTIVATIONS[function])
        for w, b, function in zip(estimator.coefs_, estimator.intercepts_, functions, strict=True)
    ]
    return ReadNetwork(_WHO, parts, check.dtype(_WHO, estimator.coefs_[0].dtype))


def check_output(estimator: Any) -> None:
    """Refuse an estimator whose outputs go through a function that no layer computes."""
    check.choice(_WHO, "activation of the outputs", estimator.out_activation_, {*_ACTIVATIONS, *PRIMITIVES})
