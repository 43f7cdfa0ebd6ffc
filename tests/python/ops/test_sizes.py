"""Sizes at the edges of what the library takes: right answers, or a clear refusal that changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import densegrad as dg


def reference_step(layers, x, y, lr):
    """One step of SGD on the mean squared error of a ReLU stack, in float64: loss, and each layer's new w and b."""
    inputs, z = [x], []
    for i, (w, b) in enumerate(layers):
        z.append(inputs[-1] @ w + b)
        inputs.append(np.maximum(z[-1], 0) if i + 1 < len(layers) else z[-1])
    d = 2 * (inputs[-1] - y) / y.size
    updated = []
    for i in reversed(range(len(layers))):
        w, b = layers[i]
        updated.append((w - lr * inputs[i].T @ d, b - lr * d.sum(axis=0)))
        if i:
            d = (d @ w.T) * (z[i - 1] > 0)
    return ((inputs[-1] - y) ** 2).mean(), updated[::-1]


def check_step(rng, widths, rows, dtype):
    lr = 0.1
    model = dg.Sequential(
        [*(dg.Dense(units, "relu") for units in widths[1:-1]), dg.Dense(widths[-1])],
        input_size=widths[0],
        dtype=dtype,
        seed=1,
    )
    x, y = rng.normal(size=(rows, widths[0])), rng.normal(size=(rows, widths[-1]))
    x, y = x.astype(dtype).astype("float64"), y.astype(dtype).astype("float64")
    before = [(layer.w.astype("float64"), layer.b.astype("float64")) for layer in model.layers]
    loss, expected = reference_step(before, x, y, lr)
    assert dg.Trainer(model, "mse", dg.SGD(lr)).step(x.astype(dtype), y.astype(dtype)) == pytest.approx(loss, rel=1e-5)
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    for layer, (w, b) in zip(model.layers, expected, strict=True):
        np.testing.assert_allclose(layer.w, w, rtol=0, atol=tolerance * max(1, np.abs(w).max()))
        np.testing.assert_allclose(layer.b, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


@pytest.mark.parametrize("rows", [1, 2, 13, 14, 15, 31, 33, 127, 257])
@pytest.mark.parametrize(
    "widths", [(1, 1), (1, 1, 1), (2, 3, 5, 7), (31, 37, 41), (97, 101, 1), (15, 33, 17, 2)], ids=str
)
def test_primes_and_tile_edges_step_as_their_formulas(backend, dtype, rng, widths, rows):
    check_step(rng, widths, rows, dtype)


@pytest.mark.parametrize("widths", [(20_000, 3, 2), (3, 20_000, 2), (3, 2, 20_000)], ids=str)
def test_layers_of_twenty_thousand_units(backend, dtype, rng, widths):
    check_step(rng, widths, 17, dtype)


def test_a_batch_of_a_million_rows(backend, rng):
    check_step(rng, (3, 5, 2), 1_000_003, "float32")


def test_a_million_rows_are_predicted_and_measured(backend, rng):
    model = dg.Sequential([dg.Dense(5, "tanh"), dg.Dense(2)], input_size=3, seed=0)
    x, labels = rng.normal(size=(1_000_003, 3)).astype("float32"), rng.integers(0, 2, 1_000_003)
    w, b = model.layers[0].w.astype("float64"), model.layers[0].b.astype("float64")
    z = np.tanh(x @ w + b) @ model.layers[1].w.astype("float64") + model.layers[1].b
    np.testing.assert_allclose(model.predict(x), z, rtol=0, atol=2e-6)
    losses = np.logaddexp(z[:, 0], z[:, 1]) - z[np.arange(len(z)), labels]
    assert model.evaluate(x, labels, loss="cross_entropy")["loss"] == pytest.approx(losses.mean(), rel=1e-6)


def test_memory_that_starts_anywhere_and_has_gaps_gives_the_same(backend, dtype, rng):
    model = dg.Sequential([dg.Dense(40, "relu"), dg.Dense(3)], input_size=33, dtype=dtype, seed=0)
    x = rng.normal(size=(50, 33)).astype(dtype)
    expected = model.predict(x)
    for offset in range(1, 20):
        shifted = np.zeros(x.size + 20, dtype)[offset : offset + x.size].reshape(x.shape)
        shifted[...] = x
        np.testing.assert_array_equal(model.predict(shifted), expected)
    wide = np.zeros((100, 99), dtype)
    wide[::2, ::3] = x
    np.testing.assert_array_equal(model.predict(wide[::2, ::3]), expected)
    np.testing.assert_array_equal(model.predict(np.asfortranarray(x)), expected)


@pytest.mark.parametrize("units", [10**7, 2**31, 2**33, 2**62], ids=str)
def test_parameters_that_do_not_fit_in_memory_are_refused_with_their_number(backend, units):
    with pytest.raises(
        MemoryError, match=rf"{units * (2**31 + 1):,} numbers of float32 \(.* GB\) do not fit in memory"
    ):
        dg.Sequential([dg.Dense(units)], input_size=2**31)


def test_a_first_batch_too_wide_for_memory_leaves_the_model_unbuilt(backend):
    model = dg.Sequential([dg.Dense(2**50), dg.Dense(2)], seed=0)
    with pytest.raises(MemoryError, match="do not fit in memory"):
        model.fit(np.ones((4, 3)), [0, 1, 0, 1], loss="cross_entropy", optimizer=dg.SGD(0.1))
    assert model.input_size is None
    with pytest.raises(MemoryError, match="do not fit in memory"):
        model.build(3)


def test_a_batch_too_long_for_memory_leaves_the_model_as_it_was(backend):
    model = dg.Sequential([dg.Dense(10**6)], input_size=1, seed=0)
    before = model.parameters.copy()
    endless = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (10**7, 1), (0, 0))
    with pytest.raises(MemoryError):
        model.predict(endless)
    np.testing.assert_array_equal(model.parameters, before)
