"""The estimators take scikit-learn's steps, work wherever its estimators do, and do what its own refuse."""

from __future__ import annotations

import copy
import pickle
import re
import signal
import subprocess
import sys
import threading
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from sklearn import neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, InconsistentVersionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import densegrad as dg
from densegrad.sklearn import (
    BaggingMLPClassifier,
    BaggingMLPRegressor,
    MLPAutoencoder,
    MLPClassifier,
    MLPRegressor,
    MLPTransformer,
)

pytestmark = [
    pytest.mark.above_the_kernels,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
EITHER = pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:450] / 16, y[:450]


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return x * 20, y / 100


@pytest.fixture(scope="module")
def iris():
    x, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(x), y


# ---- scikit-learn's steps

CASES = {
    "adam": {},
    "adam, weights": {"weighted": True},
    "sgd, nesterov": {"solver": "sgd", "learning_rate_init": 0.1},
    "sgd, momentum": {"solver": "sgd", "nesterovs_momentum": False, "activation": "tanh"},
    "sgd, plain": {"solver": "sgd", "momentum": 0, "activation": "identity"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2, "learning_rate_init": 0.5},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1, "max_iter": 12},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.05, "max_iter": 30},
    "early stopping, weights": {"early_stopping": True, "weighted": True},
    "no order": {"shuffle": False, "activation": "logistic", "hidden_layer_sizes": (12, 9)},
    "no hidden layer": {"hidden_layer_sizes": (), "alpha": 0},
}


def assert_same_run(ours, theirs, x, tolerance=1e-10):
    """Every number that both have."""
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_", "loss_"):
        if getattr(theirs, name, None) is not None:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), tolerance, err_msg=name)
    assert [ours.n_iter_, ours.t_, ours.n_layers_] == [theirs.n_iter_, theirs.t_, theirs.n_layers_]
    assert [ours.n_outputs_, ours.out_activation_] == [theirs.n_outputs_, theirs.out_activation_]
    for name in ("coefs_", "intercepts_"):
        for one, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(one, other, tolerance, tolerance, err_msg=name)
    predict = "predict_proba" if hasattr(theirs, "predict_proba") else "predict"
    np.testing.assert_allclose(getattr(ours, predict)(x), getattr(theirs, predict)(x), tolerance, tolerance)


def both(ours, x, y, weighted=False, **arguments):
    """Our estimator and theirs, fitted alike."""
    theirs = getattr(neural_network, ours.__name__)
    weight = np.arange(1, len(x) + 1) % 5 + 0.5 if weighted else None
    arguments = {"random_state": 3, "max_iter": 6, "hidden_layer_sizes": (15,), "batch_size": 64, **arguments}
    return [cls(**arguments).fit(x, y, weight) for cls in (ours, theirs)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["classes", "two classes", "labels"])
def test_a_classifier_takes_the_steps_of_scikit_learn(backend, digits, kind, case):
    x, y = digits
    y = {"classes": y, "two classes": y > 4, "labels": np.stack([y > 4, y % 3 == 0, y < 8], axis=1)}[kind]
    ours, theirs = both(MLPClassifier, x, y, **CASES[case])
    assert_same_run(ours, theirs, x)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("targets", [1, 2])
def test_a_regressor_takes_the_steps_of_scikit_learn(backend, diabetes, targets, loss, case):
    x, y = diabetes
    y = y if targets == 1 else np.stack([y, y[::-1] ** 2], axis=1)
    arguments = {**CASES[case], "learning_rate_init": 0.003, "alpha": 0.3}
    ours, theirs = both(MLPRegressor, x, y, loss=loss, **arguments)
    assert_same_run(ours, theirs, x)


@pytest.mark.parametrize("weighted", [False, True])
def test_lbfgs_goes_the_way_of_scikit_learn(backend, digits, diabetes, weighted):
    arguments = {"solver": "lbfgs", "max_iter": 15, "alpha": 0.1, "weighted": weighted}
    ours, theirs = both(MLPClassifier, *digits, **arguments)
    assert_same_run(ours, theirs, digits[0], 1e-6)
    ours, theirs = both(MLPRegressor, *diabetes, **arguments)
    assert_same_run(ours, theirs, diabetes[0], 1e-5)


@EITHER
def test_a_second_fit_goes_on_with_warm_start_and_partial_fit_is_an_epoch(backend, iris, estimator):
    x, y = iris
    theirs = getattr(neural_network, estimator.__name__)
    for arguments in ({"warm_start": True}, {"solver": "sgd", "warm_start": True, "learning_rate": "invscaling"}):
        pair = [cls(max_iter=3, random_state=0, **arguments).fit(x, y).fit(x, y) for cls in (estimator, theirs)]
        assert_same_run(*pair, x)
        assert len(pair[0].loss_curve_) == 6
    pair = [cls(random_state=0, batch_size=20) for cls in (estimator, theirs)]
    for rows in np.array_split(np.arange(150)[::-1], 4):
        for one in pair:
            known = {"classes": [0, 1, 2]} if estimator is MLPClassifier else {}
            one.partial_fit(x[rows][:30], y[rows][:30], **known)
    assert_same_run(*pair, x)


