"""Fitted networks of scikit-learn as models."""

from __future__ import annotations

from typing import Any

from densegrad import _check
from densegrad._primitives import PRIMITIVES
from densegrad.exchange._imported import imported
from densegrad.exchange.parts import assembled, dense
from densegrad.model import Sequential

_WHO = "from_sklearn"
_ACTIVATIONS = {"identity": None, "logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "softmax": "softmax"}


def from_sklearn(estimator: Any) -> Sequential:
    """A model with the outputs of a fitted ``MLPClassifier`` or ``MLPRegressor``, with numbers of its own.

    Of those of ``densegrad.sklearn`` it is a copy of ``model_``.

    What a classifier's ``predict_proba`` gives is the model's ``predict``: probabilities in the order of ``classes_``,
    for two classes that of the second alone, one output with a sigmoid. Weights keep their dtype.

    Raises:
        TypeError: It is no such estimator.
        ValueError: It has not been fitted, or ends in a function that ``dg.activations`` has not.

    Needs scikit-learn: ``pip install 'densegrad[sklearn]'``.

    >>> import densegrad as dg, numpy as np
    >>> from sklearn.neural_network import MLPRegressor
    >>> x, y = np.eye(3), np.arange(3)
    >>> theirs = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", random_state=0).fit(x, y)
    >>> ours = dg.from_sklearn(theirs)
    >>> ours
    Sequential([Dense(4, activation='relu'), Dense(1)], input_size=3, dtype='float64')
    >>> np.allclose(ours.predict(x)[:, 0], theirs.predict(x))
    True
    """
    networks = imported(_WHO, "sklearn.neural_network", "densegrad[sklearn]")
    if isinstance(getattr(estimator, "model_", None), Sequential):
        return _copied(estimator)
    if not isinstance(estimator, networks.MLPClassifier | networks.MLPRegressor):
        raise TypeError(f"{_WHO}: expected an MLPClassifier or MLPRegressor, got {type(estimator).__name__}")
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"{_WHO}: expected a fitted {type(estimator).__name__}; call its fit first")
    last = _check.choice(_WHO, "activation of the outputs", estimator.out_activation_, _ACTIVATIONS)
    hidden = _check.choice(_WHO, "activation", estimator.activation, _ACTIVATIONS)
    functions = [hidden] * (len(estimator.coefs_) - 1) + [last]
    parts = [
        dense(w, b, activation=_ACTIVATIONS[function])
        for w, b, function in zip(estimator.coefs_, estimator.intercepts_, functions, strict=True)
    ]
    return assembled(_WHO, parts, _check.dtype(_WHO, estimator.coefs_[0].dtype))


def _copied(estimator: Any) -> Sequential:
    _check.choice(_WHO, "activation of the outputs", estimator.out_activation_, {*_ACTIVATIONS, *PRIMITIVES})
    model: Sequential = estimator.model_.copy()
    return model
