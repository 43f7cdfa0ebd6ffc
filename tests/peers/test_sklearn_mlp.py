"""scikit-learn's own tests of its multi-layer perceptrons, run against densegrad's.

The test file is the one installed with scikit-learn. It is read as a module of its own in which ``MLPClassifier`` and
``MLPRegressor`` are ours, and its tests are collected here.
"""

from __future__ import annotations

import importlib.util

import pytest

from densegrad.sklearn import MLPClassifier, MLPRegressor

LEFT_OUT = {
    "test_gradient": "calls _loss_grad_lbfgs, a private function of scikit-learn's estimators",
}

_spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
_theirs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_theirs)
_names = [name for name in dir(_theirs) if name.startswith("test_")]


def _substitute(value):
    """The estimators of a parametrised test as ours, by their names."""
    return {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}.get(getattr(value, "__name__", ""), value)


_theirs.MLPClassifier, _theirs.MLPRegressor = MLPClassifier, MLPRegressor
for _name in _names:
    if _name in LEFT_OUT:
        continue
    _test = getattr(_theirs, _name)
    _marks = getattr(_test, "pytestmark", [])
    _test.pytestmark = [
        pytest.mark.parametrize(mark.args[0], [_substitute(value) for value in mark.args[1]])
        if mark.name == "parametrize" and "Estimator" in mark.args[0]
        else mark
        for mark in _marks
    ]
    globals()[_name] = _test


@pytest.fixture
def global_random_seed():
    """scikit-learn's fixture of this name."""
    return 42


def test_what_is_left_out_is_there_and_little():
    assert set(LEFT_OUT) <= set(_names)
    assert len(LEFT_OUT) <= len(_names) / 10