def test_float32_is_followed_and_asked_for(backend, digits):
    x, y = digits
    for given, asked, expected in [("float32", "auto", "float32"), ("float64", "auto", "float64")] + [
        (given, asked, asked) for given in ("float32", "float64") for asked in ("float32", "float64")
    ]:
        model = MLPClassifier((9,), dtype=asked, max_iter=2, random_state=0).fit(x.astype(given), y)
        arrays = [*model.coefs_, *model.intercepts_, model.predict_proba(x), model.predict_proba(x.astype("float32"))]
        assert {array.dtype.name for array in arrays} == {expected}
    exact = MLPClassifier((9,), max_iter=2, random_state=0).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x), exact.predict_proba(x), rtol=1e-4)


# ---- scikit-learn's checks and errors


CHECKED = [
    MLPClassifier(max_iter=100),
    MLPRegressor(max_iter=100),
    MLPClassifier((8,), "gelu", normalization="layer", clip_norm=1.0, learning_rate_init=0.02, max_iter=50),
    MLPTransformer(MLPClassifier((20,), max_iter=20)),
    MLPAutoencoder((3,), estimator=MLPRegressor(max_iter=20)),
    BaggingMLPClassifier(MLPClassifier((20,), max_iter=60), n_estimators=3),
    BaggingMLPRegressor(MLPRegressor(hidden_layer_sizes=(20,), max_iter=60), n_estimators=3),
]
SKIPPED = {
    "check_array_api_input": "it is off",
    "check_classifiers_multilabel_output_format_decision_function": "there is none, as in scikit-learn's",
}


@pytest.mark.parametrize("estimator", CHECKED, ids=lambda one: type(one).__name__)
def test_check_estimator_finds_no_fault(backend, estimator):
    """No failure is expected but those that scikit-learn lists for its own ensembles: weights decide what is drawn."""
    drawn = {f"check_sample_weight_equivalence_on_{kind}_data": "drawn rows" for kind in ("dense", "sparse")}
    expected = drawn if isinstance(estimator, BaggingMLPClassifier | BaggingMLPRegressor) else {}
    results = check_estimator(estimator, on_skip=None, on_fail=None, expected_failed_checks=expected)
    bad = [(one["check_name"], one["exception"]) for one in results if one["status"] == "failed"]
    assert not bad
    assert {one["check_name"] for one in results if one["status"] == "skipped"} <= set(SKIPPED)


@EITHER
def test_refusals_are_in_the_words_of_scikit_learn(backend, iris, estimator):
    x, y = iris
    theirs = getattr(neural_network, estimator.__name__)
    fitted = [cls(max_iter=2).fit(x, y) for cls in (estimator, theirs)]

    def nan(x):
        return np.where(np.arange(x.size).reshape(x.shape) == 7, np.nan, x)

    calls = [
        lambda one, new: new.predict(x),
        lambda one, new: new.fit(nan(x), y),
        lambda one, new: new.fit(x, y[:-1]),
        lambda one, new: new.fit(x[0], y),
        lambda one, new: new.fit(x, np.where(y == 1, np.inf, y)),
        lambda one, new: new.set_params(alpha=-1).fit(x, y),
        lambda one, new: new.set_params(solver="newton").fit(x, y),
        lambda one, new: new.set_params(hidden_layer_sizes=(3, -1)).fit(x, y),
        lambda one, new: new.set_params(words=1),
        lambda one, new: one.predict(nan(x)),
        lambda one, new: one.predict(x[:, :3]),
        lambda one, new: one.predict(x[0]),
        lambda one, new: one.predict(x[:0]),
        lambda one, new: one.predict([["a"] * 4]),
    ]
    for call in calls:
        errors = []
        for one, new in zip(fitted, (estimator(max_iter=2), theirs(max_iter=2)), strict=True):
            with pytest.raises((ValueError, TypeError)) as caught:
                call(one, new)
            words = re.sub(r"Valid parameters.*|{.*}", "", str(caught.value), flags=re.S)
            errors.append((type(caught.value), words.strip("[]. ")))
        assert errors[0] == errors[1]
    with pytest.raises(NotFittedError, match=f"This {estimator.__name__} instance is not fitted yet"):
        estimator().model_  # noqa: B018


BAD = [
    ({"activation": ["relu", "tanh"]}, "expected an activation for each of 1 hidden layers, got 2"),
    ({"activation": "rellu"}, "unknown activation 'rellu'; did you mean 'relu'"),
    ({"dropout": [0.1, 0.2]}, "expected a dropout for each of 1 hidden layers, got 2"),
    ({"dropout": 1.0}, "'dropout' parameter"),
    ({"normalization": "group"}, "'normalization' parameter"),
    ({"optimizer": "adam"}, "expected optimizer as an object such as dg.AdamW"),
    ({"optimizer": dg.LBFGS()}, "expected solver='lbfgs'"),
    ({"optimizer": dg.SGD(0.1), "clip_norm": 1.0}, "expected clip_norm as an argument of the optimizer, got both"),
    ({"callbacks": ["stop"]}, "expected callbacks such as dg.EarlyStopping"),
    ({"dtype": "float16"}, "'dtype' parameter"),
    ({"n_jobs": 0}, "n_jobs"),
    ({"loss": "log_los"}, "unknown loss 'log_los'"),
    ({"solver": "lbfgs", "dropout": 0.5}, "expected a loss that parameters alone decide"),
    ({"solver": "lbfgs", "callbacks": [dg.LambdaCallback()]}, "expected no callbacks with solver='lbfgs'"),
]


@EITHER
@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[words for _, words in BAD])
def test_what_is_new_is_refused_with_words(iris, estimator, arguments, words):
    x, y = iris
    with pytest.raises((ValueError, TypeError), match=re.escape(words)):
        estimator(max_iter=2, **arguments).fit(x, y)


