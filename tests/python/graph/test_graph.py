"""Derivatives of functions of Tensors: by hand, in both modes, within each other."""

from __future__ import annotations

import math
import threading
from collections import namedtuple

import numpy as np
import pytest

import densegrad as dg
from densegrad import graph as g
from densegrad._base.primitives import PRIMITIVES, names


def textbook(a, b):
    return (a + b) * (b + 1)


# ---- the textbook's numbers


def test_the_textbook_example_by_reverse_mode():
    value, (da, db) = g.value_and_grad(textbook, argnums=(0, 1))(2.0, 1.0)
    assert (float(value), float(da), float(db)) == (6, 2, 5)


def test_the_textbook_example_by_forward_mode():
    for direction, slope in (((1.0, 0.0), 2), ((0.0, 1.0), 5)):
        value, tangent = g.jvp(textbook, (2.0, 1.0), direction)
        assert (float(value), float(tangent)) == (6, slope)


def test_the_textbook_example_node_by_node():
    recorded = g.record(textbook, 2.0, 1.0)
    assert [node.primitive.name for node in recorded.nodes] == ["variable", "variable", "add", "add", "multiply"]
    assert [float(node.value) for node in recorded.nodes] == [2, 1, 3, 2, 6]
    accumulated = recorded.backward()
    assert [float(accumulated[node]) for node in recorded.nodes] == [2, 5, 2, 3, 1]
    ahead = recorded.forward([1.0, 0.0])  # by a
    assert [float(ahead[node]) if node in ahead else 0 for node in recorded.nodes] == [1, 0, 1, 0, 2]
    ahead = recorded.forward([0.0, 1.0])  # by b
    assert [float(ahead[node]) for node in recorded.nodes] == [0, 1, 1, 1, 5]


def test_a_recording_has_primitives_attributes_inputs_and_constants():
    recorded = g.record(lambda x, labels: g.sum(x * 2.0, axis=0)[labels], np.ones((2, 3)), np.array([0, 2]))
    assert recorded.inputs[0].shape == (2, 3)
    assert recorded.inputs[1].node in recorded.nodes  # an input, though not differentiable
    assert recorded.outputs.shape == (2,)
    multiply, total, getitem = recorded.nodes[2:]
    assert [tensor.node is None for tensor in multiply.inputs] == [False, True]
    assert float(multiply.inputs[1]) == 2
    assert total.attributes == {"axis": 0, "keepdims": False}
    assert [tensor.node for tensor in getitem.inputs] == [total, recorded.inputs[1].node]
    assert recorded.backward()[recorded.inputs[0].node].numpy().tolist() == [[2, 0, 2], [2, 0, 2]]


def test_a_recording_leaves_what_is_no_array():
    recorded = g.record(lambda x, n, name: g.sum([x] * n), 2.0, 3, "three")
    assert recorded.inputs[1:] == (3, "three")
    assert float(recorded.outputs) == 6


def test_masks_are_part_of_a_recording():
    recorded = g.record(lambda x: g.where(x > 0.0, x, g.maximum(x, -1.0)), np.array([1.0, -2.0]))
    assert [node.primitive.name for node in recorded.nodes] == ["variable", "greater", "maximum", "where"]


# ---- modes


def test_both_modes_and_the_product_agree(backend):
    def f(x):
        return g.stack([x[0] * x[1], g.sin(x[1]), x[0] ** 2, x[2]])

    x, v = np.array([0.5, -1.5, 2.0]), np.array([1.0, 2.0, -1.0])
    by_hand = [[-1.5, 0.5, 0], [0, math.cos(-1.5), 0], [1, 0, 0], [0, 0, 1]]
    for mode in ("forward", "reverse", "auto"):
        np.testing.assert_allclose(g.jacobian(f, mode=mode)(x), by_hand, atol=1e-15)
    np.testing.assert_allclose(g.jvp(f, (x,), (v,))[1], by_hand @ v, atol=1e-15)
    u = np.arange(4.0)
    np.testing.assert_allclose(g.vjp(f, x)[1](u)[0], u @ by_hand, atol=1e-15)


