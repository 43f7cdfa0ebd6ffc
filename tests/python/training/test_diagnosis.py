"""``fit(diagnose=True)``: each pathology, made on purpose, is told with its figures; healthy runs are left in peace."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_moons

import densegrad as dg

pytestmark = pytest.mark.above_the_kernels

Dense = dg.Dense


def digits():
    x, y = load_digits(return_X_y=True)
    return x / 16, y


def standardised(load):
    x, y = load(return_X_y=True)
    return (x - x.mean(axis=0)) / x.std(axis=0), y


def told(layers, x, y, *, loss="cross_entropy", optimizer=None, epochs=2, **options):
    """What a run warns of."""
    model = dg.Sequential(layers, seed=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, y, loss=loss, optimizer=optimizer or dg.SGD(0.1), epochs=epochs, diagnose=True, **options)
    assert all(each.category is UserWarning for each in caught)
    return [str(each.message) for each in caught]


def about(messages, words):
    """The one message with these words."""
    (found,) = [message for message in messages if words in message]
    assert found.startswith("Sequential.fit: ")
    return found


# ---- healthy runs


HEALTHY = {
    "relu": lambda: [Dense(64, "relu"), Dense(10)],
    "tanh": lambda: [Dense(64, "tanh"), Dense(32, "tanh"), Dense(10)],
    "sigmoid": lambda: [Dense(64, "sigmoid"), Dense(10, "softmax")],
    "norm": lambda: [Dense(64), dg.BatchNorm(), dg.Activation("relu"), dg.Dropout(0.3), Dense(10)],
    "residual": lambda: [Dense(32, "relu"), dg.Residual([Dense(32, "relu"), Dense(32)]), dg.LayerNorm(), Dense(10)],
    "deep": lambda: [*(Dense(32, "relu") for _ in range(6)), Dense(10)],
}
RULES = {"sgd": lambda: dg.SGD(0.1), "momentum": lambda: dg.SGD(0.03, momentum=0.9), "adam": lambda: dg.Adam(0.003)}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layers", HEALTHY)
def test_a_healthy_run_on_digits_is_left_in_peace(backend, layers, rule):
    assert told(HEALTHY[layers](), *digits(), optimizer=RULES[rule](), epochs=6) == []


@pytest.mark.parametrize("rule", RULES)
def test_healthy_runs_on_other_data_are_left_in_peace_until_they_have_converged(backend, rule):
    x, y = standardised(load_breast_cancer)
    layers, loss = [Dense(32, "relu"), Dense(1, "sigmoid")], "binary_cross_entropy"
    assert told(layers, x, y, loss=loss, optimizer=RULES[rule](), epochs=50) == []
    x, y = standardised(load_diabetes)
    y = (y - y.mean()) / y.std()
    assert told([Dense(16, "tanh"), Dense(1)], x, y, loss="mse", optimizer=RULES[rule](), epochs=40) == []
    x, y = make_moons(400, noise=0.2, random_state=0)
    assert told([Dense(16, "tanh"), Dense(16, "relu"), Dense(2)], x, y, optimizer=RULES[rule](), epochs=60) == []


def test_a_healthy_run_on_mnist_is_left_in_peace(backend, data_folder):
    mnist = dg.data.read_mnist(data_folder / "mnist")
    x, y = mnist["x_train"][:6000], mnist["y_train"][:6000]
    assert told([Dense(128, "relu"), Dense(10)], x, y, epochs=3, batch_size=64) == []


def test_going_on_from_the_minimum_is_no_crawl(backend):
    x, y = standardised(load_diabetes)
    best, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)
    model = dg.Sequential([Dense(1)], input_size=10, dtype="float64", seed=0)
    model.parameters[...] = best
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(x, y, loss="mse", optimizer=dg.SGD(1e-7), epochs=20, diagnose=True)


# ---- each pathology


@pytest.mark.parametrize(("scale", "feature"), [(16.0, "59"), (4080.0, "59"), (1e-4, "59")])
def test_inputs_that_are_not_standardised_are_told_with_the_worst_feature(backend, scale, feature):
    x, y = digits()
    x = x * scale
    message = about(told([Dense(16, "relu"), Dense(10)], x, y, optimizer=dg.SGD(1e-5)), "not standardised")
    said = re.search(r"feature (\d+) has the mean (\S+) and the standard deviation (\S+),", message)
    assert said[1] == feature
    assert float(said[2]) == pytest.approx(x[:, 59].mean(), rel=0.1)  # of a sample
    assert float(said[3]) == pytest.approx(x[:, 59].std(), rel=0.1)
    assert "make dg.Standardize() the first layer" in message


@pytest.mark.parametrize("first", [dg.Standardize, dg.BatchNorm, dg.LayerNorm])
def test_what_the_first_layer_standardises_is_not_told_of(backend, first):
    x, y = digits()
    assert told([first(), Dense(32, "relu"), Dense(10)], x * 255, y, epochs=4) == []
    assert about(told([dg.Dropout(0.1), Dense(32), Dense(10)], x * 255, y, optimizer=dg.SGD(1e-7)), "not standardised")


@pytest.mark.parametrize(
    ("loss", "y", "said"),
    [
        ("cross_entropy", np.full(60, 3), "all 60 targets are 3"),
        ("cross_entropy", np.eye(4)[np.full(60, 1)], "all 60 targets are [0. 1. 0. 0.]"),
        ("mse", np.full((60, 4), 0.5), "all 60 targets are [0.5 0.5 0.5 0.5]"),
    ],
)
def test_targets_that_are_all_the_same_are_told(backend, loss, y, said):
    x = np.random.default_rng(0).normal(size=(60, 2))
    assert said in about(told([Dense(8, "tanh"), Dense(4)], x, y, loss=loss), "nothing to learn")


def dead_and_lively(units, dead):
    """A hidden layer of whose units the first ones are 0 for inputs within [0, 1]."""
    model = dg.Sequential([Dense(units, "relu"), Dense(10)], input_size=64, seed=0)
    model.layers[0].b[:dead] = -1000
    return model


def test_dead_units_are_counted_by_layer(backend):
    model = dead_and_lively(40, 30)
    with pytest.warns(UserWarning, match="dead ReLU units") as caught:
        model.fit(*digits(), loss="cross_entropy", optimizer=dg.SGD(0.05), epochs=3, diagnose=True)
    assert len(caught) == 1  # though they are dead after each epoch
    message = str(caught[0].message)
    assert "after epoch 1: 30 of 40 in layers.0 (75%); they are 0 for all of 512 rows" in message
    assert "take leaky_relu, elu or gelu" in message


def test_a_few_dead_units_are_no_trouble(backend):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dead_and_lively(40, 8).fit(*digits(), loss="cross_entropy", optimizer=dg.SGD(0.05), epochs=2, diagnose=True)


def test_dead_units_are_found_in_blocks_and_behind_layers_of_their_own(backend):
    block = dg.Residual([Dense(12), dg.Dropout(0.1), dg.Activation("relu"), Dense(12)])
    model = dg.Sequential([Dense(12, "tanh"), block, Dense(10)], input_size=64, seed=0)
    block.layers[0].b[...] = -1000
    with pytest.warns(UserWarning, match=r"dead ReLU units after epoch 1: 12 of 12 in layers\.1\.0 \(100%\)"):
        model.fit(*digits(), loss="cross_entropy", optimizer=dg.SGD(0.05), epochs=1, diagnose=True)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "hard_tanh"])
def test_saturated_outputs_are_told_with_their_share(backend, activation):
    wide = Dense(32, activation, init=dg.initializers.Normal(40.0))
    message = about(told([wide, Dense(10)], *digits()), "saturated outputs")
    share = re.search(rf"after epoch 1: (\d+)% in layers\.0 \({activation}\) lie within 0\.5% of an end", message)
    assert int(share[1]) > 75


def test_outputs_may_lie_at_the_ends_of_their_range(backend):
    """A classifier that is sure of itself is not saturated."""
    x = np.random.default_rng(1).normal(size=(200, 2))
    model = dg.Sequential([Dense(1, "sigmoid")], input_size=2, seed=0)
    model.layers[0].w[...] = [[1000.0], [0.0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(x, x[:, 0] > 0, loss="binary_cross_entropy", optimizer=dg.SGD(0.1), epochs=2, diagnose=True)


def test_a_vanishing_gradient_is_told_before_the_first_step(backend):
    layers = [*(Dense(16, "sigmoid") for _ in range(8)), Dense(10)]
    message = about(told(layers, *digits()), "gradients vanish before the first step")
    first, last = re.search(r"about (\S+) in layers\.0 against (\S+) in layers\.8;", message).groups()
    assert float(first) < 1e-4 * float(last)
    assert "dg.BatchNorm" in message


def test_an_exploding_gradient_is_told_before_the_first_step(backend):
    layers = [*(Dense(64, "relu", init=dg.initializers.Normal(1.0)) for _ in range(8)), Dense(10)]
    message = about(told(layers, *digits(), optimizer=dg.SGD(1e-12)), "gradients explode before the first step")
    first, last = re.search(r"about (\S+) in layers\.0 against (\S+) in layers\.8;", message).groups()
    assert float(first) > 1e3 * float(last)
    assert "clip_norm=1.0" in message


@pytest.mark.parametrize("optimizer", [lambda: dg.SGD(20.0), lambda: dg.Adam(0.5), lambda: dg.SGD(20.0, momentum=0.9)])
def test_a_learning_rate_far_too_large_is_told_before_the_first_step(backend, optimizer):
    rule = optimizer()
    message = about(told([Dense(32, "tanh"), Dense(10)], *digits(), optimizer=rule), "far too large")
    assert f"the learning rate {rule.lr:.3g} is far too large: before the first step a step changes layers." in message
    before, after = map(float, re.search(r"takes the loss from (\S+) to (\S+);", message).groups())
    assert after > before
    assert before == pytest.approx(np.log(10), rel=0.3)


@pytest.mark.parametrize("optimizer", [lambda: dg.SGD(1e-6), lambda: dg.Adam(1e-7)])
def test_a_learning_rate_far_too_small_is_told_after_the_first_epoch(backend, optimizer):
    rule = optimizer()
    messages = told([Dense(32, "relu"), Dense(10)], *digits(), optimizer=rule, epochs=5)
    (message,) = messages
    assert f"the learning rate {rule.lr:.3g} is far too small: at this pace 5 epochs change the weights by" in message
    assert "dg.find_learning_rate" in message


def test_a_schedule_may_begin_slowly_but_not_end_there(backend):
    x, y = digits()
    warm = dg.schedules.Warmup(dg.schedules.Constant(0.1), 200)
    assert told([Dense(32, "relu"), Dense(10)], x, y, optimizer=dg.SGD(warm), epochs=6) == []
    slow = dg.SGD(dg.schedules.Constant(1e-6))
    assert about(told([Dense(32, "relu"), Dense(10)], x, y, optimizer=slow, epochs=3), "far too small")


# ---- beside the run


@pytest.mark.parametrize("layers", ["norm", "residual"])
def test_looking_changes_no_bit(backend, dtype, layers):
    x, y = digits()
    results = []
    for diagnose in (False, True):
        model = dg.Sequential(HEALTHY[layers](), input_size=64, dtype=dtype, seed=3)
        optimizer = dg.Adam(0.01, average=0.9)
        history = model.fit(
            x, y, loss="cross_entropy", optimizer=optimizer, epochs=2, sample_weight=y + 0.5, diagnose=diagnose
        )
        results.append((model.parameters.copy(), optimizer.state.copy(), history["loss"]))
    for plain, watched in zip(*results, strict=True):
        np.testing.assert_array_equal(watched, plain)


def test_a_diagnosed_run_is_resumed_to_its_bits(backend, tmp_path):
    x, y = digits()
    results = []
    for stops in ([3], [2, 3]):
        model = dg.Sequential(HEALTHY["relu"](), input_size=64, seed=3)
        for epochs in stops:
            path = tmp_path / f"{len(stops)}.safetensors"
            options = {"callbacks": [dg.ModelCheckpoint(path)], "resume": path if path.exists() else None}
            model.fit(x, y, loss="cross_entropy", optimizer=dg.Adam(), epochs=epochs, diagnose=True, **options)
        results.append(model.parameters)
    np.testing.assert_array_equal(*results)


def test_a_step_that_leads_out_of_all_bounds_is_told_in_few_words(backend, dtype):
    model = dg.Sequential([Dense(8, "relu"), Dense(1)], input_size=64, dtype=dtype, seed=0)
    with pytest.warns(UserWarning, match="far too large") as caught:
        history = model.fit(
            *digits(), loss="mse", optimizer=dg.SGD(1e15), epochs=2, diagnose=True, on_divergence="stop"
        )
    assert history.stopped is not None
    assert all(len(str(warning.message)) < 400 for warning in caught)


def test_warnings_point_at_the_call_of_fit(backend):
    x = np.ones((10, 2)) * 100
    model = dg.Sequential([Dense(1)], input_size=2, seed=0)
    trainer = dg.Trainer(model, "mse", dg.SGD(1e-9))
    for fit in (trainer.fit, lambda *rows, **options: model.fit(*rows, loss="mse", optimizer=dg.SGD(1e-9), **options)):
        with pytest.warns(UserWarning, match="not standardised") as caught:
            fit(x, np.arange(10.0), diagnose=True)
        assert {warning.filename for warning in caught} == {__file__}


def test_activations_of_ones_own_and_frozen_layers_are_looked_through(backend):
    class Sine:
        def forward(self, z):
            return np.sin(z)

        def backward(self, dy, z, y):
            return dy * np.cos(z)

    frozen = Dense(16, "relu", trainable_w=False, trainable_b=False)
    assert told([frozen, Dense(16), Sine(), Dense(10)], *digits()) == []
    model = dg.Sequential([Dense(10)], input_size=64)
    model.layers[0].trainable = False
    model.fit(*digits(), loss="cross_entropy", optimizer=dg.SGD(0.1), epochs=2, diagnose=True)


def test_diagnose_is_true_or_false(backend):
    model = dg.Sequential([Dense(2)], input_size=1)
    with pytest.raises(TypeError, match=r"Sequential\.fit: expected diagnose as True or False, got str 'yes'"):
        model.fit([[1.0]], [0], loss="cross_entropy", optimizer=dg.SGD(0.1), diagnose="yes")