def test_a_diverging_run_is_refused_or_keeps_its_best(backend, diabetes):
    x, y = diabetes
    arguments = {
        "activation": "identity",
        "solver": "sgd",
        "learning_rate_init": 1.0,
        "random_state": 0,
        "max_iter": 200,
    }
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(**arguments).fit(x * 100, y)
    with pytest.warns(ConvergenceWarning, match="no step can be made from it"):
        model = MLPRegressor(early_stopping=True, **arguments).fit(x * 100, y)
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(x)).all()


# ---- what scikit-learn refuses


def test_layers_are_made_as_they_are_asked_for(backend, iris):
    x, y = iris
    model = MLPClassifier((7, 6, 5), ["gelu", dg.activations.ELU(0.5), "logistic"], dropout=[0.1, 0, 0.2], max_iter=2)
    assert str(list(model.fit(x, y).model_.layers)) == (
        "[Dense(7, activation='gelu', init='zeros'), Dropout(0.1), Dense(6, activation=ELU(alpha=0.5), init='zeros'), "
        "Dense(5, activation='sigmoid', init='zeros'), Dropout(0.2), Dense(3, activation='softmax', init='zeros')]"
    )
    for kind, cls in (("batch", dg.BatchNorm), ("layer", dg.LayerNorm)):
        layers = MLPClassifier((7,), normalization=kind, max_iter=2).fit(x, y).model_.layers
        assert [type(layer) for layer in layers] == [dg.Dense, cls, dg.Activation, dg.Dense]
    model = MLPRegressor(hidden_layer_sizes=(4,), activation=dg.PReLU(), output_activation="softplus", max_iter=2)
    model.fit(x, y)
    assert isinstance(model.model_.layers[1], dg.PReLU)
    assert model.out_activation_ == "softplus"
    assert (model.predict(x) > 0).all()


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_extras_learn(backend, digits, normalization):
    x, y = digits
    model = MLPClassifier(
        (40,), "gelu", dropout=0.1, normalization=normalization, optimizer=dg.AdamW(0.01), max_iter=25, random_state=0
    ).fit(x, y)
    assert model.score(x, y) > 0.98
    assert model.predict_proba(x).sum(axis=1) == pytest.approx(1)


LOSSES = ["cross_entropy", dg.losses.CrossEntropy(label_smoothing=0.1), "mse", "binary_cross_entropy", "nll", "huber"]
LOSSES += ["binary_cross_entropy_with_logits", lambda p, y: dg.graph.mean((p - y) ** 2)]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: "function" if callable(loss) else str(loss))
@pytest.mark.parametrize("two", [False, True])
def test_a_classifier_learns_by_any_loss(backend, iris, loss, two):
    x, y = iris
    y = np.array(["a", "b", "c"])[y]
    y = np.where(y == "c", "b", y) if two else y
    model = MLPClassifier((20,), loss=loss, learning_rate_init=0.02, max_iter=60, random_state=0).fit(x, y)
    assert model.score(x, y) > 0.95
    p = model.predict_proba(x)
    assert p.shape == (150, 3 - two)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(x))


def test_outputs_that_are_no_probabilities_are_said_to_be_none(backend, iris):
    x, y = iris
    model = MLPClassifier((20,), loss="mse", output_activation="identity", max_iter=60, random_state=0).fit(x, y)
    assert model.score(x, y) > 0.6
    with pytest.raises(ValueError, match="expected a last layer that gives probabilities, got identity under 'mse'"):
        model.predict_proba(x)
    with pytest.raises(ValueError, match="log_loss expected output_activation 'softmax', got 'tanh'"):
        MLPClassifier(output_activation="tanh").fit(x, y)


@pytest.mark.parametrize(
    "loss", ["mae", dg.losses.Huber(0.3), dg.losses.Quantile(0.5), "gaussian_nll", "log_cosh"], ids=str
)
def test_a_regressor_learns_by_any_loss(backend, diabetes, loss):
    x, y = diabetes
    arguments = {"learning_rate_init": 0.01, "max_iter": 80, "random_state": 0, "alpha": 1.0}
    model = MLPRegressor(loss, (10,), **arguments).fit(x, y)
    assert model.predict(x).shape == y.shape
    assert model.score(x, y) > 0.4
    two = MLPRegressor(loss, (10,), **arguments).fit(x, np.stack([y, -y], axis=1))
    assert two.predict(x).shape == (len(x), 2)


def test_a_quantile_has_its_share_below(backend, diabetes):
    x, y = diabetes
    model = MLPRegressor(dg.losses.Quantile(0.9), (5,), optimizer=dg.Adam(0.01), max_iter=150, random_state=0, alpha=1)
    assert 0.86 < (y < model.fit(x, y).predict(x)).mean() < 0.94


def test_class_weights_are_weights_of_rows(backend, iris):
    x, y = iris
    arguments = {"max_iter": 5, "random_state": 0}
    weight = np.array([1.0, 5.0, 0.5])[y]
    by_class = MLPClassifier(class_weight={1: 5.0, 2: 0.5}, **arguments).fit(x, y)
    np.testing.assert_array_equal(by_class.coefs_[0], MLPClassifier(**arguments).fit(x, y, weight).coefs_[0])
    some = np.r_[0:50, 50:60, 100:105]
    counts = np.bincount(y[some])
    balanced = MLPClassifier(class_weight="balanced", **arguments).fit(x[some], y[some])
    rows = MLPClassifier(**arguments).fit(x[some], y[some], (len(some) / 3 / counts)[y[some]])
    np.testing.assert_allclose(balanced.coefs_[0], rows.coefs_[0], rtol=1e-12)


