"""The ops through ``dg.ops``: each against an oracle that owes nothing to the library."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import special, stats

import densegrad as dg
from densegrad._base.primitives import PRIMITIVES, names

ACTIVATIONS = names("activation")
LOSSES = [  # each with its defaults, then with other attributes
    *((name, {}) for name in names("loss")),
    ("huber", {"delta": 0.3}),
    ("quantile", {"q": 0.9}),
    ("cross_entropy", {"label_smoothing": 0.1}),
    ("cross_entropy", {"label_smoothing": 1.0}),
]

SHAPES = [  # batch, in_features, out_features: ones, primes, around vectors and register tiles, one long sum
    (1, 1, 1),
    (1, 7, 1),
    (2, 3, 5),
    (7, 11, 13),
    (13, 1, 29),
    (14, 32, 64),
    (15, 33, 17),
    (17, 65, 33),
    (31, 16, 97),
    (64, 784, 10),
    (129, 100, 1),
    (40, 1300, 70),
    (260, 40, 300),
]


def sigmoid(t):
    """As special.expit, but not 0 before exp(t) is."""
    return np.exp(np.minimum(t, 0)) / (1 + np.exp(-np.abs(t)))


def gelu_exponent(z):
    """t of y = z (1 + tanh(t / 2)) / 2, in the approximation of gelu."""
    return np.sqrt(8 / np.pi) * (z + 0.044715 * z**3)


def log_softmax(z):
    """y_j = -log(1 + the sum over k != j of exp(z_k - z_j)), which also has its places where y_j is near 0."""
    powers = np.exp(z[..., None, :] - z[..., :, None])
    return -np.log1p(np.where(np.eye(z.shape[-1], dtype=bool), 0, powers).sum(axis=-1))


ORACLES = {  # at the default attributes
    "identity": lambda z: z,
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "relu": lambda z: np.where(z > 0, z, 0.0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0))),
    "softplus": lambda z: np.logaddexp(z, 0),
    "swish": lambda z: np.maximum(z, -2000) * sigmoid(z),
    "gelu": lambda z: np.maximum(z, -200) * special.ndtr(z),
    "gelu_tanh": lambda z: np.maximum(z, -200) * sigmoid(gelu_exponent(z)),
    "mish": lambda z: np.maximum(z, -2000) * np.tanh(np.logaddexp(z, 0)),
    "softsign": lambda z: np.clip(z, -1e300, 1e300) / (1 + np.abs(np.clip(z, -1e300, 1e300))),
    "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) / 6,
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "hard_swish": lambda z: np.maximum(z, -3) * (np.clip(z + 3, 0, 6) / 6),
    "softmax": lambda z: special.softmax(z, axis=-1),
    "log_softmax": log_softmax,
}


# ---- dense


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dense_forward_is_exact_on_small_integers(backend, dtype, rng, shape):
    batch, in_features, out_features = shape
    x = rng.integers(-4, 5, (batch, in_features))
    w = rng.integers(-4, 5, (in_features, out_features))
    b = rng.integers(-9, 10, out_features)
    z = dg.ops.dense_forward(x.astype(dtype), w.astype(dtype), b.astype(dtype))
    assert z.dtype == dtype
    np.testing.assert_array_equal(z, x @ w + b)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dense_backward_is_exact_on_small_integers(backend, dtype, rng, shape):
    batch, in_features, out_features = shape
    x = rng.integers(-4, 5, (batch, in_features))
    w = rng.integers(-4, 5, (in_features, out_features))
    dz = rng.integers(-4, 5, (batch, out_features))
    dx, dw, db = dg.ops.dense_backward(dz.astype(dtype), x.astype(dtype), w.astype(dtype))
    assert dx.dtype == dw.dtype == db.dtype == dtype
    np.testing.assert_array_equal(dx, dz @ w.T)
    np.testing.assert_array_equal(dw, x.T @ dz)
    np.testing.assert_array_equal(db, dz.sum(axis=0))


def assert_product(got, a, b, plus=0.0):
    """|got - (a b + plus)| <= 2 k eps (|a| |b| + |plus|), the sum of k products and one addition."""
    eps = np.finfo(got.dtype).eps
    wide = np.longdouble
    exact = a.astype(wide) @ b.astype(wide) + plus
    bound = np.abs(a).astype(wide) @ np.abs(b).astype(wide) + np.abs(plus)
    assert (np.abs(got.astype(wide) - exact) <= 2 * (a.shape[1] + 1) * eps * bound).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dense_errors_stay_within_the_bound_of_their_sums(backend, dtype, rng, shape):
    batch, in_features, out_features = shape
    x = rng.normal(size=(batch, in_features)).astype(dtype)
    w = rng.normal(size=(in_features, out_features)).astype(dtype)
    b = rng.normal(size=out_features).astype(dtype)
    dz = rng.normal(size=(batch, out_features)).astype(dtype)
    assert_product(dg.ops.dense_forward(x, w, b), x, w, b)
    dx, dw, db = dg.ops.dense_backward(dz, x, w)
    assert_product(dx, dz, w.T)
    assert_product(dw, x.T, dz)
    assert_product(db[None, :], np.ones((1, batch), dtype), dz)


def test_dense_forward_without_bias_is_the_product(backend, dtype, rng):
    x = rng.integers(-4, 5, (5, 3)).astype(dtype)
    w = rng.integers(-4, 5, (3, 7)).astype(dtype)
    np.testing.assert_array_equal(dg.ops.dense_forward(x, w), x @ w)
    np.testing.assert_array_equal(dg.ops.dense_forward(x, w, None), x @ w)


def test_dense_of_no_rows_has_no_rows_and_zero_gradients(backend, dtype):
    w = np.ones((3, 2), dtype)
    empty = np.empty((0, 3), dtype)
    assert dg.ops.dense_forward(empty, w, np.ones(2, dtype)).shape == (0, 2)
    dx, dw, db = dg.ops.dense_backward(np.empty((0, 2), dtype), empty, w)
    assert dx.shape == (0, 3)
    np.testing.assert_array_equal(dw, np.zeros((3, 2)))
    np.testing.assert_array_equal(db, np.zeros(2))


def test_dense_writes_out_and_returns_it(backend, dtype, rng):
    x, w, b, dz = (rng.integers(-4, 5, shape).astype(dtype) for shape in [(5, 3), (3, 7), (7,), (5, 7)])
    out = np.full((5, 7), np.nan, dtype)
    assert dg.ops.dense_forward(x, w, b, out=out) is out
    np.testing.assert_array_equal(out, x @ w + b)
    outs = tuple(np.full(shape, np.nan, dtype) for shape in [(5, 3), (3, 7), (7,)])
    returned = dg.ops.dense_backward(dz, x, w, out=outs)
    assert all(a is b for a, b in zip(returned, outs, strict=True))
    for got, expected in zip(outs, (dz @ w.T, x.T @ dz, dz.sum(axis=0)), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("place", range(5))
def test_an_out_that_overlaps_another_array_is_refused_or_right(backend, dtype, rng, place):
    x, w, dz = rng.integers(-4, 5, (3, 6, 6)).astype(dtype)
    expected = [(x @ w,), (x @ w,), *[(dz @ w.T, x.T @ dz, dz.sum(axis=0))] * 3]
    db = np.empty(6, dtype)
    calls = [
        lambda: dg.ops.dense_forward(x, w, out=x),
        lambda: dg.ops.dense_forward(x, w, out=w),
        lambda: dg.ops.dense_backward(dz, x, w, out=(dz, np.empty_like(w), db)),
        lambda: dg.ops.dense_backward(dz, x, w, out=(np.empty_like(x), w, db)),
        lambda: dg.ops.dense_backward(dz, x, w, out=(x, np.empty_like(w), db)),
    ]
    try:
        got = calls[place]()
    except ValueError:
        return
    for a, b in zip(got if isinstance(got, tuple) else (got,), expected[place], strict=True):
        np.testing.assert_array_equal(a, b)


def test_ops_compute_in_float32_where_every_array_is_and_in_float64_otherwise(backend):
    narrow, wide = np.ones((2, 2), "float32"), np.ones((2, 2))
    assert dg.ops.dense_forward(narrow, narrow).dtype == "float32"
    assert dg.ops.dense_forward(narrow, wide).dtype == "float64"
    assert dg.ops.dense_forward([[1, 2]], [[1], [2]]).dtype == "float64"
    assert dg.ops.activation_forward("relu", narrow).dtype == "float32"


def test_big_endian_float32_counts_as_float32(backend):
    swapped = np.ones((2, 2), ">f4")
    assert dg.ops.dense_forward(swapped, swapped).dtype == "float32"


# ---- activations, forward


def test_every_activation_has_an_oracle_here():
    assert sorted(ORACLES) == sorted(ACTIVATIONS)


def grid(dtype):
    """Numbers over the whole useful range of z: dense near 0, every magnitude, both signs."""
    magnitudes = 10.0 ** np.arange(-44, 5, 0.25)
    steps = np.concatenate([np.linspace(0, 20, 8001), np.linspace(20, 110, 3001), magnitudes])
    return np.concatenate([-steps, steps]).astype(dtype)


def oracle_error(name, z, exact):
    """What rounding an exponent costs SciPy, and our NumPy twin, in the tails of gelu and its approximation."""
    z = z.astype("float64")
    exponent = {"gelu": z**2, "gelu_tanh": 2 * np.abs(gelu_exponent(z))}
    return np.abs(exact) * exponent[name] * 2.0**-52 if name in exponent else 0.0


def assert_within_ulps(got, exact, ulp, also=0.0):
    """Within ``ulp`` units of float32, in float64 1e-14 for each 4 of them; below the smallest normal 0 will do."""
    if got.dtype == "float32":
        allowed = ulp * np.spacing(np.abs(exact).astype("float32")).astype("float64")
    else:
        allowed = np.abs(exact) * 1e-14 * ulp / 4
    allowed = allowed + also + (np.finfo(got.dtype).tiny if ulp else 0)
    error = np.abs(got.astype("float64") - exact)
    worst = np.argmax(error - allowed)
    assert (error <= allowed).all(), f"got {got.flat[worst]!r}, expected {exact.flat[worst]!r}"


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if not PRIMITIVES[name].by_row])
def test_elementwise_activations_are_within_their_ulps_over_the_whole_range(backend, dtype, name):
    z = grid(dtype)
    y = dg.ops.activation_forward(name, z)
    assert y.dtype == dtype
    exact = ORACLES[name](z.astype("float64"))
    assert_within_ulps(y, exact, PRIMITIVES[name].ulp, also=oracle_error(name, z, exact))


@pytest.mark.parametrize("width", [1, 2, 3, 10, 17, 33, 100])
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if PRIMITIVES[name].by_row])
def test_row_activations_are_within_their_ulps_and_the_rounding_of_z(backend, dtype, rng, name, width):
    for spread in (1.0, 10.0, 100.0):
        z = rng.uniform(-spread, spread, (23, width)).astype(dtype)
        wide = z.astype("float64")
        exact = ORACLES[name](wide)
        rounding = (wide.max(axis=-1, keepdims=True) - wide) * np.finfo(dtype).eps  # of z - max z
        if name == "log_softmax":  # of those z, as far as they make the sum
            others = np.where(rounding == 0, 0, special.softmax(wide, axis=-1))
            rounding = (others * rounding).sum(axis=-1, keepdims=True) / (others.sum(axis=-1, keepdims=True) + 1e-300)
        y = dg.ops.activation_forward(name, z)
        assert_within_ulps(y, exact, PRIMITIVES[name].ulp, also=np.abs(exact) * rounding)
        probabilities = np.exp(y) if name == "log_softmax" else y
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=8 * width * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if PRIMITIVES[name].ulp == 0])
def test_exact_activations_give_the_exact_bits(backend, dtype, rng, name):
    z = rng.normal(size=(7, 33)).astype(dtype)
    np.testing.assert_array_equal(dg.ops.activation_forward(name, z), ORACLES[name](z).astype(dtype))


EXTREMES = [0.0, -0.0, 1e-8, -1e-8, 20.0, -20.0, 100.0, -100.0, 1e3, -1e3, 1e4, -1e4, np.inf, -np.inf]


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if not PRIMITIVES[name].by_row])
def test_extreme_z_gives_the_mathematical_limit(backend, dtype, name):
    z = np.array(EXTREMES, dtype)
    y = dg.ops.activation_forward(name, z)
    finite = np.isfinite(z)
    exact = ORACLES[name](z.astype("float64"))
    also = oracle_error(name, z[finite], exact[finite])
    assert_within_ulps(y[finite], exact[finite], PRIMITIVES[name].ulp, also)
    limits = {
        "identity": (-np.inf, np.inf),
        "sigmoid": (0, 1),
        "tanh": (-1, 1),
        "relu": (0, np.inf),
        "leaky_relu": (-np.inf, np.inf),
        "elu": (-1, np.inf),
        "selu": (-np.array(1.7580993408473768, dtype), np.inf),
        "softplus": (0, np.inf),
        "swish": (0, np.inf),
        "gelu": (0, np.inf),
        "gelu_tanh": (0, np.inf),
        "mish": (0, np.inf),
        "softsign": (-1, 1),
        "hard_sigmoid": (0, 1),
        "hard_tanh": (-1, 1),
        "hard_swish": (0, np.inf),
    }
    low, high = limits[name]
    assert y[-1] == low
    assert y[-2] == high


def test_saturated_sigmoid_and_tanh_are_exactly_their_limit(backend, dtype):
    z = np.array([1e3, 1e4, -1e3, -1e4], dtype)
    np.testing.assert_array_equal(dg.ops.activation_forward("sigmoid", z), [1, 1, 0, 0])
    np.testing.assert_array_equal(dg.ops.activation_forward("tanh", z), [1, 1, -1, -1])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0.0, 0.0], [0.5, 0.5]),
        ([1e4, -1e4], [1, 0]),
        ([1e4, 1e4, 0.0, 1e4], [1 / 3, 1 / 3, 0, 1 / 3]),
        ([-1e4, -1e4], [0.5, 0.5]),
        ([1e3, 0.0, -1e3], [1, 0, 0]),
        ([0.0, np.inf, 5.0], [0, 1, 0]),
        ([-np.inf, np.inf, 1e4], [0, 1, 0]),
        ([0.0, -np.inf, 0.0], [0.5, 0, 0.5]),
        ([7.0], [1]),
        ([np.inf], [1]),
    ],
    ids=str,
)
def test_softmax_of_extreme_rows_is_the_limit(backend, dtype, row, expected):
    y = dg.ops.activation_forward("softmax", np.array([row, row], dtype))
    np.testing.assert_allclose(y, [expected, expected], rtol=4 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0.0, 0.0], [-np.log(2), -np.log(2)]),
        ([1e4, -1e4], [0, -2e4]),
        ([1e4, 1e4, 0.0, 1e4], [-np.log(3), -np.log(3), -1e4 - np.log(3), -np.log(3)]),
        ([40.0, 0.0], [-np.exp(-40), -40]),
        ([0.0, np.inf, 5.0], [-np.inf, 0, -np.inf]),
        ([0.0, -np.inf, 0.0], [-np.log(2), -np.inf, -np.log(2)]),
        ([7.0], [0]),
        ([np.inf], [0]),
    ],
    ids=str,
)
def test_log_softmax_of_extreme_rows_is_the_limit(backend, dtype, row, expected):
    y = dg.ops.activation_forward("log_softmax", np.array([row, row], dtype))
    np.testing.assert_allclose(y, [expected, expected], rtol=4 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_in_gives_nan_out_and_harms_no_other_row(backend, dtype, rng, name):
    z = rng.normal(size=(3, 19)).astype(dtype)
    clean = dg.ops.activation_forward(name, z)
    z[1, 4] = np.nan
    y = dg.ops.activation_forward(name, z)
    spoilt = np.zeros(z.shape, bool)
    spoilt[1, slice(None) if PRIMITIVES[name].by_row else 4] = True
    assert np.isnan(y[spoilt]).all()
    np.testing.assert_array_equal(y[~spoilt], clean[~spoilt])


@pytest.mark.parametrize("shape", [(1,), (5,), (33,), (2, 3), (2, 3, 4), (0, 3)], ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_take_any_shape(backend, dtype, rng, name, shape):
    z = rng.normal(size=shape).astype(dtype)
    y = dg.ops.activation_forward(name, z)
    assert y.shape == shape
    flat = z.reshape(-1, shape[-1])
    np.testing.assert_array_equal(y.reshape(flat.shape), dg.ops.activation_forward(name, flat))
    assert dg.ops.activation_backward(name, np.ones_like(z), z, y).shape == shape


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_forward_writes_out_and_leaves_z(backend, dtype, rng, name):
    z = rng.normal(size=(4, 21)).astype(dtype)
    before, out = z.copy(), np.full_like(z, np.nan)
    assert dg.ops.activation_forward(name, z, out=out) is out
    np.testing.assert_array_equal(out, dg.ops.activation_forward(name, z))
    np.testing.assert_array_equal(z, before)
    assert not np.shares_memory(dg.ops.activation_forward(name, z), z)


# ---- activations, backward


def away_from_kinks(rng, shape):
    """Numbers no closer than 0.01 to where ReLU and its kin have their kinks."""
    z = rng.uniform(-4, 4, shape)
    for kink in (-3, -1, 0, 1, 3):
        z = np.where(np.abs(z - kink) < 0.01, 0.5, z)
    return z


def differences(function, p):
    """Central differences of a scalar function, in float64."""
    gradient, h = np.empty_like(p), 6e-6
    for place in np.ndindex(p.shape):
        above, below = p.copy(), p.copy()
        above[place] += h
        below[place] -= h
        gradient[place] = (function(above) - function(below)) / (2 * h)
    return gradient


@pytest.mark.parametrize("shape", [(1, 1), (4, 3), (2, 17)], ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_backward_agrees_with_central_differences(backend, dtype, rng, name, shape):
    z = away_from_kinks(rng, shape).astype(dtype).astype("float64")
    dy = rng.normal(size=shape).astype(dtype).astype("float64")
    expected = differences(lambda z: float((dy * ORACLES[name](z)).sum()), z)
    dz = dg.ops.activation_backward(name, dy.astype(dtype), z.astype(dtype), ORACLES[name](z).astype(dtype))
    assert dz.dtype == dtype
    np.testing.assert_allclose(dz, expected, rtol=0, atol=1e-8 if dtype == "float64" else 2e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_backward_reads_only_what_the_table_says(backend, dtype, rng, name):
    z = away_from_kinks(rng, (5, 18)).astype(dtype)
    dy = rng.normal(size=z.shape).astype(dtype)
    y = dg.ops.activation_forward(name, z)
    expected = dg.ops.activation_backward(name, dy, z, y)
    nothing = np.full_like(z, np.nan)
    reads = PRIMITIVES[name].reads
    got = dg.ops.activation_backward(name, dy, z if "z" in reads else nothing, y if "y" in reads else nothing)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_backward_may_write_over_dy(backend, dtype, rng, name):
    z = away_from_kinks(rng, (5, 18)).astype(dtype)
    dy, y = rng.normal(size=z.shape).astype(dtype), dg.ops.activation_forward(name, z)
    expected = dg.ops.activation_backward(name, dy, z, y)
    assert dg.ops.activation_backward(name, dy, z, y, out=dy) is dy
    np.testing.assert_array_equal(dy, expected)


def test_relu_backward_is_exact_and_zero_at_zero(backend, dtype):
    z = np.array([-1.0, -0.0, 0.0, 1e-30, 2.0], dtype)
    dy = np.array([3.0, 3, 3, 3, -7], dtype)
    y = dg.ops.activation_forward("relu", z)
    np.testing.assert_array_equal(dg.ops.activation_backward("relu", dy, z, y), [0, 0, 0, 3, -7])


KINKS = {  # name: z, slope there; PyTorch takes the same side of each kink
    "leaky_relu": ([-1, 0, 1], [0.01, 0.01, 1]),
    "elu": ([0, 1], [1, 1]),
    "selu": ([0, 1], [1.7580993408473768, 1.0507009873554805]),
    "hard_sigmoid": ([-4, -3, -2, 2, 3, 4], [0, 0, 1 / 6, 1 / 6, 0, 0]),
    "hard_tanh": ([-2, -1, -0.5, 0.5, 1, 2], [0, 0, 1, 1, 0, 0]),
    "hard_swish": ([-4, -3, -1.5, 0, 3, 4], [0, 0, 0, 0.5, 1, 1]),
}


@pytest.mark.parametrize("name", KINKS)
def test_the_slope_at_a_kink_is_that_of_one_side(backend, dtype, name):
    z, slopes = np.array(KINKS[name][0], dtype), KINKS[name][1]
    y = dg.ops.activation_forward(name, z)
    got = dg.ops.activation_backward(name, np.ones_like(z), z, y)
    np.testing.assert_allclose(got, slopes, rtol=4 * np.finfo(dtype).eps, atol=0)


def test_elu_with_another_alpha_has_the_slope_alpha_at_zero(backend, dtype):
    z = np.zeros(3, dtype)
    y = dg.ops.activation_forward("elu", z, alpha=0.25)
    np.testing.assert_array_equal(dg.ops.activation_backward("elu", np.ones_like(z), z, y, alpha=0.25), [0.25] * 3)


SHAPED = {  # name: attribute, values, the function
    "leaky_relu": ("slope", [0, 0.2, 1, 3], lambda z, slope: np.where(z > 0, z, slope * z)),
    "elu": ("alpha", [0, 0.5, 2], lambda z, alpha: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))),
    "swish": ("beta", [-2, 0, 0.3, 1.7], lambda z, beta: z * special.expit(beta * z)),
}


def test_every_attribute_of_an_activation_is_tried_here():
    found = {name: [a.name for a in PRIMITIVES[name].attributes] for name in ACTIVATIONS}
    assert {name: [case[0]] for name, case in SHAPED.items()} == {k: v for k, v in found.items() if v}


@pytest.mark.parametrize("name", SHAPED)
def test_an_attribute_shapes_the_curve_and_its_slope(backend, dtype, rng, name):
    attribute, values, function = SHAPED[name]
    z = away_from_kinks(rng, (5, 19)).astype(dtype)
    dy, wide = rng.normal(size=z.shape).astype(dtype), z.astype("float64")
    for value in values:
        given = {attribute: value}
        y = dg.ops.activation_forward(name, z, **given)
        np.testing.assert_allclose(y, function(wide, value), rtol=16 * np.finfo(dtype).eps, atol=0)
        expected = differences(lambda z, value=value: float((dy * function(z, value)).sum()), wide)
        dz = dg.ops.activation_backward(name, dy, z, y, **given)
        np.testing.assert_allclose(dz, expected, rtol=0, atol=1e-8 if dtype == "float64" else 4e-6)


def test_silu_is_another_name_for_swish(backend, dtype, rng):
    z, dy = rng.normal(size=(2, 7, 5)).astype(dtype)
    y = dg.ops.activation_forward("silu", z)
    np.testing.assert_array_equal(y, dg.ops.activation_forward("swish", z))
    expected = dg.ops.activation_backward("swish", dy, z, y)
    np.testing.assert_array_equal(dg.ops.activation_backward("silu", dy, z, y), expected)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softmax"])
def test_the_gradient_of_a_saturated_activation_is_zero(backend, dtype, name):
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    y = dg.ops.activation_forward(name, z)
    np.testing.assert_array_equal(dg.ops.activation_backward(name, np.ones_like(z), z, y), np.zeros((2, 2)))


# ---- losses


def row_losses(name, p, t, delta=1.0, q=0.5, label_smoothing=0.0):
    """The loss of each row, in float64; t is as wide as a target."""
    p = p.astype("float64")
    match name:
        case "mse":
            return ((p - t) ** 2).mean(axis=1)
        case "half_squared_error":
            return ((p - t) ** 2).sum(axis=1) / 2
        case "mae":
            return np.abs(p - t).mean(axis=1)
        case "huber":
            return special.huber(delta, p - t).mean(axis=1)
        case "log_cosh":
            return (np.logaddexp(p - t, t - p) - np.log(2)).mean(axis=1)
        case "quantile":
            return np.maximum(q * (t - p), (q - 1) * (t - p)).mean(axis=1)
        case "poisson":
            return -(stats.poisson.logpmf(t, np.exp(p)) + special.gammaln(t + 1)).mean(axis=1)
        case "gaussian_nll":
            m, s = np.split(p, 2, axis=1)
            return -(stats.norm.logpdf(t, m, np.exp(s / 2)) + np.log(2 * np.pi) / 2).mean(axis=1)
        case "binary_cross_entropy":
            return -(special.xlogy(t, p) + special.xlog1py(1 - t, -p)).mean(axis=1)
        case "binary_cross_entropy_with_logits":
            return -(t * special.log_expit(p) + (1 - t) * special.log_expit(-p)).mean(axis=1)
        case "cross_entropy":
            t = (1 - label_smoothing) * t + label_smoothing / p.shape[1]
            return -(t * special.log_softmax(p, axis=1)).sum(axis=1)
        case "nll":
            return -(t * p).sum(axis=1)
    raise AssertionError(f"no oracle for {name}")


def loss_case(name, rng, dtype, shape):
    """A prediction and a target that suit a loss, exactly representable in ``dtype``."""
    p, t = rng.normal(size=shape), rng.normal(size=shape)
    if name == "binary_cross_entropy":
        p = rng.uniform(0.05, 0.95, shape)
    if PRIMITIVES[name].target == "counts":
        t = rng.poisson(2, shape)
    elif PRIMITIVES[name].target == "probabilities":
        t = rng.uniform(0, 1, shape)
    elif PRIMITIVES[name].target == "classes":
        t = rng.dirichlet(np.ones(shape[1]), shape[0])
    return p.astype(dtype), t[:, : shape[1] // PRIMITIVES[name].predictions].astype(dtype)


def loss_words(case):
    """The name of a test of a loss."""
    if not isinstance(case, dict | str):
        return str(case)
    return case if isinstance(case, str) else ",".join(f"{k}={v}" for k, v in case.items())


@pytest.mark.parametrize("shape", [(1, 2), (5, 3), (17, 33), (64, 10)], ids=str)
@pytest.mark.parametrize(("name", "attributes"), LOSSES, ids=loss_words)
def test_losses_agree_with_their_formula(backend, dtype, rng, name, attributes, shape):
    rows, targets = shape
    p, t = loss_case(name, rng, dtype, (rows, targets * PRIMITIVES[name].predictions))
    value, gradient = dg.ops.loss(name, p, t, **attributes)
    assert isinstance(value, float)
    assert gradient.dtype == dtype
    assert gradient.shape == p.shape
    expected = row_losses(name, p, t.astype("float64"), **attributes).mean()
    assert value == pytest.approx(expected, rel=1e-6 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize(("name", "attributes"), LOSSES, ids=loss_words)
def test_weighted_losses_are_sum_w_l_over_sum_w(backend, dtype, rng, name, attributes):
    p, t = loss_case(name, rng, dtype, (9, 4))
    weights = rng.uniform(0, 3, 9).astype(dtype)
    weights[3] = 0
    wide = weights.astype("float64")
    value, gradient = dg.ops.loss(name, p, t, weights, **attributes)
    expected = (wide * row_losses(name, p, t.astype("float64"), **attributes)).sum() / wide.sum()
    assert value == pytest.approx(expected, rel=1e-6 if dtype == "float32" else 1e-13)
    np.testing.assert_array_equal(gradient[3], np.zeros(4))
    scaled, same = dg.ops.loss(name, p, t, weights * 4, **attributes)
    assert scaled == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(same, gradient, rtol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "attributes"), LOSSES, ids=loss_words)
def test_loss_gradients_agree_with_central_differences(backend, dtype, rng, name, attributes, weighted):
    p, t = loss_case(name, rng, dtype, (4, 6))
    weights = rng.uniform(0.5, 2, 4).astype(dtype) if weighted else None
    shares = np.full(4, 0.25) if weights is None else weights.astype("float64") / weights.sum(dtype="float64")
    target = t.astype("float64")
    expected = differences(lambda p: float(shares @ row_losses(name, p, target, **attributes)), p.astype("float64"))
    gradient = dg.ops.loss(name, p, t, weights, **attributes)[1]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-8 if dtype == "float64" else 2e-6)


@pytest.mark.parametrize("width", [2, 3, 10, 33])
@pytest.mark.parametrize(
    ("name", "attributes"), [case for case in LOSSES if PRIMITIVES[case[0]].target == "classes"], ids=loss_words
)
def test_losses_on_classes_take_labels_one_hot_and_soft_rows_alike(backend, dtype, rng, name, attributes, width):
    p = rng.normal(size=(12, width)).astype(dtype)
    labels = rng.integers(0, width, 12)
    one_hot = np.eye(width, dtype=int)[labels]
    value, gradient = dg.ops.loss(name, p, labels, **attributes)
    assert value == pytest.approx(row_losses(name, p, one_hot, **attributes).mean(), rel=1e-6)
    for target in (labels[:, None], labels.astype(float), one_hot, one_hot.astype(float)):
        same, also = dg.ops.loss(name, p, target, **attributes)
        assert same == pytest.approx(value, rel=1e-6)
        np.testing.assert_allclose(also, gradient, rtol=0, atol=np.finfo(dtype).eps)


def test_cross_entropy_gradient_is_softmax_minus_target_over_the_batch(backend, dtype, rng):
    p, t = loss_case("cross_entropy", rng, dtype, (6, 5))
    expected = (special.softmax(p.astype("float64"), axis=1) - t) / 6
    gradient = dg.ops.loss("cross_entropy", p, t)[1]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    "case",  # logits, target, value, gradient
    [
        ([[1e4, -1e4]], [0], 0.0, [[0, 0]]),
        ([[1e4, -1e4]], [1], 2e4, [[1, -1]]),
        ([[1e4, 1e4, 1e4]], [2], np.log(3), [[1 / 3, 1 / 3, -2 / 3]]),
        ([[-1e4, -1e4]], [0], np.log(2), [[-0.5, 0.5]]),
        ([[1e4, -1e4]], [[0.5, 0.5]], 1e4, [[0.5, -0.5]]),
        ([[1e4, 0.0], [0.0, 1e4]], [0, 0], 5e3, [[0, 0], [-0.5, 0.5]]),
    ],
    ids=str,
)
def test_cross_entropy_of_extreme_logits_is_finite_and_right(backend, dtype, case):
    logits, target, value, gradient = case
    got, slope = dg.ops.loss("cross_entropy", np.array(logits, dtype), target)
    assert got == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(slope, gradient, rtol=1e-6)


@pytest.mark.parametrize(
    "case",  # logit, target, value, gradient
    [
        (1e4, 1, 0, 0),
        (-1e4, 1, 1e4, -1),
        (1e4, 0, 1e4, 1),
        (-1e4, 0, 0, 0),
        (1e4, 0.25, 7500, 0.75),
        (0, 0.5, np.log(2), 0),
    ],
    ids=str,
)
def test_binary_cross_entropy_of_extreme_logits_is_finite_and_right(backend, dtype, case):
    logit, target, value, gradient = case
    got, slope = dg.ops.loss("binary_cross_entropy_with_logits", np.array([[logit]], dtype), [[target]])
    assert got == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(slope, [[gradient]], rtol=1e-6)


EXTREME_LOSSES = [  # name, attributes, p, t, value, gradient
    ("mae", {}, 1e4, -1, 10001, 1),
    ("mae", {}, -np.inf, 1, np.inf, -1),
    ("mae", {}, 2, 2, 0, 0),
    ("huber", {}, 1e4, 0, 1e4 - 0.5, 1),
    ("huber", {"delta": 3.0}, -1e4, 1, 3 * (10001 - 1.5), -3),
    ("huber", {}, np.inf, 0, np.inf, 1),
    ("huber", {}, 1.5, 0.5, 0.5, 1),
    ("huber", {}, 1e-20, 0, 0, 1e-20),
    ("log_cosh", {}, 1e4, 0, 1e4 - np.log(2), 1),
    ("log_cosh", {}, -1e4, 0, 1e4 - np.log(2), -1),
    ("log_cosh", {}, -np.inf, 0, np.inf, -1),
    ("log_cosh", {}, 3, 3, 0, 0),
    ("quantile", {"q": 0.9}, -1e4, 0, 9000, -0.9),
    ("quantile", {"q": 0.9}, 1e4, 0, 1000, 0.1),
    ("quantile", {"q": 0.9}, np.inf, 0, np.inf, 0.1),
    ("quantile", {"q": 0.9}, 7, 7, 0, 0),
    ("poisson", {}, -1e4, 0, 0, 0),
    ("poisson", {}, -1e4, 3, 3e4, -3),
    ("poisson", {}, 1e4, 3, np.inf, np.inf),
    ("poisson", {}, np.inf, 3, np.inf, np.inf),
    ("poisson", {}, -np.inf, 0, 0, 0),
    ("poisson", {}, -np.inf, 1, np.inf, -1),
]


@pytest.mark.parametrize(("p", "t", "value"), [(0, 0, 0), (1, 1, 0), (0, 1, 100), (1, 0, 100)])
def test_binary_cross_entropy_holds_the_logarithm_of_zero_at_minus_100(backend, dtype, p, t, value):
    got, slope = dg.ops.loss("binary_cross_entropy", np.array([[p]], dtype), [[t]])
    assert got == value
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("case", EXTREME_LOSSES, ids=str)
def test_losses_of_extreme_predictions_are_the_limit(backend, dtype, case):
    name, attributes, p, t, value, gradient = case
    got, slope = dg.ops.loss(name, np.array([[p]], dtype), [[t]], **attributes)
    assert got == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(slope, [[gradient]], rtol=1e-6)


@pytest.mark.parametrize(
    "case",  # mean, log-variance, target, value, gradient
    [
        (1, 0, 1, 0, [0, 0.5]),
        (3, np.log(4), 1, np.log(2) + 0.5, [0.5, 0]),
        (1e4, 0, 0, 5e7, [1e4, -5e7]),
        (-np.inf, 0, 0, np.inf, [-np.inf, -np.inf]),
        (1, 1e4, 0, 5e3, [0, 0.5]),
        (1, np.inf, 0, np.inf, [0, 0.5]),
        (1, -1e4, 0, np.inf, [np.inf, -np.inf]),
        (1, -np.inf, 0, np.inf, [np.inf, -np.inf]),
        (1, -1e4, 1, -5e3, [0, 0.5]),
        (1, -np.inf, 1, -np.inf, [0, 0.5]),
    ],
    ids=str,
)
def test_gaussian_nll_of_extreme_predictions_is_the_limit(backend, dtype, case):
    mean, log_variance, target, value, gradient = case
    got, slope = dg.ops.loss("gaussian_nll", np.array([[mean, log_variance]], dtype), [[target]])
    assert got == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(slope, [gradient], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("distance", [1e-15, 1e-10, 1e-6, 1e-3, 0.1, 1, 1.2, 1.3, 5.0, 50.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_log_cosh_keeps_its_precision_near_its_minimum_and_far_from_it(backend, dtype, distance, sign):
    d, eps = np.longdouble(np.array(sign * distance, dtype)), float(np.finfo(dtype).eps)
    value, slope = dg.ops.loss("log_cosh", np.array([[d]], dtype), [[0.0]])
    exact = np.log1p(2 * np.sinh(d / 2) ** 2)
    assert value == pytest.approx(float(exact), rel=8 * eps)
    assert slope[0, 0] == pytest.approx(float(np.tanh(d)), rel=8 * eps)


@pytest.mark.parametrize(  # binary_cross_entropy's predictions are checked: they are probabilities
    ("name", "attributes"), [case for case in LOSSES if case[0] != "binary_cross_entropy"], ids=loss_words
)
def test_a_nan_among_the_predictions_makes_loss_and_gradient_nan(backend, dtype, rng, name, attributes):
    p, t = loss_case(name, rng, dtype, (3, 6))
    t[1, 2] = 0  # which 0 times NaN must not hide
    p[1, 2] = np.nan
    value, gradient = dg.ops.loss(name, p, t if PRIMITIVES[name].target != "classes" else [0, 1, 2], **attributes)
    assert np.isnan(value)
    assert np.isnan(gradient[1, 2])
    assert np.isfinite(gradient[[0, 2]]).all()


@pytest.mark.parametrize(("name", "attributes"), LOSSES, ids=loss_words)
def test_loss_writes_the_gradient_to_out(backend, dtype, rng, name, attributes):
    p, t = loss_case(name, rng, dtype, (6, 10))
    before, out = p.copy(), np.full_like(p, np.nan)
    value, returned = dg.ops.loss(name, p, t, out=out, **attributes)
    expected = dg.ops.loss(name, p, t, **attributes)
    assert returned is out
    assert value == expected[0]
    np.testing.assert_array_equal(out, expected[1])
    np.testing.assert_array_equal(p, before)


# ---- updates


def test_sgd_update_is_within_the_roundings_of_w_minus_lr_dw(backend, dtype, rng):
    w = rng.normal(size=501).astype(dtype)
    dw = rng.normal(size=501).astype(dtype)
    lr = float(np.float32(0.1))
    before = w.copy()
    dg.ops.sgd_update(w, dw, lr)
    for got, old, slope in zip(w, before, dw, strict=True):
        exact = Fraction(float(old)) - Fraction(lr) * Fraction(float(slope))
        product = np.asarray(lr * float(slope), dtype)
        roundings = (Fraction(float(np.spacing(abs(got)))) + Fraction(float(np.spacing(abs(product))))) / 2
        assert abs(Fraction(float(got)) - exact) <= roundings


def test_sgd_update_is_exact_on_small_integers_for_any_length(backend, dtype, rng):
    for size in (0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 1000):
        w, dw = rng.integers(-50, 50, (2, size)).astype(dtype)
        expected, slope = w - dw / 2, dw.copy()
        assert dg.ops.sgd_update(w, dw, 0.5) is None
        np.testing.assert_array_equal(w, expected)
        np.testing.assert_array_equal(dw, slope)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_update_is_the_formula_of_its_paper(backend, dtype, rng, weight_decay):
    """Kingma & Ba (2015), algorithm 1, with an L2 penalty added to the gradient."""
    w = rng.normal(size=(67,)).astype(dtype)
    state = np.zeros((2, 67), dtype)
    exact, m, v = w.astype("longdouble"), np.zeros(67, "longdouble"), np.zeros(67, "longdouble")
    rate, beta1, beta2, eps = 0.01, 0.8, 0.95, 1e-6
    for step in range(12):
        dw = rng.normal(0, 10.0 ** rng.integers(-3, 3), 67).astype(dtype)
        dg.ops.optimizer_update(
            "adam", w, dw, state, step, rate, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay
        )
        g = dw + weight_decay * exact
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1 ** (step + 1)), v / (1 - beta2 ** (step + 1))
        exact = exact - rate * m_hat / (np.sqrt(v_hat) + eps)
    precision = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(w, exact, rtol=0, atol=precision)
    np.testing.assert_allclose(state[0], m, rtol=0, atol=precision * np.abs(m).max())
    np.testing.assert_allclose(state[1], v, rtol=precision)


def test_the_first_step_of_adam_is_one_learning_rate_long(backend, dtype, rng):
    w = rng.normal(size=33).astype(dtype)
    dw = (rng.choice([-1, 1], 33) * 10.0 ** rng.integers(-4, 5, 33)).astype(dtype)
    before = w.copy()
    dg.ops.optimizer_update("adam", w, dw, np.zeros((2, 33), dtype), 0, 0.01)
    np.testing.assert_allclose(w - before, -0.01 * np.sign(dw), rtol=2e-4)  # eps = 1e-8 beside 1e-4


@pytest.mark.parametrize("name", names("optimizer"))
def test_an_update_takes_any_length_and_only_its_own_arrays(backend, dtype, rng, name):
    rows = PRIMITIVES[name].state
    for size in (0, 1, 7, 8, 15, 16, 17, 33, 1000):
        w, dw = rng.normal(size=(2, size)).astype(dtype)
        state = rng.uniform(0.1, 1, (rows, size)).astype(dtype) if rows else None
        one_by_one, states = w.copy(), None if state is None else state.copy()
        slope = dw.copy()
        dg.ops.optimizer_update(name, w, dw, state, 3, 0.1)
        np.testing.assert_array_equal(dw, slope)
        for i in range(min(size, 40)):
            own = None if states is None else np.ascontiguousarray(states[:, i : i + 1])
            dg.ops.optimizer_update(name, one_by_one[i : i + 1], dw[i : i + 1], own, 3, 0.1)
            np.testing.assert_allclose(w[i], one_by_one[i], rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)


def test_optimizer_update_by_name_is_the_named_update(backend, dtype, rng):
    w, dw = rng.normal(size=(2, 65)).astype(dtype)
    other = w.copy()
    dg.ops.sgd_update(w, dw, 0.25)
    dg.ops.optimizer_update("sgd", other, dw, None, 0, 0.25)
    np.testing.assert_array_equal(w, other)


def test_an_update_at_rate_zero_changes_nothing(backend, dtype, rng):
    w, dw = rng.normal(size=(2, 33)).astype(dtype)
    before = w.copy()
    dg.ops.sgd_update(w, dw, 0.0)
    np.testing.assert_array_equal(w, before)
