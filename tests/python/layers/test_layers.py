"""Layers beside the dense one, through models: what they compute, learn and keep, on both backends."""

from __future__ import annotations

import numpy as np
import pytest

import densegrad as dg


def stack(width):
    """Every layer, with rows and columns that fill no vector."""
    return [
        dg.Standardize(),
        dg.Dense(width, "tanh"),
        dg.BatchNorm(),
        dg.Dropout(0.3),
        dg.Residual([dg.Dense(width + 3), dg.PReLU(), dg.LayerNorm(), dg.Dropout(0.2), dg.Dense(width)]),
        dg.Residual([dg.LayerNorm(), dg.LearnedSwish(shared=False)]),
        dg.PReLU(shared=False),
        dg.Dense(3),
    ]


def table(rng, rows, columns=5):
    x = rng.normal(3, 2, (rows, columns))
    return x, rng.integers(0, 3, rows)


SINGLE = {
    "batch_norm": lambda: [dg.Dense(7, use_bias=False), dg.BatchNorm(), dg.Dense(3)],
    "layer_norm": lambda: [dg.Dense(37), dg.LayerNorm(), dg.Dense(3)],
    "dropout": lambda: [dg.Dropout(0.4), dg.Dense(7, "tanh"), dg.Dropout(0.5), dg.Dense(3)],
    "standardize": lambda: [dg.Standardize(), dg.Dense(3)],
    "standardize behind": lambda: [dg.Dense(4), dg.Standardize(), dg.Dense(3)],
    "prelu": lambda: [dg.Dense(7), dg.PReLU(), dg.Dense(3)],
    "prelu for each": lambda: [dg.PReLU(shared=False), dg.Dense(33), dg.PReLU(shared=False), dg.Dense(3)],
    "learned_swish": lambda: [dg.Dense(7), dg.LearnedSwish(0.5), dg.Dense(3)],
    "learned_swish for each": lambda: [dg.Dense(34), dg.LearnedSwish(shared=False), dg.Dense(3)],
    "residual": lambda: [dg.Residual([dg.Dense(5, "tanh")]), dg.Dense(3)],
    "residual of activations": lambda: [dg.Dense(6), dg.Residual([dg.PReLU()]), dg.Dense(3, "tanh")],
    "residual in residual": lambda: [dg.Residual([dg.Residual([dg.Dense(5, "tanh")]), dg.Dense(5)]), dg.Dense(3)],
    "residual last": lambda: [dg.Dense(3, "tanh"), dg.Residual([dg.Dense(8, "tanh"), dg.Dense(3)])],
    "norm last": lambda: [dg.Dense(3), dg.LayerNorm()],
    "all": lambda: stack(34),
}


# the variance of one row is 0, and the gradient through that of two is nothing but rounding
FEW = [(name, rows) for name in SINGLE for rows in (1, 2, 9, 40) if rows > 2 or name not in {"batch_norm", "all"}]
FEW.remove(("all", 40))  # thousands of parameters


@pytest.mark.parametrize(("name", "rows"), FEW)
def test_gradients_are_those_of_central_differences(backend, rng, name, rows):
    x, y = table(rng, rows)
    model = dg.Sequential(SINGLE[name](), input_size=5, seed=3, dtype="float64")
    for slot in model.slots():
        model.view(slot)[...] += 0.3 * rng.uniform(0, 1, slot.shape)  # no gamma of 1, no beta of 0
    assert dg.check_gradients(model, x / 3, y, "cross_entropy").largest < 1e-7


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("optimizer", [dg.SGD, dg.Adam])
def test_both_backends_train_alike(rng, name, optimizer, dtype):
    if len(dg.available_backends()) < 2:
        pytest.skip("the core is not installed")
    x, y = table(rng, 100)
    models = {}
    for backend in dg.available_backends():
        with dg.use_backend(backend):
            model = dg.Sequential(SINGLE[name](), input_size=5, seed=3, dtype=dtype)
            history = model.fit(
                x, y, loss="cross_entropy", optimizer=optimizer(0.05), epochs=3, batch_size=33, validation_data=(x, y)
            )
            models[backend] = model, history
    (one, first), (other, second) = models.values()
    close = {"rtol": 2e-3, "atol": 2e-4} if dtype == "float32" else {"rtol": 1e-8, "atol": 1e-9}
    np.testing.assert_allclose(one.parameters, other.parameters, **close)
    np.testing.assert_allclose(first["loss"], second["loss"], **close)
    np.testing.assert_allclose(first["val_loss"], second["val_loss"], **close)


