"""What users hand in wrong: refused at every door in plain words, and the model is left as it was.

Expected messages are written out; ``...`` stands for anything.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import densegrad as dg

pytestmark = pytest.mark.above_the_kernels

NAN, INF = float("nan"), float("inf")


def model_for(outputs=3, dtype="float32"):
    """2 features, 4 hidden units."""
    return dg.Sequential([dg.Dense(4, activation="tanh"), dg.Dense(outputs)], input_size=2, dtype=dtype, seed=0)


def state(model):
    """Everything a refused call must leave alone."""
    generator = str(model.generator.bit_generator.state)
    return model.parameters.tobytes(), model.gradients.tobytes(), model.loss, generator


def refuses(model, error, message, call):
    """``call`` raises just this, in one line, and the model stays as it was."""
    before = state(model)
    with pytest.raises(error) as caught:
        call()
    said = str(caught.value)
    assert type(caught.value) is error, said
    assert re.fullmatch(re.escape(message).replace(r"\.\.\.", ".*"), said), f"expected {message}\ngot      {said}"
    assert len(said) < 300, "a message is short"
    assert state(model) == before


def words(case):
    """The name of a test of an expected message."""
    return case[-1]


X = np.linspace(-1, 1, 10).reshape(5, 2)
LABELS = np.array([0, 1, 2, 0, 1])
SOFT = np.full((5, 3), 0.25) + 0.25 * np.eye(3)[LABELS]


def loss(prediction, target, sample_weight):
    """A metric by a name that is taken."""
    return 0.0


FIT = {"loss": "cross_entropy", "optimizer": dg.SGD(0.1)}


def changed(values, value, row, column):
    """``values`` with one element replaced."""
    values = values.copy()
    values[row, column] = value
    return values


# ---- x

X_DOORS = {  # how a message begins: the call
    "Sequential.fit": lambda model, x: model.fit(x, LABELS, **FIT),
    "Sequential.fit(validation_data)": lambda model, x: model.fit(X, LABELS, **FIT, validation_data=(x, LABELS)),
    "Trainer.step": lambda model, x: dg.Trainer(model, **FIT).step(x, LABELS),
    "Sequential.evaluate": lambda model, x: model.evaluate(x, LABELS, loss="cross_entropy"),
    "Sequential.trace": lambda model, x: model.trace(x, LABELS, "cross_entropy"),
    "Sequential.forward": lambda model, x: model.forward(x),
    "check_gradients": lambda model, x: dg.check_gradients(model, x, LABELS, "cross_entropy"),
    "Sequential.predict": lambda model, x: model.predict(x),
    "Sequential.predict_proba": lambda model, x: model.predict_proba(x),
}

STRUCTURED = np.zeros(5, [("a", "f4"), ("b", "f4")])
MASKED = np.ma.masked_less(X, -0.5)

BAD_X = [
    # shapes
    (np.zeros((5, 3)), ValueError, "expected x of shape (batch, 2), got (5, 3)"),
    (np.zeros((5, 1)), ValueError, "expected x of shape (batch, 2), got (5, 1)"),
    (np.zeros(2), ValueError, "expected x of shape (batch, 2), got (2,); for one row write x[None, :]"),
    (np.zeros(5), ValueError, "expected x of shape (batch, 2), got (5,)"),
    (np.zeros((5, 2, 1)), ValueError, "expected x of shape (batch, 2), got (5, 2, 1)"),
    (1.5, ValueError, "expected x of shape (batch, 2), got ()"),
    ([], ValueError, "expected x of shape (batch, 2), got (0,)"),
    ([[1.0, 2.0], [3.0]], ValueError, "expected x as an array of numbers, got list [[1.0, 2.0], [3.0]]..."),
    # types
    (X.astype(complex), TypeError, "expected x of real numbers, got dtype complex128..."),
    ([["a", "b"]] * 5, TypeError, "expected x of real numbers, got dtype <U1..."),
    ([[b"1", b"2"]] * 5, TypeError, "expected x of real numbers, got dtype |S1..."),
    (X.astype(object), TypeError, "expected x of real numbers, got dtype object from ndarray..."),
    ([[1, 2**70]] * 5, TypeError, "expected x of real numbers, got dtype object from list..."),
    (X.astype("M8[s]"), TypeError, "expected x of real numbers, got dtype datetime64[s]..."),
    (X.astype("m8[s]"), TypeError, "expected x of real numbers, got dtype timedelta64[s]..."),
    (STRUCTURED, TypeError, "expected x of real numbers, got dtype [('a', '<f4'), ('b', '<f4')]..."),
    (None, TypeError, "expected x of real numbers, got ...NoneType..."),
    ("numbers", TypeError, "expected x of real numbers, got ...str 'numbers'"),
    ({"a": 1}, TypeError, "expected x of real numbers, got ...dict {'a': 1}"),
    (iter([1, 2]), TypeError, "expected x of real numbers, got ...list_iterator..."),
    (pd.DataFrame({"a": ["x"] * 5, "b": 1.0}), TypeError, "expected x of real numbers, got ...DataFrame..."),
    (sparse.csr_matrix(X), TypeError, "expected x as a dense array, got csr_matrix; call .toarray()"),
    (sparse.coo_array(X), TypeError, "expected x as a dense array, got coo_array; call .toarray()"),
    # values
    (changed(X, NAN, 3, 1), ValueError, "expected finite x, got nan at row 3, column 1"),
    (changed(X, INF, 2, 1), ValueError, "expected finite x, got inf at row 2, column 1"),
    (changed(X, -INF, 0, 0), ValueError, "expected finite x, got -inf at row 0, column 0"),
    (changed(X, NAN, 4, 1).astype("float32"), ValueError, "expected finite x, got nan at row 4, column 1"),
    (changed(X, INF, 4, 0).astype("float16"), ValueError, "expected finite x, got inf at row 4, column 0"),
    (changed(X, NAN, 1, 0).tolist(), ValueError, "expected finite x, got nan at row 1, column 0"),
    (pd.DataFrame(changed(X, NAN, 1, 1)), ValueError, "expected finite x, got nan at row 1, column 1"),
    (MASKED, ValueError, "expected x without masked values, got 3 of 10 masked"),
]


@pytest.mark.parametrize("case", BAD_X, ids=words)
@pytest.mark.parametrize("door", X_DOORS)
def test_a_wrong_x_is_refused_at_every_door(backend, door, case):
    x, error, message = case
    model = model_for()
    refuses(model, error, f"{door}: {message}", lambda: X_DOORS[door](model, x))


@pytest.mark.parametrize("door", [door for door in X_DOORS if door != "check_gradients"])  # always in float64
def test_an_x_too_large_for_float32_is_refused(backend, door):
    model = model_for()
    message = f"{door}: expected finite x, got 1e+39 at row 3, column 1, too large for float32"
    refuses(model, ValueError, message, lambda: X_DOORS[door](model, changed(X, 1e39, 3, 1)))


def test_an_x_too_large_for_float32_suits_a_float64_model(backend):
    assert np.isfinite(model_for(dtype="float64").predict(changed(X, 1e39, 3, 1))).all()


@pytest.mark.parametrize("door", [door for door in X_DOORS if "predict" not in door])
def test_an_empty_batch_is_refused_where_something_is_learnt_or_measured(backend, door):
    model = model_for()
    message = f"{door}: expected x with at least 1 row, got 0"
    refuses(model, ValueError, message, lambda: X_DOORS[door](model, np.empty((0, 2))))


def test_one_feature_given_as_a_flat_array_gets_a_hint(backend):
    model = dg.Sequential([dg.Dense(1)], input_size=1)
    message = "Sequential.predict: expected x of shape (batch, 1), got (7,); for one feature write x[:, None]"
    refuses(model, ValueError, message, lambda: model.predict(np.zeros(7)))


def test_what_is_not_finite_is_found_wherever_it_lies(backend, dtype):
    model = model_for(dtype=dtype)
    for rows, row, column in [(1, 0, 1), (1000, 0, 0), (1000, 517, 1), (1000, 999, 1)]:
        x = changed(np.zeros((rows, 2), dtype), INF, row, column)
        refuses(model, ValueError, f"...got inf at row {row}, column {column}", lambda x=x: model.predict(x))
    both = np.zeros((4, 2), dtype)
    both[1], both[2] = INF, -INF  # whose sum is NaN
    refuses(model, ValueError, "...got inf at row 1, column 0", lambda: model.predict(both))


def test_finite_numbers_whose_sum_overflows_are_taken(backend, dtype):
    x = np.full((6, 2), np.finfo(dtype).max / 4, dtype)
    assert model_for(dtype=dtype).predict(x).shape == (6, 3)


# ---- y

Y_DOORS = {
    "Sequential.fit": lambda model, loss, y: model.fit(X, y, loss=loss, optimizer=dg.SGD(0.1)),
    "Trainer.step": lambda model, loss, y: dg.Trainer(model, loss, dg.SGD(0.1)).step(X, y),
    "Sequential.evaluate": lambda model, loss, y: model.evaluate(X, y, loss=loss),
    "Sequential.trace": lambda model, loss, y: model.trace(X, y, loss),
    "Sequential.fit(validation_data)": lambda model, loss, y: model.fit(
        X, SOFT, loss=loss, optimizer=dg.SGD(0.1), validation_data=(X, y)
    ),
    "check_gradients": lambda model, loss, y: dg.check_gradients(model, X, y, loss),
    "loss": lambda _, loss, y: dg.ops.loss(loss, np.full((5, 3), 0.25), y),
}

HUGE = np.array([2**63] * 5, "u8")
WITH_LOGITS = "binary_cross_entropy_with_logits"

BAD_Y = [
    # labels
    ("cross_entropy", [0, 1, 2, 3, 0], ValueError, "expected labels 0 to 2, got 3 at row 3"),
    ("cross_entropy", [0, 1, -1, 2, 0], ValueError, "expected labels 0 to 2, got -1 at row 2"),
    ("cross_entropy", [0, 1, 1.5, 2, 0], ValueError, "expected labels 0 to 2, got 1.5 at row 2"),
    ("cross_entropy", [0, NAN, 1, 2, 0], ValueError, "expected labels 0 to 2, got nan at row 1"),
    ("cross_entropy", [0, INF, 1, 2, 0], ValueError, "expected labels 0 to 2, got inf at row 1"),
    ("cross_entropy", HUGE, ValueError, "expected labels 0 to 2, got 9223372036854775808 at row 0"),
    ("cross_entropy", [0, 1, 2], ValueError, "expected y with 5 labels, as many as x has rows, got 3"),
    ("cross_entropy", [], ValueError, "expected y with 5 labels, as many as x has rows, got 0"),
    ("cross_entropy", list("abcab"), TypeError, "expected y of real numbers, got dtype <U1..."),
    ("cross_entropy", LABELS.astype(object), TypeError, "expected y of real numbers, got dtype object..."),
    ("cross_entropy", LABELS * 1j, TypeError, "expected y of real numbers, got dtype complex128..."),
    ("cross_entropy", None, TypeError, "expected y of real numbers, got ...NoneType..."),
    ("cross_entropy", sparse.csr_matrix(SOFT), TypeError, "expected y as a dense array, got csr_matrix..."),
    (
        "cross_entropy",
        np.ma.masked_equal(LABELS, 2),
        ValueError,
        "expected y without masked values, got 1 of 5 masked",
    ),
    # rows of probabilities
    ("cross_entropy", np.eye(4)[LABELS], ValueError, "expected y of shape (5, 3) or (5,), got (5, 4)"),
    ("cross_entropy", SOFT[:4], ValueError, "expected y of shape (5, 3) or (5,), got (4, 3)"),
    (
        "cross_entropy",
        changed(SOFT, -0.25, 2, 1),
        ValueError,
        "expected y between 0 and 1, got -0.25 at row 2",
    ),
    ("cross_entropy", changed(SOFT, 1.5, 2, 1), ValueError, "expected y between 0 and 1, got 1.5 at row 2"),
    (
        "cross_entropy",
        changed(SOFT, 0.75, 2, 1),
        ValueError,
        "expected rows of y that sum to 1, got 1.5 at row 2",
    ),
    (
        "cross_entropy",
        changed(SOFT, 0.0, 4, 1),
        ValueError,
        "expected rows of y that sum to 1, got 0.5 at row 4",
    ),
    ("cross_entropy", changed(SOFT, NAN, 2, 1), ValueError, "expected finite y, got nan at row 2, column 1"),
    # probabilities
    (WITH_LOGITS, changed(SOFT, 1.01, 2, 1), ValueError, "expected y between 0 and 1, got 1.01 at row 2"),
    (WITH_LOGITS, changed(SOFT, -1, 3, 0), ValueError, "expected y between 0 and 1, got -1 at row 3"),
    (WITH_LOGITS, LABELS, ValueError, "expected y of shape (5, 3), got (5,)"),
    ("nll", [0, 1, 2, 3, 0], ValueError, "expected labels 0 to 2, got 3 at row 3"),
    ("nll", changed(SOFT, 0.75, 2, 1), ValueError, "expected rows of y that sum to 1, got 1.5 at row 2"),
    # counts
    ("poisson", changed(SOFT, -2, 3, 0), ValueError, "expected y >= 0, got -2 at row 3"),
    ("poisson", changed(SOFT, NAN, 3, 0), ValueError, "expected finite y, got nan at row 3, column 0"),
    ("poisson", LABELS, ValueError, "expected y of shape (5, 3), got (5,)"),
    # values
    ("mse", SOFT[:, :2], ValueError, "expected y of shape (5, 3), got (5, 2)"),
    ("mse", SOFT[:4], ValueError, "expected y of shape (5, 3), got (4, 3)"),
    ("mse", SOFT.T, ValueError, "expected y of shape (5, 3), got (3, 5)"),
    ("mse", LABELS, ValueError, "expected y of shape (5, 3), got (5,)"),
    ("mse", 1.0, ValueError, "expected y of shape (5, 3), got ()"),
    ("mse", changed(SOFT, INF, 2, 1), ValueError, "expected finite y, got inf at row 2, column 1"),
    ("mse", [[1.0, 2.0, 3.0], [1.0]], ValueError, "expected y as an array of numbers, got list..."),
    (
        "half_squared_error",
        changed(SOFT, NAN, 0, 0),
        ValueError,
        "expected finite y, got nan at row 0, column 0",
    ),
]


@pytest.mark.parametrize("case", BAD_Y, ids=words)
@pytest.mark.parametrize("door", Y_DOORS)
def test_a_wrong_y_is_refused_at_every_door(backend, door, case):
    loss, y, error, message = case
    if y is None and door == "Sequential.fit":  # where x alone might be batches
        message = "expected y beside x, or x as an iterable of batches (x, y), got a ndarray alone"
    model = model_for()
    refuses(model, error, f"{door}: {message}", lambda: Y_DOORS[door](model, loss, y))


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("cross_entropy", np.array([0, 1, 2, 3, 0])),
        ("cross_entropy", np.array([0, 1, 2, -1, 0])),
        ("cross_entropy", np.array([0, 1, 2, 2**62, 0])),
        ("cross_entropy", np.array([0, 1, 2])),
        ("cross_entropy", changed(SOFT, 0.75, 2, 1).astype("float32")),
        (WITH_LOGITS, changed(SOFT, -0.5, 2, 1).astype("float32")),
        (WITH_LOGITS, changed(SOFT, 1.5, 4, 2).astype("float32")),
        (WITH_LOGITS, changed(SOFT, NAN, 4, 2).astype("float32")),
        ("nll", np.array([0, 1, 2, 3, 0])),
        ("nll", changed(SOFT, 0.75, 2, 1).astype("float32")),
        ("poisson", changed(SOFT, -0.5, 2, 1).astype("float32")),
        ("poisson", changed(SOFT, INF, 2, 1).astype("float32")),
        ("mse", changed(SOFT, INF, 0, 0).astype("float32")),
        ("mse", SOFT[:4].astype("float32")),
        ("mse", SOFT[:, :2].astype("float32")),
    ],
)
def test_a_step_refuses_wrong_targets_that_need_no_conversion(backend, loss, y):
    """What already has the model's dtypes goes straight to the backend, which has to notice."""
    model, x = model_for(), X.astype("float32")
    with pytest.raises(ValueError, match="Sequential") as slow:
        model.evaluate(x, y, loss=loss)
    message = str(slow.value).replace("Sequential.evaluate", "Trainer.step")
    trainer = dg.Trainer(model, loss, dg.SGD(0.1))
    trainer.step(x, SOFT.astype("float32"))  # the first batch is always checked
    refuses(model, ValueError, message, lambda: trainer.step(x, y))