def test_a_validation_set_of_ones_own_is_measured_and_not_trained_on(backend, digits, diabetes):
    x, y = digits
    train, held = slice(0, 300), slice(300, None)
    arguments = {"max_iter": 6, "random_state": 0}
    alone = MLPClassifier(**arguments).fit(x[train], y[train])
    seen = MLPClassifier(**arguments).fit(x[train], y[train], X_val=x[held], y_val=y[held])
    np.testing.assert_array_equal(alone.coefs_[0], seen.coefs_[0])
    assert seen.validation_scores_[-1] == accuracy_score(y[held], seen.predict(x[held]))
    p = seen.predict_proba(x[held])
    assert seen.validation_loss_curve_[-1] == pytest.approx(-np.log(p[np.arange(len(p)), y[held]]).mean())
    assert len(seen.validation_loss_curve_) == len(seen.loss_curve_) == 6
    x, y = diabetes
    for loss in ("squared_error", "poisson"):
        model = MLPRegressor(loss, **arguments).fit(x[train], y[train], X_val=x[held], y_val=y[held])
        assert model.validation_scores_[-1] == pytest.approx(r2_score(y[held], model.predict(x[held])))
        t, p = y[held], model.predict(x[held])
        value = ((t - p) ** 2 / 2).mean() if loss == "squared_error" else (t * np.log(t / p) - t + p).mean()
        assert model.validation_loss_curve_[-1] == pytest.approx(value)


def test_early_stopping_watches_the_validation_set_that_is_given(backend, digits):
    x, y = digits
    model = MLPClassifier(
        early_stopping=True, n_iter_no_change=3, max_iter=200, random_state=0, learning_rate_init=0.01
    )
    model.fit(x[:300], y[:300], X_val=x[300:], y_val=y[300:])
    assert model.n_iter_ < 200
    assert model.t_ == model.n_iter_ * 300
    assert model.best_validation_score_ == max(model.validation_scores_) == model.score(x[300:], y[300:])


def test_the_best_weights_are_kept_where_that_is_asked(backend, digits):
    x, y = digits
    arguments = {"solver": "sgd", "learning_rate_init": 1.0, "random_state": 1, "max_iter": 8}
    measured = {"X_val": x[300:], "y_val": y[300:]}
    last = MLPClassifier(**arguments).fit(x[:300], y[:300], **measured)
    best = MLPClassifier(restore_best_weights=True, **arguments).fit(x[:300], y[:300], **measured)
    assert last.validation_scores_ == best.validation_scores_
    assert last.score(x[300:], y[300:]) == last.validation_scores_[-1] < max(last.validation_scores_)
    assert best.score(x[300:], y[300:]) == max(best.validation_scores_)
    stopped = MLPClassifier(early_stopping=True, restore_best_weights=False, **arguments).fit(
        x[:300], y[:300], **measured
    )
    assert stopped.score(x[300:], y[300:]) == stopped.validation_scores_[-1]
    losses, weights = [], []

    class Watch(dg.Callback):
        def __deepcopy__(self, memo):
            return self

        def on_epoch_end(self, run):
            losses.append(run.values["loss"])
            weights.append(run.model.layers[0].w.copy())

    by_loss = MLPClassifier(learning_rate_init=0.5, max_iter=5, restore_best_weights=True, callbacks=[Watch()])
    by_loss.set_params(random_state=0).fit(x, y)
    assert by_loss.best_loss_ == min(losses) < losses[-1]
    np.testing.assert_array_equal(by_loss.coefs_[0], weights[np.argmin(losses)])


def test_partial_fit_stops_early_where_it_can_measure(backend, digits):
    x, y = digits
    model = MLPClassifier(early_stopping=True, n_iter_no_change=3, learning_rate_init=0.01, random_state=0)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True without X_val and y_val"):
        clone(model).partial_fit(x, y, classes=np.arange(10))
    curves = []
    for _ in range(80):
        model.partial_fit(x[:300], y[:300], classes=np.arange(10), X_val=x[300:], y_val=y[300:])
        curves.append(len(model.loss_curve_))
    assert curves[-1] < 80
    assert curves == [min(number, curves[-1]) for number in range(1, 81)]
    assert model.score(x[300:], y[300:]) == max(model.validation_scores_)


def test_any_optimizer_and_schedule_train(backend, digits):
    x, y = digits
    own = dg.SGD(0.1, momentum=0.9)
    for optimizer in (own, dg.Lion(1e-3), dg.RMSprop(1e-3, clip_norm=1.0)):
        assert MLPClassifier(optimizer=optimizer, max_iter=30, random_state=0).fit(x, y).score(x, y) > 0.93
    assert own.steps == 0  # a copy has trained
    rates = []
    watch = dg.LambdaCallback(on_epoch_end=lambda run: rates.append(run.optimizer.lr))
    schedule = dg.schedules.Exponential(0.01, 0.9)
    model = MLPClassifier(schedule=schedule, batch_size=450, max_iter=3, callbacks=[watch]).fit(x, y)
    assert model._optimizer.learning_rate == pytest.approx(0.01 * 0.9**3)
    plain = MLPClassifier(solver="sgd", momentum=0, shuffle=False, random_state=0, max_iter=1, batch_size=450, alpha=0)
    start = MLPClassifier(solver="sgd", momentum=0, shuffle=False, random_state=0, max_iter=1, batch_size=450, alpha=0)
    start.set_params(learning_rate_init=1e-300).fit(x, y)
    clipped = clone(plain).set_params(clip_norm=1e-3, learning_rate_init=1.0).fit(x, y)
    parts = zip([*clipped.coefs_, *clipped.intercepts_], [*start.coefs_, *start.intercepts_], strict=True)
    assert np.sqrt(sum(((a - b) ** 2).sum() for a, b in parts)) == pytest.approx(1e-3, rel=1e-2)