def test_dropout_keeps_its_share_and_the_mean(backend):
    model = dg.Sequential([dg.Dropout(0.3)], input_size=1000, seed=5)
    x = np.ones((500, 1000), "float32")
    y = model.forward(x)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((y == 0).mean() - 0.3) < 5 * (0.21 / y.size) ** 0.5
    assert np.abs((y == 0).mean(axis=0) - 0.3).max() < 5.5 * (0.21 / 500) ** 0.5
    assert not np.array_equal(model.forward(x), y), "each step has a mask of its own"
    np.testing.assert_array_equal(model.predict(x), x)
    dx = model.backward(x)
    np.testing.assert_array_equal(dx == 0, model_mask(model, 1))


def model_mask(model, step):
    """What a model of one Dropout drops at a step, by NumPy's own generator."""
    (node,) = model.lower().nodes
    bits = np.random.Philox(key=[model.noise_seed, 0], counter=[0, step, 0, 0]).random_raw(500 * 500)
    return bits.astype("<u8").view("<u4").reshape(500, 1000) < int(node.attributes["rate"] * 2**32)


def test_masks_are_the_same_on_both_backends_and_differ_between_layers_and_seeds(dtype):
    masks = []
    for backend in dg.available_backends():
        with dg.use_backend(backend):
            model = dg.Sequential([dg.Dropout(0.5), dg.Dropout(0.5)], input_size=45, seed=1, dtype=dtype)
            masks += [model.forward(np.ones((37, 45))) != 0 for _ in range(2)]
    np.testing.assert_array_equal(masks[:2], masks[-2:])
    assert 0.15 < masks[0].mean() < 0.35, "two independent layers keep a quarter"
    assert not np.array_equal(masks[0], masks[1])
    other = dg.Sequential([dg.Dropout(0.5), dg.Dropout(0.5)], input_size=45, seed=2, dtype=dtype)
    assert not np.array_equal(other.forward(np.ones((37, 45))) != 0, masks[0])


def test_batch_norm_predicts_by_moving_averages_that_updates_move(backend, rng, dtype):
    model = dg.Sequential([dg.BatchNorm(momentum=0.25)], input_size=3, dtype=dtype)
    layer = model.layers[0]
    x = rng.normal(4, 3, (50, 3)).astype(dtype)
    np.testing.assert_allclose(model.predict(x), x / np.sqrt(1 + 1e-5), rtol=1e-5)
    dg.Trainer(model, "mse", dg.SGD(1e-30)).step(x, np.zeros((50, 3)))
    np.testing.assert_allclose(layer.mean, 0.25 * x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(layer.variance, 0.75 + 0.25 * x.var(axis=0, ddof=1), rtol=1e-5)
    before = model.parameters.copy()
    model.predict(x)
    model.evaluate(x, x)
    model.forward(x)
    np.testing.assert_array_equal(model.parameters, before)
    layer.trainable = False
    dg.Trainer(model, "mse", dg.SGD(0.1)).step(x, x)
    np.testing.assert_array_equal(model.parameters, before)


def test_standardize_adapts_to_the_first_fit_alone(backend, rng, dtype):
    x, y = table(rng, 200)
    x[:, 2] = 7  # a constant feature stays
    model = dg.Sequential([dg.Standardize(), dg.Dense(3)], dtype=dtype)
    fit = {"loss": "cross_entropy", "optimizer": dg.SGD(0.1)}
    model.fit(x, y, **fit)
    mean, scale = model.layers[0].mean.copy(), model.layers[0].scale.copy()
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(1 / scale, np.where(x.std(axis=0) > 0, x.std(axis=0), 1), rtol=1e-5)
    model.fit(x * 100, y, **fit)
    np.testing.assert_array_equal(model.layers[0].mean, mean)
    assert model.layers[0].fitted


def test_a_frozen_layer_stays_while_the_others_learn(backend, rng):
    x, y = table(rng, 64)
    model = dg.Sequential(stack(12), input_size=5, seed=0)
    model.layers[2].trainable = model.layers[4].trainable = model.layers[6].trainable = False
    before = {slot.name: model.view(slot).copy() for slot in model.slots()}
    model.fit(x, y, loss="cross_entropy", optimizer=dg.Adam(0.01))
    moved = {name for name, old in before.items() if not np.array_equal(old, view_of(model, name))}
    assert {name.split(".")[1] for name in moved} == {"0", "1", "5", "7"}


def view_of(model, name):
    return next(model.view(slot) for slot in model.slots() if slot.name == name)


def test_a_model_of_every_layer_is_saved_loaded_copied_and_goes_on_alike(backend, rng, tmp_path, dtype):
    x, y = table(rng, 64)
    model = dg.Sequential(stack(12), seed=0, dtype=dtype)
    model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), epochs=2)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded, copied = dg.load(path), model.copy()
    assert repr(loaded) == repr(model) == repr(copied)
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    np.testing.assert_array_equal(copied.predict(x), model.predict(x))
    for one in (loaded, copied, model):
        one.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), shuffle=False)
    np.testing.assert_array_equal(loaded.parameters, model.parameters)
    np.testing.assert_array_equal(copied.parameters, model.parameters)


