"""Random programs of Tensors: both modes against central differences and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import densegrad as dg
from densegrad import graph as g

# Steps that keep numbers near 1 and have no kink, so that a difference of float64 has seven places and more. Each takes
# one of the arrays so far, (rows, columns), and a chooser of others.
ONE = {
    "sin": g.sin,
    "cos": g.cos,
    "tanh": g.tanh,
    "sigmoid": g.sigmoid,
    "softplus": g.softplus,
    "gelu": g.gelu,
    "softmax": g.softmax,
    "log_softmax": g.log_softmax,
    "exp": lambda a: g.exp(-a * a),
    "log": lambda a: g.log(1 + a * a),
    "sqrt": lambda a: g.sqrt(1 + a * a),
    "power": lambda a: (1.5 + g.sin(a)) ** 2.5,
    "transpose": lambda a: a.T,
    "reshape": lambda a: a.reshape(-1, 1),
    "reverse": lambda a: a[::-1],
    "rows": lambda a: a[np.array([0, -1, 0])],
    "column": lambda a: a[:, :1],
    "sum of rows": lambda a: g.sum(a, axis=1, keepdims=True),
    "mean of columns": lambda a: g.mean(a, axis=0, keepdims=True),
    "product of rows": lambda a: g.prod(g.tanh(a), axis=1, keepdims=True),
    "gram": lambda a: g.tanh(a @ a.T),
    "inner derivative": lambda a: g.grad(lambda x: g.sum(g.sin(x) * a))(a),
    "inner tangent": lambda a: g.jvp(lambda x: g.tanh(x) * a, (a,), (g.cos(a),))[1],
}
TWO = {  # where shapes allow
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * g.tanh(b),
    "divide": lambda a, b: a / (1 + b * b),
    "power of two": lambda a, b: (1.5 + g.sin(a)) ** g.tanh(b),
    "where": lambda a, b: g.where(g.Tensor(np.array([[True], [False]])), a, b),
    "matmul": lambda a, b: g.tanh(a @ b),
    "dense": lambda a, b: g.tanh(g.dense(a, b, g.mean(b, axis=0))),
    "concatenate": lambda a, b: g.concatenate([a, b], axis=1),
    "stack": lambda a, b: g.sum(g.stack([a, b * b]), axis=0),
}
KINKED = {  # whose kinks random numbers do not meet
    "abs": abs,
    "maximum": lambda a: g.maximum(a, a[:1]),
    "minimum": lambda a: g.minimum(a, a[:, :1]),
    "clip": lambda a: g.clip(a, -0.5, 0.5 + a[:1]),
    "max": lambda a: g.max(a, axis=1),
    "min": lambda a: g.min(a * a),
    "where": lambda a: g.where(a > 0, a * a, g.sin(a)),
    "power": lambda a: g.power(2.0 + g.tanh(a), a),
    "transpose by axes": lambda a: g.transpose(g.stack([a, a * a, a]), (1, 2, 0)) * np.arange(18.0).reshape(2, 3, 3),
    "broadcast_to": lambda a: g.broadcast_to(a[:, :1], (3, 2, 4)) * np.arange(24.0).reshape(3, 2, 4),
    "stacks of matrices": lambda a: g.stack([a, a * a]) @ a.T,
    "vectors": lambda a: a[0] @ a.T @ a,
    "cast": lambda a: a.astype("float64") * 2,
}
SHAPES = [(2, 3), (1, 3), (2, 1), (3, 2), (1, 1)]
programs = st.lists(
    st.tuples(st.sampled_from(sorted(ONE) + sorted(TWO)), st.integers(0, 7), st.integers(0, 7)),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("name", [*ONE, *KINKED])
def test_each_step_agrees_with_central_differences(backend, rng, name):
    f, a = {**ONE, **KINKED}[name], rng.normal(size=(2, 3))
    assert dg.check_gradients(f, a).largest < 1e-7
    assert dg.check_gradients(g.grad(lambda a: g.sum(g.sin(f(a)))), a).largest < 1e-6


@pytest.mark.parametrize("name", TWO)
def test_each_step_of_two_agrees_with_central_differences(backend, rng, name):
    a, b = rng.normal(size=(2, 2)), rng.normal(size=(2, 2))
    assert dg.check_gradients(TWO[name], a, b).largest < 1e-7


def run(program, x):
    """All arrays that a program makes, the last of them the result; a step whose shapes do not fit is left out."""
    made = list(x)
    for name, i, j in program:
        a, b = made[i % len(made)], made[j % len(made)]
        try:
            y = ONE[name](a) if name in ONE else TWO[name](a, b)
        except ValueError:
            continue
        if y.size <= 16:
            made.append(y)
    return made[-1] + g.mean(made[0])


@settings(max_examples=60)
@given(program=programs, seed=st.integers(0, 9))
def test_random_programs_agree_with_central_differences(program, seed):
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=shape) for shape in SHAPES[:3]]
    for name in dg.available_backends():
        with dg.use_backend(name):
            assert dg.check_gradients(lambda *x: run(program, x), *x).largest < 1e-6


@settings(max_examples=60)
@given(program=programs, seed=st.integers(0, 9))
def test_random_programs_have_the_same_second_derivatives_in_all_modes(program, seed):
    rng = np.random.default_rng(seed)
    x = tuple(rng.normal(size=shape) for shape in SHAPES)
    v = tuple(rng.normal(size=shape) for shape in SHAPES)
    everywhere = range(len(x))

    def total(*x):
        return g.sum(run(program, x))

    def slope(*x):
        return g.jvp(total, x, v)[1]

    forward_over_reverse = g.hvp(total, x, v)
    reverse_over_forward = g.grad(slope, everywhere)(*x)

    def along(*x):
        return g.sum(g.stack([g.sum(d * e) for d, e in zip(g.grad(total, everywhere)(*x), v, strict=True)]))

    reverse_over_reverse = g.grad(along, everywhere)(*x)
    size = max(1.0, *(np.abs(a.numpy()).max() for a in forward_over_reverse))
    for a, b, c in zip(forward_over_reverse, reverse_over_forward, reverse_over_reverse, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * size)
        np.testing.assert_allclose(a, c, rtol=0, atol=1e-10 * size)


@settings(max_examples=60)
@given(program=programs, seed=st.integers(0, 9))
def test_random_programs_have_one_jacobian(program, seed):
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=shape) for shape in SHAPES]
    by_mode = [g.jacobian(lambda x: run(program, x), mode=mode)(x) for mode in ("forward", "reverse")]
    for forward, reverse in zip(*by_mode, strict=True):
        size = max(1.0, np.abs(forward.numpy()).max())
        np.testing.assert_allclose(forward, reverse, rtol=0, atol=1e-12 * size)