def test_a_step_refuses_wrong_rows_and_weights_that_need_no_conversion(backend):
    model, x = model_for(), X.astype("float32")
    trainer = dg.Trainer(model, "cross_entropy", dg.SGD(0.1))
    trainer.step(x, LABELS)  # the first batch is always checked
    for bad, weights in [
        (changed(x, NAN, 4, 1), None),
        (changed(x, -INF, 0, 0), None),
        (x[:4], None),
        (np.ascontiguousarray(x[:, :1]), None),
        (x[:0], None),
        (x, np.array([1, 1, -1, 1, 1], "float32")),
        (x, np.array([1, 1, NAN, 1, 1], "float32")),
        (x, np.zeros(5, "float32")),
        (x, np.ones(4, "float32")),
    ]:
        message = "Trainer.step: expected ..."
        refuses(model, ValueError, message, lambda bad=bad, s=weights: trainer.step(bad, LABELS, s))


@pytest.mark.parametrize("door", list(Y_DOORS)[:5])  # the others compute in float64
def test_a_y_too_large_for_float32_is_refused(backend, door):
    model = model_for()
    message = f"{door}: expected finite y, got 1e+39 at row 2, column 1, too large for float32"
    refuses(model, ValueError, message, lambda: Y_DOORS[door](model, "mse", changed(SOFT, 1e39, 2, 1)))


