"""Ensembles: many small networks, each on rows of its own drawing."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import BaggingClassifier, BaggingRegressor

from densegrad.sklearn.classifier import MLPClassifier
from densegrad.sklearn.regressor import MLPRegressor


class BaggingMLPClassifier(BaggingClassifier):  # type: ignore[misc]  # which has no types
    """scikit-learn's ``BaggingClassifier`` of networks, which train side by side, one a thread with ``n_jobs``.

    p = the mean over the networks of their ``predict_proba``; each has been trained on as many rows, drawn with
    replacement. Threads share the rows and start at once, where other ensembles need processes.

    Args:
        estimator: The network; ``MLPClassifier()`` where none is given.
        n_jobs: Threads, -1 for as many as there are processors; the networks do not depend on it.
        n_estimators, max_samples, ...: As for ``BaggingClassifier``.

    Source: Breiman, Bagging predictors (1996).

    >>> from densegrad.sklearn import BaggingMLPClassifier, MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> network = MLPClassifier((10,), solver="lbfgs", max_iter=500)
    >>> BaggingMLPClassifier(network, n_estimators=5, n_jobs=2, random_state=0).fit(x, y).score(x, y) > 0.95
    True
    """

    def _get_estimator(self) -> Any:
        return MLPClassifier() if self.estimator is None else self.estimator

    def _parallel_args(self) -> dict[str, str]:
        return {"prefer": "threads"}


class BaggingMLPRegressor(BaggingRegressor):  # type: ignore[misc]  # which has no types
    """scikit-learn's ``BaggingRegressor`` of networks: the mean of their predictions; see ``BaggingMLPClassifier``."""

    def _get_estimator(self) -> Any:
        return MLPRegressor() if self.estimator is None else self.estimator

    def _parallel_args(self) -> dict[str, str]:
        return {"prefer": "threads"}