def test_a_jacobian_takes_the_cheaper_mode_and_says_which():
    def modes(f, x):
        return g.jacobian(f, with_mode=True)(x)[1]

    assert modes(lambda x: g.stack([x, x, x]), 1.0) == "forward"
    assert modes(lambda x: x * x, np.ones(3)) == "forward"
    assert modes(g.sum, np.ones(3)) == "reverse"


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_jacobian_has_the_nesting_of_outputs_and_inputs(mode):
    def f(p):
        return {"y": p["a"] * p["b"], "z": [p["a"]]}

    jacobian = g.jacobian(f, mode=mode)({"a": np.array([1.0, 2.0]), "b": 3.0})
    assert jacobian["y"]["a"].numpy().tolist() == [[3, 0], [0, 3]]
    assert jacobian["y"]["b"].numpy().tolist() == [1, 2]
    assert jacobian["z"][0]["a"].numpy().tolist() == [[1, 0], [0, 1]]
    assert jacobian["z"][0]["b"].numpy().tolist() == [0, 0]


def test_a_jacobian_of_nothing_is_empty():
    for mode in ("forward", "reverse"):
        assert g.jacobian(lambda x: g.stack([g.sum(x)]), mode=mode)(np.ones(0)).shape == (1, 0)
        assert g.jacobian(lambda x: x[:0], mode=mode)(np.ones(3)).shape == (0, 3)


def test_a_hessian_times_a_vector_holds_arguments_without_tangent():
    (product, nothing) = g.hvp(lambda x, k: k * x**3, (2.0, 5.0), (1.0, None))
    assert float(product) == 60  # 6 k x
    assert nothing is None


def test_arguments_come_back_as_they_went_in():
    Pair = namedtuple("Pair", "left right")
    x = {"list": [1.0, np.array([2.0, 3.0])], "pair": Pair(4.0, (5.0,))}

    def f(x):
        return x["list"][0] * g.sum(x["list"][1]) + x["pair"].left * x["pair"].right[0]

    found = g.grad(f)(x)
    assert float(found["list"][0]) == 5
    assert found["list"][1].numpy().tolist() == [1, 1]
    assert isinstance(found["pair"], Pair)
    assert (float(found["pair"].left), float(found["pair"].right[0])) == (5, 4)


def test_argnums_choose_and_keywords_pass():
    def f(a, name, b, *, scale):
        assert name == "any object"
        return a * b * scale

    assert float(g.grad(f)(2.0, "any object", 3.0, scale=10)) == 30
    (db,) = g.grad(f, argnums=[2])(2.0, "any object", 3.0, scale=10)
    assert float(db) == 20
    assert float(g.grad(f, argnums=-1)(2.0, "any object", 3.0, scale=10)) == 20


def test_what_an_output_does_not_depend_on_has_gradient_zero():
    da, db = g.grad(lambda a, b: g.sum(b), argnums=(0, 1))(np.ones((2, 2)), np.ones(3))
    assert da.numpy().tolist() == [[0, 0], [0, 0]]
    assert db.numpy().tolist() == [1, 1, 1]
    assert float(g.grad(lambda x: g.Tensor(7.0))(1.0)) == 0
    assert float(g.jvp(lambda x: g.Tensor(7.0), (1.0,), (1.0,))[1]) == 0
    assert float(g.grad(lambda x: x)(3.0)) == 1


def test_equal_ones_share_a_derivative():
    x = np.array([2.0, 1.0, 2.0, 2.0])
    third = 1 / 3
    assert g.grad(g.max)(x).numpy().tolist() == [third, 0, third, third]
    assert float(g.jvp(g.max, (x,), (np.array([3.0, 5.0, 0.0, 0.0]),))[1]) == pytest.approx(1)
    assert float(g.grad(lambda x: g.maximum(x, 1.0))(1.0)) == 0.5
    assert float(g.grad(lambda x: g.minimum(x, x))(1.0)) == 1
    assert float(g.grad(abs)(0.0)) == 0


def test_control_flow_is_that_of_the_call():
    def f(x, n):
        for _ in range(n):
            x = x * x if x > 1 else -x
        return x

    assert float(g.grad(f)(3.0, 2)) == 4 * 3**3
    assert float(g.grad(f)(0.5, 3)) == -1


def test_one_pull_serves_many_cotangents():
    y, pull = g.vjp(lambda x: x * x, np.array([1.0, 2.0]))
    assert y.numpy().tolist() == [1, 4]
    assert [pull(np.array(d))[0].numpy().tolist() for d in ([1.0, 0.0], [0.0, 1.0])] == [[2, 0], [0, 4]]


def test_a_pull_can_be_differentiated_later():
    _, pull = g.vjp(lambda x: g.tanh(x) * x, np.array([0.5, 2.0]))
    once = pull(g.Tensor([1.0, 1.0]))[0].numpy()
    np.testing.assert_allclose(g.grad(lambda d: g.sum(pull(d)[0]))(np.array([1.0, 1.0])), once)


# ---- derivatives within derivatives


