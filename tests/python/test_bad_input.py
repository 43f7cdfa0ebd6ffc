"""What users hand in: every mistake refused in plain words with the model left alone, every honest form taken."""

from __future__ import annotations

import array
import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import densegrad as dg

NAN, INF = float("nan"), float("inf")


def model_for(loss="cross_entropy", outputs=3, dtype="float32"):
    """2 features, 4 hidden units."""
    return dg.Sequential(
        [dg.Dense(4, activation="tanh"), dg.Dense(outputs)], input_size=2, dtype=dtype, seed=0
    )


def state(model):
    """Everything a refused call must leave alone."""
    return (
        model.parameters.tobytes(),
        model.loss,
        str(model.generator.bit_generator.state),
        model.gradients.tobytes(),
    )


def refuses(model, error, message, call):
    """``call`` raises just this, and the model stays as it was."""
    before = state(model)
    with warnings.catch_warnings(), pytest.raises(error, match=message) as caught:
        warnings.simplefilter("error")
        call()
    assert type(caught.value) is error
    assert "\n" not in str(caught.value), "a message is one line"
    assert len(str(caught.value)) < 300
    assert state(model) == before


def x_of(rows=5):
    return np.linspace(-1, 1, 2 * rows).reshape(rows, 2)


LABELS = np.array([0, 1, 2, 0, 1])

# ---- x

X_DOORS = {  # name in messages: the call
    "Sequential.fit": lambda model, x: model.fit(x, LABELS, loss="cross_entropy", optimizer=dg.SGD(0.1)),
    "Trainer.step": lambda model, x: dg.Trainer(model, "cross_entropy", dg.SGD(0.1)).step(x, LABELS),
    "Sequential.predict": lambda model, x: model.predict(x),
    "Sequential.predict_proba": lambda model, x: model.predict_proba(x),
    "Sequential.forward": lambda model, x: model.forward(x),
    "Sequential.evaluate": lambda model, x: model.evaluate(x, LABELS, loss="cross_entropy"),
    "Sequential.trace": lambda model, x: model.trace(x, LABELS, "cross_entropy"),
    "check_gradients": lambda model, x: dg.check_gradients(model, x, LABELS, "cross_entropy"),
    r"Sequential.fit(validation_data)": lambda model, x: model.fit(
        x_of(), LABELS, loss="cross_entropy", optimizer=dg.SGD(0.1), validation_data=(x, LABELS)
    ),
}


def with_value(value, row=3, column=1):
    x = x_of()
    x[row, column] = value
    return x


BAD_X = [
    # shapes
    (np.zeros((5, 3)), ValueError, r"expected x of shape \(batch, 2\), got \(5, 3\)$"),
    (np.zeros((5, 1)), ValueError, r"expected x of shape \(batch, 2\), got \(5, 1\)$"),
    (
        np.zeros(2),
        ValueError,
        r"expected x of shape \(batch, 2\), got \(2,\); for one row write x\[None, :\]$",
    ),
    (np.zeros(5), ValueError, r"expected x of shape \(batch, 2\), got \(5,\)$"),
    (np.zeros((5, 2, 1)), ValueError, r"expected x of shape \(batch, 2\), got \(5, 2, 1\)$"),
    (1.5, ValueError, r"expected x of shape \(batch, 2\), got \(\)$"),
    ([], ValueError, r"expected x of shape \(batch, 2\), got \(0,\)$"),
    ([[1.0, 2.0], [3.0]], ValueError, r"expected x as an array of numbers, got list"),
    # types
    (x_of().astype(complex), TypeError, r"expected x of real numbers, got dtype complex128"),
    ([["a", "b"]] * 5, TypeError, r"expected x of real numbers, got dtype <U1"),
    ([[b"1", b"2"]] * 5, TypeError, r"expected x of real numbers, got dtype .S1"),
    (x_of().astype(object), TypeError, r"expected x of real numbers, got dtype object"),
    ([[1, 2**70]] * 5, TypeError, r"expected x of real numbers, got dtype object"),
    (x_of().astype("M8[s]"), TypeError, r"expected x of real numbers, got dtype datetime64"),
    (x_of().astype("m8[s]"), TypeError, r"expected x of real numbers, got dtype timedelta64"),
    (np.zeros(5, [("a", "f4"), ("b", "f4")]), TypeError, r"expected x of real numbers, got dtype \[\("),
    (None, TypeError, r"expected x of real numbers, got .*NoneType"),
    ("numbers", TypeError, r"expected x of real numbers, got .*str 'numbers'"),
    ({"a": 1}, TypeError, r"expected x of real numbers, got .*dict"),
    ((i for i in range(5)), TypeError, r"expected x of real numbers, got .*generator"),
    (
        pd.DataFrame({"a": ["x"] * 5, "b": [1.0] * 5}),
        TypeError,
        r"expected x of real numbers, got .*DataFrame",
    ),
    (
        sparse.csr_matrix(x_of()),
        TypeError,
        r"expected x as a dense array, got csr_matrix; call \.toarray\(\)$",
    ),
    (sparse.coo_array(x_of()), TypeError, r"expected x as a dense array, got coo_array; call \.toarray\(\)$"),
    # values
    (with_value(NAN), ValueError, r"expected finite x, got nan at row 3, column 1$"),
    (with_value(INF), ValueError, r"expected finite x, got inf at row 3, column 1$"),
    (with_value(-INF, 0, 0), ValueError, r"expected finite x, got -inf at row 0, column 0$"),
    (with_value(NAN).astype("float32"), ValueError, r"expected finite x, got nan at row 3, column 1$"),
    (with_value(INF).astype("float16"), ValueError, r"expected finite x, got inf at row 3, column 1$"),
    (with_value(NAN).tolist(), ValueError, r"expected finite x, got nan at row 3, column 1$"),
    (pd.DataFrame(with_value(NAN)), ValueError, r"expected finite x, got nan at row 3, column 1$"),
    (with_value(1e39), ValueError, r"got 1e\+39 at row 3, column 1, too large for float32$"),
    (np.ma.masked_less(x_of(), -0.5), ValueError, r"expected x without masked values, got 3 of 10 masked$"),
]


