"""dg.graph against JAX in float64: value, both products, Jacobian and Hessian times a vector of many functions."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax import nn
from jax import numpy as jnp

from densegrad import graph as g

if hasattr(jax, "enable_x64"):
    in_float64 = jax.enable_x64
else:  # where JAX is older
    from jax.experimental import enable_x64 as in_float64

COUNTS = np.array([[0.0, 2.0], [1.0, 3.0], [4.0, 1.0]])
PROBABILITIES = np.array([[0.2, 0.8], [1.0, 0.0], [0.5, 0.5]])
LABELS = np.array([1, 0, 1])
WEIGHTS = np.array([0.5, 2.0, 1.0])


def mean_of(element):
    """The loss of elements, with weights of the rows."""

    def loss(p, t, s=None, **attributes):
        rows = element(p, t, **attributes).mean(axis=1)
        return rows.mean() if s is None else (rows * s).sum() / s.sum()

    return loss


def gaussian_nll(p, t):
    m, s = jnp.split(p, 2, axis=1)
    return (s + (m - t) ** 2 * jnp.exp(-s)) / 2


def cross_entropy(p, t, label_smoothing=0.0):
    rows = nn.one_hot(t, p.shape[1]) if t.ndim == 1 else t
    rows = (1 - label_smoothing) * rows + label_smoothing / p.shape[1]
    return -p.shape[1] * rows * nn.log_softmax(p)


def nll(p, t):
    return -p.shape[1] * nn.one_hot(t, p.shape[1]) * p


JAX = SimpleNamespace(
    **{
        name: getattr(jnp, name)
        for name in (
            *("exp", "log", "sqrt", "sin", "cos", "tanh", "abs", "power", "maximum", "minimum", "clip", "where"),
            *("sum", "mean", "max", "min", "prod", "reshape", "transpose", "broadcast_to", "concatenate", "stack"),
            *("matmul", "negative", "add", "subtract", "multiply", "divide"),
        )
    },
    **{
        name: getattr(nn, name)
        for name in ("relu", "elu", "selu", "softplus", "swish", "sigmoid", "softmax", "log_softmax", "mish")
    },
    identity=lambda z: z,
    leaky_relu=lambda z, slope=0.01: nn.leaky_relu(z, slope),
    gelu=lambda z: nn.gelu(z, approximate=False),
    gelu_tanh=lambda z: nn.gelu(z, approximate=True),
    softsign=nn.soft_sign,
    hard_sigmoid=nn.hard_sigmoid,
    hard_tanh=nn.hard_tanh,
    hard_swish=nn.hard_swish,
    swish_beta=lambda z, beta: z * nn.sigmoid(beta * z),
    dense=lambda x, w, b=0.0: x @ w + b,
    mse=mean_of(lambda p, t: (p - t) ** 2),
    half_squared_error=mean_of(lambda p, t: (p - t) ** 2 * p.shape[1] / 2),
    mae=mean_of(lambda p, t: jnp.abs(p - t)),
    huber=mean_of(
        lambda p, t, delta=1.0: jnp.where(
            jnp.abs(p - t) <= delta, (p - t) ** 2 / 2, delta * (jnp.abs(p - t) - delta / 2)
        )
    ),
    log_cosh=mean_of(lambda p, t: jnp.log(jnp.cosh(p - t))),
    quantile=mean_of(lambda p, t, q=0.5: jnp.maximum(q * (t - p), (q - 1) * (t - p))),
    poisson=mean_of(lambda p, t: jnp.exp(p) - t * p),
    gaussian_nll=mean_of(lambda p, t: gaussian_nll(p, t)[:, : t.shape[1]]),
    binary_cross_entropy=mean_of(lambda p, t: -t * jnp.log(p) - (1 - t) * jnp.log1p(-p)),
    binary_cross_entropy_with_logits=mean_of(lambda p, t: nn.softplus(p) - t * p),
    cross_entropy=mean_of(cross_entropy),
    nll=mean_of(nll),
)
JAX.gaussian_nll = lambda p, t: gaussian_nll(p, t).mean()


def looped(m, a):
    for _ in range(3):
        a = m.sin(a) + a * a
    return a


# Each function of a module m and arrays of the shapes beside it; "+" asks for numbers above 0, "01" for probabilities.
A, B, ROW, COLUMN, POINT, CUBE = (3, 4), (3, 4), (4,), (3, 1), (), (2, 3, 4)
CASES = {
    # arithmetic and broadcasting
    "add": (lambda m, a, b: m.add(a, b), A, B),
    "add a row": (lambda m, a, b: a + b, A, ROW),
    "add a column": (lambda m, a, b: b + a, A, COLUMN),
    "add a row to a column": (lambda m, a, b: a + b, ROW, COLUMN),
    "add a number": (lambda m, a: a + 2, A),
    "add a point": (lambda m, a, b: a + b, A, POINT),
    "add (1, 4) to (2, 3, 4)": (lambda m, a, b: a + b, CUBE, (1, 4)),
    "add (2, 1, 4) to (3, 1)": (lambda m, a, b: a + b, (2, 1, 4), COLUMN),
    "add (1, 1) to ()": (lambda m, a, b: a + b, (1, 1), POINT),
    "subtract from a number": (lambda m, a: 1.5 - a, A),
    "subtract a column": (lambda m, a, b: a - b, A, COLUMN),
    "multiply": (lambda m, a, b: a * b, A, B),
    "multiply a row by a column": (lambda m, a, b: a * b, ROW, COLUMN),
    "multiply by itself": (lambda m, a: a * a, A),
    "multiply nothing": (lambda m, a, b: a * b, (0, 4), ROW),
    "divide": (lambda m, a, b: a / b, A, (3, 4, "+")),
    "divide a number": (lambda m, a: 2 / a, (3, 4, "+")),
    "divide by a row": (lambda m, a, b: a / b, CUBE, (4, "+")),
    "negative": (lambda m, a: -a, A),
    "square": (lambda m, a: a**2, A),
    "cube": (lambda m, a: a**3, A),
    "power": (lambda m, a, b: a**b, (3, 4, "+"), ROW),
    "power of a number": (lambda m, a: 2.5**a, A),
    "power 0": (lambda m, a: a**0, A),
    "power -1/2": (lambda m, a: a**-0.5, (3, 4, "+")),
    # functions of elements
    "exp": (lambda m, a: m.exp(a), A),
    "log": (lambda m, a: m.log(a), (3, 4, "+")),
    "sqrt": (lambda m, a: m.sqrt(a), (3, 4, "+")),
    "sin": (lambda m, a: m.sin(a), A),
    "cos": (lambda m, a: m.cos(a), POINT),
    "abs": (lambda m, a: abs(a), A),
    "maximum": (lambda m, a, b: m.maximum(a, b), A, ROW),
    "maximum with itself": (lambda m, a: m.maximum(a, a), A),
    "minimum": (lambda m, a, b: m.minimum(a, b), COLUMN, ROW),
    "clip": (lambda m, a: m.clip(a, -0.5, 0.5), A),
    "where": (lambda m, a, b: m.where(a > 0.1, a * b, b), A, ROW),
    "where with a guard": (lambda m, a: m.where(a > 0, m.sqrt(m.where(a > 0, a, 1.0)), 0.0), A),
    # reductions
    "sum": (lambda m, a: m.sum(a), A),
    "sum of rows": (lambda m, a: m.sum(a, axis=1), A),
    "sum keeping the axis": (lambda m, a: a / m.sum(a * a, axis=-1, keepdims=True), A),
    "sum of two axes": (lambda m, a: m.sum(a * a, axis=(0, -1)), CUBE),
    "sum of a point": (lambda m, a: m.sum(a), POINT),
    "mean": (lambda m, a: m.mean(a**2, axis=0), A),
    "mean of squares about the mean": (lambda m, a: m.mean((a - m.mean(a)) ** 2), A),
    "max": (lambda m, a: m.max(a, axis=1), A),
    "max of all, twice the largest": (lambda m, a: m.max(m.stack([a, a])), A),
    "min": (lambda m, a: m.min(a * a, axis=(0, 1)), CUBE),
    "prod": (lambda m, a: m.prod(a, axis=1), A),
    "prod with a zero": (lambda m, a: m.prod(m.concatenate([a, a[:1] * 0.0])), ROW),
    # shapes
    "reshape": (lambda m, a: m.reshape(m.sin(a), (2, -1)), A),
    "transpose": (lambda m, a: a.T * 2, A),
    "transpose by axes": (lambda m, a: m.transpose(a * a, (2, 0, 1)), CUBE),
    "broadcast_to": (lambda m, a: m.broadcast_to(a * a, (2, 3, 4)), COLUMN),
    "one element": (lambda m, a: a[1, 2] * a[0, 0], A),
    "a row": (lambda m, a: a[-1] * a[0], A),
    "a slice with a step": (lambda m, a: a[::2, 3:0:-1] ** 2, A),
    "a new axis": (lambda m, a: a[:, None] * a[..., None, :], CUBE),
    "rows by labels, one twice": (lambda m, a: a[np.array([0, 2, 0])] ** 2, A),
    "elements by labels": (lambda m, a: a[np.arange(3), np.array([1, 1, 3])] ** 2, A),
    "by a mask": (lambda m, a: a[np.array([True, False, True])] ** 2, A),
    "concatenate": (lambda m, a, b: m.concatenate([a, b * b], axis=1), A, COLUMN),
    "stack": (lambda m, a, b: m.stack([a * b, b, b], axis=-1), A, B),
    # products
    "matmul": (lambda m, a, b: a @ b, A, (4, 2)),
    "matmul of vectors": (lambda m, a, b: a @ b, ROW, ROW),
    "matrix by vector": (lambda m, a, b: a @ b, A, ROW),
    "vector by matrix": (lambda m, a, b: a @ b, (3,), A),
    "matmul of stacks": (lambda m, a, b: a @ b, CUBE, (2, 4, 2)),
    "matmul of a stack by a matrix": (lambda m, a, b: m.matmul(a, b), CUBE, (4, 2)),
    "vector by stack": (lambda m, a, b: a @ b, (3,), CUBE),
    "matmul by its transpose": (lambda m, a: a @ a.T, A),
    "dense": (lambda m, x, w, b: m.dense(x, w, b), A, (4, 2), (2,)),
    "dense without bias": (lambda m, x, w: m.dense(x, w), A, (4, 2)),
    "x^T A x": (lambda m, a, x: x @ a @ x, (4, 4), ROW),
    "a network": (
        lambda m, w1, b1, w2, b2: m.dense(m.tanh(m.dense(COUNTS, w1, b1)), w2, b2),
        *((2, 4), (4,), (4, 2), (2,)),
    ),
    "a network with its loss": (
        lambda m, w1, b1, w2: m.cross_entropy(m.dense(m.swish(m.dense(COUNTS, w1, b1)), w2), LABELS),
        *((2, 4), (4,), (4, 2)),
    ),
    "logarithm of a sum of powers": (lambda m, a: m.log(m.sum(m.exp(a - m.max(a)))) + m.max(a), A),
    "a loop": (looped, ROW),
    # activations with attributes, and of other shapes
    "leaky_relu with a slope": (lambda m, a: m.leaky_relu(a, slope=0.2), A),
    "elu with alpha": (lambda m, a: m.elu(a, alpha=0.5), A),
    "swish with beta": (lambda m, a: m.swish_beta(a, beta=1.7), A),
    "tanh of a point": (lambda m, a: m.tanh(a), POINT),
    "sigmoid of a transpose": (lambda m, a: m.sigmoid(a.T), A),
    "softmax of a cube": (lambda m, a: m.softmax(a), CUBE),
    # losses
    "mse": (lambda m, p, t: m.mse(p, t), (3, 2), (3, 2)),
    "mse with weights": (lambda m, p, t: m.mse(p, t, WEIGHTS), (3, 2), (3, 2)),
    "mse by its weights": (lambda m, p, s: m.mse(p, COUNTS, s), (3, 2), (3, "+")),
    "half_squared_error": (lambda m, p, t: m.half_squared_error(p, t), (3, 2), (3, 2)),
    "mae": (lambda m, p, t: m.mae(p, t), (3, 2), (3, 2)),
    "huber": (lambda m, p, t: m.huber(p, t), (3, 2), (3, 2)),
    "huber with delta": (lambda m, p: m.huber(p, COUNTS, delta=0.3), (3, 2)),
    "log_cosh": (lambda m, p, t: m.log_cosh(p, t), (3, 2), (3, 2)),
    "quantile": (lambda m, p, t: m.quantile(p, t, q=0.9), (3, 2), (3, 2)),
    "poisson": (lambda m, p: m.poisson(p, COUNTS), (3, 2)),
    "gaussian_nll": (lambda m, p, t: m.gaussian_nll(p, t), (3, 4), (3, 2)),
    "binary_cross_entropy": (lambda m, p: m.binary_cross_entropy(p, PROBABILITIES), (3, 2, "01")),
    "binary_cross_entropy_with_logits": (lambda m, p: m.binary_cross_entropy_with_logits(p, PROBABILITIES), (3, 2)),
    "cross_entropy of labels": (lambda m, p: m.cross_entropy(p, LABELS), (3, 2)),
    "cross_entropy of rows": (lambda m, p: m.cross_entropy(p, PROBABILITIES), (3, 2)),
    "cross_entropy by its targets": (lambda m, p, t: m.cross_entropy(p, m.softmax(t)), (3, 2), (3, 2)),
    "cross_entropy, smoothed": (lambda m, p: m.cross_entropy(p, LABELS, label_smoothing=0.1), (3, 2)),
    "cross_entropy with weights": (lambda m, p: m.cross_entropy(p, LABELS, WEIGHTS), (3, 2)),
    "nll": (lambda m, p: m.nll(m.log_softmax(p), LABELS), (3, 2)),
}
ACTIVATIONS = (
    *("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "swish", "gelu", "gelu_tanh"),
    *("mish", "softsign", "hard_sigmoid", "hard_tanh", "hard_swish", "softmax", "log_softmax"),
)
CASES |= {name: (lambda m, a, name=name: getattr(m, name)(a), A) for name in ACTIVATIONS}
CASES |= {f"{name}, far out": (lambda m, a, name=name: getattr(m, name)(5 * a), A) for name in ACTIVATIONS}
OURS = SimpleNamespace(**{name: getattr(g, name) for name in g.__all__}, swish_beta=g.swish)


def drawn(rng, shape):
    if shape and shape[-1] == "+":
        return rng.uniform(0.5, 2, shape[:-1])
    if shape and shape[-1] == "01":
        return rng.uniform(0.1, 0.9, shape[:-1])
    return rng.normal(size=shape)


def assert_equal(got, expected, tolerance=1e-11):
    got, expected = jax.tree.leaves(jax.tree.map(np.asarray, got)), jax.tree.leaves(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.fixture
def case(request):
    """Our function and JAX's, the arguments, a direction of them."""
    function, *shapes = CASES[request.param]
    rng = np.random.default_rng(len(request.param))
    args = tuple(np.asarray(drawn(rng, shape)) for shape in shapes)
    directions = tuple(np.asarray(rng.normal(size=a.shape)) for a in args)
    with in_float64(True):
        yield (lambda *a: function(OURS, *a)), (lambda *a: function(JAX, *a)), args, directions