def test_cross_entropy_on_one_output_names_the_loss_that_fits(backend):
    model = model_for(outputs=1)
    message = (
        "Sequential.fit: cross_entropy expects at least 2 outputs, the model has 1; "
        "for one output use 'binary_cross_entropy_with_logits'"
    )
    refuses(model, ValueError, message, lambda: model.fit(X, [0, 1, 0, 1, 0], **FIT))


def test_one_output_takes_only_one_target_a_row(backend):
    model = model_for(outputs=1)
    for y in (np.zeros((5, 2)), np.zeros((4, 1)), np.zeros((1, 5))):
        message = f"Sequential.evaluate: expected y of shape (5, 1) or (5,), got {y.shape}"
        refuses(model, ValueError, message, lambda y=y: model.evaluate(X, y, loss="mse"))


@pytest.mark.parametrize("door", [door for door in Y_DOORS if "validation_data" not in door])
def test_gaussian_nll_wants_an_even_number_of_outputs(backend, door):
    model = model_for()
    message = f"{door}: gaussian_nll expects 2 outputs for each column of y, the model has 3"
    refuses(model, ValueError, message, lambda: Y_DOORS[door](model, "gaussian_nll", SOFT))


@pytest.mark.parametrize("width", [0, 2, 4])
def test_gaussian_nll_takes_half_as_many_columns_as_the_model_has_outputs(backend, width):
    model = model_for(outputs=2)
    y = np.zeros((5, width), "float32")
    message = (
        f"Trainer.step: expected y of shape (5, 1) or (5,), got (5, {width}); "
        "gaussian_nll predicts 2 numbers for each one of y"
    )
    trainer = dg.Trainer(model, "gaussian_nll", dg.SGD(0.1))
    refuses(model, ValueError, message, lambda: trainer.step(X, y))
    trainer.step(X, np.zeros(5))
    x = X.astype("float32")
    refuses(model, ValueError, message, lambda: trainer.step(x, y))