def test_callbacks_are_copied_and_may_end_the_run(backend, iris):
    x, y = iris
    stop = dg.EarlyStopping("loss", patience=2, min_delta=1.0)
    model = MLPClassifier(callbacks=[stop], max_iter=50, random_state=0)
    assert model.fit(x, y).n_iter_ == 4
    assert stop.best is None
    assert clone(model).fit(x, y).n_iter_ == 4
    seen = []
    watch = dg.LambdaCallback(on_epoch_end=lambda run: seen.append((run.epoch, run.epochs, sorted(run.values))))
    names = ["loss", "seconds", "val_accuracy", "val_loss"]
    MLPClassifier(callbacks=[watch], max_iter=2, verbose=False).fit(x, y, X_val=x, y_val=y)
    assert seen == [(1, 2, names), (2, 2, names)]


def test_progress_and_verbose_show_the_epochs(iris, capsys):
    x, y = iris
    MLPRegressor(max_iter=2, verbose=True, early_stopping=True).fit(x, y)
    assert re.fullmatch(
        r"(Iteration \d, loss = \d+\.\d{8}\nValidation score: -?\d+\.\d{6}\n){2}", capsys.readouterr().out
    )
    MLPRegressor(max_iter=2, progress=True).fit(x, y)
    assert "loss" in "".join(capsys.readouterr())
    MLPRegressor(max_iter=2).fit(x, y)
    assert "".join(capsys.readouterr()) == ""


def test_the_number_of_threads_changes_no_bit_and_is_put_back(digits):
    x, y = digits
    before = dg.get_num_threads()
    models = [MLPClassifier((300,), n_jobs=n, max_iter=3, random_state=0).fit(x, y) for n in (None, 1, 2, -1)]
    assert dg.get_num_threads() == before
    for model in models[1:]:
        np.testing.assert_array_equal(model.coefs_[0], models[0].coefs_[0])


# ---- features and ensembles


def test_features_are_those_that_the_last_layer_reads(backend, digits):
    x, y = digits
    network = MLPClassifier((30, 12), "tanh", max_iter=20, random_state=0, dropout=0.1)
    features = MLPTransformer(network).fit(x, y)
    codes, inner = features.transform(x), features.estimator_
    h = np.tanh(np.tanh(x @ inner.coefs_[0] + inner.intercepts_[0]) @ inner.coefs_[1] + inner.intercepts_[1])
    np.testing.assert_allclose(codes, h, rtol=1e-10)
    assert codes.shape == (450, 12)
    assert list(features.get_feature_names_out()[:2]) == ["mlptransformer0", "mlptransformer1"]
    frame = features.set_output(transform="pandas").transform(x)
    assert list(frame.columns) == list(features.get_feature_names_out())
    assert make_pipeline(MLPTransformer(random_state=0), LogisticRegression()).fit(x, y).score(x, y) > 0.95
    assert MLPTransformer(MLPRegressor(max_iter=2)).fit(x, y).transform(scipy.sparse.csr_array(x)).shape == (450, 100)
    with pytest.raises(TypeError, match="expected an MLPClassifier or MLPRegressor, got LogisticRegression"):
        MLPTransformer(LogisticRegression()).fit(x, y)


def test_an_autoencoder_codes_and_decodes(backend, digits):
    x, _ = digits
    network = MLPRegressor(max_iter=60, learning_rate_init=0.01, batch_size=50)
    coder = MLPAutoencoder((40, 10), estimator=network, random_state=0).fit(x)
    codes = coder.transform(x)
    assert codes.shape == (450, 10)
    assert [w.shape for w in coder.estimator_.coefs_] == [(64, 40), (40, 10), (10, 40), (40, 64)]
    np.testing.assert_allclose(coder.inverse_transform(codes), coder.estimator_.predict(x), rtol=1e-10, atol=1e-12)
    error = ((x - coder.inverse_transform(codes)) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum()
    assert error < 0.35
    assert coder.score(x) == pytest.approx(r2_score(x, coder.estimator_.predict(x)))
    with pytest.raises(ValueError, match="expected codes of 10 columns, got 9"):
        coder.inverse_transform(codes[:, 1:])
    again = pickle.loads(pickle.dumps(coder))
    np.testing.assert_array_equal(again.transform(x), codes)


def test_an_ensemble_trains_its_networks_in_threads_to_the_same_numbers(backend, iris):
    x, y = iris
    network = MLPClassifier((10,), learning_rate_init=0.02, max_iter=40)
    several = [BaggingMLPClassifier(network, 4, n_jobs=n, random_state=0).fit(x, y) for n in (None, 2)]
    assert several[0].score(x, y) > 0.93
    for one, other in zip(*(ensemble.estimators_ for ensemble in several), strict=True):
        np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])
    mean = np.mean([one.predict_proba(x) for one in several[0].estimators_], axis=0)
    np.testing.assert_allclose(several[0].predict_proba(x), mean, rtol=1e-12)
    regressor = BaggingMLPRegressor(MLPRegressor(solver="lbfgs", max_iter=50), 3, random_state=0).fit(x, y)
    assert regressor.score(x, y) > 0.9


