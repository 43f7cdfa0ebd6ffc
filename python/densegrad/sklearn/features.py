"""Transformers: what hidden layers make of the features."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from densegrad._base.plan import Plan
from densegrad._base.types import FloatArray
from densegrad._plan.split_network import network_of
from densegrad.sklearn.base import BaseMLP, dense_rows
from densegrad.sklearn.classifier import MLPClassifier
from densegrad.sklearn.regressor import MLPRegressor


class _Features(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The base of both transformers, which read features from the network they have trained."""

    _code_layer: int  # the dense layer that reads the features, counted from 0
    estimator_: BaseMLP
    random_state: Any

    @property
    def _n_features_out(self) -> int:
        return int(self.estimator_.coefs_[self._code_layer].shape[0])

    def _seeded(self, estimator: BaseMLP) -> BaseMLP:
        """The estimator with this one's ``random_state``, where it has one."""
        if self.random_state is not None:
            estimator.set_params(random_state=self.random_state)
        return estimator

    def _encode(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        lowered, code = self._lowered()
        nodes = tuple(node for node in lowered.nodes if node.output <= code)
        return self._run(replace(lowered, nodes=nodes, output=code), X)

    def _lowered(self) -> tuple[Plan, int]:
        """The network's plan, and the buffer of the features."""
        lowered = self.estimator_.model_.lower()
        reads = [node.inputs[0] for node in lowered.nodes if node.primitive == "dense"]
        return lowered, reads[self._code_layer]

    def _run(self, lowered: Plan, X: Any) -> FloatArray:
        model = self.estimator_.model_
        y: FloatArray = network_of(lowered, model.parameters).predict(dense_rows(X, model.dtype))
        return y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class MLPTransformer(_Features):
    """The last hidden layer of a network that has learnt y: features for whatever comes behind.

    Args:
        estimator: The ``MLPClassifier`` or ``MLPRegressor`` to train; where none is given, the first of them with its
            defaults where y are labels, the second where they are numbers.
        random_state: The estimator's, where it is given.

    Attributes:
        estimator_: The one that was trained.

    >>> from densegrad.sklearn import MLPClassifier, MLPTransformer
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> network = MLPClassifier((10, 2), "tanh", solver="lbfgs", random_state=0, max_iter=500)
    >>> MLPTransformer(network).fit_transform(x, y).shape
    (150, 2)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "random_state": ["random_state"],
    }
    _code_layer = -1

    def __init__(self, estimator: Any = None, *, random_state: Any = None) -> None:
        self.estimator = estimator
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Any:
        """Train the network; arguments as for its ``fit``."""
        self._validate_params()
        validate_data(self, X, accept_sparse=["csr", "csc"], skip_check_array=True)
        if y is None:
            raise ValueError("This MLPTransformer estimator requires y to be passed, but the target y is None.")
        estimator = self.estimator
        if estimator is None:
            labels = type_of_target(y, input_name="y").startswith(("binary", "multiclass", "multilabel"))
            estimator = MLPClassifier() if labels else MLPRegressor()
        if not isinstance(estimator, BaseMLP):
            raise TypeError(f"MLPTransformer: expected an MLPClassifier or MLPRegressor, got {estimator!r}")
        if np.size(estimator.hidden_layer_sizes) == 0:
            raise ValueError(f"MLPTransformer: expected an estimator with a hidden layer, got {estimator!r}")
        self.estimator_ = self._seeded(clone(estimator)).fit(X, y, sample_weight, X_val=X_val, y_val=y_val)
        self.n_features_in_ = self.estimator_.n_features_in_
        return self

    def transform(self, X: Any) -> FloatArray:
        """The outputs of the last hidden layer, (rows, units)."""
        return self._encode(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class MLPAutoencoder(_Features):
    """A network that learns X from X through a narrow layer, whose outputs ``transform`` gives.

    It minimises 1/2 |x - decode(encode(x))|^2 as ``MLPRegressor`` does; the decoder's layers are the encoder's,
    mirrored. The narrow layer is linear.

    Args:
        hidden_layer_sizes: Units of the encoder's layers, the code's last.
        estimator: The ``MLPRegressor`` whose other arguments train it, its activation being that of all layers but the
            code's; ``MLPRegressor()`` where none is given.
        random_state: The estimator's, where it is given.

    Attributes:
        estimator_: The network that was trained.

    Source: Hinton & Salakhutdinov, Reducing the dimensionality of data with neural networks (2006).

    >>> from densegrad.sklearn import MLPAutoencoder, MLPRegressor
    >>> from sklearn.datasets import load_iris
    >>> x, _ = load_iris(return_X_y=True)
    >>> network = MLPRegressor(solver="lbfgs", alpha=1, max_iter=2000, tol=1e-3)
    >>> coder = MLPAutoencoder((10, 2), estimator=network, random_state=0).fit(x)
    >>> coder.transform(x).shape, coder.score(x) > 0.9
    ((150, 2), True)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "estimator": [HasMethods(["fit", "predict"]), None],
        "random_state": ["random_state"],
    }

    def __init__(self, hidden_layer_sizes: Any = (32,), *, estimator: Any = None, random_state: Any = None) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.estimator = estimator
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Train on all rows; y is not read."""
        self._validate_params()
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), ensure_min_samples=2)
        sizes = self.hidden_layer_sizes
        sizes = [int(size) for size in sizes] if hasattr(sizes, "__iter__") else [int(sizes)]
        if not sizes:
            raise ValueError("MLPAutoencoder: expected at least 1 hidden layer, got 0")
        estimator = MLPRegressor() if self.estimator is None else clone(self.estimator)
        if not isinstance(estimator, MLPRegressor):
            raise TypeError(f"MLPAutoencoder: expected estimator as an MLPRegressor, got {self.estimator!r}")
        mirrored = sizes[-2::-1]
        if not isinstance(estimator.activation, list | tuple):
            around = estimator.activation
            activation = [around] * (len(sizes) - 1) + ["identity"] + [around] * len(mirrored)
            estimator.set_params(activation=activation)
        estimator.set_params(hidden_layer_sizes=(*sizes, *mirrored))
        estimator._code = len(sizes) - 1
        target = dense_rows(X, X.dtype)
        self.estimator_ = self._seeded(estimator).fit(X, target[:, 0] if X.shape[1] == 1 else target, sample_weight)
        self._code_layer = len(sizes)
        return self

    def transform(self, X: Any) -> FloatArray:
        """The codes, (rows, units of the narrow layer)."""
        return self._encode(X)

    def inverse_transform(self, X: Any) -> FloatArray:
        """The decoder's outputs for codes, (rows, features)."""
        check_is_fitted(self)
        X = check_array(X)
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"MLPAutoencoder.inverse_transform: expected codes of {self._n_features_out} columns, got {X.shape[1]}"
            )
        lowered, code = self._lowered()
        nodes = tuple(node for node in lowered.nodes if node.output > code)
        back: FloatArray = self.estimator_.decoded(self._run(replace(lowered, nodes=nodes, input=code), X))
        return back.reshape(len(X), -1)

    def score(self, X: Any, y: Any = None) -> float:
        """R2 of X as the decoder gives it back; y is not read."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        back = self.estimator_.predict(X)
        return float(r2_score(dense_rows(X, back.dtype), back.reshape(X.shape)))
