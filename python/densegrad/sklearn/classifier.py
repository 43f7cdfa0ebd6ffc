"""The classifier."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from densegrad._base.types import FloatArray
from densegrad.sklearn.base import BaseMLP, keep, trains_by_steps
from densegrad.sklearn.tasks import Task, classification


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]  # which have no types
    """A network that classifies: scikit-learn's ``MLPClassifier``, and what it has not.

    It minimises the mean over a batch of -sum_j t_j log p_j, where p = softmax(z), or for two classes and for several
    labels a row of the binary cross-entropies of p = sigmoid(z), and alpha / 2 |w|^2 / rows more.

    Args:
        hidden_layer_sizes: Units of the hidden layers; ``()`` for none.
        activation: Of the hidden layers: scikit-learn's ``"identity"``, ``"logistic"``, ``"tanh"`` and ``"relu"``, a
            name or an object of ``dg.activations``, ``dg.PReLU()``, or a list with one for each layer.
        solver: ``"adam"``, ``"sgd"`` or ``"lbfgs"``.
        alpha: L2 penalty of the weights, biases left out; a batch's loss has it over its rows.
        batch_size: Rows a step; ``"auto"`` is min(200, rows).
        learning_rate: For ``"sgd"``: ``"constant"``, ``"invscaling"``, lr = learning_rate_init / (t + 1)^power_t after
            t rows, or ``"adaptive"``, a fifth of it where ``n_iter_no_change`` epochs bring nothing.
        learning_rate_init, power_t: As just said.
        max_iter: Epochs, or iterations of ``"lbfgs"``, at most.
        shuffle: Whether each epoch has an order of its own.
        random_state: Draws initial weights, the rows set aside and each epoch's order, as scikit-learn does.
        tol, n_iter_no_change: Training ends where so many epochs lower the loss, or raise the score of the validation
            set with ``early_stopping``, by less than tol.
        verbose: Print each epoch.
        warm_start: Go on with the weights of the last ``fit``.
        momentum, nesterovs_momentum: Of ``"sgd"``.
        early_stopping: Measure ``validation_fraction`` of the rows, or X_val, and keep the best weights.
        validation_fraction: As just said.
        beta_1, beta_2, epsilon: Of ``"adam"``, whose epsilon is ``Adam``'s with ``eps_hat``.
        max_fun: Evaluations of ``"lbfgs"`` at most.
        loss: ``"log_loss"``, or a loss of ``dg.losses`` by name or as an object, or a function of Tensors.
        output_activation: Of the last layer; by default softmax or sigmoid, as the loss asks.
        class_weight: ``"balanced"``, or a dict by label: the rows' weights are multiplied by it.
        dropout: Share of each hidden layer's outputs that is dropped in training, or a list with one for each.
        normalization: ``"batch"`` or ``"layer"``, before each hidden activation.
        optimizer: Any optimiser such as ``dg.AdamW(1e-3)``, copied, in the place of ``solver`` and its rates.
        schedule: The learning rate by the number of the step, such as ``dg.schedules.Cosine(0.01, steps=1000)``.
        clip_norm: The norm of all gradients is held within it.
        callbacks: Such as ``[dg.CSVLogger("log.csv")]``, copied; the measures are loss, val_loss and val_accuracy.
        restore_best_weights: Whether training ends with the weights of its best epoch, by the validation score, or by
            the loss where there is no validation set; ``"auto"`` with ``early_stopping`` only.
        n_jobs: Threads of the core, -1 for all; ``None`` leaves them as they are, one within joblib's threads. The
            numbers do not depend on it.
        dtype: ``"auto"`` computes in X's, as scikit-learn does; ``"float32"`` is the fast choice.
        progress: Show progress bars, as ``fit`` of a model does.

    Attributes:
        classes_: The labels, sorted.
        coefs_, intercepts_: Weights (in, out) and biases of each layer, which may be set.
        loss_, best_loss_, loss_curve_: The training loss, last, least and by epoch.
        validation_scores_, best_validation_score_, validation_loss_curve_: Of the validation set, by epoch.
        n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_: As scikit-learn's.
        model_: The network, a ``dg.Sequential``.

    >>> from densegrad.sklearn import MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> classifier = MLPClassifier((20,), solver="lbfgs", random_state=0, max_iter=500).fit(x, y)
    >>> classifier.score(x, y) > 0.97
    True
    """

    _score_name = "accuracy"
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": "no_validation",
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def __init__(
        self,
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
        loss: Any = "log_loss",
        class_weight: Any = None,
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
        """The label of each row, or where there are several a row of 0 and 1."""
        outputs = self._outputs(X)
        chosen = self._decided(self._learnt, outputs)
        if chosen.ndim == 2:
            return self._label_binarizer.inverse_transform(chosen.astype(int))
        return self.classes_.take(chosen, mode="clip")  # one class alone has one column, too

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, (rows, classes), in the order of ``classes_``.

        Raises:
            ValueError: The last layer gives none.
        """
        outputs, task = self._outputs(X), self._learnt
        if not task.probabilities:
            raise ValueError(
                f"{type(self).__name__}.predict_proba: expected a last layer that gives probabilities, got "
                f"{task.out_activation} under {task.public!r}"
            )
        p = task.linked(outputs)
        if len(self.classes_) == 1 and not self._multilabel():
            return np.ones((len(p), 1), p.dtype)
        if p.shape[1] == 1 and not self._multilabel():
            return np.concatenate([1 - p, p], axis=1)
        if not task.sums_to_one and not self._multilabel():  # each class against the others
            p = p / np.maximum(p.sum(axis=1, keepdims=True), np.finfo(p.dtype).tiny)
        return p

    def predict_log_proba(self, X: Any) -> Any:
        """The logarithms of ``predict_proba``."""
        p = self.predict_proba(X)
        return np.log(p, out=p)

    @available_if(trains_by_steps)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Any:
        """One epoch on these rows.

        Args:
            X, y, sample_weight: As for ``fit``.
            classes: All labels there will be; needed at the first call.
            X_val, y_val: With ``early_stopping``, measured behind each call. Once ``n_iter_no_change`` calls have
                brought nothing, the best weights are put back, and later calls change nothing.

        Returns:
            The estimator.
        """
        self._checked()
        if _check_partial_fit_first_call(self, classes):
            self._learn_classes(y if type_of_target(y).startswith("multilabel") else np.asarray(classes))
        return self._fit(X, y, sample_weight, X_val, y_val, incremental=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # ---- inside

    def _validated(self, X: Any, y: Any, *, incremental: bool, reset: bool, held: bool = False) -> tuple[Any, Any]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not held and (not hasattr(self, "classes_") or (not self.warm_start and not incremental)):
            self._learn_classes(y)
            return X, y
        classes = unique_labels(y)
        if self.warm_start and not held:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        return X, y

    def _learn_classes(self, y: Any) -> None:
        """``classes_``, and for rows of several labels who reads and writes those."""
        self._label_binarizer: Any = None
        if type_of_target(y, input_name="y") in ("binary", "multiclass") and y.ndim == 1:
            self.classes_ = np.unique(y)
            return
        binarizer = LabelBinarizer().fit(y)  # or its refusal
        self.classes_ = binarizer.classes_
        if binarizer.y_type_.startswith("multilabel"):
            self._label_binarizer = binarizer

    def _multilabel(self) -> bool:
        return self._label_binarizer is not None

    def _encoded(self, y: Any) -> Any:
        """The place of each row's label, or rows of True and False."""
        if self._multilabel():
            return np.asarray(self._label_binarizer.transform(y)).astype(bool)
        if y.ndim != 1:
            raise ValueError("The object was not fitted with multilabel input.")
        return np.searchsorted(self.classes_, y)

    def _task(self, caller: str, targets: Any) -> Task:
        classes = len(self.classes_)
        columns = classes if classes > 2 or self._multilabel() else 1
        task = classification(caller, self.loss, self.output_activation, columns, classes, self._multilabel())
        self.n_outputs_ = task.units
        return task

    def _as_read(self, task: Task, targets: Any, dtype: str) -> Any:
        if task.labels:
            return np.ascontiguousarray(targets, np.intp)
        if targets.ndim == 2:
            return np.ascontiguousarray(targets, dtype)
        if task.units == 1:
            return (targets == 1).astype(dtype)[:, None]
        return np.eye(task.units, dtype=dtype)[targets]

    def _class_weighted(self, y: Any, sample_weight: Any, *, incremental: bool) -> Any:
        given = self.class_weight
        if given is None:
            return sample_weight
        if incremental and isinstance(given, str):
            raise ValueError(f"class_weight {given!r} is not supported for partial_fit, which sees some rows at a time")
        if isinstance(given, dict) and y.ndim == 1:
            if unknown := [label for label in given if label not in self.classes_]:
                raise ValueError(f"The classes, {unknown}, are not in class_weight's y, which has {self.classes_}")
            weights = np.array([given.get(label, 1.0) for label in self.classes_.tolist()], float)[self._encoded(y)]
        else:
            weights = compute_sample_weight(given, y)
        return weights if sample_weight is None else weights * sample_weight

    def _strata(self, targets: Any) -> Any:
        if targets.ndim == 2 or len(self.classes_) > 2:
            return None  # as in scikit-learn
        return np.where(targets == 1, "True", "False")

    def _decided(self, task: Task, outputs: FloatArray) -> Any:
        """The place of each row's label, or rows of True and False."""
        if self._multilabel():
            return task.linked(outputs) > 0.5
        if outputs.shape[1] > 1:
            return outputs.argmax(axis=1)
        return (task.linked(outputs)[:, 0] > 0.5).astype(np.intp)

    def _score_of(self, task: Task, y: Any, outputs: FloatArray, weight: FloatArray | None) -> float:
        truth = y
        if y.ndim == 2:
            truth = y > 0.5 if self._multilabel() else y[:, 0] > 0.5 if y.shape[1] == 1 else y.argmax(axis=1)
        right = truth == self._decided(task, outputs)
        return float(np.average(right.all(axis=1) if right.ndim == 2 else right, weights=weight))