# ---- sample_weight

WEIGHT_DOORS = {
    "Sequential.fit": lambda model, s: model.fit(X, LABELS, **FIT, sample_weight=s),
    "Sequential.fit(validation_data)": lambda model, s: model.fit(X, LABELS, **FIT, validation_data=(X, LABELS, s)),
    "Trainer.step": lambda model, s: dg.Trainer(model, **FIT).step(X, LABELS, s),
    "Sequential.evaluate": lambda model, s: model.evaluate(X, LABELS, loss="cross_entropy", sample_weight=s),
    "loss": lambda _, s: dg.ops.loss("cross_entropy", np.zeros((5, 3)), LABELS, s),
}

BAD_WEIGHTS = [
    (np.ones(4), ValueError, "expected sample_weight of shape (5,), got (4,)"),
    (np.ones((5, 1)), ValueError, "expected sample_weight of shape (5,), got (5, 1)"),
    (1.0, ValueError, "expected sample_weight of shape (5,), got ()"),
    ([1, 1, -0.5, 1, 1], ValueError, "expected sample_weight >= 0, got -0.5 at row 2"),
    ([1, NAN, 1, 1, 1], ValueError, "expected finite sample_weight, got nan at row 1"),
    ([1, INF, 1, 1, 1], ValueError, "expected finite sample_weight, got inf at row 1"),
    (np.zeros(5), ValueError, "expected a sample_weight with a positive sum, got 5 zeros"),
    (list("abcde"), TypeError, "expected sample_weight of real numbers, got dtype <U1..."),
    ("balanced", TypeError, "expected sample_weight of real numbers, got ...str 'balanced'"),
]


@pytest.mark.parametrize("case", BAD_WEIGHTS, ids=words)
@pytest.mark.parametrize("door", WEIGHT_DOORS)
def test_a_wrong_sample_weight_is_refused_at_every_door(backend, door, case):
    weights, error, message = case
    model = model_for()
    refuses(model, error, f"{door}: {message}", lambda: WEIGHT_DOORS[door](model, weights))


# ---- names, numbers and objects: a call, and under it what it says