def test_a_batch_of_one_row_leaves_batch_norm_its_beta(backend):
    model = dg.Sequential([dg.BatchNorm()], input_size=2, dtype="float64")
    model.layers[0].beta[...] = 1.5, -2
    np.testing.assert_array_equal(model.forward([[3.0, 4.0]]), [[1.5, -2]])
    np.testing.assert_array_equal(model.backward([[1.0, 1.0]]), [[0, 0]])
    assert np.isfinite(model.parameters).all()


def test_a_summary_shows_the_layers_within_a_residual(backend):
    text = str(dg.Sequential(stack(12), input_size=5).summary())
    assert "  PReLU()" in text
    assert "Residual: x + f(x), f:" in text
    for layer in ("Standardize()", "BatchNorm()", "Dropout(0.3)", "LearnedSwish(shared=False)"):
        assert layer in text


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dg.Dropout(1), ValueError, r"^Dropout: expected a finite rate >= 0 and < 1, got 1$"),
        (lambda: dg.Dropout("half"), TypeError, r"^Dropout: expected rate as a number"),
        (lambda: dg.BatchNorm(eps=-1), ValueError, r"^BatchNorm: expected a finite eps >= 0, got -1$"),
        (lambda: dg.BatchNorm(momentum=2), ValueError, r"^BatchNorm: expected a finite momentum >= 0 and <= 1, got 2$"),
        (lambda: dg.LayerNorm(eps=np.nan), ValueError, r"^LayerNorm: expected a finite eps >= 0, got nan$"),
        (lambda: dg.PReLU(initial=np.inf), ValueError, r"^PReLU: expected a finite initial"),
        (lambda: dg.PReLU(shared=1), TypeError, r"^PReLU: expected shared as True or False"),
        (lambda: dg.Residual(dg.Dense(3)), TypeError, r"^Residual: expected layers as a list"),
        (lambda: dg.Residual([]), ValueError, r"^Residual: expected at least 1 layer, got 0$"),
        (lambda: dg.Residual([3]), TypeError, r"^Residual: expected layers such as dg.Dense\(10\), got 3$"),
        (
            lambda: dg.Sequential([dg.Residual([dg.Dense(4)])], input_size=3),
            ValueError,
            r"^Residual: expected layers that keep the width 3, got 4 outputs$",
        ),
    ],
)
def test_what_makes_no_layer_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_layer_joins_one_place_alone():
    layer = dg.Dense(3)
    with pytest.raises(ValueError, match="expected each layer once, got one twice"):
        dg.Sequential([layer, dg.Residual([layer])], input_size=3)
    dg.Sequential([dg.Residual([layer])], input_size=3)
    with pytest.raises(ValueError, match="expected a layer that belongs to no model yet"):
        dg.Sequential([dg.Residual([layer])], input_size=3)


def test_penalties_are_part_of_the_training_loss_and_its_gradients(backend, rng):
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 2))
    layers = [dg.Dense(5, "tanh", l1=0.02), dg.Dense(6, "tanh"), dg.Dense(2, l1=0.01, l2=0.3)]
    model = dg.Sequential(layers, input_size=4, seed=0, dtype="float64")
    assert dg.check_gradients(model, x, y, "mse").largest < 1e-7
    plain = dg.Sequential([dg.Dense(5, "tanh"), dg.Dense(6, "tanh"), dg.Dense(2)], input_size=4, dtype="float64")
    plain.parameters[...] = model.parameters
    first, _, last = (layer.w.copy() for layer in model.layers)
    more = 0.02 * abs(first).sum() + 0.01 * abs(last).sum() + 0.15 * (last**2).sum()
    data_loss = plain.evaluate(x, y, loss="mse")["loss"]
    assert model.evaluate(x, y, loss="mse")["loss"] == pytest.approx(data_loss, rel=1e-12)
    assert dg.Trainer(model, "mse", dg.SGD(0.5)).step(x, y) == pytest.approx(data_loss + more, rel=1e-12)
    dg.Trainer(plain, "mse", dg.SGD(0.5)).step(x, y)
    moved = [ours.w - theirs.w for ours, theirs in zip(model.layers, plain.layers, strict=True)]
    np.testing.assert_allclose(moved[0], -0.5 * 0.02 * np.sign(first), rtol=1e-9)
    np.testing.assert_allclose(moved[1], 0, atol=1e-15)
    np.testing.assert_allclose(moved[2], -0.5 * (0.01 * np.sign(last) + 0.3 * last), rtol=1e-9)
