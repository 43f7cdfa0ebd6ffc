"""The base of classifier and regressor: arguments, parameters, training, files."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from numbers import Integral, Real
from operator import index
from typing import Any, ClassVar

import joblib
import numpy as np
import scipy.sparse
from joblib.parallel import get_active_backend
from sklearn import get_config
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from threadpoolctl import ThreadpoolController

from densegrad._base.types import FloatArray
from densegrad._base.version import __version__
from densegrad._plan.backend import REFUSAL
from densegrad.models.sequential import Sequential
from densegrad.sklearn.network import NORMALIZATIONS, OwnNetwork
from densegrad.sklearn.solver import make_solver
from densegrad.sklearn.tasks import Task
from densegrad.sklearn.training import NetworkRows, lbfgs, stochastic

_STOCHASTIC = ("sgd", "adam")


class BaseMLP(OwnNetwork):
    """The base of the estimators; see ``MLPClassifier`` for its arguments."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": "no_validation",
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "output_activation": "no_validation",
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "normalization": [StrOptions(set(NORMALIZATIONS)), None],
        "optimizer": "no_validation",
        "schedule": [callable, None],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "callbacks": ["array-like", None],
        "restore_best_weights": ["boolean", StrOptions({"auto"})],
        "n_jobs": [Integral, None],
        "dtype": [StrOptions({"auto", "float32", "float64"})],
        "progress": ["boolean", None],
    }
    _score_name: ClassVar[str]
    _ended: bool  # by early stopping

    def _begin_curves(self, *, anew: bool, held: bool) -> None:
        """The lists that training appends to, those that are not there yet or all anew."""
        scored = self.early_stopping or held
        fresh: dict[str, Any] = {
            "loss_curve_": [],
            "_no_improvement_count": 0,
            "best_loss_": None if self.early_stopping else np.inf,
            "validation_scores_": [] if scored else None,
            "validation_loss_curve_": [] if scored else None,
            "best_validation_score_": -np.inf if scored else None,
            "_best_parameters": None,
            "_ended": False,
        }
        for name, value in fresh.items():
            if anew or getattr(self, name, None) is None:
                setattr(self, name, value)

    # ---- training

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Any:
        """Train on all rows until ``tol`` or ``max_iter`` ends it.

        Args:
            X: (rows, features): an array, a frame or a sparse matrix, which is made dense.
            y: (rows,) labels or numbers, or (rows, outputs).
            sample_weight: (rows,) weights; a batch's loss is sum(w l) / sum(w).
            X_val, y_val: Measured at each epoch's end. ``early_stopping`` then watches them and sets no rows aside.

        Returns:
            The estimator.

        Raises:
            ValueError, TypeError: An argument does not fit, in scikit-learn's words; or the weights are not finite.
        """
        self._checked()
        return self._fit(X, y, sample_weight, X_val, y_val, incremental=False)

    def _checked(self) -> None:
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()

    def _stochastic(self) -> bool:
        return self.optimizer is not None or self.solver in _STOCHASTIC

    def _fit(self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, *, incremental: bool) -> Any:
        before = self.__dict__.copy()
        try:
            train = self._prepared(X, y, sample_weight, X_val, y_val, incremental=incremental)
        except BaseException:  # what is refused leaves the estimator as it was
            self.__dict__ = before
            raise
        with _threads(self.n_jobs):
            train()
        return self

    def _prepared(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, *, incremental: bool
    ) -> Callable[[], None]:
        """The training to be done, once everything has been checked."""
        caller = type(self).__name__
        sizes = self.hidden_layer_sizes
        sizes = [index(size) for size in sizes] if hasattr(sizes, "__iter__") else [index(sizes)]
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        joblib.effective_n_jobs(1 if self.n_jobs is None else self.n_jobs)  # which refuses 0
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, y = self._validated(X, y, incremental=incremental, reset=first)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        self._random_state = check_random_state(self.random_state)
        targets = self._encoded(y)
        self._learnt = task = self._task(caller, targets)
        units = [X.shape[1], *sizes, task.units]
        dtype = str(X.dtype) if self.dtype == "auto" else self.dtype
        if incremental and not first and self.dtype == "auto":
            dtype = self.model_.dtype
        if first:
            self._initialize(task, units, dtype)
        else:
            self._go_on(task, units, dtype)
        rows = self._rows(task, X, targets, self._class_weighted(y, sample_weight, incremental=incremental))
        given = None if X_val is None and y_val is None else self._held(task, X_val, y_val)
        if not self._stochastic():
            return lbfgs(self, task, rows, given)
        if self.early_stopping and incremental and given is None:
            raise ValueError(
                "partial_fit does not support early_stopping=True without X_val and y_val, rows to be measured on"
            )
        self._begin_curves(anew=first, held=given is not None)
        if incremental and self.early_stopping and self._ended:
            return lambda: None
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = make_solver(self)
            self._network, self._best_parameters, self._ended = None, None, False
        if self.early_stopping and given is None:
            rows, given = self._split(rows, targets, sample_weight)
        return stochastic(self, task, rows, given, incremental=incremental)

    def _class_weighted(self, y: Any, sample_weight: Any, *, incremental: bool) -> Any:
        """The weights of the rows, times those of their classes where there are any."""
        return sample_weight

    def _rows(self, task: Task, X: Any, targets: Any, sample_weight: Any) -> NetworkRows:
        """The rows as the network reads them."""
        dtype = self._model.dtype
        x = dense_rows(X, dtype)
        weight = None if sample_weight is None else np.ascontiguousarray(sample_weight, dtype)
        return NetworkRows(x, self._as_read(task, targets, dtype), weight)

    def _held(self, task: Task, X: Any, y: Any) -> NetworkRows:
        """The validation set that was given."""
        caller = type(self).__name__
        if X is None or y is None:
            raise ValueError(f"{caller}: expected X_val and y_val, got one of them alone")
        X, y = self._validated(X, y, incremental=True, reset=False, held=True)
        targets = self._encoded(y)
        if targets.ndim == 2 and targets.shape[1] != self.n_outputs_:
            raise ValueError(f"{caller}: expected y_val of {self.n_outputs_} columns as y, got {targets.shape[1]}")
        return self._rows(task, X, targets, None)

    def _split(self, rows: NetworkRows, targets: Any, sample_weight: Any) -> tuple[NetworkRows, NetworkRows]:
        """The rows to train on and those to measure, drawn as scikit-learn draws them; classes weigh in the first."""
        trained, measured = train_test_split(
            np.arange(len(rows.x)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._strata(targets),
        )
        if len(measured) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        if sample_weight is not None:
            sample_weight = np.ascontiguousarray(sample_weight, rows.x.dtype)
            if not (sample_weight[trained].any() and sample_weight[measured].any()):
                raise ValueError("Sample weights must contain at least one non-zero number.")
        return _some(rows, trained), _some(rows._replace(weight=sample_weight), measured)

    def _strata(self, targets: Any) -> Any:
        """The groups whose shares a split keeps."""
        return None

    @property
    def _keeps_best(self) -> bool:
        best = self.restore_best_weights
        return bool(self.early_stopping if isinstance(best, str) else best)

    # ---- prediction

    def _outputs(self, X: Any) -> FloatArray:
        """The last layer's output; an array that is as the network reads it goes straight there."""
        attributes = vars(self)
        if type(X) is np.ndarray and "_model" in attributes and self._holds_views():
            model: Sequential = self._model
            fits = X.ndim == 2 and X.shape[1] == model.input_size and len(X) and X.dtype.kind == "f"
            if fits and "feature_names_in_" not in attributes:
                try:
                    return model.predict(X)
                except REFUSAL:  # not finite: said below
                    pass
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        x = dense_rows(X, self.model_.dtype)
        try:
            return self.model_.predict(x)
        except ValueError as error:
            if not get_config()["assume_finite"]:
                raise ValueError(str(error).replace("Sequential", type(self).__name__)) from None
        outputs = np.full((len(x), self.model_.output_size), np.nan, x.dtype)
        finite = np.isfinite(x).all(axis=1)
        outputs[finite] = self.model_.predict(x[finite])
        return outputs

    # ---- what scikit-learn asks

    @classmethod
    @cache  # it reads the constructor's signature, which takes as long as many a fit
    def _get_param_names(cls) -> Any:
        return super()._get_param_names()

    def __getstate__(self) -> dict[str, Any]:
        if "_model" in vars(self) and not self._holds_views():
            self._adopt()
        state = dict(super().__getstate__())
        if "_model" in state:
            for name in ("coefs_", "intercepts_", "_views", "_dense_layers", "_network"):
                state.pop(name, None)
        return {**state, "_densegrad_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        version = state.pop("_densegrad_version", "unknown")
        if version != __version__:
            warnings.warn(
                InconsistentVersionWarning(
                    estimator_name=type(self).__name__,
                    current_sklearn_version=f"{__version__} of densegrad",
                    original_sklearn_version=f"{version} of densegrad",
                ),
                stacklevel=2,
            )
        super().__setstate__(state)
        if "_model" in state:
            self._take(state["_model"])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- of the kind

    def _validated(self, X: Any, y: Any, *, incremental: bool, reset: bool, held: bool = False) -> tuple[Any, Any]:
        """X and y checked, and ``classes_`` known, but for a validation set, which is ``held`` aside."""
        raise NotImplementedError

    def _encoded(self, y: Any) -> Any:
        """The targets as numbers."""
        raise NotImplementedError

    def _as_read(self, task: Task, targets: Any, dtype: str) -> Any:
        """The targets as the loss reads them."""
        raise NotImplementedError

    def _task(self, caller: str, targets: Any) -> Task:
        raise NotImplementedError

    def _score_of(self, task: Task, y: Any, outputs: FloatArray, weight: FloatArray | None) -> float:
        """The score of the last layer's outputs for targets as the loss reads them."""
        raise NotImplementedError


def trains_by_steps(estimator: Any) -> bool:
    """Tell whether there is a ``partial_fit``; else an error that says why not."""
    if not estimator._stochastic():
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


def keep(estimator: Any, arguments: dict[str, Any]) -> None:
    """Each argument of a constructor as an attribute of its name."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def _some(rows: NetworkRows, chosen: Any) -> NetworkRows:
    """Some of the rows."""
    return NetworkRows(rows.x[chosen], rows.y[chosen], None if rows.weight is None else rows.weight[chosen])


def dense_rows(X: Any, dtype: Any) -> FloatArray:
    """X as the core reads it."""
    x = X.toarray() if scipy.sparse.issparse(X) else X
    return np.ascontiguousarray(x, dtype)


_controller: ThreadpoolController | None = None


@contextmanager
def _threads(n_jobs: int | None) -> Iterator[None]:
    """Lets the calling thread use so many; one where joblib runs several of its kind, unless it is told otherwise."""
    global _controller  # noqa: PLW0603  (finding the libraries takes longer than a small fit)
    if n_jobs is None:
        backend, _ = get_active_backend()
        if not getattr(backend, "nesting_level", 0) or threading.current_thread() is threading.main_thread():
            yield
            return
        n_jobs = 1
    if _controller is None:
        _controller = ThreadpoolController()
    with _controller.limit(limits=joblib.effective_n_jobs(n_jobs), user_api="openmp"):
        yield