BAD_CALLS = """
dg.Dense(0)
    ValueError: Dense: expected units >= 1, got 0
dg.Dense(-3)
    ValueError: Dense: expected units >= 1, got -3
dg.Dense(True)
    TypeError: Dense: expected units as an integer, got bool True
dg.Dense(2.0)
    TypeError: Dense: expected units as an integer, got float 2.0
dg.Dense("3")
    TypeError: Dense: expected units as an integer, got str '3'
dg.Dense(None)
    TypeError: Dense: expected units as an integer, got NoneType None
dg.Dense(3, "prelu")
    ValueError: Dense: prelu learns its slope: give no activation, and dg.PReLU() behind it
dg.Dense(3, "rleu")
    ValueError: Dense: unknown activation 'rleu'; did you mean 'relu'?
dg.Dense(3, "ReLU")
    ValueError: Dense: unknown activation 'ReLU'; did you mean 'relu'?
dg.Dense(3, "xyz")
    ValueError: Dense: unknown activation 'xyz'; choose from identity, sigmoid, tanh...
dg.Dense(3, np.tanh)
    TypeError: Dense: expected activation as a name (identity, sigmoid, tanh...), got ufunc <ufunc 'tanh'>
dg.Dense(3, dg.activations.ELU)
    TypeError: Dense: expected activation as a name or an object, got the class ELU; write ELU()
dg.Dense(3, {"name": "elu", "beta": 1})
    TypeError: Dense: elu has no attribute 'beta'; it takes alpha
dg.Activation("siluu")
    ValueError: Activation: unknown activation 'siluu'; did you mean 'silu' or 'selu'?
dg.Activation(None)
    TypeError: Activation: expected activation as a name (identity, sigmoid, tanh...), got NoneType None
dg.activations.ELU(-1)
    ValueError: ELU: expected a finite alpha >= 0, got -1
dg.activations.ELU(NAN)
    ValueError: ELU: expected a finite alpha >= 0, got nan
dg.activations.LeakyReLU(-0.01)
    ValueError: LeakyReLU: expected a finite slope >= 0, got -0.01
dg.activations.LeakyReLU("0.1")
    TypeError: LeakyReLU: expected slope as a number, got str '0.1'
dg.activations.Swish(INF)
    ValueError: Swish: expected a finite beta, got inf
dg.activations.Swish(True)
    TypeError: Swish: expected beta as a number, got bool True
dg.activations.ELU(slope=1)
    TypeError: ...'slope'...
dg.activations.GELU(alpha=1)
    TypeError: GELU: gelu has no attribute 'alpha'; it takes none
dg.Dense(3, init="he")
    ValueError: Dense: unknown initializer 'he'; ...
dg.Dense(3, init=None)
    TypeError: Dense: expected initializer as a name (auto, glorot_uniform, ...), got NoneType None
dg.Dense(3, init="orthogonl")
    ValueError: Dense: unknown initializer 'orthogonl'; did you mean 'orthogonal'?
dg.Dense(3, init="normal")
    ValueError: Dense: initializer 'normal' has parameters; give an object such as dg.initializers.Normal(0.05)
dg.Dense(3, init=dg.initializers.Normal)
    TypeError: Dense: expected initializer as a name (auto, glorot_uniform, ...), got type...
dg.Dense(3, init={"class": "Exec"})
    ValueError: Dense: unknown initializer class 'Exec'; choose from Constant, Uniform, ...
dg.Dense(3, init={"class": "Orthogonal", "gian": 1})
    TypeError: ...'gian'...
dg.initializers.Constant(NAN)
    ValueError: Constant: expected a finite value >= -1e+37 and <= 1e+37, got nan
dg.initializers.Constant("1")
    TypeError: Constant: expected value as a number, got str '1'
dg.initializers.Uniform(1, 0)
    ValueError: Uniform: expected low <= high, got low 1 and high 0
dg.initializers.Uniform(0, INF)
    ValueError: Uniform: expected a finite high >= -1e+37 and <= 1e+37, got inf
dg.initializers.Normal(-0.1)
    ValueError: Normal: expected a finite std >= 0 and <= 1e+37, got -0.1
dg.initializers.Normal(0.1, mean=1e38)
    ValueError: Normal: expected a finite mean >= -1e+37 and <= 1e+37, got 1e+38
dg.initializers.TruncatedNormal(NAN)
    ValueError: TruncatedNormal: expected a finite std >= 0 and <= 1e+37, got nan
dg.initializers.Orthogonal(gain=-1)
    ValueError: Orthogonal: expected a finite gain >= 0 and <= 1e+37, got -1
dg.initializers.Orthogonal(gain=True)
    TypeError: Orthogonal: expected gain as a number, got bool True
dg.Dense(3, bias=False)
    TypeError: ...'bias'...

dg.Sequential([])
    ValueError: Sequential: expected at least 1 layer, got 0
dg.Sequential(["relu"])
    TypeError: Sequential: expected layers such as dg.Dense(10), got 'relu'
dg.Sequential([dg.Dense])
    TypeError: Sequential: expected layers such as dg.Dense(10), got <class...
dg.Sequential(dg.Dense(3))
    TypeError: Sequential: expected layers...
dg.Sequential(None)
    TypeError: Sequential: expected layers...
dg.Sequential([dg.Dense(3)], 0)
    ValueError: Sequential: expected input_size >= 1, got 0
dg.Sequential([dg.Dense(3)], 2.5)
    TypeError: Sequential: expected input_size as an integer, got float 2.5
dg.Sequential([dg.Dense(3)], dtype="float16")
    ValueError: Sequential: expected dtype float32 or float64, got 'float16'
dg.Sequential([dg.Dense(3)], dtype="bogus")
    ValueError: Sequential: expected dtype float32 or float64, got 'bogus'
dg.Sequential([dg.Dense(3)], dtype=None)
    ValueError: Sequential: expected dtype float32 or float64, got None
dg.Sequential([dg.Dense(3)], seed=-1)
    ValueError: Sequential: expected seed >= 0, got -1
dg.Sequential([dg.Dense(3)], seed="a")
    TypeError: Sequential: expected seed as an integer, got str 'a'
model.copy(dtype="int8")
    ValueError: copy: expected dtype float32 or float64, got 'int8'

dg.SGD(0)
    ValueError: SGD: expected a finite lr > 0, got 0
dg.SGD(-0.1)
    ValueError: SGD: expected a finite lr > 0, got -0.1
dg.SGD(NAN)
    ValueError: SGD: expected a finite lr > 0, got nan
dg.SGD(INF)
    ValueError: SGD: expected a finite lr > 0, got inf
dg.SGD(10**400)
    ValueError: SGD: expected a finite lr > 0, got ...
dg.SGD("0.1")
    TypeError: SGD: expected lr as a number, got str '0.1'
dg.SGD(None)
    TypeError: SGD: expected lr as a number, got NoneType None
dg.SGD(True)
    TypeError: SGD: expected lr as a number, got bool True
dg.SGD(0.1j)
    TypeError: SGD: expected lr as a number, got complex 0.1j
dg.SGD(np.complex128(0.1j))
    TypeError: SGD: expected lr as a number, got complex128...
dg.SGD([0.1])
    TypeError: SGD: expected lr as a number, got list [0.1]
dg.SGD(dg.schedules.Cosine)
    TypeError: SGD: expected lr as an object such as dg.schedules.Cosine(0.1, steps=1000), got <class...
dg.SGD(lambda step: NAN).lr
    ValueError: SGD: expected a finite lr at step 0 >= 0 and <= 3e+38, got nan
dg.Adam(lambda step: "0.1").lr
    TypeError: Adam: expected lr at step 0 as a number, got str '0.1'
dg.SGD(dg.schedules.Exponential(0.1, gamma=1e300)).rates(3)
    ValueError: SGD: expected a finite lr at step 1 >= 0 and <= 3e+38, got 1e+299
dg.SGD(dg.schedules.Exponential(1.0, gamma=1e300)).rates(3)
    ValueError: SGD: expected a finite lr at step 1 >= 0 and <= 3e+38, got 1e+300
dg.schedules.Constant(0)
    ValueError: Constant: expected a finite lr > 0, got 0
dg.schedules.Constant(1e39)
    ValueError: Constant: expected lr <= 3e+38, got 1e+39
dg.schedules.Step(0.1, 0)
    ValueError: Step: expected step_size >= 1, got 0
dg.schedules.Step(0.1, 10, gamma=0)
    ValueError: Step: expected a finite gamma > 0, got 0
dg.schedules.Exponential("0.1", 0.9)
    TypeError: Exponential: expected lr as a number, got str '0.1'
dg.schedules.Exponential(0.1, -1)
    ValueError: Exponential: expected a finite gamma > 0, got -1
dg.schedules.InverseScaling(0.1, -0.5)
    ValueError: InverseScaling: expected a finite power_t >= 0, got -0.5
dg.schedules.Cosine(0.1)
    TypeError: ...'steps'
dg.schedules.Cosine(0.1, 100.0)
    TypeError: Cosine: expected steps as an integer, got float 100.0
dg.schedules.Cosine(0.1, 100, min_lr=-1)
    ValueError: Cosine: expected a finite min_lr >= 0 and <= 3e+38, got -1
dg.schedules.CosineRestarts(0.1, 100, t_mult=1.5)
    TypeError: CosineRestarts: expected t_mult as an integer, got float 1.5
dg.schedules.OneCycle(0.1, 100, pct_start=1.5)
    ValueError: OneCycle: expected a finite pct_start >= 0 and <= 1, got 1.5
dg.schedules.OneCycle(0.1, 100, anneal_strategy="cosine")
    ValueError: OneCycle: unknown anneal_strategy 'cosine'; did you mean 'cos'?
dg.schedules.OneCycle(0.1, 100, div_factor=0)
    ValueError: OneCycle: expected a finite div_factor > 0, got 0
dg.schedules.OneCycle(0.1, 100, three_phase=1)
    TypeError: OneCycle: expected three_phase as True or False, got int 1
dg.schedules.Warmup(-0.1, 10)
    ValueError: Warmup: expected a finite lr > 0, got -0.1
dg.schedules.Warmup("cosine", 10)
    TypeError: Warmup: expected lr as a number, got str 'cosine'
dg.schedules.Warmup(0.1, 10, start_factor=2)
    ValueError: Warmup: expected a finite start_factor >= 0 and <= 1, got 2
dg.schedules.ReduceOnPlateau(0.1, factor=1)
    ValueError: ReduceOnPlateau: expected a factor below 1, got 1
dg.schedules.ReduceOnPlateau(0.1, factor=-0.1)
    ValueError: ReduceOnPlateau: expected a finite factor >= 0, got -0.1
dg.schedules.ReduceOnPlateau(0.1, patience=-1)
    ValueError: ReduceOnPlateau: expected patience >= 0, got -1
dg.schedules.ReduceOnPlateau(0.1, threshold_mode="relative")
    ValueError: ReduceOnPlateau: unknown threshold_mode 'relative'; ...
dg.schedules.ReduceOnPlateau(0.1).observe("low")
    TypeError: ReduceOnPlateau.observe: expected value as a number, got 'low'
setattr(dg.SGD(0.1), "lr", -1)
    ValueError: SGD: expected a finite lr > 0, got -1
dg.Adam(0)
    ValueError: Adam: expected a finite lr > 0, got 0
dg.Adam(betas=0.9)
    TypeError: Adam: expected betas as two numbers (beta1, beta2), got 0.9
dg.Adam(betas=(0.9, 1.0))
    ValueError: Adam: expected a finite beta2 >= 0 and < 1, got 1
dg.Adam(betas=(-0.1, 0.9))
    ValueError: Adam: expected a finite beta1 >= 0 and < 1, got -0.1
dg.Adam(betas=("a", 0.9))
    TypeError: Adam: expected beta1 as a number, got str 'a'
dg.Adam(eps=-1)
    ValueError: Adam: expected a finite eps >..., got -1
dg.Adam(weight_decay=NAN)
    ValueError: Adam: expected a finite weight_decay >= 0, got nan

model.fit(X, LABELS, loss="msee", optimizer=dg.SGD(0.1))
    ValueError: Trainer: unknown loss 'msee'; did you mean 'mse'?
model.fit(X, LABELS, loss="crossentropy", optimizer=dg.SGD(0.1))
    ValueError: Trainer: unknown loss 'crossentropy'; did you mean 'cross_entropy'...
model.fit(X, LABELS, loss="Huber", optimizer=dg.SGD(0.1))
    ValueError: Trainer: unknown loss 'Huber'; did you mean 'huber'?
model.fit(X, LABELS, loss="quantil", optimizer=dg.SGD(0.1))
    ValueError: Trainer: unknown loss 'quantil'; did you mean 'quantile'?
model.fit(X, LABELS, loss="guassian_nll", optimizer=dg.SGD(0.1))
    ValueError: Trainer: unknown loss 'guassian_nll'; did you mean 'gaussian_nll'?
model.fit(X, LABELS, loss=None, optimizer=dg.SGD(0.1))
    TypeError: Trainer: expected loss as a name (mse, ...), got NoneType None
model.fit(X, LABELS, loss="mse", optimizer="sgd")
    TypeError: Trainer: expected optimizer as an object such as dg.SGD(0.1), got 'sgd'
model.fit(X, LABELS, loss="mse", optimizer=dg.SGD)
    TypeError: Trainer: expected optimizer as an object such as dg.SGD(0.1), got <class...
model.fit(X, LABELS, **FIT, epochs=0)
    ValueError: Sequential.fit: expected epochs >= 1, got 0
model.fit(X, LABELS, **FIT, epochs=1.0)
    TypeError: Sequential.fit: expected epochs as an integer, got float 1.0
model.fit(X, LABELS, **FIT, batch_size=0)
    ValueError: Sequential.fit: expected batch_size >= 1, got 0
model.fit(X, LABELS, **FIT, batch_size=-4)
    ValueError: Sequential.fit: expected batch_size >= 1, got -4
model.fit(X, LABELS, **FIT, batch_size="4")
    TypeError: Sequential.fit: expected batch_size as an integer, got str '4'
model.fit(X, LABELS, **FIT, batch_size=True)
    TypeError: Sequential.fit: expected batch_size as an integer, got bool True
model.fit(X, LABELS, **FIT, metrics="accuracy")
    TypeError: Sequential.fit: expected metrics as a list of names, got ...'accuracy'
model.fit(X, LABELS, **FIT, metrics=None)
    TypeError: Sequential.fit: expected metrics as a list of names, got ...None
model.fit(X, LABELS, **FIT, metrics=["acuracy"])
    ValueError: Sequential.fit: unknown metric 'acuracy'; did you mean 'accuracy'?
model.fit(X, LABELS, **FIT, metrics=[len])
    TypeError: Sequential.fit: expected metric 'len' to take (prediction, target, sample_weight): too many...
model.fit(X, LABELS, **FIT, metrics=[lambda prediction, target: 0])
    TypeError: Sequential.fit: expected metric '<lambda>' to take (prediction, target, sample_weight): too many...
model.fit(X, LABELS, **FIT, metrics=[3])
    TypeError: Sequential.fit: expected metric as a name such as 'accuracy', an object such as ..., got 3
model.fit(X, LABELS, **FIT, metrics=[dg.metrics.TopK])
    TypeError: Sequential.fit: expected metric as a name such as 'accuracy', an object such as ..., got <class...
model.fit(X, LABELS, **FIT, metrics=["xyz"])
    ValueError: Sequential.fit: unknown metric 'xyz'; choose from accuracy, precision, ...
model.fit(X, LABELS, **FIT, metrics=[dg.metrics.F1(), dg.metrics.F1("binary")])
    ValueError: Sequential.fit: expected metrics of different names, got two called 'f1'
model.fit(X, LABELS, **FIT, metrics=[loss])
    ValueError: Sequential.fit: expected a metric of another name than loss and seconds, got 'loss'
model.fit(X, LABELS, **FIT, metrics=["mae"])
    ValueError: mae: expected target of shape (5, 3), got (5,)
model.fit(X, SOFT, **FIT, metrics=["mae"], validation_data=(X, LABELS))
    ValueError: mae: expected target of shape (5, 3), got (5,)
model.fit(X, LABELS, **FIT, metrics=[dg.metrics.Recall("binary")])
    ValueError: recall: average='binary' expects one output or two classes, got 3 classes; give Recall(average='macro')
model.fit(X, LABELS, **FIT, metrics=[dg.metrics.confusion_matrix])
    TypeError: metric 'confusion_matrix': expected a number, got ndarray
model.fit(X, SOFT, loss="binary_cross_entropy_with_logits", optimizer=dg.SGD(0.1), metrics=["top_2_accuracy"])
    ValueError: top_2_accuracy: expected labels of shape (5,) and at least 2 outputs, got shape (5, 3) and 3
model.evaluate(X, LABELS, loss="cross_entropy", metrics=["roc_uac"])
    ValueError: Sequential.evaluate: unknown metric 'roc_uac'; did you mean 'roc_auc'?
model.evaluate(X, LABELS, loss="cross_entropy", metrics=[dg.metrics.confusion_matrix])
    TypeError: metric 'confusion_matrix': expected a number, got ndarray
model.fit(X, LABELS, **FIT, validation_data=X)
    TypeError: Sequential.fit: expected validation_data as (x, y) or (x, y, sample_weight), got ...ndarray...
model.fit(X, LABELS, **FIT, validation_data=(X,))
    TypeError: Sequential.fit: expected validation_data as (x, y) or (x, y, sample_weight), got ...tuple...
model.fit(X, LABELS, **FIT, validation_data={"x": X})
    TypeError: Sequential.fit: expected validation_data as (x, y) or (x, y, sample_weight), got ...dict...
model.fit(X, LABELS, **FIT, epoch=3)
    TypeError: ...'epoch'...

dg.Trainer(model, "hinge", dg.SGD(0.1))
    ValueError: Trainer: unknown loss 'hinge'; ...
dg.Trainer("model", "mse", dg.SGD(0.1))
    TypeError: Trainer: expected model..., got ...'model'
model.evaluate(X, LABELS, loss="ms")
    ValueError: Sequential.evaluate: unknown loss 'ms'; did you mean 'mse'?
model.evaluate(X, LABELS, loss="mse", metrics="accuracy")
    TypeError: Sequential.evaluate: expected metrics as a list of names, got ...'accuracy'
model.trace(X, LABELS, "ms")
    ValueError: Sequential.trace: unknown loss 'ms'; did you mean 'mse'?
dg.check_gradients(model, X, LABELS, "ms")
    ValueError: check_gradients: unknown loss 'ms'; did you mean 'mse'?
model.backward(np.zeros((5, 2)))
    ValueError: Sequential.backward: expected dy of shape (batch, 3), got (5, 2)
model.backward(np.full((5, 3), NAN))
    ValueError: Sequential.backward: expected finite dy, got nan at row 0, column 0
model.save(3)
    TypeError: ...PathLike...
dg.load(None)
    TypeError: ...PathLike...
dg.use_backend("nmpy")
    ValueError: use_backend: ...'nmpy'...
dg.metrics.accuracy([[0.5, 0.5]], [1, 2])
    ValueError: accuracy: expected target of shape (1, 2) or (1,), got (2,)
dg.metrics.accuracy(np.empty((0, 2)), [])
    ValueError: accuracy: expected prediction with at least 1 row, got 0
dg.metrics.TopK(0)
    ValueError: TopK: expected k >= 1, got 0
model.fit(X, LABELS, **FIT, metrics=["top_0_accuracy"])
    ValueError: TopK: expected k >= 1, got 0
dg.metrics.TopK(2.0)
    TypeError: TopK: expected k as an integer, got float 2.0
dg.metrics.F1("marco")
    ValueError: F1: unknown average 'marco'; did you mean 'macro'...
dg.metrics.F1(None)
    TypeError: F1: expected average as a name (auto, binary, macro, micro, weighted), got NoneType None
dg.metrics.F1()([[0.1, 0.9]], [2])
    ValueError: f1: expected labels 0 to 1, got 2 at row 0
dg.metrics.F1()([0.1, 0.9], [1, 2])
    ValueError: f1: expected target between 0 and 1, got 2 at row 1
dg.metrics.F1()([[[0.1]]], [1])
    ValueError: f1: expected prediction of shape (batch, outputs), got (1, 1, 1)
dg.metrics.F1()(np.empty((3, 0)), [1, 1, 1])
    ValueError: f1: expected prediction of shape (batch, outputs), got (3, 0)
dg.metrics.roc_auc([[0.1, 0.9]], [1, 0])
    ValueError: roc_auc: expected target of shape (1, 2) or (1,), got (2,)
dg.metrics.roc_auc([], [])
    ValueError: roc_auc: expected prediction with at least 1 row, got 0
dg.metrics.roc_auc([0.1], [NAN])
    ValueError: roc_auc: expected finite target, got nan at row 0
dg.metrics.roc_auc([0.1, 0.2], [0, 1], [-1, 1])
    ValueError: roc_auc: expected sample_weight >= 0, got -1 at row 0
dg.metrics.confusion_matrix([[0.1, 0.9]], [[0, 1]])
    ValueError: confusion_matrix: expected labels of shape (1,), got (1, 2)
dg.metrics.r2([[0.1, 0.9]], [1])
    ValueError: r2: expected target of shape (1, 2), got (1,)
dg.metrics.mae([0.1], [[1], [2]])
    ValueError: mae: expected target of shape (1, 1) or (1,), got (2, 1)
dg.metrics.rmse(["a"], [1])
    TypeError: rmse: expected prediction of real numbers, got dtype <U1...
dg.metrics.rmse([1.0], [1], [0])
    ValueError: rmse: expected a sample_weight with a positive sum, got 1 zeros

dg.ops.dense_forward(X, np.ones((3, 4)))
    ValueError: dense_forward: expected w of shape (2, any), got (3, 4)
dg.ops.dense_forward(X, np.ones((2, 4)), np.ones(3))
    ValueError: dense_forward: expected b of shape (4,), got (3,)
dg.ops.dense_forward(np.ones(2), np.ones((2, 4)))
    ValueError: dense_forward: expected x of shape (any, any), got (2,)
dg.ops.dense_forward([["a"]], [[1]])
    TypeError: dense_forward: expected x of real numbers, got dtype <U1...
dg.ops.dense_forward([[NAN]], [[1]])
    ValueError: dense_forward: expected finite x, got nan at row 0, column 0
dg.ops.dense_forward(X, np.ones((2, 4)), out=np.ones((5, 3)))
    ValueError: dense_forward: expected out of shape (5, 4) and dtype float64, got (5, 3) and float64
dg.ops.dense_forward(X, np.ones((2, 4)), out=np.ones((5, 4), "f4"))
    ValueError: dense_forward: expected out of shape (5, 4) and dtype float64, got (5, 4) and float32
dg.ops.dense_forward(X, np.ones((2, 4)), out=np.ones((4, 5)).T)
    ValueError: dense_forward: expected out contiguous and writeable...
dg.ops.dense_forward(X, np.ones((2, 4)), out=[0.0])
    TypeError: dense_forward: expected out as a float32 or float64 array..., got ...list...
dg.ops.dense_backward(np.ones((5, 3)), X, np.ones((2, 4)))
    ValueError: dense_backward: expected dz of shape (5, 4), got (5, 3)
dg.ops.dense_backward(np.ones((5, 4)), X, np.ones((2, 4)), out=(np.ones((5, 2)),))
    ValueError: dense_backward: expected out as three arrays (dx, dw, db), got 1
dg.ops.activation_forward("rleu", [1.0])
    ValueError: activation_forward: unknown activation 'rleu'; did you mean 'relu'?
dg.ops.activation_forward("relu", 1.0)
    ValueError: activation_forward: expected z with at least one axis...
dg.ops.activation_forward("softmax", np.empty((3, 0)))
    ValueError: activation_forward: expected z with at least one axis..., got ...(3, 0)
dg.ops.activation_forward("relu", ["a"])
    TypeError: activation_forward: expected z of real numbers, got dtype <U1...
dg.ops.activation_forward("relu", [1.0], slope=0.1)
    TypeError: activation_forward: relu has no attribute 'slope'; it takes none
dg.ops.activation_forward("leaky_relu", [1.0], slope=-1)
    ValueError: activation_forward: expected a finite slope >= 0, got -1
dg.ops.activation_backward("relu", [1.0, 2.0], [1.0], [1.0])
    ValueError: activation_backward: expected dy of shape (1,), got (2,)
dg.ops.loss("ms", [[1.0]], [[1.0]])
    ValueError: loss: unknown loss 'ms'; did you mean 'mse'?
dg.ops.loss("mse", [[1.0]], [[1.0]], delta=1)
    TypeError: loss: mse has no attribute 'delta'; it takes none
dg.ops.loss("huber", [[1.0]], [[1.0]], delta=0)
    ValueError: loss: expected a finite delta > 0, got 0
dg.ops.loss("huber", [[1.0]], [[1.0]], delta=INF)
    ValueError: loss: expected a finite delta > 0, got inf
dg.ops.loss("quantile", [[1.0]], [[1.0]], q=1)
    ValueError: loss: expected a finite q > 0 and < 1, got 1
dg.ops.loss("quantile", [[1.0]], [[1.0]], q=NAN)
    ValueError: loss: expected a finite q > 0 and < 1, got nan
dg.ops.loss("cross_entropy", [[1.0, 2.0]], [0], label_smoothing=-0.1)
    ValueError: loss: expected a finite label_smoothing >= 0 and <= 1, got -0.1
dg.ops.loss("mse", [1.0], [1.0])
    ValueError: loss: expected prediction of shape (any, any), got (1,)
dg.ops.loss("mse", np.ones((0, 2)), np.ones((0, 2)))
    ValueError: loss: expected prediction with at least 1 row, got 0
dg.ops.sgd_update([1.0], [1.0], 0.1)
    TypeError: optimizer_update: expected parameters as a float32 or float64 array..., got ...list...
dg.ops.sgd_update(np.ones(2, "int64"), [1, 1], 0.1)
    TypeError: optimizer_update: expected parameters as a float32 or float64 array..., got ...int64...
dg.ops.sgd_update(np.ones(2), np.ones(3), 0.1)
    ValueError: optimizer_update: expected gradients of shape (2,), got (3,)
dg.ops.sgd_update(np.ones(4)[::2], np.ones(2), 0.1)
    ValueError: optimizer_update: expected parameters contiguous and writeable...
dg.ops.sgd_update(np.ones(2), np.ones(2), -1)
    ValueError: optimizer_update: expected a finite lr >= 0, got -1
dg.ops.sgd_update(np.ones(2), np.ones(2), NAN)
    ValueError: optimizer_update: expected a finite lr >= 0, got nan
dg.ops.optimizer_update("sdg", np.ones(2), np.ones(2), None, 0, 0.1)
    ValueError: optimizer_update: unknown optimizer 'sdg'; did you mean 'sgd'?
dg.ops.optimizer_update("adam", np.ones(2), np.ones(2), None, 0, 0.1)
    TypeError: optimizer_update: adam expects a state of shape (2, 2), got None
dg.ops.optimizer_update("adam", np.ones(2), np.ones(2), np.ones((2, 3)), 0, 0.1)
    ValueError: optimizer_update: expected state of shape (2, 2), got (2, 3)
dg.ops.optimizer_update("adam", np.ones(2), np.ones(2), np.ones((2, 2), "f4"), 0, 0.1)
    TypeError: optimizer_update: expected state ...float64...
dg.ops.optimizer_update("adam", np.ones(2), np.ones(2), np.zeros((2, 2)), 0, 0.1, beta3=0.5)
    TypeError: optimizer_update: adam has no attribute 'beta3'; it takes beta1, beta2, eps, weight_decay
dg.ops.optimizer_update("sgd", np.ones(2), np.ones(2), None, -1, 0.1)
    ValueError: optimizer_update: expected step >= 0, got -1
"""

