"""Training through ``fit`` and ``Trainer.step``, against a loop written out in NumPy."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import special
from sklearn.datasets import load_digits

import densegrad as dg
from densegrad._base.primitives import names


def classifier(dtype="float64", seed=0):
    """2 features, 5 hidden units, 3 classes."""
    layers = [dg.Dense(5, activation="tanh"), dg.Dense(3)]
    return dg.Sequential(layers, input_size=2, dtype=dtype, seed=seed)


def rows(rng, count=23):
    """Points and labels of 3 classes."""
    return rng.normal(size=(count, 2)), rng.integers(0, 3, count)


def snapshot(model, optimizer=None):
    """Everything a refused call must leave alone."""
    numbers = None if model.input_size is None else model.parameters.tobytes()
    state = None if optimizer is None or optimizer.state is None else optimizer.state.tobytes().strip(b"\0")
    steps = None if optimizer is None else optimizer.steps
    return numbers, model.input_size, model.loss, str(model.generator.bit_generator.state), steps, state or None


OPTIMIZERS = {  # each rule of the table, and rates at which digits are learnt
    "sgd": lambda: dg.SGD(0.1),
    "sgd_weight_decay": lambda: dg.SGD(0.1, weight_decay=1e-3),
    "sgd_momentum": lambda: dg.SGD(0.05, momentum=0.8, dampening=0.2, weight_decay=1e-3),
    "sgd_nesterov": lambda: dg.SGD(0.02, momentum=0.8, nesterov=True),
    "adam": lambda: dg.Adam(0.003),
    "adam, every argument": lambda: dg.Adam(0.003, betas=(0.8, 0.95), eps=1e-6, weight_decay=1e-3),
    "adam_amsgrad": lambda: dg.Adam(0.003, betas=(0.8, 0.9), amsgrad=True),
    "adam_eps_hat": lambda: dg.Adam(0.003, eps=1e-6, eps_hat=True),
    "adamw": lambda: dg.AdamW(0.003, weight_decay=0.1),
    "adamw_amsgrad": lambda: dg.AdamW(0.003, betas=(0.8, 0.9), amsgrad=True),
    "rmsprop": lambda: dg.RMSprop(0.002, weight_decay=1e-3),
    "rmsprop_momentum": lambda: dg.RMSprop(0.001, momentum=0.5),
    "rmsprop_centered": lambda: dg.RMSprop(0.001, eps=1e-3, centered=True),
    "rmsprop_centered_momentum": lambda: dg.RMSprop(0.001, eps=1e-3, momentum=0.5, centered=True),
    "adagrad": lambda: dg.Adagrad(0.03, lr_decay=1e-4, initial_accumulator_value=0.01),
    "adadelta": lambda: dg.Adadelta(1.0),
    "adamax": lambda: dg.Adamax(0.003),
    "nadam": lambda: dg.NAdam(0.003, weight_decay=1e-4),
    "nadam_decoupled": lambda: dg.NAdam(0.003, weight_decay=0.1, decoupled_weight_decay=True),
    "lion": lambda: dg.Lion(3e-4, weight_decay=0.1),
}


@pytest.fixture(params=OPTIMIZERS)
def make(request):
    """Makes an optimiser, of each kind in turn."""
    return OPTIMIZERS[request.param]


def test_every_optimizer_trains_here():
    assert {make().primitive for make in OPTIMIZERS.values()} == set(names("optimizer"))


def by_hand(model, x, labels, weights, *, lr, epochs, batch_size):
    """Mini-batch SGD on softmax cross-entropy in plain float64 NumPy; gives parameters and epoch losses."""
    w1, b1, w2, b2 = (part.copy() for layer in model.layers for part in (layer.w, layer.b))
    losses = []
    for _ in range(epochs):
        total = 0.0
        for first in range(0, len(x), batch_size):
            part = slice(first, first + batch_size)
            a, t, s = x[part], np.eye(3)[labels[part]], weights[part]
            h = np.tanh(a @ w1 + b1)
            z = h @ w2 + b2
            total += -(s * (t * special.log_softmax(z, axis=1)).sum(axis=1)).sum()
            dz = (special.softmax(z, axis=1) - t) * s[:, None] / s.sum()
            dh = dz @ w2.T * (1 - h * h)
            w2, b2 = w2 - lr * h.T @ dz, b2 - lr * dz.sum(axis=0)
            w1, b1 = w1 - lr * a.T @ dh, b1 - lr * dh.sum(axis=0)
        losses.append(total / weights.sum())
    return np.concatenate([part.ravel() for part in (w1, b1, w2, b2)]), losses


# ---- the arithmetic of fit


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("batch_size", [1, 4, 23, 100])
def test_fit_is_the_loop_written_by_hand(backend, rng, batch_size, weighted):
    x, y = rows(rng)  # 23 rows: the last batch of 4 has 3, and its own mean
    weights = rng.uniform(0.5, 2, 23) if weighted else None
    model = classifier()
    expected, losses = by_hand(
        model, x, y, np.ones(23) if weights is None else weights, lr=0.3, epochs=4, batch_size=batch_size
    )
    history = model.fit(
        x,
        y,
        loss="cross_entropy",
        optimizer=dg.SGD(0.3),
        epochs=4,
        batch_size=batch_size,
        shuffle=False,
        sample_weight=weights,
    )
    np.testing.assert_allclose(model.parameters, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-12)


def test_float32_training_stays_near_float64_training(backend, rng):
    x, y = rows(rng)
    narrow, wide = classifier("float32"), classifier("float64")
    for model in (narrow, wide):
        model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.3), epochs=4, batch_size=4, shuffle=False)
    np.testing.assert_allclose(narrow.parameters, wide.parameters, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_visits_every_row_exactly_once(backend, rng, shuffle):
    """On y = 0 and one weight each step is w <- w (1 - 2 lr x^2): the product tells which rows were seen."""
    x = rng.uniform(0.1, 1, (37, 1))
    model = dg.Sequential([dg.Dense(1, use_bias=False)], input_size=1, dtype="float64", seed=0)
    start = model.parameters[0]
    optimizer = dg.SGD(0.05)
    model.fit(x, np.zeros(37), loss="mse", optimizer=optimizer, epochs=3, batch_size=1, shuffle=shuffle)
    np.testing.assert_allclose(model.parameters[0], start * np.prod(1 - 0.1 * x**2) ** 3, rtol=1e-12)
    assert optimizer.steps == 3 * 37


def test_shuffling_changes_the_order_and_each_epoch_draws_a_new_one(backend, rng):
    x, y = rows(rng, 40)
    options = {"loss": "cross_entropy", "batch_size": 8}
    plain, shuffled, other = classifier(), classifier(), classifier(seed=1)
    other.parameters[...] = plain.parameters
    for model in (plain, shuffled, other):
        model.fit(x, y, optimizer=dg.SGD(0.3), shuffle=model is not plain, **options)
    assert (shuffled.parameters != plain.parameters).any()
    assert (shuffled.parameters != other.parameters).any()  # another seed, another order
    again = classifier()
    generator = again.generator.bit_generator.state
    results = []
    for renewed in (False, True):
        again = classifier()
        again.fit(x, y, optimizer=dg.SGD(0.3), **options)
        if renewed:
            again.generator.bit_generator.state = generator
        again.fit(x, y, optimizer=dg.SGD(0.3), **options)
        results.append(again.parameters.copy())
    assert (results[0] != results[1]).any()


def test_one_seed_gives_the_same_bits(backend, dtype, rng, make):
    x, y = rows(rng, 100)
    runs = []
    for _ in range(2):
        model = classifier(dtype, seed=3)
        history = model.fit(x, y, loss="cross_entropy", optimizer=make(), epochs=3, batch_size=7)
        runs.append((model.parameters.tobytes(), history["loss"]))
    assert runs[0] == runs[1]


def test_without_shuffling_the_models_generator_is_not_drawn_from(backend, rng):
    model = classifier()
    before = str(model.generator.bit_generator.state)
    model.fit(*rows(rng), loss="cross_entropy", optimizer=dg.SGD(0.2), shuffle=False)
    assert str(model.generator.bit_generator.state) == before


ARCHITECTURES = [  # widths from input to output, batch size, rows
    ((4, 16, 1), 1, 20),
    ((8, 64, 64, 4), 32, 100),
    ((50, 100, 1), 200, 450),
    ((13, 33, 17, 65, 7), 19, 100),
    ((784, 128, 10), 64, 150),
    ((3, 1, 1, 2), 5, 23),
]


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "softmax"])
@pytest.mark.parametrize("case", ARCHITECTURES, ids=lambda case: "-".join(map(str, case[0])))
def test_backends_agree_on_every_size(dtype, rng, case, activation):
    widths, batch_size, count = case
    x, y = rng.normal(size=(count, widths[0])), rng.uniform(size=(count, widths[-1]))
    weights = rng.uniform(0, 2, count)
    results = []
    for name in dg.available_backends():
        layers = [*(dg.Dense(width, activation) for width in widths[1:-1]), dg.Dense(widths[-1])]
        model = dg.Sequential(layers, input_size=widths[0], dtype=dtype, seed=0)
        with dg.use_backend(name):
            history = model.fit(
                x,
                y,
                loss="binary_cross_entropy_with_logits",
                optimizer=dg.SGD(0.2),
                epochs=3,
                batch_size=batch_size,
                sample_weight=weights,
                metrics=["accuracy"],
            )
            results.append((model.parameters, model.predict(x), history["loss"]))
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    for result in results[1:]:
        for got, expected in zip(result, results[0], strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


def test_rows_of_weight_zero_are_as_absent(backend, rng):
    x, y = rows(rng)
    weights = np.ones(23)
    weights[5::3] = 0
    kept = weights > 0
    one, other = classifier(), classifier()
    options = {"loss": "cross_entropy", "epochs": 3, "batch_size": 100, "shuffle": False}
    a = one.fit(x, y, optimizer=dg.SGD(0.3), sample_weight=weights, **options)
    b = other.fit(x[kept], y[kept], optimizer=dg.SGD(0.3), **options)
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=0, atol=1e-13)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-13)


def test_a_batch_whose_weights_are_all_zero_changes_nothing(backend, rng):
    x, y = rows(rng, 12)
    weights = np.ones(12)
    weights[4:8] = 0
    kept = weights > 0
    one, other = classifier(), classifier()
    options = {"loss": "cross_entropy", "epochs": 2, "batch_size": 4, "shuffle": False}
    a = one.fit(x, y, optimizer=dg.SGD(0.3), sample_weight=weights, **options)
    b = other.fit(x[kept], y[kept], optimizer=dg.SGD(0.3), **options)
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=0, atol=1e-13)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-13)


# ---- step


@pytest.mark.parametrize("loss", ["mse", "half_squared_error", "binary_cross_entropy_with_logits", "cross_entropy"])
def test_a_step_is_a_fit_of_one_batch(backend, dtype, rng, make, loss):
    x, y = rows(rng)
    y = y if loss == "cross_entropy" else rng.uniform(0, 1, (23, 3))
    weights = rng.uniform(0.5, 2, 23)
    stepped, fitted = classifier(dtype), classifier(dtype)
    trainer, optimizer = dg.Trainer(stepped, loss, make()), make()
    for sample_weight in (None, weights):
        value = trainer.step(x, y, sample_weight)
        history = fitted.fit(
            x, y, loss=loss, optimizer=optimizer, batch_size=23, shuffle=False, sample_weight=sample_weight
        )
        tolerance = 1e-6 if dtype == "float32" else 1e-14
        assert value == pytest.approx(history["loss"][0], rel=tolerance)
        np.testing.assert_allclose(stepped.parameters, fitted.parameters, rtol=0, atol=tolerance)
    assert trainer.optimizer.steps == optimizer.steps == 2
    assert stepped.loss == fitted.loss == loss


def test_a_step_gives_the_loss_before_its_update(backend, dtype, rng):
    x, y = rows(rng)
    model = classifier(dtype)
    before = model.evaluate(x, y, loss="cross_entropy")["loss"]
    trainer = dg.Trainer(model, "cross_entropy", dg.SGD(0.3))
    value = trainer.step(x, y)
    assert isinstance(value, float)
    assert value == pytest.approx(before, rel=1e-6)
    assert model.evaluate(x, y)["loss"] < value


def test_steps_take_batches_of_changing_size(backend, dtype, rng):
    model = classifier(dtype)
    trainer = dg.Trainer(model, "cross_entropy", dg.SGD(0.1))
    for count in (1, 64, 3, 17, 200, 1):
        x, y = rows(rng, count)
        expected = model.evaluate(x, y, loss="cross_entropy")["loss"]
        assert trainer.step(x, y) == pytest.approx(expected, rel=1e-5)
    assert trainer.optimizer.steps == 6


def test_a_learning_rate_set_between_steps_holds_from_the_next_step(backend, rng):
    x, y = rows(rng)
    model, other = classifier(), classifier()
    optimizer = dg.SGD(0.3)
    trainer = dg.Trainer(model, "cross_entropy", optimizer)
    trainer.step(x, y)
    optimizer.lr = 0.05
    trainer.step(x, y)
    dg.Trainer(other, "cross_entropy", dg.SGD(0.3)).step(x, y)
    dg.Trainer(other, "cross_entropy", dg.SGD(0.05)).step(x, y)
    np.testing.assert_array_equal(model.parameters, other.parameters)


def test_apply_gradients_is_the_update_of_a_step(backend, dtype, rng, make):
    x, y = rng.normal(size=(9, 2)).astype(dtype), rng.normal(size=(9, 3)).astype(dtype)
    stepped, apart = classifier(dtype), classifier(dtype)
    step, update = dg.Trainer(stepped, "mse", make()), dg.Trainer(apart, "mse", make())
    for _ in range(5):
        step.step(x, y)
        p = apart.forward(x)
        apart.backward(2 * (p - y) / p.size)
        update.apply_gradients()
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(apart.parameters, stepped.parameters, rtol=0, atol=tolerance)
    assert update.optimizer.steps == step.optimizer.steps == 5


# ---- going on


def test_calling_fit_again_goes_on(backend, dtype, rng, make):
    x, y = rows(rng)
    once, twice = classifier(dtype), classifier(dtype)
    options = {"loss": "cross_entropy", "batch_size": 4}
    optimizer = make()
    whole = once.fit(x, y, optimizer=make(), epochs=4, **options)
    parts = [twice.fit(x, y, optimizer=optimizer, epochs=2, **options) for _ in range(2)]
    np.testing.assert_array_equal(twice.parameters, once.parameters)
    assert parts[0]["loss"] + parts[1]["loss"] == whole["loss"]
    assert optimizer.steps == 4 * 6


def test_use_backend_in_the_middle_of_training_goes_on(dtype, rng, make):
    x, y = rows(rng)
    switched, steady = classifier(dtype), classifier(dtype)
    backends = dg.available_backends() * 3
    trainer = dg.Trainer(switched, "cross_entropy", make())
    for name in backends:
        with dg.use_backend(name):
            trainer.step(x, y)
            trainer.fit(x, y, batch_size=4, shuffle=False)
    with dg.use_backend("numpy"):
        other = dg.Trainer(steady, "cross_entropy", make())
        for _ in backends:
            other.step(x, y)
            other.fit(x, y, batch_size=4, shuffle=False)
    np.testing.assert_allclose(
        switched.parameters, steady.parameters, rtol=0, atol=1e-4 if dtype == "float32" else 1e-12
    )
    assert trainer.optimizer.steps == other.optimizer.steps == len(backends) * 7


def test_an_optimizer_of_another_models_size_is_refused(backend, rng, make):
    x, y = rows(rng)
    optimizer = make()
    classifier().fit(x, y, loss="cross_entropy", optimizer=optimizer)
    other = dg.Sequential([dg.Dense(3)], input_size=2)
    before = snapshot(other, optimizer)
    with pytest.raises(ValueError, match=r"expected the model .*\(33 parameters\), got one of 9; make a new "):
        other.fit(x, y, loss="cross_entropy", optimizer=optimizer)
    assert snapshot(other, optimizer) == before


# ---- frozen parameters


@pytest.mark.parametrize(
    "frozen", [["layers.0.w"], ["layers.0.b", "layers.1.w"], ["layers.0.w", "layers.0.b"]], ids=str
)
def test_frozen_parameters_keep_their_bits_and_the_others_train_the_same(backend, dtype, make, frozen):
    x, y = rows(np.random.default_rng(1))
    model, free = classifier(dtype), classifier(dtype)
    for name in frozen:
        _, index, array = name.split(".")
        setattr(model.layers[int(index)], f"trainable_{array}", False)
    dg.Trainer(model, "cross_entropy", make()).step(x, y)
    start = classifier(dtype)
    dg.Trainer(free, "cross_entropy", make()).step(x, y)
    for index, (got, moved, old) in enumerate(zip(model.layers, free.layers, start.layers, strict=True)):
        for array in ("w", "b"):
            expected = old if f"layers.{index}.{array}" in frozen else moved
            np.testing.assert_allclose(
                getattr(got, array), getattr(expected, array), rtol=0, atol=0 if expected is old else 1e-6
            )


def test_freezing_between_steps_holds_at_once_and_can_be_undone(backend, dtype, rng, make):
    x, y = rows(rng)
    model = classifier(dtype)
    trainer = dg.Trainer(model, "cross_entropy", make())
    trainer.step(x, y)
    layer = model.layers[0]
    layer.trainable = False
    kept, other = layer.w.copy(), model.layers[1].w.copy()
    trainer.step(x, y)
    trainer.fit(x, y, batch_size=5)
    np.testing.assert_array_equal(layer.w, kept)
    assert (model.layers[1].w != other).any()
    layer.trainable = True
    trainer.step(x, y)
    assert (layer.w != kept).all()


def test_apply_gradients_leaves_frozen_parameters(backend, rng):
    x, _ = rows(rng)
    model = classifier()
    model.layers[1].trainable_w = False
    kept = model.layers[1].w.copy()
    model.forward(x)
    model.backward(np.ones((23, 3)))
    assert model.layers[1].dw.any()  # the gradient is there to be read
    dg.Trainer(model, "mse", dg.SGD(0.3)).apply_gradients()
    np.testing.assert_array_equal(model.layers[1].w, kept)


def test_a_wholly_frozen_model_does_not_move(backend, rng):
    x, y = rows(rng)
    model = classifier()
    for layer in model.layers:
        layer.trainable = False
    before = model.parameters.copy()
    model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.3))
    np.testing.assert_array_equal(model.parameters, before)


# ---- history and evaluation


def test_validation_data_is_measured_at_each_epochs_end_as_evaluate_does(backend, dtype, rng):
    x, y = rows(rng, 60)
    xv, yv = rows(rng, 31)
    weights = rng.uniform(0, 2, 31)
    model, optimizer = classifier(dtype), dg.SGD(0.3)
    for validation in [(xv, yv), (xv, yv, weights), [xv, yv]]:
        history = model.fit(
            x, y, loss="cross_entropy", optimizer=optimizer, validation_data=validation, metrics=["accuracy"]
        )
        measured = model.evaluate(xv, yv, metrics=["accuracy"], sample_weight=weights if len(validation) == 3 else None)
        assert history["val_loss"] == [measured["loss"]]
        assert history["val_accuracy"] == [measured["accuracy"]]
        assert history["accuracy"] == [model.evaluate(x, y, metrics=["accuracy"])["accuracy"]]


def test_validation_changes_no_parameter(backend, rng):
    x, y = rows(rng)
    with_it, without = classifier(), classifier()
    options = {"loss": "cross_entropy", "epochs": 3, "batch_size": 4}
    with_it.fit(x, y, optimizer=dg.SGD(0.3), validation_data=rows(rng), metrics=["accuracy"], **options)
    without.fit(x, y, optimizer=dg.SGD(0.3), **options)
    np.testing.assert_array_equal(with_it.parameters, without.parameters)


@pytest.mark.parametrize("loss", ["mse", "half_squared_error", "binary_cross_entropy_with_logits", "cross_entropy"])
def test_evaluate_is_the_formula(backend, dtype, rng, loss):
    model = classifier(dtype)
    x, labels = rows(rng)
    t = np.eye(3)[labels]
    weights = rng.uniform(0, 2, 23)
    p = model.predict(x).astype("float64")
    by_row = {
        "mse": ((p - t) ** 2).mean(axis=1),
        "half_squared_error": ((p - t) ** 2).sum(axis=1) / 2,
        "binary_cross_entropy_with_logits": -(t * special.log_expit(p) + (1 - t) * special.log_expit(-p)).mean(axis=1),
        "cross_entropy": -special.log_softmax(p, axis=1)[np.arange(23), labels],
    }[loss]
    for s in (None, weights):
        measured = model.evaluate(x, t, loss=loss, sample_weight=s)
        assert measured == {"loss": pytest.approx(np.average(by_row, weights=s), rel=1e-5)}


def test_accuracy_of_classes_is_the_share_of_largest_outputs(backend, dtype, rng):
    model = classifier(dtype)
    x, labels = rows(rng)
    weights = rng.uniform(0, 2, 23)
    right = model.predict(x).argmax(axis=1) == labels
    for y in (labels, labels[:, None], np.eye(3)[labels]):
        got = model.evaluate(x, y, loss="cross_entropy", metrics=["accuracy"])
        assert got["accuracy"] == pytest.approx(right.mean())
    weighted = model.evaluate(x, labels, loss="cross_entropy", metrics=["accuracy"], sample_weight=weights)
    assert weighted["accuracy"] == pytest.approx(np.average(right, weights=weights), rel=1e-6)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_accuracy_of_one_yes_or_no_output_cuts_the_probability_at_one_half(backend, dtype, rng, loss):
    last = "sigmoid" if loss == "binary_cross_entropy" else None
    model = dg.Sequential([dg.Dense(1, last)], input_size=2, dtype=dtype, seed=0)
    x, y = rng.normal(size=(50, 2)), rng.integers(0, 2, 50)
    z = x @ model.layers[0].w + model.layers[0].b
    expected = ((z[:, 0] > 0) == y).mean()
    for target in (y, y[:, None]):
        assert model.evaluate(x, target, loss=loss, metrics=["accuracy"])["accuracy"] == pytest.approx(expected)


def test_evaluate_takes_the_loss_trained_with(backend, rng):
    model = classifier()
    x, y = rows(rng)
    with pytest.raises(ValueError, match=r"Sequential\.evaluate: expected loss=\.\.\., because"):
        model.evaluate(x, y)
    model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1))
    assert model.evaluate(x, y) == model.evaluate(x, y, loss="cross_entropy")


def test_history_is_a_mapping_of_one_number_an_epoch(backend, rng):
    x, y = rows(rng)
    history = classifier().fit(
        x,
        y,
        loss="cross_entropy",
        optimizer=dg.SGD(0.1),
        epochs=3,
        validation_data=(x, y),
        metrics=["accuracy"],
    )
    assert list(history) == ["loss", "seconds", "accuracy", "val_loss", "val_accuracy"]
    assert history.epochs == 3
    assert all(len(values) == 3 and all(type(v) is float for v in values) for values in history.values())
    assert all(0 <= value <= 1 for value in history["accuracy"])
    assert all(value > 0 for value in history["seconds"])
    assert repr(history).startswith("<History of 3 epochs: loss=")
    with pytest.raises(KeyError, match="no 'f1'; recorded were loss, seconds, accuracy, val_loss, val_accuracy"):
        _ = history["f1"]


def test_an_empty_history_has_no_epochs():
    history = dg.History()
    assert history.epochs == len(history) == 0
    with pytest.raises(KeyError, match="no epochs"):
        _ = history["loss"]


# ---- trouble


@pytest.mark.parametrize("lr", [1e3, 1e10, 1e30])
def test_a_diverging_fit_stops_with_finite_parameters(backend, dtype, rng, lr):
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 3))
    model, optimizer = classifier(dtype), dg.SGD(lr)
    with pytest.raises(
        dg.DivergenceError, match=r"expected a finite loss, got (inf|nan) at epoch \d+, step \d+"
    ) as caught:
        model.fit(x, y, loss="mse", optimizer=optimizer, epochs=300, batch_size=4)
    assert np.isfinite(model.parameters).all()
    assert caught.value.step == optimizer.steps  # updates made; the last batch's was not
    assert caught.value.epoch == optimizer.steps // 5
    assert "learning rate" in str(caught.value)
    assert isinstance(caught.value, ArithmeticError)


def test_a_batch_whose_loss_is_not_finite_ends_the_run_before_its_update(backend, dtype, rng):
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 3))
    y[14] = np.sqrt(np.finfo(dtype).max) * 2  # in the fourth batch of 4; its square is infinite
    model, other = classifier(dtype), classifier(dtype)
    optimizer = dg.SGD(0.01)
    with pytest.raises(dg.DivergenceError, match="got inf at epoch 1, step 4") as caught:
        model.fit(x, y, loss="mse", optimizer=optimizer, epochs=2, batch_size=4, shuffle=False)
    other.fit(x[:12], y[:12], loss="mse", optimizer=dg.SGD(0.01), batch_size=4, shuffle=False)
    np.testing.assert_array_equal(model.parameters, other.parameters)
    assert (caught.value.step, caught.value.epoch) == (3, 0)
    assert optimizer.steps == 3


def test_a_batch_whose_loss_is_not_finite_leaves_an_optimizers_state(backend, dtype, rng, make):
    x, y = rng.normal(size=(8, 2)), rng.normal(size=(8, 3))
    model, optimizer = classifier(dtype), make()
    trainer = dg.Trainer(model, "mse", optimizer)
    trainer.step(x, y)
    before = snapshot(model, optimizer)
    y[3] = np.sqrt(np.finfo(dtype).max) * 2
    with pytest.raises(dg.DivergenceError):
        trainer.step(x, y)
    assert snapshot(model, optimizer) == before


@pytest.mark.parametrize("lr", [1e10, 1e30])
def test_a_diverging_step_makes_no_update(backend, dtype, rng, lr):
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 3))
    model, optimizer = classifier(dtype), dg.SGD(lr)
    trainer = dg.Trainer(model, "mse", optimizer)
    made = 0
    before = model.parameters.copy()

    def run():
        nonlocal made, before
        for _ in range(300):
            before = model.parameters.copy()
            trainer.step(x, y)
            made += 1

    with pytest.raises(dg.DivergenceError, match=r"got (inf|nan) at step \d+") as caught:
        run()
    np.testing.assert_array_equal(model.parameters, before)
    assert np.isfinite(before).all()
    assert caught.value.epoch is None
    assert caught.value.step == optimizer.steps == made


def test_a_rate_too_large_for_the_dtype_leaves_finite_parameters(backend, rng):
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 3))
    model = classifier("float32")
    with pytest.raises((ValueError, dg.DivergenceError)):
        model.fit(x, y, loss="mse", optimizer=dg.SGD(1e39), epochs=3)
    assert np.isfinite(model.parameters).all()


def test_a_divergence_error_survives_pickling():
    error = pickle.loads(pickle.dumps(dg.DivergenceError(float("nan"), 3, 0.1, 2)))
    assert (error.step, error.epoch) == (3, 2)
    assert "epoch 3, step 4" in str(error)


def test_training_goes_on_after_a_refused_call(backend, dtype, rng, make):
    x, y = rows(rng)
    model, other = classifier(dtype), classifier(dtype)
    trainer, undisturbed = (dg.Trainer(m, "cross_entropy", make()) for m in (model, other))
    spoilt = x.copy()
    spoilt[11, 1] = np.nan
    for _ in range(3):
        before = snapshot(model, trainer.optimizer)
        with pytest.raises(ValueError, match=r"Trainer\.step: expected finite x, got nan at row 11, column 1"):
            trainer.step(spoilt, y)
        with pytest.raises(ValueError, match=r"Sequential\.fit: expected labels 0 to 2, got 3 at row 0"):
            trainer.fit(x, y + 3)
        assert snapshot(model, trainer.optimizer) == before
        trainer.step(x, y)
        trainer.fit(x, y)
        undisturbed.step(x, y)
        undisturbed.fit(x, y)
    np.testing.assert_array_equal(model.parameters, other.parameters)


@pytest.mark.parametrize("door", ["fit", "step"])
def test_a_refused_first_batch_does_not_bind_the_optimizer(backend, rng, make, door):
    x, y = rows(rng)
    optimizer = make()
    with pytest.raises(ValueError, match="labels"):
        getattr(dg.Trainer(classifier(), "cross_entropy", optimizer), door)(x, y[:5])
    other = dg.Sequential([dg.Dense(3)], input_size=2)
    other.fit(x, y, loss="cross_entropy", optimizer=optimizer)
    assert optimizer.steps == 1


@pytest.mark.parametrize("door", ["fit", "step"])
def test_a_refused_first_batch_leaves_a_model_unbuilt(backend, rng, door):
    x, y = rows(rng)
    model = dg.Sequential([dg.Dense(3)], seed=0)
    trainer = dg.Trainer(model, "cross_entropy", dg.SGD(0.3))
    before = snapshot(model, trainer.optimizer)
    with pytest.raises(ValueError, match="labels"):
        getattr(trainer, door)(x, y[:5])
    with pytest.raises(ValueError, match="finite"):
        getattr(trainer, door)(np.full((5, 7), np.nan), y[:5])
    assert snapshot(model, trainer.optimizer) == before
    getattr(trainer, door)(np.ones((5, 4)), y[:5])
    assert model.input_size == 4


# ---- learning


def held_out_digits():
    """scikit-learn's digits, every fifth held out."""
    x, y = load_digits(return_X_y=True)
    test = np.arange(len(x)) % 5 == 0
    x = x / 16
    return x[~test], y[~test], x[test], y[test]


