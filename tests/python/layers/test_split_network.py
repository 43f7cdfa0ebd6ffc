"""Activations of the user's own, in Python: the same numbers as the library's, wherever they stand."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import densegrad as dg


class Tanh:
    """The library's tanh once more, in Python."""

    def forward(self, z):
        return np.tanh(z)

    def backward(self, dy, z, y):
        return dy * (1 - y * y)


class Bad(Tanh):
    def forward(self, z):
        return np.tanh(z)[:, :1]


STACKS = {
    "between": (lambda f: [dg.Dense(7), f, dg.Dense(3)]),
    "twice": (lambda f: [dg.Dense(7), f, f, dg.Dense(5, "relu"), dg.Dense(4), f, dg.Dense(3)]),
    "first and last": (lambda f: [f, dg.Dense(7), dg.Dropout(0.3), dg.Dense(3), f]),
    "before a softmax": (lambda f: [dg.Dense(7), f, dg.Dense(3, "softmax")]),
}


@pytest.mark.parametrize("name", STACKS)
def test_gradients_through_python_are_those_of_central_differences(backend, rng, name):
    model = dg.Sequential(STACKS[name](Tanh()), input_size=4, seed=0)
    x, y = rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
    assert dg.check_gradients(model, x, y, "cross_entropy").largest < 1e-7


def test_training_with_tanh_in_python_is_training_with_tanh(backend, rng):
    x, y = rng.normal(size=(90, 4)), rng.integers(0, 3, 90)
    runs = []
    for layers in (
        [dg.Dense(7), Tanh(), dg.Dropout(0.2), dg.Dense(5, l2=0.1), Tanh(), dg.Dense(3)],
        [dg.Dense(7, "tanh"), dg.Dropout(0.2), dg.Dense(5, "tanh", l2=0.1), dg.Dense(3)],
    ):
        model = dg.Sequential(layers, input_size=4, seed=0, dtype="float64")
        optimizer = dg.Adam(0.01)
        history = model.fit(x, y, loss="cross_entropy", optimizer=optimizer, epochs=3, validation_data=(x, y))
        trainer = dg.Trainer(model, "cross_entropy", optimizer)
        runs.append([*history["loss"], *history["val_loss"], trainer.step(x, y), *model.predict(x).ravel()])
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-10)


def test_forward_and_backward_pass_through_python(backend, rng):
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    ours = dg.Sequential([dg.Dense(7), Tanh(), dg.Dense(3)], input_size=4, seed=0, dtype="float64")
    theirs = dg.Sequential([dg.Dense(7, "tanh"), dg.Dense(3)], input_size=4, seed=0, dtype="float64")
    np.testing.assert_allclose(ours.forward(x), theirs.forward(x), rtol=1e-12)
    np.testing.assert_allclose(ours.backward(dy), theirs.backward(dy), rtol=1e-12)
    np.testing.assert_allclose(ours.gradients, theirs.gradients, rtol=1e-12)


def test_a_summary_says_where_the_plan_is_split(backend):
    text = str(dg.Sequential([dg.Dense(7), Tanh(), dg.Dense(3)], input_size=4).summary())
    assert "PythonActivation(" in text
    assert "split in 2 segments at Python activations" in text
    assert "split" not in str(dg.Sequential([dg.Dense(7, "tanh")], input_size=4).summary())


def test_what_python_gives_is_checked(backend):
    model = dg.Sequential([dg.Dense(7), Bad(), dg.Dense(3)], input_size=4)
    with pytest.raises(ValueError, match=r"^Bad\.forward: expected y of shape \(2, 7\), got \(2, 1\)$"):
        model.predict(np.ones((2, 4)))
    with pytest.raises(ValueError, match="expected a Python activation outside of Residual"):
        dg.Sequential([dg.Residual([dg.Dense(4), Tanh()])], input_size=4).predict(np.ones((2, 4)))
    trainer = dg.Trainer(dg.Sequential([dg.Dense(7), Tanh()], input_size=4), "mse", dg.SGD(0.1))
    with pytest.raises(ValueError, match="finite x"):
        trainer.step([[1, np.nan, 2, 3]], np.ones((1, 7)))


def test_a_python_activation_is_copied_and_refused_by_files(backend, tmp_path):
    model = dg.Sequential([dg.Dense(7), Tanh(), dg.Dense(3)], input_size=4, seed=0)
    x = np.ones((2, 4))
    np.testing.assert_array_equal(copy.deepcopy(model).predict(x), model.predict(x))
    with pytest.raises(ValueError, match=r"^save: expected layers that a file can hold, got the Python activation"):
        model.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