@pytest.mark.parametrize(
    ("x", "error", "message"), BAD_X, ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("door", X_DOORS)
def test_a_wrong_x_is_refused_at_every_door(backend, door, x, error, message):
    model = model_for()
    refuses(model, error, f"^{re.escape(door)}: {message}", lambda: X_DOORS[door](model, x))


def test_numbers_too_large_for_float32_suit_a_float64_model(backend):
    assert np.isfinite(model_for(dtype="float64").predict(with_value(1e39))).all()


@pytest.mark.parametrize("door", [door for door in X_DOORS if "predict" not in door])
def test_an_empty_batch_is_refused_where_something_is_learnt_or_measured(backend, door):
    model = model_for()
    refuses(
        model,
        ValueError,
        f"^{re.escape(door)}: expected x with at least 1 row, got 0$",
        lambda: X_DOORS[door](model, np.empty((0, 2))),
    )


def test_one_feature_given_as_a_flat_array_gets_a_hint(backend):
    model = dg.Sequential([dg.Dense(1)], input_size=1)
    refuses(
        model,
        ValueError,
        r"got \(7,\); for one feature write x\[:, None\]",
        lambda: model.predict(np.zeros(7)),
    )


def test_what_is_not_finite_is_found_wherever_it_lies(backend, dtype):
    model = model_for(dtype=dtype)
    for rows, row, column in [(1, 0, 1), (1000, 0, 0), (1000, 517, 1), (1000, 999, 1)]:
        x = np.zeros((rows, 2), dtype)
        x[row, column] = INF
        refuses(model, ValueError, f"got inf at row {row}, column {column}$", lambda x=x: model.predict(x))
    both = np.zeros((4, 2), dtype)
    both[1], both[2] = INF, -INF  # their sum is NaN, not 0
    refuses(model, ValueError, "got inf at row 1, column 0$", lambda: model.predict(both))


def test_huge_finite_numbers_whose_sum_overflows_are_taken(backend, dtype):
    x = np.full((6, 2), np.finfo(dtype).max / 4, dtype)
    assert model_for(dtype=dtype).predict(x).shape == (6, 3)


# ---- y

Y_DOORS = {
    "Sequential.fit": lambda model, loss, y: model.fit(x_of(), y, loss=loss, optimizer=dg.SGD(0.1)),
    "Trainer.step": lambda model, loss, y: dg.Trainer(model, loss, dg.SGD(0.1)).step(x_of(), y),
    "Sequential.evaluate": lambda model, loss, y: model.evaluate(x_of(), y, loss=loss),
    "Sequential.trace": lambda model, loss, y: model.trace(x_of(), y, loss),
    "check_gradients": lambda model, loss, y: dg.check_gradients(model, x_of(), y, loss),
    "Sequential.fit(validation_data)": lambda model, loss, y: model.fit(
        x_of(), GOOD_Y[loss], loss=loss, optimizer=dg.SGD(0.1), validation_data=(x_of(), y)
    ),
    "loss": lambda model, loss, y: dg.ops.loss(loss, np.full((5, 3), 0.25), y),
}
SOFT = np.full((5, 3), 0.25) + 0.25 * np.eye(3)[LABELS]
GOOD_Y = {
    "cross_entropy": LABELS,
    "mse": SOFT,
    "half_squared_error": SOFT,
    "binary_cross_entropy_with_logits": SOFT,
}


def soft(value, row=2, column=1):
    y = SOFT.copy()
    y[row, column] = value
    return y


BAD_Y = [
    # labels
    ("cross_entropy", [0, 1, 2, 3, 0], ValueError, r"expected labels 0 to 2, got 3 at row 3$"),
    ("cross_entropy", [0, 1, -1, 2, 0], ValueError, r"expected labels 0 to 2, got -1 at row 2$"),
    ("cross_entropy", [0, 1, 1.5, 2, 0], ValueError, r"expected labels 0 to 2, got 1\.5 at row 2$"),
    ("cross_entropy", [0, NAN, 1, 2, 0], ValueError, r"expected labels 0 to 2, got nan at row 1$"),
    ("cross_entropy", [0, INF, 1, 2, 0], ValueError, r"expected labels 0 to 2, got inf at row 1$"),
    (
        "cross_entropy",
        np.array([2**63] * 5, "u8"),
        ValueError,
        r"expected labels 0 to 2, got 9223372036854775808 at",
    ),
    ("cross_entropy", [0, 1, 2], ValueError, r"expected y with 5 labels, as many as x has rows, got 3$"),
    ("cross_entropy", [], ValueError, r"expected y with 5 labels, as many as x has rows, got 0$"),
    ("cross_entropy", list("abcab"), TypeError, r"expected y of real numbers, got dtype <U1"),
    ("cross_entropy", LABELS.astype(object), TypeError, r"expected y of real numbers, got dtype object"),
    ("cross_entropy", LABELS.astype(complex), TypeError, r"expected y of real numbers, got dtype complex128"),
    ("cross_entropy", None, TypeError, r"expected y of real numbers, got .*NoneType"),
    (
        "cross_entropy",
        sparse.csr_matrix(np.eye(3)[LABELS]),
        TypeError,
        r"expected y as a dense array, got csr_matrix",
    ),
    (
        "cross_entropy",
        np.ma.masked_equal(LABELS, 2),
        ValueError,
        r"expected y without masked values, got 1 of 5",
    ),
    # rows of probabilities
    (
        "cross_entropy",
        np.eye(4)[LABELS],
        ValueError,
        r"expected y of shape \(5, 3\) or \(5,\), got \(5, 4\)$",
    ),
    ("cross_entropy", SOFT[:4], ValueError, r"expected y of shape \(5, 3\) or \(5,\), got \(4, 3\)$"),
    ("cross_entropy", soft(-0.25), ValueError, r"expected y between 0 and 1, got -0\.25 at row 2$"),
    ("cross_entropy", soft(1.5), ValueError, r"expected y between 0 and 1, got 1\.5 at row 2$"),
    ("cross_entropy", soft(0.75), ValueError, r"expected rows of y that sum to 1, got 1\.5 at row 2$"),
    ("cross_entropy", soft(0.0, 4), ValueError, r"expected rows of y that sum to 1, got 0\.5 at row 4$"),
    ("cross_entropy", soft(NAN), ValueError, r"expected finite y, got nan at row 2, column 1$"),
    # probabilities
    (
        "binary_cross_entropy_with_logits",
        soft(1.01),
        ValueError,
        r"expected y between 0 and 1, got 1\.01 at row 2$",
    ),
    (
        "binary_cross_entropy_with_logits",
        soft(-1),
        ValueError,
        r"expected y between 0 and 1, got -1 at row 2$",
    ),
    ("binary_cross_entropy_with_logits", LABELS, ValueError, r"expected y of shape \(5, 3\), got \(5,\)$"),
    # values
    ("mse", SOFT[:, :2], ValueError, r"expected y of shape \(5, 3\), got \(5, 2\)$"),
    ("mse", SOFT[:4], ValueError, r"expected y of shape \(5, 3\), got \(4, 3\)$"),
    ("mse", SOFT.T, ValueError, r"expected y of shape \(5, 3\), got \(3, 5\)$"),
    ("mse", LABELS, ValueError, r"expected y of shape \(5, 3\), got \(5,\)$"),
    ("mse", 1.0, ValueError, r"expected y of shape \(5, 3\), got \(\)$"),
    ("mse", soft(INF), ValueError, r"expected finite y, got inf at row 2, column 1$"),
    ("mse", [[1.0, 2.0, 3.0], [1.0]], ValueError, r"expected y as an array of numbers, got list"),
    ("half_squared_error", soft(NAN, 0, 0), ValueError, r"expected finite y, got nan at row 0, column 0$"),
]


@pytest.mark.parametrize("case", BAD_Y, ids=lambda case: f"{case[0]}: {case[3]}")
@pytest.mark.parametrize("door", Y_DOORS)
def test_a_wrong_y_is_refused_at_every_door(backend, door, case):
    loss, y, error, message = case
    model = model_for()
    refuses(model, error, f"^{re.escape(door)}: {message}", lambda: Y_DOORS[door](model, loss, y))


@pytest.mark.parametrize("door", Y_DOORS)
def test_a_y_too_large_for_float32_is_refused(backend, door):
    model = model_for()
    call = Y_DOORS[door] if door != "loss" else None
    if call is None:
        prediction = np.zeros((5, 3), "float32")
        refuses(
            model, ValueError, "too large for float32", lambda: dg.ops.loss("mse", prediction, soft(1e39))
        )
    else:
        refuses(
            model,
            ValueError,
            r"got 1e\+39 at row 2, column 1, too large",
            lambda: call(model, "mse", soft(1e39)),
        )


def test_cross_entropy_on_one_output_names_the_loss_that_fits(backend):
    model = model_for(outputs=1)
    refuses(
        model,
        ValueError,
        r"^Sequential\.fit: cross_entropy expects at least 2 outputs, the model has 1; .*'binary_cross_entropy_with_logits'",
        lambda: model.fit(x_of(), [0, 1, 0, 1, 0], loss="cross_entropy", optimizer=dg.SGD(0.1)),
    )


def test_one_output_takes_only_one_target_a_row(backend):
    model = model_for(outputs=1)
    for y in (np.zeros((5, 2)), np.zeros(4), np.zeros((1, 5))):
        refuses(
            model,
            ValueError,
            r"^Sequential\.evaluate: expected y of shape \(5, 1\) or \(5,\), got \(",
            lambda y=y: model.evaluate(x_of(), y, loss="mse"),
        )


# ---- sample_weight

WEIGHT_DOORS = {
    "Sequential.fit": lambda model, s: model.fit(
        x_of(), LABELS, loss="cross_entropy", optimizer=dg.SGD(0.1), sample_weight=s
    ),
    "Trainer.step": lambda model, s: dg.Trainer(model, "cross_entropy", dg.SGD(0.1)).step(x_of(), LABELS, s),
    "Sequential.evaluate": lambda model, s: model.evaluate(
        x_of(), LABELS, loss="cross_entropy", sample_weight=s
    ),
    "Sequential.fit(validation_data)": lambda model, s: model.fit(
        x_of(), LABELS, loss="cross_entropy", optimizer=dg.SGD(0.1), validation_data=(x_of(), LABELS, s)
    ),
    "loss": lambda model, s: dg.ops.loss("cross_entropy", np.zeros((5, 3)), LABELS, s),
}

BAD_WEIGHTS = [
    (np.ones(4), ValueError, r"expected sample_weight of shape \(5,\), got \(4,\)$"),
    (np.ones((5, 1)), ValueError, r"expected sample_weight of shape \(5,\), got \(5, 1\)$"),
    (1.0, ValueError, r"expected sample_weight of shape \(5,\), got \(\)$"),
    ([1, 1, -0.5, 1, 1], ValueError, r"expected sample_weight >= 0, got -0\.5 at row 2$"),
    ([1, NAN, 1, 1, 1], ValueError, r"expected finite sample_weight, got nan at row 1$"),
    ([1, INF, 1, 1, 1], ValueError, r"expected finite sample_weight, got inf at row 1$"),
    (np.zeros(5), ValueError, r"expected a sample_weight with a positive sum, got 5 zeros$"),
    (list("abcde"), TypeError, r"expected sample_weight of real numbers, got dtype <U1"),
    ("balanced", TypeError, r"expected sample_weight of real numbers, got .*str 'balanced'"),
]


@pytest.mark.parametrize("case", BAD_WEIGHTS, ids=lambda case: case[2])
@pytest.mark.parametrize("door", WEIGHT_DOORS)
def test_a_wrong_sample_weight_is_refused_at_every_door(backend, door, case):
    weights, error, message = case
    model = model_for()
    refuses(model, error, f"^{re.escape(door)}: {message}", lambda: WEIGHT_DOORS[door](model, weights))


# ---- names, numbers and objects

FIT = {"loss": "cross_entropy", "optimizer": dg.SGD(0.1)}


def fitting(**options):
    """A call of fit with one wrong option."""
    return lambda model: model.fit(x_of(), LABELS, **{**FIT, **options})


BAD_CALLS = [
    # layers
    (lambda model: dg.Dense(0), ValueError, r"^Dense: expected units >= 1, got 0$"),
    (lambda model: dg.Dense(-3), ValueError, r"^Dense: expected units >= 1, got -3$"),
    (lambda model: dg.Dense(True), TypeError, r"^Dense: expected units as an integer, got bool True$"),
    (lambda model: dg.Dense(2.0), TypeError, r"^Dense: expected units as an integer, got float 2\.0$"),
    (lambda model: dg.Dense("3"), TypeError, r"^Dense: expected units as an integer, got str '3'$"),
    (lambda model: dg.Dense(None), TypeError, r"^Dense: expected units as an integer, got NoneType None$"),
    (
        lambda model: dg.Dense(3, "rleu"),
        ValueError,
        r"^Dense: unknown activation 'rleu'; did you mean 'relu'\?$",
    ),
    (
        lambda model: dg.Dense(3, "ReLU"),
        ValueError,
        r"^Dense: unknown activation 'ReLU'; did you mean 'relu'\?$",
    ),
    (
        lambda model: dg.Dense(3, "xyz"),
        ValueError,
        r"unknown activation 'xyz'; choose from identity, sigmoid, tanh",
    ),
    (
        lambda model: dg.Dense(3, np.tanh),
        TypeError,
        r"^Dense: expected activation as a name \(identity, .*got ufunc",
    ),
    (lambda model: dg.Dense(3, init="he"), ValueError, r"^Dense: unknown initializer 'he'; "),
    (lambda model: dg.Dense(3, init=None), TypeError, r"^Dense: expected initializer as a name \(auto, "),
    # models
    (lambda model: dg.Sequential([]), ValueError, r"^Sequential: expected at least 1 layer, got 0$"),
    (
        lambda model: dg.Sequential(["relu"]),
        TypeError,
        r"^Sequential: expected layers such as .*, got 'relu'$",
    ),
    (
        lambda model: dg.Sequential([dg.Dense]),
        TypeError,
        r"^Sequential: expected layers such as .*, got <class",
    ),
    (lambda model: dg.Sequential(dg.Dense(3)), TypeError, r"^Sequential: expected layers"),
    (lambda model: dg.Sequential(None), TypeError, r"^Sequential: expected layers"),
    (
        lambda model: dg.Sequential([dg.Dense(3)], 0),
        ValueError,
        r"^Sequential: expected input_size >= 1, got 0$",
    ),
    (
        lambda model: dg.Sequential([dg.Dense(3)], 2.5),
        TypeError,
        r"^Sequential: expected input_size as an integer",
    ),
    (
        lambda model: dg.Sequential([dg.Dense(3)], dtype="float16"),
        ValueError,
        r"expected dtype float32 or float64",
    ),
    (lambda model: dg.Sequential([dg.Dense(3)], dtype=None), ValueError, r"expected dtype .*, got None$"),
    (
        lambda model: dg.Sequential([dg.Dense(3)], dtype="bogus"),
        ValueError,
        r"expected dtype .*, got 'bogus'$",
    ),
    (
        lambda model: dg.Sequential([dg.Dense(3)], seed=-1),
        ValueError,
        r"^Sequential: expected seed >= 0, got -1$",
    ),
    (
        lambda model: dg.Sequential([dg.Dense(3)], seed="a"),
        TypeError,
        r"^Sequential: expected seed as an integer",
    ),
    (
        lambda model: model.copy(dtype="int8"),
        ValueError,
        r"^copy: expected dtype float32 or float64, got 'int8'$",
    ),
    # optimisers
    (lambda model: dg.SGD(0), ValueError, r"^SGD: expected a finite lr > 0, got 0$"),
    (lambda model: dg.SGD(-0.1), ValueError, r"^SGD: expected a finite lr > 0, got -0\.1$"),
    (lambda model: dg.SGD(NAN), ValueError, r"^SGD: expected a finite lr > 0, got nan$"),
    (lambda model: dg.SGD(INF), ValueError, r"^SGD: expected a finite lr > 0, got inf$"),
    (lambda model: dg.SGD(10**400), ValueError, r"^SGD: expected a finite lr > 0"),
    (lambda model: dg.SGD("0.1"), TypeError, r"^SGD: expected lr as a number, got str '0\.1'$"),
    (lambda model: dg.SGD(None), TypeError, r"^SGD: expected lr as a number, got NoneType None$"),
    (lambda model: dg.SGD(True), TypeError, r"^SGD: expected lr as a number, got bool True$"),
    (lambda model: dg.SGD(0.1j), TypeError, r"^SGD: expected lr as a number, got complex 0\.1j$"),
    (lambda model: dg.SGD(np.complex128(0.1j)), TypeError, r"^SGD: expected lr as a number"),
    (lambda model: dg.SGD([0.1]), TypeError, r"^SGD: expected lr as a number, got list \[0\.1\]$"),
    (lambda model: setattr(dg.SGD(0.1), "lr", -1), ValueError, r"^SGD: expected a finite lr > 0, got -1$"),
    # fit
    (fitting(loss="mae_typo"), ValueError, r"^Trainer: unknown loss 'mae_typo'; "),
    (fitting(loss="crossentropy"), ValueError, r"unknown loss 'crossentropy'; did you mean 'cross_entropy'"),
    (fitting(loss=None), TypeError, r"^Trainer: expected loss as a name \(mse, "),
    (
        fitting(optimizer="sgd"),
        TypeError,
        r"^Trainer: expected optimizer as an object such as .*, got 'sgd'$",
    ),
    (
        fitting(optimizer=dg.SGD),
        TypeError,
        r"^Trainer: expected optimizer as an object such as dg\.SGD\(0\.1\)",
    ),
    (fitting(epochs=0), ValueError, r"^Sequential\.fit: expected epochs >= 1, got 0$"),
    (fitting(epochs=1.0), TypeError, r"^Sequential\.fit: expected epochs as an integer, got float 1\.0$"),
    (fitting(batch_size=0), ValueError, r"^Sequential\.fit: expected batch_size >= 1, got 0$"),
    (fitting(batch_size=-4), ValueError, r"^Sequential\.fit: expected batch_size >= 1, got -4$"),
    (
        fitting(batch_size="4"),
        TypeError,
        r"^Sequential\.fit: expected batch_size as an integer, got str '4'$",
    ),
    (
        fitting(batch_size=True),
        TypeError,
        r"^Sequential\.fit: expected batch_size as an integer, got bool True$",
    ),
    (
        fitting(metrics="accuracy"),
        TypeError,
        r"^Sequential\.fit: expected metrics as a list of names, got .*'accuracy'$",
    ),
    (
        fitting(metrics=["acuracy"]),
        ValueError,
        r"^Sequential\.fit: unknown metric 'acuracy'; did you mean 'accuracy'\?$",
    ),
    (fitting(metrics=[len]), TypeError, r"^Sequential\.fit: expected metric as a name \(accuracy\)"),
    (fitting(metrics=None), TypeError, r"^Sequential\.fit: expected metrics as a list of names"),
    (
        fitting(validation_data=x_of()),
        TypeError,
        r"^Sequential\.fit: expected validation_data as \(x, y\) or ",
    ),
    (
        fitting(validation_data=(x_of(),)),
        TypeError,
        r"^Sequential\.fit: expected validation_data as \(x, y\) or ",
    ),
    (fitting(validation_data={"x": x_of()}), TypeError, r"expected validation_data as .*, got .*dict"),
    (fitting(epoch=3), TypeError, r"epoch"),
    # the other doors
    (
        lambda model: dg.Trainer(model, "huber_typo", dg.SGD(0.1)),
        ValueError,
        r"^Trainer: unknown loss 'huber_typo'; ",
    ),
    (lambda model: dg.Trainer("model", "mse", dg.SGD(0.1)), TypeError, r"^Trainer: expected model"),
    (
        lambda model: model.evaluate(x_of(), LABELS, loss="ms"),
        ValueError,
        r"evaluate: unknown loss 'ms'; .*'mse'\?$",
    ),
    (
        lambda model: model.evaluate(x_of(), LABELS, loss="mse", metrics="accuracy"),
        TypeError,
        r"metrics as a list",
    ),
    (lambda model: model.trace(x_of(), LABELS, "ms"), ValueError, r"^Sequential\.trace: unknown loss 'ms'"),
    (
        lambda model: dg.check_gradients(model, x_of(), LABELS, "ms"),
        ValueError,
        r"^check_gradients: unknown loss",
    ),
    (
        lambda model: model.backward(np.zeros((5, 2))),
        ValueError,
        r"expected dy of shape \(batch, 3\), got \(5, 2\)$",
    ),
    (
        lambda model: model.backward(np.full((5, 3), NAN)),
        ValueError,
        r"expected finite dy, got nan at row 0, column 0$",
    ),
    (lambda model: model.save(3), TypeError, r"path"),
    (lambda model: dg.use_backend("nmpy"), ValueError, r"^use_backend: .*got 'nmpy'|^use_backend: .*'nmpy'"),
    (
        lambda model: dg.metrics.accuracy([[0.5, 0.5]], [1, 2]),
        ValueError,
        r"^accuracy: expected target of shape",
    ),
    (
        lambda model: dg.metrics.accuracy(np.empty((0, 2)), []),
        ValueError,
        r"^accuracy: expected prediction with at least",
    ),
    # ops
    (
        lambda model: dg.ops.dense_forward(x_of(), np.ones((3, 4))),
        ValueError,
        r"expected w of shape \(2, any\), got \(3, 4\)$",
    ),
    (
        lambda model: dg.ops.dense_forward(x_of(), np.ones((2, 4)), np.ones(3)),
        ValueError,
        r"expected b of shape \(4,\), got",
    ),
    (
        lambda model: dg.ops.dense_forward(np.ones(2), np.ones((2, 4))),
        ValueError,
        r"expected x of shape \(any, any\), got \(2,\)$",
    ),
    (
        lambda model: dg.ops.dense_forward([["a"]], [[1]]),
        TypeError,
        r"^dense_forward: expected x of real numbers",
    ),
    (
        lambda model: dg.ops.dense_forward([[NAN]], [[1]]),
        ValueError,
        r"^dense_forward: expected finite x, got nan",
    ),
    (
        lambda model: dg.ops.dense_forward(x_of(), np.ones((2, 4)), out=np.ones((5, 3))),
        ValueError,
        r"^dense_forward: expected out of shape \(5, 4\) and dtype float64, got \(5, 3\) and float64$",
    ),
    (
        lambda model: dg.ops.dense_forward(x_of(), np.ones((2, 4)), out=np.ones((5, 4), "f4")),
        ValueError,
        r"^dense_forward: expected out of .* dtype float64, got .* float32$",
    ),
    (
        lambda model: dg.ops.dense_forward(x_of(), np.ones((2, 4)), out=np.ones((4, 5)).T),
        ValueError,
        r"^dense_forward: expected out contiguous and writeable",
    ),
    (
        lambda model: dg.ops.dense_forward(x_of(), np.ones((2, 4)), out=[0.0]),
        TypeError,
        r"^dense_forward: expected out as a float32 or float64 array to update in place, got .*list",
    ),
    (
        lambda model: dg.ops.dense_backward(np.ones((5, 3)), x_of(), np.ones((2, 4))),
        ValueError,
        r"^dense_backward: expected dz of shape \(5, 4\), got \(5, 3\)$",
    ),
    (
        lambda model: dg.ops.dense_backward(np.ones((5, 4)), x_of(), np.ones((2, 4)), out=(np.ones((5, 2)),)),
        (ValueError, TypeError),
        r"^dense_backward: expected out",
    ),
    (
        lambda model: dg.ops.activation_forward("rleu", [1.0]),
        ValueError,
        r"^activation_forward: unknown activation 'rleu'",
    ),
    (
        lambda model: dg.ops.activation_forward("relu", 1.0),
        ValueError,
        r"^activation_forward: expected z with at least",
    ),
    (
        lambda model: dg.ops.activation_forward("softmax", np.empty((3, 0))),
        ValueError,
        r"^activation_forward: expected z",
    ),
    (
        lambda model: dg.ops.activation_forward("relu", ["a"]),
        TypeError,
        r"^activation_forward: expected z of real numbers",
    ),
    (
        lambda model: dg.ops.activation_forward("relu", [1.0], slope=0.1),
        TypeError,
        r"^activation_forward: relu has no attribute 'slope'; it takes none$",
    ),
    (
        lambda model: dg.ops.activation_backward("relu", [1.0, 2.0], [1.0], [1.0]),
        ValueError,
        r"^activation_backward: expected dy of shape \(1,\), got \(2,\)$",
    ),
    (
        lambda model: dg.ops.loss("ms", [[1.0]], [[1.0]]),
        ValueError,
        r"^loss: unknown loss 'ms'; did you mean 'mse'\?$",
    ),
    (
        lambda model: dg.ops.loss("mse", [1.0], [1.0]),
        ValueError,
        r"^loss: expected prediction of shape \(any, any\)",
    ),
    (
        lambda model: dg.ops.loss("mse", np.ones((0, 2)), np.ones((0, 2))),
        ValueError,
        r"prediction with at least 1 row",
    ),
    (
        lambda model: dg.ops.sgd_update([1.0], [1.0], 0.1),
        TypeError,
        r"expected parameters as a float32 or float64 array",
    ),
    (
        lambda model: dg.ops.sgd_update(np.ones(2, int), [1, 1], 0.1),
        TypeError,
        r"array to update in place, got .*int64",
    ),
    (
        lambda model: dg.ops.sgd_update(np.ones(2), np.ones(3), 0.1),
        ValueError,
        r"expected gradients of shape \(2,\)",
    ),
    (
        lambda model: dg.ops.sgd_update(np.ones(4)[::2], np.ones(2), 0.1),
        ValueError,
        r"expected parameters contiguous",
    ),
    (
        lambda model: dg.ops.sgd_update(np.ones(2), np.ones(2), -1),
        ValueError,
        r"expected a finite lr >= 0, got -1$",
    ),
    (
        lambda model: dg.ops.sgd_update(np.ones(2), np.ones(2), NAN),
        ValueError,
        r"expected a finite lr >= 0, got nan$",
    ),
    (
        lambda model: dg.ops.optimizer_update("sdg", np.ones(2), np.ones(2), None, 0, 0.1),
        ValueError,
        r"^optimizer_update: unknown optimizer 'sdg'; did you mean 'sgd'\?$",
    ),
    (
        lambda model: dg.ops.optimizer_update("sgd", np.ones(2), np.ones(2), None, -1, 0.1),
        ValueError,
        r"^optimizer_update: expected step >= 0, got -1$",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS, ids=[case[2] for case in BAD_CALLS])
def test_a_wrong_argument_is_refused_in_plain_words(backend, call, error, message):
    model = model_for()
    before = state(model)
    with pytest.raises(error, match=message):
        call(model)
    assert state(model) == before
    assert FIT["optimizer"].steps == 0


def test_read_only_parameters_are_not_updated_in_place(backend):
    w = np.ones(3)
    w.flags.writeable = False
    with pytest.raises(ValueError, match="expected parameters contiguous and writeable"):
        dg.ops.sgd_update(w, np.ones(3), 0.1)
    np.testing.assert_array_equal(w, np.ones(3))


def test_setting_weights_of_the_wrong_shape_is_refused(backend):
    model = model_for()
    before = state(model)
    with pytest.raises(ValueError, match="broadcast"):
        model.layers[0].w[...] = np.ones((3, 5))
    with pytest.raises(AttributeError):
        model.layers[0].w = np.ones((2, 4))
    with pytest.raises(AttributeError):
        model.parameters = np.ones(27)
    assert state(model) == before


# ---- honest forms

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
    make: Any


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
    expected = model.evaluate(x_of(), flags.astype(int), loss="cross_entropy")
    assert model.evaluate(x_of(), flags, loss="cross_entropy") == expected
    assert model.evaluate(x_of(), array.array("b", flags.tolist()), loss="cross_entropy") == expected


def test_a_frame_of_numbers_and_booleans_is_taken(backend, dtype):
    frame = pd.DataFrame({"a": [0.5, 1.5, -1.0], "b": [True, False, True]})
    expected = model_for(dtype=dtype).predict([[0.5, 1], [1.5, 0], [-1, 1]])
    np.testing.assert_array_equal(model_for(dtype=dtype).predict(frame), expected)


def test_one_output_takes_flat_targets_and_columns_alike(backend, dtype):
    y = np.linspace(-1, 1, 5)
    results = []
    for target in (y, y[:, None], y.tolist(), pd.Series(y), pd.DataFrame(y)):
        model = model_for(outputs=1, dtype=dtype)
        model.fit(x_of(), target, loss="mse", optimizer=dg.SGD(0.1), batch_size=2)
        results.append(model.parameters.tobytes())
    assert len(set(results)) == 1


def test_what_is_already_right_is_used_without_a_copy(backend, dtype):
    x = x_of().astype(dtype)
    trace = model_for(dtype=dtype).trace(x, LABELS, "cross_entropy")
    assert np.shares_memory(trace.layers[0].x, x)


def test_the_callers_arrays_are_never_written(backend, dtype):
    x, y, weights = x_of(12).astype(dtype), CLASSES.copy(), np.linspace(1, 2, 12).astype(dtype)
    one_hot, dy = np.eye(3, dtype=dtype)[CLASSES], np.ones((12, 3), dtype)
    given = [x, y, weights, one_hot, dy]
    before = [a.tobytes() for a in given]
    for target in (y, one_hot):
        model = model_for(dtype=dtype)
        trainer = dg.Trainer(model, "cross_entropy", dg.SGD(0.3))
        trainer.step(x, target, weights)
        trainer.fit(
            x, target, sample_weight=weights, validation_data=(x, target, weights), metrics=["accuracy"]
        )
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
    model.fit(
        x_of(), LABELS, loss="cross_entropy", optimizer=dg.SGD(1), epochs=np.int8(1), batch_size=np.int64(2)
    )


def test_the_same_mistake_is_told_in_the_same_words_by_every_backend():
    messages = set()
    for name in dg.available_backends():
        told = []
        with dg.use_backend(name):
            for x, error, _ in BAD_X[:6]:
                with pytest.raises(error) as caught:
                    X_DOORS["Trainer.step"](model_for(), x)
                told.append(str(caught.value))
        messages.add(tuple(told))
    assert len(messages) == 1
