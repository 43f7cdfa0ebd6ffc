"""The network of an estimator: its layers, first weights, and what its ``coefs_`` and ``intercepts_`` are views of."""

from __future__ import annotations

import copy
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from densegrad._base.types import FloatArray
from densegrad._training.network import TrainingNetwork
from densegrad.activations import ActivationFunction
from densegrad.layers import Activation, BatchNorm, Dense, Dropout, Layer, LayerNorm, PythonActivation, is_function
from densegrad.models.sequential import Sequential
from densegrad.sklearn.solver import Solver
from densegrad.sklearn.tasks import THEIR_NAMES, Task, function_named
from densegrad.sklearn.training import penalised

NORMALIZATIONS = {"batch": BatchNorm, "layer": LayerNorm}


class OwnNetwork(BaseEstimator):  # type: ignore[misc]  # which has no types
    """The part of an estimator that makes and keeps its network, by the arguments of its constructor."""

    _optimizer: Solver
    _code: int | None = None  # the hidden layer that nothing is dropped from and that is not normalised

    @property
    def model_(self) -> Sequential:
        """The network, which is the estimator's own: ``save`` it, ``to_onnx`` it, or train a copy of it.

        ``coefs_`` and ``intercepts_`` are views into its parameters.
        """
        if "_model" not in vars(self) or not self._holds_views():
            check_is_fitted(self)
            self._adopt()
        model: Sequential = self._model
        return model

    def _holds_views(self) -> bool:
        """Tell whether nobody has put other arrays in the place of ``coefs_`` and ``intercepts_``."""
        coefs, intercepts = self._views
        if len(self.coefs_) != len(coefs) or len(self.intercepts_) != len(intercepts):
            return False
        for array, view in zip(self.coefs_, coefs, strict=True):
            if array is not view:
                return False
        for array, view in zip(self.intercepts_, intercepts, strict=True):  # noqa: SIM110  (the fast path of predict)
            if array is not view:
                return False
        return True

    def _adopt(self) -> None:
        """Make ``coefs_`` and ``intercepts_``, which somebody has set, those of the network."""
        coefs, intercepts = list(self.coefs_), list(self.intercepts_)
        model = vars(self).get("_model")
        shapes = [np.shape(w) for w in coefs]
        if model is None or [layer.w.shape for layer in self._dense_layers] != shapes:
            dtype = str(np.result_type(*coefs)) if self.dtype == "auto" else self.dtype
            model = self._build([shapes[0][0], *(shape[1] for shape in shapes)], self._learnt, dtype)
        self._take(model)
        self._set_weights(coefs, intercepts)

    def _set_weights(self, coefs: list[FloatArray], intercepts: list[FloatArray]) -> None:
        for layer, w, b in zip(self._dense_layers, coefs, intercepts, strict=True):
            layer.w[...], layer.b[...] = w, b

    def _take(self, model: Sequential) -> None:
        """The model is this estimator's from now on."""
        self._model = model
        self._dense_layers = [layer for layer in model.layers if isinstance(layer, Dense)]
        self.coefs_ = [layer.w for layer in self._dense_layers]
        self.intercepts_ = [layer.b for layer in self._dense_layers]
        self._views = (tuple(self.coefs_), tuple(self.intercepts_))
        self._network: tuple[Any, TrainingNetwork] | None = None

    def _build(self, units: list[int], task: Task, dtype: str) -> Sequential:
        """The layers, all of their weights 0."""
        self._built_of = self._what_is_built(task, dtype)
        caller = type(self).__name__
        hidden = units[1:-1]
        functions = self._hidden_functions(caller, len(hidden))
        rates = np.broadcast_to(np.asarray(self.dropout, float), len(hidden)) if hidden else np.empty(0)
        layers: list[Any] = []
        for place, (size, function, rate) in enumerate(zip(hidden, functions, rates, strict=True)):
            if place == self._code:
                layers.append(Dense(size, function, init="zeros"))
                continue
            normalization = [] if self.normalization is None else [NORMALIZATIONS[self.normalization]()]
            if isinstance(function, ActivationFunction) and not normalization:
                layers.append(Dense(size, function, init="zeros"))
            else:
                layers += [Dense(size, init="zeros"), *normalization, _layer_of(function)]
            if rate > 0:
                layers.append(Dropout(float(rate)))
        output = None if task.output.primitive == "identity" else task.output
        return Sequential([*layers, Dense(units[-1], output, init="zeros")], units[0], dtype=dtype, seed=0)

    def _hidden_functions(self, caller: str, count: int) -> list[Any]:
        """The activation of each hidden layer."""
        given = self.activation
        each = list(given) if isinstance(given, list | tuple) else [given] * count
        if len(each) != count:
            raise ValueError(f"{caller}: expected an activation for each of {count} hidden layers, got {len(each)}")
        if np.ndim(self.dropout) and len(self.dropout) != count:
            raise ValueError(f"{caller}: expected a dropout for each of {count} hidden layers, got {len(self.dropout)}")
        return [one if isinstance(one, Layer) or is_function(one) else function_named(caller, one) for one in each]

    def _initialize(self, task: Task, units: list[int], dtype: str) -> None:
        """The first weights: uniform within sqrt(6 / (fan_in + fan_out)), of the logistic function sqrt(2 / ...).

        Source: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks (2010).
        """
        functions = [getattr(f, "primitive", "") for f in self._hidden_functions(type(self).__name__, len(units) - 2)]
        functions.append(functions[-1] if functions else THEIR_NAMES.get(str(self.activation), str(self.activation)))
        self.n_iter_ = self.t_ = 0
        model = self._build(units, task, dtype)
        self._take(model)
        for layer, function in zip(self._dense_layers, functions, strict=True):
            fan_in, fan_out = layer.w.shape
            bound = np.sqrt((2.0 if function in ("sigmoid", "logistic") else 6.0) / (fan_in + fan_out))
            layer.w[...] = self._random_state.uniform(-bound, bound, (fan_in, fan_out))
            layer.b[...] = self._random_state.uniform(-bound, bound, fan_out)
        if any(isinstance(layer, Dropout) for layer in model.layers):
            model.noise_seed = int(self._random_state.randint(2**31 - 1))
        self.n_layers_ = len(units)
        self.out_activation_ = task.out_activation
        if hasattr(self, "_optimizer"):
            del self._optimizer

    def _go_on(self, task: Task, units: list[int], dtype: str) -> None:
        """Take the weights of the last fit on, into other layers where the arguments now ask for such."""
        self.model_  # noqa: B018  (takes over what somebody has set)
        coefs, intercepts = self.coefs_, self.intercepts_
        if [w.shape for w in coefs] != [*pairwise(units)]:
            raise ValueError(
                f"{type(self).__name__}: expected the layers {units} of the last fit to go on with, got weights "
                f"{[w.shape for w in coefs]}"
            )
        self.out_activation_ = task.out_activation
        if self._built_of != self._what_is_built(task, dtype):
            self._take(self._build(units, task, dtype))
            self._set_weights(coefs, intercepts)
            self.__dict__.pop("_optimizer", None)

    def _what_is_built(self, task: Task, dtype: str) -> tuple[str, ...]:
        """The arguments that decide the layers."""
        return repr(self.activation), repr(self.dropout), repr(self.normalization), repr(task.output), dtype

    def _network_for(self, task: Task) -> TrainingNetwork:
        """The network that trains, another one where the arguments that shape it have changed."""
        optimizer, alpha = self._optimizer.optimizer, float(self.alpha)
        shaped_by = (task.loss, optimizer, alpha)
        if self._network is None or self._network[0] != shaped_by:
            change = partial(penalised, alpha=alpha)
            self._network = (shaped_by, TrainingNetwork(self._model, task.loss, optimizer, change))
        return self._network[1]


def _layer_of(function: Any) -> Any:
    if isinstance(function, ActivationFunction):
        return Activation(function)
    return function.copy() if isinstance(function, Layer) else PythonActivation(copy.deepcopy(function))
