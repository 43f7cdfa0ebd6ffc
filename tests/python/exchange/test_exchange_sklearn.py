"""Networks that scikit-learn has fitted predict here what they predict there."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor

import densegrad as dg

pytestmark = [
    pytest.mark.above_the_kernels,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
TOLERANCE = {"float32": 1e-5, "float64": 1e-11}


def fitted(estimator, x, y):
    """After a few epochs: the numbers count, not how good they are."""
    return estimator.set_params(max_iter=5, random_state=0).fit(x, y)


@pytest.fixture(params=["identity", "logistic", "tanh", "relu"])
def activation(request):
    """Each that scikit-learn has for hidden layers."""
    return request.param


def assert_same(model, x, theirs, dtype):
    assert model.dtype == dtype
    np.testing.assert_allclose(model.predict(x), theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("hidden", [(), (20,), (12, 8)])
def test_a_classifier_keeps_its_probabilities(backend, dtype, activation, hidden):
    x, y = load_digits(return_X_y=True)
    x = x.astype(dtype) / 16
    theirs = fitted(MLPClassifier(hidden, activation=activation), x, y)
    model = dg.from_sklearn(theirs)
    assert_same(model, x, theirs.predict_proba(x), dtype)
    np.testing.assert_array_equal(model.predict(x).argmax(axis=1), theirs.predict(x))
    np.testing.assert_array_equal(model.predict_proba(x), model.predict(x))


def test_two_classes_and_several_labels_end_in_sigmoids(backend, dtype, rng):
    x, y = load_digits(return_X_y=True)
    x = x.astype(dtype) / 16
    theirs = fitted(MLPClassifier((9,)), x, y > 4)
    assert_same(dg.from_sklearn(theirs), x, theirs.predict_proba(x)[:, 1:], dtype)
    theirs = fitted(MLPClassifier((9,)), x, np.stack([y > 4, y % 2 == 0], axis=1))
    assert_same(dg.from_sklearn(theirs), x, theirs.predict_proba(x), dtype)


def test_a_regressor_keeps_its_predictions(backend, dtype, activation):
    x, y = load_diabetes(return_X_y=True)
    x = x.astype(dtype)
    y = (y / y.std()).astype(dtype)
    theirs = fitted(MLPRegressor(hidden_layer_sizes=(9, 7), activation=activation), x, y)
    assert_same(dg.from_sklearn(theirs), x, theirs.predict(x)[:, None], dtype)
    theirs = fitted(MLPRegressor(hidden_layer_sizes=(9,), activation=activation), x, np.stack([y, -y], axis=1))
    assert_same(dg.from_sklearn(theirs), x, theirs.predict(x), dtype)


def test_the_model_trains_on_with_numbers_of_its_own(backend):
    x, y = load_digits(return_X_y=True)
    theirs = fitted(MLPClassifier((20,)), x / 16, y)
    before = [w.copy() for w in theirs.coefs_]
    model = dg.from_sklearn(theirs)
    loss = model.evaluate(x / 16, y, loss="cross_entropy")["loss"]
    model.fit(x / 16, y, loss="cross_entropy", optimizer=dg.Adam(), epochs=5, progress=False)
    assert model.evaluate(x / 16, y)["loss"] < loss / 2
    for w, old in zip(theirs.coefs_, before, strict=True):
        np.testing.assert_array_equal(w, old)


def test_other_estimators_are_refused():
    with pytest.raises(ValueError, match="from_sklearn: expected a fitted MLPClassifier; call its fit first"):
        dg.from_sklearn(MLPClassifier())
    for other in (LogisticRegression(), MLPClassifier, 3):
        with pytest.raises(TypeError, match="from_sklearn: expected an MLPClassifier or MLPRegressor, got"):
            dg.from_sklearn(other)
    theirs = fitted(MLPRegressor(hidden_layer_sizes=(4,)), np.eye(3), np.arange(3.0))
    theirs.out_activation_ = "exp"  # what a loss of Poisson sets
    with pytest.raises(ValueError, match="from_sklearn: unknown activation of the outputs 'exp'; choose from identity"):
        dg.from_sklearn(theirs)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.neural_network", None)
    with pytest.raises(ImportError, match=r"from_sklearn needs sklearn: pip install 'densegrad\[sklearn\]'"):
        dg.from_sklearn(MLPClassifier())