PAIRS = re.findall(r"^(\S.*)\n    (\w+): (.*)$", BAD_CALLS, re.MULTILINE)


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case[0])
def test_a_wrong_argument_is_refused_in_plain_words(backend, case):
    call, error, message = case
    names = {**globals(), "model": model_for()}
    refuses(
        names["model"],
        {"ValueError": ValueError, "TypeError": TypeError}[error],
        message,
        lambda: eval(call, names),
    )
    assert FIT["optimizer"].steps == 0


def test_no_line_of_the_table_is_overlooked():
    assert 2 * len(PAIRS) == len([line for line in BAD_CALLS.splitlines() if line])


def test_read_only_parameters_are_not_updated_in_place(backend):
    w = np.ones(3)
    w.flags.writeable = False
    with pytest.raises(ValueError, match="expected parameters contiguous and writeable"):
        dg.ops.sgd_update(w, np.ones(3), 0.1)
    np.testing.assert_array_equal(w, np.ones(3))


def test_weights_and_parameters_are_set_in_place_only(backend):
    model = model_for()
    before = state(model)
    with pytest.raises(ValueError, match="broadcast"):
        model.layers[0].w[...] = np.ones((3, 5))
    with pytest.raises(AttributeError):
        model.layers[0].w = np.ones((2, 4))
    with pytest.raises(AttributeError):
        model.parameters = np.ones(27)
    assert state(model) == before


def test_every_backend_tells_a_mistake_in_the_same_words():
    told = []
    for name in dg.available_backends():
        with dg.use_backend(name):
            messages = []
            for x, error, _ in BAD_X:
                with pytest.raises(error) as caught:
                    X_DOORS["Trainer.step"](model_for(), x)
                messages.append(str(caught.value))
            told.append(messages)
    assert all(messages == told[0] for messages in told)