def test_derivatives_within_derivatives_keep_their_variables_apart():
    assert float(g.grad(lambda x: x * g.grad(lambda y: x + y)(1.0))(1.0)) == 1
    assert float(g.grad(lambda x: x * g.jvp(lambda y: x + y, (1.0,), (1.0,))[1])(1.0)) == 1
    assert float(g.jvp(lambda x: x * g.grad(lambda y: x + y)(1.0), (1.0,), (1.0,))[1]) == 1
    assert float(g.jvp(lambda x: x * g.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,))[1]) == 1
    assert float(g.jvp(lambda x: x * g.grad(lambda y: x * y)(1.0), (3.0,), (1.0,))[1]) == 6
    assert float(g.grad(lambda x: g.grad(lambda y: x * y * y)(x) * x)(2.0)) == 24  # d/dx of 2 x^3


@pytest.mark.parametrize("order", range(1, 6))
def test_gradients_of_gradients(order):
    def slope(f):
        return lambda x: g.jvp(f, (x,), (1.0,))[1]

    reverse = forward = lambda x: x**5
    for _ in range(order):
        reverse, forward = g.grad(reverse), slope(forward)
    expected = math.perm(5, order) * 2.0 ** (5 - order)
    assert float(reverse(2.0)) == pytest.approx(expected, rel=1e-12)
    assert float(forward(2.0)) == pytest.approx(expected, rel=1e-12)