# ---- weights and files


@EITHER
def test_weights_that_are_set_are_those_that_predict_and_train(backend, iris, estimator):
    x, y = iris
    model, other = (estimator(hidden_layer_sizes=(5,), random_state=seed, max_iter=3).fit(x, y) for seed in (0, 1))
    predict = "predict" if estimator is MLPRegressor else "predict_proba"
    model.coefs_, model.intercepts_ = [w.copy() for w in other.coefs_], [b.copy() for b in other.intercepts_]
    np.testing.assert_array_equal(getattr(model, predict)(x), getattr(other, predict)(x))
    model.coefs_[0][...] = 0
    other.coefs_[0] = np.zeros((4, 5))
    for one in (model, other):
        np.testing.assert_allclose(np.ptp(getattr(one, predict)(x), axis=0), 0, atol=1e-15)
    np.testing.assert_array_equal(getattr(model, predict)(x), getattr(other, predict)(x))
    other.coefs_[0] = np.ones((4, 5))
    restored = pickle.loads(pickle.dumps(other))
    np.testing.assert_array_equal(restored.coefs_[0], np.ones((4, 5)))
    other.partial_fit(x, y)
    restored.partial_fit(x, y)
    assert not np.array_equal(other.coefs_[0], np.ones((4, 5)))
    np.testing.assert_array_equal(other.coefs_[0], restored.coefs_[0])


@EITHER
def test_what_comes_back_from_a_file_predicts_and_goes_on_equally(backend, iris, estimator, tmp_path):
    x, y = iris
    model = estimator(solver="sgd", random_state=0, max_iter=3, normalization="batch", dropout=0.1).fit(x, y)
    joblib.dump(model, tmp_path / "model.joblib")
    copies = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), joblib.load(tmp_path / "model.joblib")]
    expected = model.predict(x)
    for one in [model, *copies]:
        np.testing.assert_array_equal(one.predict(x), expected)
        for _ in range(2):
            one.partial_fit(x, y)
    for one in copies:
        np.testing.assert_array_equal(one.coefs_[0], model.coefs_[0])
        np.testing.assert_array_equal(one.loss_curve_, model.loss_curve_)


def test_a_pickle_of_another_version_is_told_of(iris):
    model = MLPClassifier(max_iter=2).fit(*iris)
    state = {**model.__getstate__(), "_densegrad_version": "0.0.1"}
    with pytest.warns(InconsistentVersionWarning, match=r"version 0\.0\.1 of densegrad when using version"):
        MLPClassifier().__setstate__(state)


def test_the_network_can_be_saved_and_taken_elsewhere(backend, iris, tmp_path):
    x, y = iris
    model = MLPClassifier(max_iter=5, dtype="float64").fit(x, y)
    model.model_.save(tmp_path / "iris.safetensors")
    np.testing.assert_array_equal(dg.load(tmp_path / "iris.safetensors").predict_proba(x), model.predict_proba(x))
    taken = dg.from_sklearn(model)
    taken.layers[0].w[...] = 0
    assert model.coefs_[0].any()
    with pytest.raises(ValueError, match="exp"):
        dg.from_sklearn(MLPRegressor("poisson", max_iter=2).fit(x, y))


# ---- where estimators are used


def test_sparse_rows_are_rows(backend, digits):
    x, y = digits
    dense = MLPClassifier(max_iter=3, random_state=0).fit(x, y)
    for kind in (scipy.sparse.csr_array, scipy.sparse.csc_matrix):
        model = MLPClassifier(max_iter=3, random_state=0).fit(kind(x), y)
        np.testing.assert_array_equal(model.predict_proba(kind(x)), dense.predict_proba(x))


def test_frames_keep_their_names(backend, iris):
    x = pd.DataFrame(iris[0], columns=list("abcd"))
    model = MLPClassifier(max_iter=2, early_stopping=True).fit(x, iris[1])
    assert list(model.feature_names_in_) == list("abcd")
    model.predict(x)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but MLPClassifier was fitted with"):
        model.predict(iris[0])
    with pytest.raises(ValueError, match="The feature names should match"):
        model.predict(x.rename(columns={"a": "z"}))


def test_estimators_work_inside_those_of_scikit_learn(backend, iris):
    x, y = iris
    small = MLPClassifier((8,), solver="lbfgs", max_iter=60, random_state=0)
    frame = pd.DataFrame({"a": x[:, 2], "b": x[:, 3], "kind": np.where(x[:, 0] > 0, "long", "short")})
    columns = ColumnTransformer([("numbers", StandardScaler(), ["a", "b"]), ("kinds", OneHotEncoder(), ["kind"])])
    assert make_pipeline(columns.set_output(transform="default"), small).fit(frame, y).score(frame, y) > 0.9
    search = GridSearchCV(make_pipeline(StandardScaler(), small), {"mlpclassifier__alpha": [1e-3, 1e3]}, cv=3).fit(x, y)
    assert search.best_params_ == {"mlpclassifier__alpha": 1e-3}
    assert CalibratedClassifierCV(small, cv=3).fit(x, y).score(x, y) > 0.9
    assert cross_val_score(MLPRegressor(solver="lbfgs", max_iter=100, random_state=0), x, y, cv=3).shape == (3,)
    assert "MLPClassifier" in small._repr_html_()
    assert repr(MLPClassifier((8,), max_iter=60)) == "MLPClassifier(hidden_layer_sizes=(8,), max_iter=60)"


