"""The regressor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from densegrad._base.types import FloatArray
from densegrad.metrics import r2
from densegrad.sklearn.base import BaseMLP, keep, trains_by_steps
from densegrad.sklearn.tasks import Task, regression


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]  # which have no types
    """A network that fits numbers: scikit-learn's ``MLPRegressor``, and what it has not.

    It minimises the mean over a batch of 1/2 sum_j (p_j - t_j)^2, or another loss, and alpha / 2 |w|^2 / rows more;
    ``loss_curve_`` has the mean over the targets in the place of the sum, as scikit-learn's.

    Args:
        loss: ``"squared_error"``, ``"poisson"`` (the output is exp(z), targets are counts), or a loss of ``dg.losses``
            by name or as an object, or a function of Tensors. ``"gaussian_nll"`` predicts the mean.
        hidden_layer_sizes, activation, ...: As for ``MLPClassifier``; the validation score is R2, named val_r2.

    >>> import numpy as np
    >>> from densegrad.sklearn import MLPRegressor
    >>> x = np.linspace(-3, 3, 200)[:, None]
    >>> regressor = MLPRegressor(hidden_layer_sizes=(30,), solver="lbfgs", random_state=0, max_iter=1000)
    >>> regressor.fit(x, np.sin(x[:, 0])).score(x, np.sin(x[:, 0])) > 0.99
    True
    """

    _score_name = "r2"
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": "no_validation",
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        output_activation: Any = None,
        dropout: Any = 0.0,
        normalization: str | None = None,
        optimizer: Any = None,
        schedule: Any = None,
        clip_norm: float | None = None,
        callbacks: Any = None,
        restore_best_weights: Any = "auto",
        n_jobs: int | None = None,
        dtype: str = "auto",
        progress: bool | None = False,
    ) -> None:
        keep(self, locals())

    def predict(self, X: Any) -> Any:
        """The targets of each row, (rows,) or (rows, targets)."""
        return self.decoded(self._outputs(X))

    def decoded(self, outputs: FloatArray) -> FloatArray:
        """The predictions of the last layer's outputs, as ``predict`` gives it."""
        values = self._learnt.linked(outputs)[:, : self.n_outputs_]  # what may stand behind are log-variances
        return values.ravel() if self.n_outputs_ == 1 else np.ascontiguousarray(values)

    @available_if(trains_by_steps)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Any:
        """One epoch on these rows; arguments as for ``MLPClassifier.partial_fit``."""
        self._checked()
        return self._fit(X, y, sample_weight, X_val, y_val, incremental=True)

    # ---- inside

    def _validated(self, X: Any, y: Any, *, incremental: bool, reset: bool, held: bool = False) -> tuple[Any, Any]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _encoded(self, y: Any) -> Any:
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _task(self, caller: str, targets: Any) -> Task:
        self.n_outputs_ = targets.shape[1]
        return regression(caller, self.loss, self.output_activation, self.n_outputs_)

    def _as_read(self, task: Task, targets: Any, dtype: str) -> Any:
        if task.counts and (targets < 0).any():
            raise ValueError(f"Some value(s) of y are out of the valid range of the loss {task.public!r}.")
        return np.ascontiguousarray(targets, dtype)

    def _score_of(self, task: Task, y: Any, outputs: FloatArray, weight: FloatArray | None) -> float:
        predicted = task.linked(outputs)[:, : self.n_outputs_]
        return r2(predicted, y, weight) if np.isfinite(predicted).all() else float("nan")