every_case = pytest.mark.parametrize("case", CASES, indirect=True)


def test_there_are_sixty_functions_and_more():
    assert len(CASES) >= 60


@every_case
def test_value_and_products_are_those_of_jax(backend, case):
    ours, theirs, args, directions = case
    value, pull = g.vjp(ours, *args)
    expected, their_pull = jax.vjp(theirs, *map(jnp.asarray, args))
    assert_equal(value, expected)
    dy = np.random.default_rng(1).normal(size=value.shape)
    assert_equal(pull(dy), their_pull(jnp.asarray(dy)))
    assert_equal(g.jvp(ours, args, directions), jax.jvp(theirs, args, directions))


@every_case
def test_jacobians_are_those_of_jax(backend, case):
    ours, theirs, args, _ = case
    everywhere = tuple(range(len(args)))
    expected = jax.jacobian(theirs, everywhere)(*args)
    for mode in ("forward", "reverse"):
        assert_equal(g.jacobian(ours, everywhere, mode=mode)(*args), expected)


@every_case
def test_hessians_times_a_vector_are_those_of_jax(backend, case):
    ours, theirs, args, directions = case
    weights = np.random.default_rng(2).normal(size=ours(*map(g.Tensor, args)).shape)
    expected = jax.jvp(jax.grad(lambda *a: jnp.sum(weights * theirs(*a)), tuple(range(len(args)))), args, directions)[1]
    assert_equal(g.hvp(lambda *a: g.sum(weights * ours(*a)), args, directions), expected, 1e-10)