def test_fit_learns_handwritten_digits(backend, dtype):
    x, y, x_test, y_test = held_out_digits()
    model = dg.Sequential([dg.Dense(64, activation="relu"), dg.Dense(10)], input_size=64, dtype=dtype, seed=0)
    history = model.fit(
        x,
        y,
        loss="cross_entropy",
        optimizer=dg.SGD(0.1),
        epochs=25,
        batch_size=16,
        validation_data=(x_test, y_test),
        metrics=["accuracy"],
    )
    assert history["loss"][-1] < history["loss"][0] / 10
    assert history["val_accuracy"][-1] >= 0.97
    assert (model.predict(x_test).argmax(axis=1) == y_test).mean() == pytest.approx(history["val_accuracy"][-1])


def test_every_optimizer_learns_digits(backend, make):
    x, y, x_test, y_test = held_out_digits()
    model = dg.Sequential([dg.Dense(32, activation="relu"), dg.Dense(10)], input_size=64, seed=0)
    model.fit(x, y, loss="cross_entropy", optimizer=make(), epochs=15, batch_size=16)
    assert (model.predict(x_test).argmax(axis=1) == y_test).mean() >= 0.95


@pytest.mark.parametrize(
    ("activation", "last", "loss"),
    [
        ("sigmoid", "softmax", "cross_entropy"),
        ("tanh", None, "cross_entropy"),
        ("tanh", "sigmoid", "binary_cross_entropy"),
        ("relu", None, "binary_cross_entropy_with_logits"),
        ("relu", "softmax", "mse"),
    ],
)
def test_every_usual_pairing_learns_digits(backend, activation, last, loss):
    x, y, x_test, y_test = held_out_digits()
    model = dg.Sequential([dg.Dense(32, activation=activation), dg.Dense(10, last)], input_size=64, seed=0)
    rate = {"mse": 2.0, "cross_entropy": 0.3}.get(loss, 2.0)
    target = y if loss == "cross_entropy" else np.eye(10)[y]
    history = model.fit(x, target, loss=loss, optimizer=dg.SGD(rate), epochs=15, batch_size=16)
    assert history["loss"][-1] < history["loss"][0] / 3
    assert (model.predict(x_test).argmax(axis=1) == y_test).mean() >= 0.93


