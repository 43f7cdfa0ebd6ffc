"""What users hand in: every honest form of the same numbers is taken, and gives the same bits."""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import densegrad as dg


def model_for(outputs=3, dtype="float32"):
    """2 features, 4 hidden units."""
    return dg.Sequential([dg.Dense(4, activation="tanh"), dg.Dense(outputs)], input_size=2, dtype=dtype, seed=0)


X, Y = np.linspace(-1, 1, 10).reshape(5, 2), np.array([0, 1, 2, 0, 1])
BITS = np.random.default_rng(5).integers(0, 2, (12, 2))  # 0 and 1: every dtype holds them exactly
CLASSES = np.random.default_rng(6).integers(0, 3, 12)


class HasArray:
    """An array by protocol alone."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


def strided(values):
    """The same values in every second row of every third column."""
    wide = np.full((2 * values.shape[0], *(3 * n for n in values.shape[1:])), 99, values.dtype)
    part = wide[::2] if values.ndim == 1 else wide[::2, ::3]
    part[...] = values
    return part


@dataclass
class Form:
    """A way to hand in an array of numbers."""

    name: str
    make: Callable[[Any], Any]


FORMS = [
    *(
        Form(code, lambda a, code=code: a.astype(code))
        for code in ("f2", "f4", "f8", "g", "i1", "u1", "i4", "i8", "u8")
    ),
    *(Form(code, lambda a, code=code: a.astype(code)) for code in (">f4", ">f8", ">i2", "<f4")),
    Form("Fortran order", lambda a: np.asfortranarray(a, "f4")),
    Form("strided", lambda a: strided(a.astype("f4"))),
    Form("strided float64", lambda a: strided(a.astype("f8"))),
    Form("reversed", lambda a: a[::-1].astype("f4")[::-1]),
    Form("transposed", lambda a: np.ascontiguousarray(a.T, "f4").T),
    Form("read-only", lambda a: read_only(a.astype("f4"))),
    Form(
        "misaligned",
        lambda a: np.frombuffer(b"\0" + a.astype("f4").tobytes(), "f4", offset=1).reshape(a.shape),
    ),
    Form("broadcast", lambda a: np.broadcast_to(a.astype("f4"), a.shape)),
    Form("list", lambda a: a.tolist()),
    Form("tuple", lambda a: tuple(map(tuple, a.tolist())) if a.ndim == 2 else tuple(a.tolist())),
    Form("list of arrays", list),
    Form("unmasked", lambda a: np.ma.masked_array(a, mask=False)),
    Form("memoryview", lambda a: memoryview(a.astype("f8"))),
    Form("protocol", HasArray),
    Form("pandas", lambda a: pd.DataFrame(a) if a.ndim == 2 else pd.Series(a)),
    Form("polars", lambda a: pl.DataFrame(a) if a.ndim == 2 else pl.Series(a)),
    Form("pandas float32", lambda a: (pd.DataFrame(a) if a.ndim == 2 else pd.Series(a)).astype("float32")),
    Form(
        "pandas reindexed",
        lambda a: (pd.DataFrame if a.ndim == 2 else pd.Series)(a, index=range(50, 50 + len(a))),
    ),
]
BOOLEAN = [Form("bool", lambda a: a.astype(bool)), Form("list of bool", lambda a: a.astype(bool).tolist())]


def use(x, y, weights, dtype):
    """Every number that comes out of the doors for these arguments."""
    model = model_for(dtype=dtype)
    out = [model.predict(x).copy()]
    out += [model.evaluate(x, y, loss="cross_entropy", sample_weight=weights)["loss"]]
    trainer = dg.Trainer(model, "cross_entropy", dg.SGD(0.3))
    out += [trainer.step(x, y, weights), model.parameters.copy()]
    trainer.fit(x, y, batch_size=5, epochs=2, sample_weight=weights, validation_data=(x, y, weights))
    out += [model.parameters.copy(), model.trace(x, y, "cross_entropy").loss, model.forward(x)]
    return out


def assert_same(got, expected):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("form", [*FORMS, *BOOLEAN], ids=lambda form: form.name)
def test_every_honest_form_of_x_gives_the_same_bits(backend, dtype, form):
    weights = 1 + BITS[:, 0]
    expected = use(BITS.astype(dtype), CLASSES, weights.astype(dtype), dtype)
    assert_same(use(form.make(BITS), CLASSES, weights, dtype), expected)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_honest_form_of_labels_and_weights_gives_the_same_bits(backend, dtype, form):
    x, weights = BITS.astype(dtype), 1 + BITS[:, 0]
    expected = use(x, CLASSES, weights.astype(dtype), dtype)
    assert_same(use(x, form.make(CLASSES), form.make(weights), dtype), expected)
    assert_same(use(x, np.asarray(CLASSES)[:, None], weights, dtype), expected)


@pytest.mark.parametrize("form", [*FORMS, *BOOLEAN], ids=lambda form: form.name)
def test_every_honest_form_of_one_hot_rows_gives_the_same_bits(backend, dtype, form):
    one_hot = np.eye(3, dtype=int)[CLASSES]
    expected = use(BITS.astype(dtype), one_hot.astype(dtype), None, dtype)
    assert_same(use(BITS, form.make(one_hot), None, dtype), expected)


def test_array_of_the_standard_library_and_boolean_labels_are_taken(backend):
    model = model_for(outputs=2)
    flags = np.array([True, False, True, False, True])
    expected = model.evaluate(X, flags.astype(int), loss="cross_entropy")
    assert model.evaluate(X, flags, loss="cross_entropy") == expected
    assert model.evaluate(X, array.array("b", flags.tolist()), loss="cross_entropy") == expected


def test_a_frame_of_numbers_and_booleans_is_taken(backend, dtype):
    frame = pd.DataFrame({"a": [0.5, 1.5, -1.0], "b": [True, False, True]})
    expected = model_for(dtype=dtype).predict([[0.5, 1], [1.5, 0], [-1, 1]])
    np.testing.assert_array_equal(model_for(dtype=dtype).predict(frame), expected)


def test_one_output_takes_flat_targets_and_columns_alike(backend, dtype):
    y = np.linspace(-1, 1, 5)
    results = []
    for target in (y, y[:, None], y.tolist(), pd.Series(y), pd.DataFrame(y)):
        model = model_for(outputs=1, dtype=dtype)
        model.fit(X, target, loss="mse", optimizer=dg.SGD(0.1), batch_size=2)
        results.append(model.parameters.tobytes())
    assert len(set(results)) == 1


def test_what_is_already_right_is_used_without_a_copy(backend, dtype):
    x = X.astype(dtype)
    trace = model_for(dtype=dtype).trace(x, Y, "cross_entropy")
    assert np.shares_memory(trace.layers[0].x, x)


def test_the_callers_arrays_are_never_written(backend, dtype):
    x, y, weights = (
        np.linspace(-1, 1, 24).reshape(12, 2).astype(dtype),
        CLASSES.copy(),
        np.linspace(1, 2, 12).astype(dtype),
    )
    one_hot, dy = np.eye(3, dtype=dtype)[CLASSES], np.ones((12, 3), dtype)
    given = [x, y, weights, one_hot, dy]
    before = [a.tobytes() for a in given]
    for target in (y, one_hot):
        model = model_for(dtype=dtype)
        trainer = dg.Trainer(model, "cross_entropy", dg.SGD(0.3))
        trainer.step(x, target, weights)
        trainer.fit(x, target, sample_weight=weights, validation_data=(x, target, weights), metrics=["accuracy"])
        model.predict(x)
        model.predict_proba(x)
        model.evaluate(x, target, sample_weight=weights, metrics=["accuracy"])
        model.forward(x)
        model.backward(dy)
        model.trace(x, target, "cross_entropy")
        dg.check_gradients(model, x, target, "cross_entropy")
        dg.ops.loss("cross_entropy", dy, target, weights)
    assert [a.tobytes() for a in given] == before


def test_numpy_numbers_serve_as_counts_and_rates(backend):
    layer = dg.Dense(np.int64(3))
    model = dg.Sequential([layer], input_size=np.uint8(2), dtype=np.float32, seed=np.int32(0))
    assert repr(model) == "Sequential([Dense(3)], input_size=2, seed=0)"
    assert repr(dg.SGD(np.float64(0.5))) == "SGD(0.5)"
    assert dg.SGD(np.float32(0.5)).lr == dg.SGD(np.array(0.5)).lr == 0.5
    model.fit(X, Y, loss="cross_entropy", optimizer=dg.SGD(1), epochs=np.int8(1), batch_size=np.int64(2))