def test_a_hessian_is_symmetric_whichever_way_it_is_taken(backend):
    def f(x):
        return g.sum(g.softmax(x) * g.log_softmax(x * x)) + g.prod(x)

    x = np.array([0.3, -1.2, 2.0])
    ways = [
        g.jacobian(g.jacobian(f, mode=outer), mode=inner)(x)
        for outer in ("forward", "reverse")
        for inner in ("forward", "reverse")
    ]
    columns = np.stack([g.hvp(f, (x,), (direction,))[0] for direction in np.eye(3)], axis=-1)
    for way in ways:
        np.testing.assert_allclose(way, ways[0].numpy().T, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(way, columns, rtol=1e-12, atol=1e-14)


def test_a_value_found_within_is_differentiated_without():
    def f(x):
        value, slope = g.value_and_grad(lambda y: y**3)(x)
        return value * slope  # 3 x^5

    assert float(g.grad(f)(2.0)) == 15 * 2**4


# ---- the library's own words


def test_every_activation_and_loss_of_the_table_is_here():
    for kind in ("activation", "loss"):
        for name in names(kind):
            assert getattr(g, name).__name__ == name
            assert PRIMITIVES[name].formula in getattr(g, name).__doc__
            assert all(hasattr(g, alias) for alias in PRIMITIVES[name].aliases)


ATTRIBUTES = {"leaky_relu": {"slope": 0.3}, "elu": {"alpha": 0.5}, "swish": {"beta": 1.7}}
LOSS_ATTRIBUTES = {"huber": {"delta": 0.3}, "quantile": {"q": 0.9}, "cross_entropy": {"label_smoothing": 0.1}}


@pytest.mark.parametrize("name", names("activation"))
@pytest.mark.parametrize("shape", [(), (5,), (0,), (2, 3), (2, 3, 4)], ids=str)
def test_activations_have_the_values_and_slopes_of_the_ops(backend, dtype, rng, name, shape):
    if PRIMITIVES[name].by_row and (not shape or not shape[-1]):
        with pytest.raises(ValueError, match="softmax: expected at least one axis, the last not empty, got"):
            getattr(g, name)(np.zeros(shape, dtype))
        return
    z, dy = (np.asarray(3 * rng.normal(size=shape)).astype(dtype) for _ in range(2))
    attributes = ATTRIBUTES.get(name, {})
    y, pull = g.vjp(lambda z: getattr(g, name)(z, **attributes), z)
    assert (y.dtype, y.shape) == (dtype, shape)
    if z.size:
        expected = dg.ops.activation_forward(name, np.atleast_1d(z), **attributes)
        np.testing.assert_array_equal(y, expected.reshape(shape))
        back = dg.ops.activation_backward(name, np.atleast_1d(dy), np.atleast_1d(z), expected, **attributes)
        np.testing.assert_array_equal(pull(dy)[0], back.reshape(shape))
        if not PRIMITIVES[name].by_row:
            np.testing.assert_array_equal(g.jvp(getattr(g, name), (z,), (dy,))[1], g.vjp(getattr(g, name), z)[1](dy)[0])


@pytest.mark.parametrize("name", names("activation"))
def test_slopes_where_a_walk_is_recorded_are_those_of_the_kernel(backend, rng, name):
    z = np.concatenate([4 * rng.normal(size=(4, 5)), [[-3.5, -1.5, 0.5, 1.5, 3.5]]])
    attributes = ATTRIBUTES.get(name, {})

    def f(z):
        return g.sum(getattr(g, name)(z, **attributes) * np.arange(25.0).reshape(5, 5))

    def recorded(z):
        return g.grad(f)(z)

    np.testing.assert_allclose(g.jvp(recorded, (z,), (z,))[0], g.grad(f)(z), rtol=1e-11, atol=1e-11)
    assert dg.check_gradients(recorded, z).largest < 1e-6  # second derivatives


def arguments_of(name, rng):
    """A prediction and a target that the loss takes."""
    row = PRIMITIVES[name]
    p = rng.normal(size=(4, 3 * row.predictions))
    t = rng.normal(size=(4, 3))
    if name == "binary_cross_entropy":
        p = rng.uniform(0.1, 0.9, p.shape)
    if row.target == "counts":
        t = rng.poisson(2.0, t.shape).astype(float)
    elif row.target == "probabilities":
        t = rng.uniform(0, 1, t.shape)
    elif row.target == "classes":
        t = np.eye(3)[[0, 2, 1, 1]]
    return p, t


@pytest.mark.parametrize("name", names("loss"))
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_have_the_values_and_gradients_of_the_ops(backend, dtype, rng, name, weighted):
    p, t = (a.astype(dtype) for a in arguments_of(name, rng))
    s = np.array([0.5, 2, 1, 0], dtype) if weighted else None
    attributes = LOSS_ATTRIBUTES.get(name, {})
    expected, gradient = dg.ops.loss(name, p, t, s, **attributes)
    value, found = g.value_and_grad(getattr(g, name))(p, t, s, **attributes)
    assert value.dtype == found.dtype == dtype
    np.testing.assert_array_equal(value, np.asarray(expected, dtype))
    np.testing.assert_array_equal(found, gradient)


@pytest.mark.parametrize("name", names("loss"))
def test_losses_are_differentiated_twice_and_by_targets_and_weights(backend, rng, name):
    p, t = arguments_of(name, rng)
    attributes = LOSS_ATTRIBUTES.get(name, {})
    f, s = getattr(g, name), np.array([0.5, 2, 1, 1.5])

    def recorded(p, s):
        return g.grad(lambda p: f(p, t, s, **attributes))(p)

    np.testing.assert_allclose(
        g.jvp(recorded, (p, s), (p, s))[0], g.grad(f)(p, t, s, **attributes), rtol=1e-10, atol=1e-12
    )
    assert dg.check_gradients(recorded, p, s).largest < 1e-6
    if PRIMITIVES[name].target == "values":
        assert dg.check_gradients(lambda p, t, s: f(p, t, s, **attributes), p, t, s).largest < 1e-7


def test_labels_and_columns_count_as_rows(backend):
    p = np.array([[0.5, -1.0], [2.0, 0.0]])
    assert float(g.cross_entropy(p, [0, 1])) == float(g.cross_entropy(p, np.eye(2)))
    assert g.mse(p[:, :1], [1.0, 2.0]).numpy() == g.mse(p[:, :1], [[1.0], [2.0]]).numpy()
    np.testing.assert_array_equal(g.grad(lambda t: g.mse(p[:, :1], t))(np.array([1.0, 2.0])), [0.5, 0.0])


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


def test_softmax_jacobian_is_that_of_the_formula(backend):
    z = np.array([2.0, 3.0, 4.0])
    y = np.exp(z) / np.exp(z).sum()
    for jacobian in (g.jacobian(g.softmax, mode="reverse"), g.jacobian_forward(g.softmax)):
        np.testing.assert_allclose(jacobian(z), np.diag(y) - np.outer(y, y), atol=1e-15)


# ---- dtypes


def test_float32_stays_float32_throughout(backend, rng):
    x = rng.normal(size=(4, 3)).astype("float32")

    def f(x):
        y = 0.5 * g.mean(x**2, axis=0, keepdims=True) - 1 / (2.0 + g.exp(x)) + g.max(x)
        return g.sum(g.where(y > 0, y, 0.1 * y)) + g.sum(g.concatenate([x[:1], x[[2, 0]]]) @ x.T)

    value, d = g.value_and_grad(f)(x)
    assert value.dtype == d.dtype == "float32"
    assert g.hvp(f, (x,), (x,))[0].dtype == "float32"
    assert g.jvp(f, (x,), (x.astype("float64"),))[1].dtype == "float32"


def test_float32_with_float64_gives_float64_and_gradients_of_their_own_dtypes():
    a, b = np.array([1, 2], "float32"), np.array([3, 4], "float64")
    y, pull = g.vjp(lambda a, b: a * b, a, b)
    assert y.dtype == "float64"
    assert [d.dtype for d in pull(np.ones(2))] == ["float32", "float64"]
    assert g.Tensor(1.0).dtype == (g.Tensor([1], "float32") + g.Tensor([1.0])).dtype == "float64"
    assert (g.Tensor([1], "float32") * np.float64(2)).dtype == "float64"  # an array's number is not a Python number


def test_numbers_masks_and_integers_follow_numpy():
    assert (g.Tensor([1, 2]) + 1).dtype == "int64"
    assert (g.Tensor([1, 2]) / 2).numpy().tolist() == [0.5, 1]
    assert (g.Tensor([1.5], "float32") * np.array([True])).dtype == "float32"
    assert g.Tensor(np.float16(1.5)).dtype == "float32"
    assert g.Tensor(np.array([1.0, 2.0]).astype(">f4")).numpy().tolist() == [1, 2]


# ---- custom primitives


def cube_with(*rules):
    @g.primitive
    def cube(x, *, scale=1.0):
        return scale * x**3

    if "vjp" in rules:
        cube.vjp(lambda dy, y, x, scale=1.0: dy * scale * 3 * x**2)
    if "jvp" in rules:
        cube.jvp(lambda tangents, y, x, scale=1.0: tangents[0] * scale * 3 * x**2)
    return cube


def test_a_primitive_of_ones_own_goes_through_all_modes():
    cube = cube_with("vjp", "jvp")
    assert float(g.grad(cube)(2.0)) == 12
    assert float(g.grad(lambda x: cube(x, scale=10))(2.0)) == 120
    assert float(g.jvp(cube, (2.0,), (1.0,))[1]) == 12
    assert float(g.grad(g.grad(cube))(2.0)) == 12
    assert float(g.hvp(cube, (2.0,), (1.0,))[0]) == 12
    assert dg.check_gradients(cube, np.array([1.0, 2.0])).largest < 1e-7
    assert "cube" in repr(cube)


def test_a_primitive_without_the_rule_of_a_mode_is_refused_there():
    forward, reverse = cube_with("jvp"), cube_with("vjp")
    with pytest.raises(TypeError, match=r"cube: expected a vjp rule for reverse mode .*, got jvp; write @cube.vjp"):
        g.grad(forward)(2.0)
    with pytest.raises(TypeError, match=r"cube: expected a jvp rule for forward mode .*, got vjp; write @cube.jvp"):
        g.jvp(reverse, (2.0,), (1.0,))
    with pytest.raises(TypeError, match=r"got none"):
        g.grad(cube_with())(2.0)
    assert float(cube_with()(2.0)) == 8


def test_check_gradients_finds_a_wrong_rule_and_leaves_out_a_missing_one():
    @g.primitive
    def product(a, b):
        return a * b

    product.vjp(lambda dy, y, a, b: (dy * b, dy * b))
    report = dg.check_gradients(product, 2.0, 3.0)
    assert report["0"] < 1e-7
    assert report["1"] > 0.1
    assert list(report) == ["0", "1"]


# ---- functions of Tensors in check_gradients


def test_check_gradients_names_arguments_and_modes(backend):
    def f(p, labels):
        return g.cross_entropy(g.dense(np.ones((3, 2)), p["w"], p["b"][0]), labels)

    report = dg.check_gradients(f, {"w": np.ones((2, 2), "float32"), "b": [np.array([0.5, -0.5])]}, [0, 1, 1])
    assert list(report) == ["0.w", "0.b.0", "0.w.jvp", "0.b.0.jvp"]
    assert report.largest < 1e-7


def test_check_gradients_takes_several_outputs_and_none():
    assert dg.check_gradients(lambda a: [a * a, {"s": g.sin(a)}], np.array([0.5, 1.5])).largest < 1e-7
    assert dg.check_gradients(lambda a: a * 0.0, np.ones(2)).largest == 0
    with pytest.raises(TypeError, match="check_gradients: expected a model or a function of Tensors, got int"):
        dg.check_gradients(3, 1.0)


# ---- threads


def test_threads_differentiate_apart():
    found = {}

    def work(n):
        found[n] = [float(g.grad(lambda x, k=k: g.sum(g.tanh(x * n) ** k))(0.5)) for k in range(1, 30)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(8):
        t = math.tanh(0.5 * n)
        assert found[n] == pytest.approx([k * t ** (k - 1) * n * (1 - t * t) for k in range(1, 30)], rel=1e-12)