def test_fit_learns_a_regression(backend, dtype, rng):
    x = rng.uniform(-1, 1, (400, 3))
    y = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2]
    model = dg.Sequential([dg.Dense(32, activation="tanh"), dg.Dense(1)], input_size=3, dtype=dtype, seed=0)
    model.fit(x, y, loss="mse", optimizer=dg.SGD(0.1), epochs=150, batch_size=16)
    residual = y - model.predict(x)[:, 0]
    assert 1 - residual.var() / y.var() > 0.95


def test_a_short_run_learns_mnist(data_folder):
    digits = dg.data.read_mnist(data_folder / "mnist")
    assert digits["x_train"].shape == (60000, 784)
    assert np.bincount(digits["y_train"]).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    assert np.bincount(digits["y_test"]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    model = dg.Sequential([dg.Dense(32, activation="relu"), dg.Dense(10)], input_size=784, seed=0)
    history = model.fit(
        digits["x_train"],
        digits["y_train"],
        loss="cross_entropy",
        optimizer=dg.SGD(0.3),
        epochs=3,
        batch_size=64,
        validation_data=(digits["x_test"], digits["y_test"]),
        metrics=["accuracy"],
    )
    assert history["val_accuracy"][-1] > 0.95


# ---- micro-batches


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("parts", [[50], [10, 40], [1, 7, 30, 12]])
def test_micro_batches_make_the_step_of_the_large_batch(backend, dtype, weighted, parts, rng):
    x, y = rng.normal(size=(50, 4)).astype(dtype), rng.integers(0, 3, 50)
    weights = rng.uniform(0.1, 3, 50).astype(dtype) if weighted else None
    layers = [dg.Dense(9, "tanh", l2=0.01), dg.LayerNorm(), dg.Dense(3, l1=0.01)]
    model = dg.Sequential(layers, input_size=4, dtype=dtype, seed=0)
    large, small = (dg.Trainer(m, "cross_entropy", dg.Adam(0.05, clip_norm=0.5)) for m in (model, model.copy()))
    for _ in range(3):
        large.step(x, y, weights)
        for rows in np.split(np.arange(50), np.cumsum(parts)[:-1]):
            small.accumulate(x[rows], y[rows], None if weights is None else weights[rows])
        small.apply_gradients()
    tolerance = 2e-4 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(small.model.parameters, large.model.parameters, rtol=tolerance, atol=tolerance)
    assert small.optimizer.steps == 3


def test_a_micro_batch_that_diverges_leaves_what_was_accumulated(backend):
    model = dg.Sequential([dg.Dense(1)], input_size=1, dtype="float64", seed=0)
    trainer = dg.Trainer(model, "mse", dg.SGD(0.1))
    trainer.accumulate([[1.0]], [2.0])
    kept = model.gradients.copy()
    with pytest.raises(dg.DivergenceError):
        trainer.accumulate([[1e200]], [2.0])
    np.testing.assert_array_equal(model.gradients, kept)
    assert trainer.optimizer.steps == 0


def test_an_epoch_of_ones_own_and_its_evaluation_are_those_of_fit(backend, rng):
    x, y = rng.normal(size=(30, 2)), rng.integers(0, 2, 30)
    model = dg.Sequential([dg.Dense(4, "tanh"), dg.Dense(2)], input_size=2, seed=0)
    other = model.copy()
    trainer = dg.Trainer(other, "cross_entropy", dg.SGD(0.1))
    losses = [trainer.run_epoch(x, y, batch_size=7) for _ in range(3)]
    history = model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), batch_size=7, epochs=3)
    assert losses == history["loss"]
    assert trainer.evaluate(x, y, metrics=["accuracy"]) == model.evaluate(x, y, metrics=["accuracy"])