def test_metadata_is_routed_to_fit_and_a_pipeline_transforms_the_validation_set(iris):
    x, y = iris
    weight = 1 + np.arange(150) % 3
    alone = MLPClassifier(max_iter=2, random_state=0).fit(x, y, weight, X_val=x[:40], y_val=y[:40])
    with sklearn.config_context(enable_metadata_routing=True):
        model = clone(alone).set_fit_request(sample_weight=True, X_val=True, y_val=True)
        steps = [("half", FunctionTransformer(lambda x: x / 2)), ("mlp", model)]
        pipeline = Pipeline(steps, transform_input=["X_val"])
        pipeline.fit(2 * x, y, sample_weight=weight, X_val=2 * x[:40], y_val=y[:40])
    assert pipeline["mlp"].loss_curve_ == alone.loss_curve_
    assert pipeline["mlp"].validation_loss_curve_ == alone.validation_loss_curve_


@pytest.mark.parametrize("kind", ["loky", "threading", "multiprocessing"])
def test_joblib_trains_several_at_once_to_the_same_numbers(iris, kind):
    x, y = iris
    models = [MLPClassifier((40,), max_iter=4, random_state=seed) for seed in range(3)]
    alone = [clone(model).fit(x, y).coefs_[0] for model in models]
    with joblib.parallel_config(backend=kind, n_jobs=2):
        several = joblib.Parallel(timeout=120)(joblib.delayed(_trained)(model, x, y) for model in models)
    for one, other in zip(alone, several, strict=True):
        np.testing.assert_array_equal(one, other)


def _trained(model, x, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.array(model.fit(x, y).coefs_[0])


def test_joblibs_threads_have_a_thread_of_the_core_each(iris):
    """Or else n of them would use n times all processors."""
    x, y = iris
    with joblib.parallel_config(backend="threading", n_jobs=2):
        seen = joblib.Parallel()(joblib.delayed(_threads_within)(x, y) for _ in range(2))
    assert seen == [1, 1]


def _threads_within(x, y):
    seen = []

    class Watch(dg.Callback):
        def __deepcopy__(self, memo):
            return self

        def on_epoch_end(self, run):
            seen.append(dg.get_num_threads())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        MLPClassifier(max_iter=1, callbacks=[Watch()]).fit(x, y)
    return seen[0]


def test_one_estimator_predicts_in_several_threads(backend, digits):
    x, y = digits
    model = MLPClassifier(max_iter=3, random_state=0).fit(x, y)
    expected, wrong = model.predict_proba(x), []

    def predict():
        wrong.extend(not np.array_equal(model.predict_proba(x), expected) for _ in range(20))

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [False] * 60


def test_an_interrupt_ends_fit_with_what_there_is(iris):
    x, y = iris
    at_once = dg.LambdaCallback(on_epoch_begin=lambda run: signal.raise_signal(signal.SIGINT))
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = MLPClassifier(max_iter=50, callbacks=[at_once], random_state=0).fit(x, y)
    assert (model.n_iter_, model.loss_curve_) == (0, [])
    interrupt = dg.LambdaCallback(on_epoch_end=lambda run: run.epoch == 3 and signal.raise_signal(signal.SIGINT))
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = MLPClassifier(max_iter=50, callbacks=[interrupt]).fit(x, y)
    assert model.n_iter_ == 3
    assert model.predict(x).shape == (150,)


def test_without_scikit_learn_a_message_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import densegrad.sklearn"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert "densegrad.sklearn needs scikit-learn 1.6 or newer: pip install 'densegrad[sklearn]'" in done.stderr


# ---- at the edges


def tables():
    rng = np.random.RandomState(0)
    x = rng.randn(60, 5)
    return x, (x[:, 0] > 0).astype(int), rng.randint(0, 3, 60), rng.randint(0, 2, (60, 3))


@pytest.mark.parametrize("make", [pd.DataFrame, np.asfortranarray], ids=lambda make: make.__name__)
@pytest.mark.parametrize("words", [{}, {"solver": "lbfgs"}, {"loss": "mse"}], ids=str)
def test_rows_of_labels_may_lie_in_any_order_in_memory(make, words):
    x, _, _, several = tables()
    model = MLPClassifier((7,), max_iter=5, random_state=0, **words)
    expected = model.fit(x, several).predict_proba(x)
    np.testing.assert_array_equal(model.fit(x, make(several)).predict_proba(x), expected)


def test_a_warm_start_with_early_stopping_learns_as_scikit_learns():
    x, y, _, _ = tables()
    words = {"solver": "sgd", "learning_rate_init": 0.1, "early_stopping": True, "warm_start": True}
    ours, theirs = (
        side((10,), max_iter=5, random_state=0, **words) for side in (MLPClassifier, neural_network.MLPClassifier)
    )
    for _ in range(6):
        assert ours.fit(x, y).score(x, y) == theirs.fit(x, y).score(x, y)


def test_a_warm_start_takes_over_what_has_changed_of_the_layers():
    x, _, y, _ = tables()
    model = MLPClassifier((5,), warm_start=True, max_iter=5, random_state=0).fit(x, y)
    model.set_params(activation="tanh", normalization="batch", dropout=0.5, max_iter=1).fit(x, y)
    kinds = [type(layer).__name__ for layer in model.model_.layers]
    assert kinds == ["Dense", "BatchNorm", "Activation", "Dropout", "Dense"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"optimizer": "adam"}, TypeError),
        ({"callbacks": [3]}, TypeError),
        ({"n_jobs": 0}, ValueError),
        ({"activation": "foo"}, ValueError),
        ({"hidden_layer_sizes": (2.5,)}, TypeError),
        ({"solver": "lbfgs", "clip_norm": 1.0}, ValueError),
        ({"solver": "lbfgs", "dropout": 0.5}, ValueError),
    ],
    ids=str,
)
def test_a_refused_fit_leaves_the_estimator_as_it_was(words, error):
    x, _, y, _ = tables()
    with pytest.raises(error):
        MLPClassifier().set_params(**words).fit(x, y)
    fresh = MLPClassifier().set_params(**words)
    with pytest.raises(error):
        fresh.fit(x, y)
    with pytest.raises(NotFittedError):
        fresh.predict(x)
    model = MLPClassifier((7,), max_iter=3, random_state=0).fit(x, y)
    before, loss = model.predict_proba(x), model.loss_
    with pytest.raises(error):
        model.set_params(**words).fit(x, y)
    assert model.loss_ == loss
    np.testing.assert_array_equal(model.set_params(n_jobs=None).predict_proba(x), before)


