"""A function of Tensors as the loss of a model."""

from __future__ import annotations

import numpy as np
import pytest

import densegrad as dg
from densegrad import graph as g


def mse(p, y):
    return g.mean((p - y) ** 2)


def weighted_mse(p, y, sample_weight=None):
    rows = g.mean((p - y) ** 2, 1)
    return g.mean(rows) if sample_weight is None else g.sum(rows * sample_weight) / g.sum(sample_weight)


def problem(dtype="float64", rows=50):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(rows, 3)).astype(dtype)
    y = np.stack([x[:, 0] * x[:, 1], x[:, 2]], axis=1)
    layers = [dg.Dense(8, "tanh", l2=1e-3), dg.BatchNorm(), dg.Dense(2)]
    return dg.Sequential(layers, input_size=3, dtype=dtype, seed=1), x, y


@pytest.mark.filterwarnings("ignore:mse. traced again")  # for the smaller batches and the measured rows
@pytest.mark.parametrize("compiled", [False, True])
def test_a_formula_trains_as_the_loss_it_spells_out(backend, dtype, compiled):
    own, x, y = problem(dtype)
    named = own.copy()
    loss = g.compile(mse) if compiled else mse
    options = {"epochs": 4, "batch_size": 10, "validation_split": 0.2, "metrics": ["rmse"]}
    histories = [
        model.fit(x, y, loss=given, optimizer=dg.Adam(0.01), **options)
        for model, given in ((own, loss), (named, "mse"))
    ]
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(own.parameters, named.parameters, rtol=tolerance, atol=tolerance)
    for name in histories[0]:
        if name != "seconds":
            assert histories[0][name] == pytest.approx(histories[1][name], rel=tolerance)


def test_weights_reach_a_function_that_takes_them(backend):
    own, x, y = problem()
    named, weights = own.copy(), np.linspace(0.1, 3, 50)
    for model, loss in ((own, weighted_mse), (named, "mse")):
        model.fit(x, y, loss=loss, optimizer=dg.SGD(0.1), epochs=3, sample_weight=weights)
    np.testing.assert_allclose(own.parameters, named.parameters, rtol=1e-10, atol=1e-12)
    found = [
        model.evaluate(x, y, loss=loss, sample_weight=weights) for model, loss in ((own, weighted_mse), (named, "mse"))
    ]
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-10)
    with pytest.raises(TypeError, match="positional argument"):
        own.fit(x, y, loss=mse, optimizer=dg.SGD(0.1), sample_weight=weights)


def test_labels_and_targets_of_any_shape_reach_the_function_as_they_are(backend, rng):
    """A margin between the right output and the largest other, which the library does not have."""

    def margin(p, labels):
        right = g.sum(p * (labels[:, None] == np.arange(3)).astype(p.dtype.name), 1)
        return g.mean(g.relu(1 - right + g.max(p - 10 * (labels[:, None] == np.arange(3)).astype(p.dtype.name), 1)))

    x = rng.normal(size=(90, 2))
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    model = dg.Sequential([dg.Dense(16, "tanh"), dg.Dense(3)], input_size=2, seed=0)
    model.fit(x, y, loss=margin, optimizer=dg.Adam(0.02), epochs=80)
    assert (model.predict(x).argmax(axis=1) == y).mean() > 0.95
    assert dg.check_gradients(model, x[:5], y[:5], margin).largest < 1e-7


def test_a_model_trained_by_a_function_is_copied_and_kept_without_it(backend, tmp_path):
    model, x, y = problem()
    model.fit(x, y, loss=mse, optimizer=dg.SGD(0.1))
    assert model.copy().evaluate(x, y)["loss"] == model.evaluate(x, y)["loss"]
    model.save(tmp_path / "model")
    loaded = dg.load(tmp_path / "model")
    assert loaded.loss is None
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))


def test_steps_and_lbfgs_take_a_function_too(backend):
    model, x, y = problem()
    trainer = dg.Trainer(model, mse, dg.SGD(0.1))
    losses = [trainer.step(x, y) for _ in range(20)]
    assert losses[-1] < losses[0]
    model = dg.Sequential([dg.Dense(2)], input_size=3, dtype="float64", seed=0)
    model.fit(x, y, loss=mse, optimizer=dg.LBFGS(gtol=1e-10, ftol=0))
    exact = np.linalg.lstsq(np.column_stack([x, np.ones(50)]), y, rcond=None)[0]
    np.testing.assert_allclose(model.layers[0].w, exact[:3], atol=1e-7)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda p, y: (p - y) ** 2, ValueError, "expected a function that gives one number, got shape"),
        (lambda p, y: 1.0, TypeError, "expected a function that gives Tensors, got float"),
        (lambda p: p, TypeError, "positional argument"),
    ],
)
def test_a_function_that_is_no_loss_is_refused_before_the_first_update(backend, loss, error, message):
    model, x, y = problem()
    before = model.parameters.copy()
    with pytest.raises(error, match=message):
        model.fit(x, y, loss=loss, optimizer=dg.SGD(0.1))
    np.testing.assert_array_equal(model.parameters, before)


def test_targets_of_another_length_and_class_weights_are_refused(backend):
    model, x, y = problem()
    with pytest.raises(
        ValueError, match=r"Sequential\.fit: expected y with 50 rows, as many as x has, got shape \(49, 2\)"
    ):
        model.fit(x, y[:49], loss=mse, optimizer=dg.SGD(0.1))
    with pytest.raises(ValueError, match="class_weight expects a loss on classes, got a function"):
        model.fit(x, y, loss=mse, optimizer=dg.SGD(0.1), class_weight="balanced")
