"""What a user can do wrong with Tensors: each mistake has words of its own."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest

from densegrad import graph as g

pytestmark = pytest.mark.above_the_kernels

T = g.Tensor
A, B = T(np.ones((3, 2))), T(np.ones(4))

REFUSED = {  # what is done, and what is said
    "add": (lambda: A + B, ValueError, "add: expected shapes that broadcast, got (3, 2) and (4,)"),
    "multiply": (lambda: A * B, ValueError, "multiply: expected shapes that broadcast, got (3, 2) and (4,)"),
    "compare": (lambda: A < B, ValueError, "less: expected shapes that broadcast, got (3, 2) and (4,)"),
    "where": (
        lambda: g.where(A > 0, A, B),
        ValueError,
        "where: expected shapes that broadcast, got (3, 2) and (3, 2) and (4,)",
    ),
    "a mask of numbers": (
        lambda: g.where(A, A, A),
        TypeError,
        "where: expected a mask of booleans, got float64; compare, as in x > 0",
    ),
    "matmul": (lambda: A @ B, ValueError, "matmul: expected shapes (..., n, k) and (..., k, m), got (3, 2) and (4,)"),
    "matmul of points": (
        lambda: g.matmul(1.0, A),
        ValueError,
        "matmul: expected shapes (..., n, k) and (..., k, m), got () and (3, 2)",
    ),
    "matmul of stacks": (
        lambda: T(np.ones((2, 3, 4))) @ T(np.ones((3, 4, 2))),
        ValueError,
        "matmul: expected shapes (..., n, k) and (..., k, m), got (2, 3, 4) and (3, 4, 2)",
    ),
    "dense": (
        lambda: g.dense(A, A),
        ValueError,
        "dense: expected x (batch, in), w (in, out), got (3, 2) and (3, 2)",
    ),
    "dense with a bias": (
        lambda: g.dense(A, T(np.ones((2, 5))), B),
        ValueError,
        "dense: expected x (batch, in), w (in, out) and b (out,), got (3, 2) and (2, 5) and (4,)",
    ),
    "reshape": (
        lambda: A.reshape(4, 2),
        ValueError,
        "reshape: expected a shape with as many elements, got (3, 2), shape=(4, 2)",
    ),
    "transpose": (
        lambda: A.transpose(0, 0),
        ValueError,
        "transpose: expected each axis once, got (3, 2), axes=(0, 0)",
    ),
    "sum": (lambda: A.sum(2), ValueError, "sum: expected an axis of the input, got (3, 2), axis=2"),
    "max of nothing": (
        lambda: g.max(np.ones(0)),
        ValueError,
        "max: expected an axis of the input, and an element on it, got (0,)",
    ),
    "prod": (lambda: A.prod(-3), ValueError, "prod: expected an axis of the input, got (3, 2), axis=-3"),
    "an index too large": (lambda: A[3], IndexError, "getitem: expected an index within the shape, got (3, 2)"),
    "too many indices": (lambda: A[0, 0, 0], IndexError, "getitem: expected an index within the shape, got (3, 2)"),
    "an index of floats": (
        lambda: A[np.array([0.5])],
        TypeError,
        "getitem: expected integers, slices or booleans as the index, got float64",
    ),
    "concatenate": (
        lambda: g.concatenate([A, B]),
        ValueError,
        "concatenate: expected shapes that agree but for the axis, got (3, 2) and (4,), axis=0",
    ),
    "concatenate nothing": (lambda: g.concatenate([]), ValueError, "concatenate: expected at least 1 part, got 0"),
    "stack": (
        lambda: g.stack([A, B]),
        ValueError,
        "stack: expected equal shapes and an axis of the result, got (3, 2) and (4,), axis=0",
    ),
    "words": (lambda: g.exp("one"), TypeError, "exp: expected numbers of real numbers, got dtype <U3 from str 'one'"),
    "assignment": (
        lambda: A.__setitem__(0, 1.0),
        TypeError,
        "Tensor: expected no assignment to elements, a Tensor cannot be changed",
    ),
    "float of many": (lambda: float(A), ValueError, "float: expected a Tensor of 1 element, got shape (3, 2)"),
    "truth of many": (lambda: bool(A > 0), ValueError, "bool: expected a Tensor of 1 element, got shape (3, 2)"),
    "len of a point": (lambda: len(T(1.0)), TypeError, "len: expected a Tensor with at least one axis, got shape ()"),
    "dtype": (lambda: T(1.0, "int8"), ValueError, "Tensor: expected dtype float32 or float64, got 'int8'"),
    "an unknown attribute": (
        lambda: g.elu(A, slope=1.0),
        TypeError,
        "elu: elu has no attribute 'slope'; it takes alpha",
    ),
    "labels": (
        lambda: g.cross_entropy(A, [0, 1, 2]),
        ValueError,
        "cross_entropy: expected labels 0 to 1, got 2 at row 2",
    ),
    "a target's shape": (lambda: g.mse(A, B), ValueError, "mse: expected y of shape (3, 2), got (4,)"),
    "a prediction's shape": (
        lambda: g.mse(B, B),
        ValueError,
        "mse: expected a prediction of shape (batch, outputs), got (4,)",
    ),
    # modes
    "grad of many": (
        lambda: g.grad(lambda x: x * 2)(np.ones(3)),
        ValueError,
        "grad: expected a function that gives one number, got shape (3,); take its sum or mean, or use jacobian",
    ),
    "grad by integers": (
        lambda: g.grad(g.sum)(np.array([1, 2])),
        TypeError,
        "grad: expected argument 0 as float32 or float64 numbers, got int64; write 2.0 for 2",
    ),
    "a function that gives a number": (
        lambda: g.value_and_grad(float)(1.0),
        TypeError,
        "value_and_grad: expected a function that gives Tensors, got float; float(), .numpy() and NumPy's",
    ),
    "argnums": (
        lambda: g.grad(g.sum, argnums=1)(1.0),
        ValueError,
        "grad: expected argnums below 1, the number of arguments, got 1",
    ),
    "a cotangent's shape": (
        lambda: g.vjp(g.exp, np.ones(2))[1](np.ones(3)),
        ValueError,
        "vjp: expected the cotangent of shape (2,), got (3,)",
    ),
    "a cotangent's nesting": (
        lambda: g.vjp(lambda x: [x, x], 1.0)[1](1.0),
        ValueError,
        "vjp: expected the cotangent nested as [*, *], got *",
    ),
    "tangents' number": (
        lambda: g.jvp(g.exp, (1.0,), (1.0, 1.0)),
        ValueError,
        "jvp: expected as many tangents as arguments, 1, got 2",
    ),
    "tangents alone": (
        lambda: g.hvp(g.sum, (1.0,), 1.0),
        TypeError,
        "hvp: expected tangents as a tuple, one for each argument, got float",
    ),
    "a mode": (
        lambda: g.jacobian(g.exp, mode="forwards"),
        ValueError,
        "jacobian: unknown mode 'forwards'; did you mean 'forward'",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_mistakes_are_refused_with_words_of_their_own(backend, mistake):
    do, kind, words = REFUSED[mistake]
    with pytest.raises(kind) as caught:
        do()
    assert str(caught.value).startswith(words)


def test_the_same_mistakes_are_refused_while_recording():
    with pytest.raises(ValueError, match="add: expected shapes that broadcast"):
        g.grad(lambda x: g.sum(x + B))(A)
    with pytest.raises(TypeError, match="a Tensor cannot be changed"):
        g.grad(lambda x: x.__setitem__(0, 1.0))(A)


@pytest.mark.parametrize(
    ("name", "do"),
    [
        ("arctan", np.arctan),
        ("add", np.add.reduce),
        ("add", lambda x: np.add(x, 1, out=np.ones((3, 2)))),
        ("mean", np.mean),
        ("concatenate", lambda x: np.concatenate([x, np.ones((1, 2))])),
        ("where", lambda x: np.where([[True], [False], [True]], x, 0)),
    ],
)
def test_functions_of_numpy_that_would_lose_the_derivative_are_refused(name, do):
    words = rf"numpy\.{name}: expected arrays, got a recorded Tensor; densegrad.graph has functions"
    with pytest.raises(TypeError, match=words):
        g.grad(do)(A)
    np.testing.assert_array_equal(do(A), do(A.numpy()))  # of a constant there is none


def test_other_refusals_of_numpy_keep_its_words():
    with pytest.raises(ValueError, match="negative integer powers"):
        T([2, 3]) ** -1
    with pytest.raises(TypeError, match="boolean"):
        T([True]) - T([True])


def test_arrays_that_come_out_cannot_be_written_to():
    t = T(np.ones(3))
    for view in (t.numpy(), np.asarray(t), g.reshape(t, (3, 1)).numpy()):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 5.0


def test_what_goes_in_is_copied():
    a = np.ones(3)
    t, doubled = T(a), g.multiply(a, 1.0)
    _, pull = g.vjp(lambda x: x * x, a)
    a[:] = 7
    assert t.numpy().tolist() == doubled.numpy().tolist() == [1, 1, 1]
    assert pull(np.ones(3))[0].numpy().tolist() == [2, 2, 2]


def test_a_primitive_of_ones_own_cannot_write_into_its_arrays():
    @g.primitive
    def careless(x):
        x[0] = 5.0
        return x

    with pytest.raises(ValueError, match="read-only"):
        careless(np.ones(2))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (lambda dy, y, a, b: dy, "product.vjp: expected 2 cotangents, one an input, got 1"),
        (lambda dy, y, a, b: (dy[0], dy), r"product.vjp: expected shape \(2,\), got \(\)"),
    ],
)
def test_a_rule_of_ones_own_gives_what_it_must(rule, words):
    @g.primitive
    def product(a, b):
        return a * b

    product.vjp(rule)
    with pytest.raises(ValueError, match=words):
        g.vjp(product, np.ones(2), np.ones(2))[1](np.ones(2))


def test_a_primitive_of_ones_own_gives_an_array():
    with pytest.raises(TypeError, match="gives: expected its function to give an array, got a Tensor"):
        named(lambda x: T(x) + 1)(1.0)


def named(function):
    function.__name__ = "gives"
    return g.primitive(function)


# ---- graphs that are mixed


def leaked(mode):
    kept = []

    def f(x):
        kept.append(x * 2.0)
        return g.sum(x)

    mode(f)
    return kept[0]


@pytest.mark.parametrize(
    "mode",
    [
        lambda f: g.grad(f)(1.0),
        lambda f: g.jvp(f, (1.0,), (1.0,)),
        lambda f: g.vjp(f, 1.0),
        lambda f: g.jacobian(f)(1.0),
        lambda f: g.record(f, 1.0),
    ],
)
def test_a_tensor_of_a_call_that_has_ended_is_refused(mode):
    t = leaked(mode)
    words = "expected Tensors of this derivative call, got one of another that has ended.*return it from the function"
    with pytest.raises(ValueError, match=f"multiply: {words}"):
        t * 2.0
    with pytest.raises(ValueError, match=f"add: {words}"):
        g.grad(lambda x: x + t)(1.0)
    with pytest.raises(ValueError, match=words):
        g.grad(lambda x: x * x)(t)
    assert float(T(t) * 2) == 4  # its numbers are free
    assert float(t) == 2


def test_a_tensor_of_another_thread_is_refused():
    caught = []

    def f(x):
        def use():
            try:
                g.grad(lambda y: x * y)(1.0)
            except ValueError as error:
                caught.append(str(error))

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        return x

    g.grad(f)(1.0)
    assert "another that has ended or runs in another thread" in caught[0]


def test_an_error_within_ends_the_recording():
    for mode in (lambda f: g.grad(f)(1.0), lambda f: g.grad(g.grad(f))(1.0), lambda f: g.jvp(f, (1.0,), (1.0,))):
        with pytest.raises(ZeroDivisionError):
            mode(lambda x: x * (1 / 0))
    assert (T(1.0) + 1).node is None
    assert float(g.grad(lambda x: x * x)(3.0)) == 6


def test_results_are_constants_where_nobody_records():
    value, gradient = g.value_and_grad(lambda x: x * x)(3.0)
    y, tangent = g.jvp(lambda x: x * x, (3.0,), (1.0,))
    z, pull = g.vjp(lambda x: x * x, 3.0)
    for t in (value, gradient, y, tangent, z, *pull(1.0), g.jacobian(g.exp)(1.0), *g.hvp(g.exp, (1.0,), (1.0,))):
        assert t.node is None


def test_pickles_are_constants():
    caught = []
    g.grad(lambda x: (caught.append(pickle.dumps(x * 2.0)), x)[1])(3.0)
    t = pickle.loads(caught[0])
    assert float(t * 2) == 12
    assert t.node is None


# ---- NumPy beside Tensors


def test_arrays_and_numpy_functions_work_on_tensors():
    a, t = np.array([1.0, 2.0]), T([3.0, 4.0])
    for result, expected in [
        (a + t, [4, 6]),
        (a @ t, 11),
        (a - t, [-2, -2]),
        (np.float64(2) * t, [6, 8]),
        (a > t, [False, False]),
        (2**t, [8, 16]),
        (np.maximum(a, t), [3, 4]),
        (np.tanh(0 * t), [0, 0]),
        (abs(-t), [3, 4]),
    ]:
        assert type(result) is T
        assert result.numpy().tolist() == expected
    assert float(g.grad(lambda x: np.exp(x) * np.sum([1.0, 1.0]))(0.0)) == 2
    assert [float(part) for part in t] == [3, 4]
    assert np.array([t, t]).shape == (2, 2)
    assert t.sum().shape == ()
    assert (t.mean(), t.max(), t.min(), t.prod()) == (3.5, 4, 3, 12)


def test_lists_of_tensors_are_stacked_and_differentiated():
    assert [float(d) for d in g.grad(lambda x: g.sum([x[0] * x[1], 2 * x[1]]))([3.0, 4.0])] == [4, 5]


def test_a_tensor_prints_as_its_numbers():
    assert repr(T([1.0, 2.5])) == "Tensor([1. , 2.5])"
    assert repr(T([1.0], "float32")) == "Tensor([1.], dtype=float32)"
