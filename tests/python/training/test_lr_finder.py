"""The range test: what it tries, what it suggests, and what it leaves alone."""

from __future__ import annotations

import copy

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

import densegrad as dg

mpl.use("Agg")


def problem(dtype="float32", **options):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 3))
    layers = [dg.Dense(16, "tanh"), dg.Dropout(0.1), dg.Dense(2)]
    return dg.Sequential(layers, dtype=dtype, seed=1, **options), x, (x[:, 0] * x[:, 1] > 0).astype(int)


def test_rates_rise_exponentially_from_low_to_high(backend):
    model, x, y = problem()
    found = dg.find_learning_rate(model, x, y, "cross_entropy", dg.SGD(0.1), low=1e-4, high=1.0, steps=41)
    np.testing.assert_allclose(found.rates, 10.0 ** (np.arange(41) / 10 - 4), rtol=1e-12)
    assert found.losses.shape == found.smoothed.shape == (41,)


def test_it_makes_the_steps_that_a_trainer_makes(backend, dtype):
    """All rows in each batch: by the order of their shuffle the losses differ in their last bits."""
    model, x, y = problem(dtype, input_size=3)
    model = dg.Sequential([layer.copy() for layer in (model.layers[0], model.layers[2])], 3, dtype=dtype, seed=1)
    found = dg.find_learning_rate(model, x, y, "cross_entropy", dg.Adam(), high=0.1, steps=20, batch_size=400)
    optimizer = dg.Adam(1e-6)
    trainer, expected = dg.Trainer(model, "cross_entropy", optimizer), []
    for rate in found.rates:
        optimizer.lr = float(rate)
        expected.append(trainer.step(x, y))
    np.testing.assert_allclose(found.losses, expected, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("built", [False, True])
def test_model_and_optimizer_are_left_as_they_were(backend, built):
    model, x, y = problem(input_size=3 if built else None)
    optimizer = dg.SGD(0.05, momentum=0.9)
    if built:
        model.fit(x, y, loss="cross_entropy", optimizer=optimizer, epochs=1)
    twin = copy.deepcopy((model, optimizer))
    dg.find_learning_rate(model, x, y, "cross_entropy", optimizer)
    assert (optimizer.lr, optimizer.steps) == (twin[1].lr, twin[1].steps)
    for trained, rule in ((model, optimizer), twin):  # both go on to the same bits
        trained.fit(x, y, loss="cross_entropy", optimizer=rule, epochs=2)
    np.testing.assert_array_equal(model.parameters, twin[0].parameters)


def test_it_ends_where_the_loss_has_risen_far_or_is_no_longer_finite(backend, dtype):
    model, x, y = problem(dtype, input_size=3)
    found = dg.find_learning_rate(model, x, np.eye(2)[y], "mse", dg.SGD(0.1), high=1e6)
    assert found.rates[-1] < 1e3
    assert np.isfinite(found.losses).all()
    model.layers[2].w[...] = np.finfo(dtype).max / 10
    with pytest.raises(ValueError, match="expected a finite loss before the first update"):
        dg.find_learning_rate(model, x, np.eye(2)[y], "mse", dg.SGD(0.1))


@pytest.mark.parametrize(
    "make", [dg.SGD, lambda lr: dg.SGD(lr, momentum=0.9), dg.Adam], ids=["sgd", "momentum", "adam"]
)
def test_training_with_the_suggestion_comes_near_the_best_rate_of_a_grid(backend, make):
    x, y = load_digits(return_X_y=True)
    x = x / 16

    def model(seed):
        return dg.Sequential([dg.Dense(32, "relu"), dg.Dense(10)], input_size=64, seed=seed)

    def loss_after(seed, lr):
        try:
            return model(seed).fit(x, y, loss="cross_entropy", optimizer=make(lr), epochs=5)["loss"][-1]
        except dg.DivergenceError:
            return np.inf

    def mean_log_loss(rates):
        return np.log([loss_after(seed, lr) for seed, lr in enumerate(rates)]).mean()

    found = [dg.find_learning_rate(model(seed), x, y, "cross_entropy", make(0.1)).suggestion for seed in range(4)]
    grid = [mean_log_loss([lr] * 4) for lr in np.geomspace(1e-3, 1, 7).tolist()]
    assert mean_log_loss(found) < min(grid) + np.log(2)


def test_the_suggestion_is_a_quarter_of_the_rate_with_the_lowest_loss():
    rates = np.geomspace(1e-4, 1, 201)
    losses = np.abs(np.log(rates / 0.04)) + 0.01 * (-1.0) ** np.arange(201)
    assert dg.LearningRates(rates, losses).suggestion == pytest.approx(0.01, rel=0.05)


def test_there_is_no_suggestion_where_the_loss_does_not_fall(backend):
    model, x, y = problem(input_size=3)
    for layer in model.layers:
        layer.trainable = False
    found = dg.find_learning_rate(model, x, y, "cross_entropy", dg.SGD(0.1))
    assert found.suggestion is None
    assert repr(found) == "<LearningRates 1e-06 to 10 in 100 steps; no suggestion>"
    rising = dg.LearningRates(np.geomspace(1e-4, 1, 50), np.arange(50.0))
    assert rising.suggestion is None


def test_rows_may_have_weights_and_be_fewer_than_a_batch(backend):
    model, x, y = problem()
    weight = np.zeros(400)
    weight[:20] = 1
    few = dg.find_learning_rate(model, x[:20], y[:20], "cross_entropy", dg.SGD(0.1), batch_size=64, steps=10)
    some = dg.find_learning_rate(
        model, x, y, "cross_entropy", dg.SGD(0.1), batch_size=400, steps=10, sample_weight=weight
    )
    assert some.losses[0] == pytest.approx(few.losses[0], rel=0.2)  # masks of dropout apart


def test_what_does_not_fit_is_refused(backend):
    model, x, y = problem()
    for options, said in (
        ({"low": 0}, "expected a finite low > 0, got 0"),
        ({"low": 2, "high": 1}, "expected a finite high > 2, got 1"),
        ({"steps": 9}, "expected steps >= 10, got 9"),
        ({"batch_size": 0}, "expected batch_size >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=f"find_learning_rate: {said}"):
            dg.find_learning_rate(model, x, y, "cross_entropy", dg.SGD(0.1), **options)
    with pytest.raises(ValueError, match="find_learning_rate: expected y with 400 labels"):
        dg.find_learning_rate(model, x, y[1:], "cross_entropy", dg.SGD(0.1))
    with pytest.raises(TypeError, match=r"trains by model\.fit"):
        dg.find_learning_rate(model, x, y, "cross_entropy", dg.LBFGS())


def test_the_picture_shows_losses_and_suggestion(backend):
    model, x, y = problem()
    found = dg.find_learning_rate(model, x, y, "cross_entropy", dg.SGD(0.1))
    _, ax = plt.subplots()
    assert found.plot(ax) is ax
    raw, smoothed, line = ax.get_lines()
    np.testing.assert_array_equal(raw.get_ydata(), found.losses)
    np.testing.assert_array_equal(smoothed.get_ydata(), found.smoothed)
    assert line.get_xdata()[0] == found.suggestion
    assert ax.get_xscale() == "log"
    plt.close("all")
