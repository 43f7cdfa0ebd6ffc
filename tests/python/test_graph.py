"""Derivatives of functions of Tensors: by hand, by both modes, within each other."""

from __future__ import annotations

import numpy as np

import densegrad as dg
from densegrad import graph as g


def textbook(a, b):
    return (a + b) * (b + 1)


def test_the_textbook_example_by_reverse_mode():
    value, (da, db) = g.value_and_grad(textbook, argnums=(0, 1))(2.0, 1.0)
    assert (float(value), float(da), float(db)) == (6, 2, 5)


def test_the_textbook_example_by_forward_mode():
    for direction, slope in (((1.0, 0.0), 2), ((0.0, 1.0), 5)):
        value, tangent = g.jvp(textbook, (2.0, 1.0), direction)
        assert (float(value), float(tangent)) == (6, slope)


def test_derivatives_within_derivatives_keep_their_variables_apart():
    assert float(g.grad(lambda x: x * g.grad(lambda y: x + y)(1.0))(1.0)) == 1
    assert float(g.grad(lambda x: x * g.jvp(lambda y: x + y, (1.0,), (1.0,))[1])(1.0)) == 1
    assert float(g.jvp(lambda x: x * g.grad(lambda y: x * y)(1.0), (3.0,), (1.0,))[1]) == 6


def test_softmax_jacobian_is_that_of_the_formula(backend):
    z = np.array([2.0, 3.0, 4.0])
    y = np.exp(z) / np.exp(z).sum()
    for jacobian in (g.jacobian(g.softmax, mode="reverse"), g.jacobian_forward(g.softmax)):
        np.testing.assert_allclose(jacobian(z), np.diag(y) - np.outer(y, y), atol=1e-15)


def test_a_network_by_hand_has_the_gradients_of_the_layers(backend, dtype, rng):
    model = dg.Sequential([dg.Dense(5, "tanh"), dg.Dense(3)], input_size=4, dtype=dtype, seed=0)
    x, labels = rng.normal(size=(6, 4)).astype(dtype), rng.integers(0, 3, 6)
    trace = model.trace(x, labels, "cross_entropy")

    def loss(p):
        return g.cross_entropy(g.dense(g.tanh(g.dense(x, p[0], p[1])), p[2], p[3]), labels)

    value, found = g.value_and_grad(loss)([a for layer in model.layers for a in (layer.w, layer.b)])
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(float(value), trace.loss, rtol=tolerance)
    for got, expected in zip(found, [d for layer in trace.layers for d in (layer.dw, layer.db)], strict=True):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