def test_targets_of_another_width_are_refused_and_change_nothing():
    x = tables()[0]
    model = MLPRegressor(hidden_layer_sizes=(7,), max_iter=5, random_state=0).fit(x, x[:, :2])
    with pytest.raises(ValueError, match="of the last fit to go on with"):
        model.partial_fit(x, x[:, 0])
    with pytest.raises(ValueError, match="expected y_val of 2 columns as y, got 1"):
        model.partial_fit(x, x[:, :2], X_val=x, y_val=x[:, 0])
    assert model.predict(x).shape == (60, 2)


def test_weights_of_classes_do_not_depend_on_those_that_a_batch_has():
    x, _, y, _ = tables()
    model = MLPClassifier((7,), class_weight={0: 1.0, 2: 5.0}, random_state=0).partial_fit(x, y, classes=[0, 1, 2])
    model.partial_fit(x[y < 2], y[y < 2])
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        model.set_params(class_weight="balanced").partial_fit(x, y)
    with pytest.raises(ValueError, match=r"classes, .7., are not in"):
        MLPClassifier(class_weight={7: 1.0}).fit(x, y)


def test_classes_weigh_in_training_and_not_in_measuring():
    x = tables()[0]
    y = np.r_[np.zeros(50, int), np.ones(10, int)]
    model = MLPClassifier((7,), early_stopping=True, class_weight="balanced", max_iter=1, random_state=0).fit(x, y)
    assert model.validation_scores_[0] in {right / 6 for right in range(7)}  # six rows that weigh the same
    weights = (np.arange(60) < 3) * 1.0
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero number"):
        MLPClassifier(early_stopping=True, random_state=0).fit(x, y, sample_weight=weights)


def test_callbacks_are_told_of_steps_as_often_as_they_ask():
    x, _, y, _ = tables()
    told = []

    class EachStep(dg.Callback):
        def steps_ahead(self, run):
            return 1

        def on_steps_end(self, run):
            told.append(run.step)

    MLPClassifier((7,), max_iter=2, batch_size=20, callbacks=[EachStep()]).fit(x, y)
    assert told == [1, 2, 3, 1, 2, 3]


def test_codes_are_linear_and_decoded_as_the_network_predicts():
    x = tables()[0]
    network = MLPRegressor(normalization="layer", dropout=0.2, max_iter=20)
    layers = MLPAutoencoder((4, 1), estimator=network, random_state=0).fit(x).estimator_.model_.layers
    code = next(place for place, layer in enumerate(layers) if isinstance(layer, dg.Dense) and layer.units == 1)
    assert isinstance(layers[code + 1], dg.Dense)
    for loss in ("poisson", "gaussian_nll"):
        coder = MLPAutoencoder((4, 2), estimator=MLPRegressor(loss=loss, max_iter=20), random_state=0).fit(abs(x))
        back = coder.inverse_transform(coder.transform(abs(x)))
        np.testing.assert_allclose(back, coder.estimator_.predict(abs(x)), rtol=1e-12)
    with pytest.raises(ValueError, match="expected an estimator with a hidden layer"):
        MLPTransformer(MLPClassifier(())).fit(x, x[:, 0] > 0)


def test_numbers_that_are_assumed_to_be_finite_give_nan_where_they_are_not():
    x, _, y, _ = tables()
    model = MLPClassifier((7,), max_iter=5, random_state=0).fit(x, y)
    expected = model.predict_proba(x)
    x[3, 1] = np.nan
    with sklearn.config_context(assume_finite=True):
        found = model.predict_proba(x)
    assert np.isnan(found[3]).all()
    np.testing.assert_array_equal(np.delete(found, 3, 0), np.delete(expected, 3, 0))


def test_warnings_point_at_the_line_that_called_fit():
    x, _, y, _ = tables()
    for words, kind in [({}, ConvergenceWarning), ({"batch_size": 100}, UserWarning)]:
        with pytest.warns(kind) as caught:
            MLPClassifier((3,), max_iter=1, **words).fit(x, y)
        assert {one.filename for one in caught} == {__file__}
