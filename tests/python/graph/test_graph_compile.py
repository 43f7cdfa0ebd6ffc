"""Compiled functions of Tensors: the numbers of the dynamic run, as a program, as networks, and in training."""

from __future__ import annotations

import inspect
import threading
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import densegrad as dg
from densegrad import graph as g
from densegrad._base.primitives import PRIMITIVES, names

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def network_parameters(rng, dtype, *widths):
    return [rng.normal(0, 0.5, shape).astype(dtype) for i, o in pairwise(widths) for shape in ((i, o), (o,))]


def classifier(p, x, labels):
    """Two hidden layers, written in three ways."""
    h = g.relu(g.dense(x, p[0], p[1]))
    h = g.tanh(h @ p[2] + p[3])
    return g.cross_entropy(p[5] + g.matmul(h, p[4]), labels)


@pytest.fixture
def case(rng, dtype):
    """Parameters, rows and labels for ``classifier``."""
    return network_parameters(rng, dtype, 6, 9, 8, 3), rng.normal(size=(7, 6)).astype(dtype), rng.integers(0, 3, 7)


def assert_same(found, expected, dtype):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        scale = max(1, float(np.max(np.abs(b.numpy()), initial=0)))
        np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


def lines(compiled, *args):
    return repr(compiled.program(*args)).splitlines()


def steps(compiled, *args):
    return [step.primitive.name for step in compiled.program(*args).steps]


# ---- what a program computes


def test_a_network_and_its_loss_become_one_network(case):
    compiled = g.compile(classifier)
    assert steps(compiled, *case) == ["network"]
    assert "dense -> relu -> dense -> tanh -> dense -> cross_entropy" in lines(compiled, *case)[-2]


def test_value_and_gradients_are_those_of_the_dynamic_run(backend, case, dtype):
    value, found = g.value_and_grad(g.compile(classifier))(*case)
    expected_value, expected = g.value_and_grad(classifier)(*case)
    assert_same([value, *found], [expected_value, *expected], dtype)


@pytest.mark.parametrize("name", names("activation"))
def test_every_activation_runs_in_a_network(backend, case, dtype, name):
    p, x, _ = case
    hidden = lambda x: g.dense(getattr(g, name)(g.dense(x, p[0], p[1])), p[2], p[3])  # noqa: E731
    compiled = g.compile(hidden)
    assert steps(compiled, x) == ["network"]
    found, expected = (g.value_and_grad(lambda x, f=f: g.sum(f(x) ** 2))(x) for f in (compiled, hidden))
    assert_same(found, expected, dtype)


@pytest.mark.parametrize("name", names("loss"))
def test_every_loss_runs_in_a_network(backend, case, dtype, name):
    (*p, w, _), x, labels = case
    row = PRIMITIVES[name]
    targets = {"classes": labels, "counts": labels[:, None] * np.ones((1, 3)), "values": x[:, :3]}
    target = targets.get(row.target, abs(np.tanh(x[:, :3])))
    target = target if target is labels else target[:, : 3 // row.predictions].astype(dtype)
    last = g.sigmoid if name == "binary_cross_entropy" else g.log_softmax if name == "nll" else g.identity
    columns = w[:, : 3 // row.predictions * row.predictions].copy()

    def loss(p, columns):
        return getattr(g, name)(last(g.dense(g.relu(g.dense(x, p[0], p[1])), p[2]) @ columns), target)

    compiled = g.compile(loss)
    assert steps(compiled, p[:3], columns) == ["network"]
    found, expected = (g.value_and_grad(f, (0, 1))(p[:3], columns) for f in (compiled, loss))
    assert_same(flat(found), flat(expected), dtype)


def test_a_gradient_by_the_rows_themselves_goes_through_the_network(backend, case, dtype):
    found, expected = (g.grad(f, argnums=1)(*case) for f in (g.compile(classifier), classifier))
    assert_same([found], [expected], dtype)


def test_forward_mode_and_second_derivatives_are_those_of_the_dynamic_run(backend, case, dtype):
    p, x, _ = case
    compiled = g.compile(classifier)
    for f in (lambda f: g.jvp(f, case, (p, x, None)), lambda f: g.hvp(f, case, (p, None, None))[:1]):
        assert_same(flat(f(compiled)), flat(f(classifier)), dtype)


def flat(tree):
    return [leaf for part in tree for leaf in flat(part)] if isinstance(tree, list | tuple) else [tree]


def test_jacobians_of_a_compiled_network_are_those_of_the_dynamic_run(backend, case, dtype):
    p, x, _ = case
    outputs = lambda x: g.softmax(g.dense(g.elu(g.dense(x, p[0], p[1]), alpha=0.5), p[2], p[3]))  # noqa: E731
    compiled = g.compile(outputs)
    for mode in ("forward", "reverse"):
        assert_same([g.jacobian(compiled, mode=mode)(x)], [g.jacobian(outputs, mode=mode)(x)], dtype)
    assert steps(compiled, x) == ["network"]


def test_a_pullback_may_be_called_again_after_another_call_of_the_function(backend, case):
    p, x, _ = case
    compiled = g.compile(lambda x: g.dense(g.tanh(g.dense(x, p[0], p[1])), p[2], p[3]))
    y, pull = g.vjp(compiled, x)
    (first,) = pull(y)
    compiled(2 * x), g.vjp(compiled, 3 * x)
    np.testing.assert_array_equal(pull(y)[0], first)


def test_a_pullback_keeps_the_parameters_that_it_was_made_with(backend, case):
    p, x, _ = case
    outputs = lambda p, x: g.dense(g.tanh(g.dense(x, p[0], p[1])), p[2], p[3])  # noqa: E731
    compiled = g.compile(outputs)
    y, pull = g.vjp(compiled, p[:4], x)
    compiled([2 * a for a in p[:4]], x)
    for found, expected in zip(flat(pull(y)), flat(g.vjp(outputs, p[:4], x)[1](y)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_weighted_loss_and_its_derivative_by_the_weights(backend, case, dtype):
    p, x, labels = case
    weights = np.linspace(0.5, 2, 7).astype(dtype)

    def loss(p, weights):
        return g.cross_entropy(g.dense(g.relu(g.dense(x, p[0], p[1])), p[2], p[3]), labels, weights)

    compiled = g.compile(loss)
    assert steps(compiled, p, weights) == ["network"]
    for argnums in (0, 1):
        found, expected = (g.grad(f, argnums)(p, weights) for f in (compiled, loss))
        assert_same(flat([found]), flat([expected]), dtype)


def test_residual_sums_are_part_of_a_network(backend, case, dtype):
    p, x, _ = case
    w = np.linspace(-1, 1, 81).reshape(9, 9).astype(dtype)

    def residual(x, w):
        h = g.dense(x, p[0], p[1])
        return g.dense(h + g.relu(g.dense(h, w)), p[2], p[3])

    compiled = g.compile(residual)
    assert steps(compiled, x, w) == ["network"]
    found, expected = (g.grad(lambda x, w, f=f: g.sum(f(x, w) ** 2), (0, 1))(x, w) for f in (compiled, residual))
    assert_same(found, expected, dtype)


def test_a_network_inside_of_other_operations_passes_their_derivatives_on(backend, case, dtype):
    p, x, labels = case
    found, expected = (
        g.grad(lambda p, x, f=f: g.exp(-2 * f(p, 3 * x, labels)), (0, 1))(p, g.Tensor(x))
        for f in (g.compile(classifier), classifier)
    )
    assert_same(flat(found), flat(expected), dtype)


def test_a_batch_may_be_added_to_itself(backend, case, dtype):
    p, x, _ = case
    doubled = lambda x: g.dense((h := g.relu(g.dense(x + x, p[0], p[1]))) + h, p[2], p[3])  # noqa: E731
    compiled = g.compile(doubled)
    assert steps(compiled, x) == ["network"]
    found, expected = (g.grad(lambda x, f=f: g.sum(f(x) ** 2))(x) for f in (compiled, doubled))
    assert_same([found], [expected], dtype)


def test_what_is_read_elsewhere_ends_a_network_and_is_made_once(rng):
    x, w = rng.normal(size=(2, 3, 3))

    def both(x):
        h = g.relu(x @ w + w[0])
        return g.sum(h), g.tanh(h @ w) @ w, x @ w

    compiled = g.compile(both)
    assert steps(compiled, x) == ["matmul", "add", "relu", "sum", "network"]
    assert lines(compiled, x)[-2].endswith("# dense -> tanh -> dense")
    for a, b in zip(compiled(x), both(g.Tensor(x)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_a_weight_that_is_used_twice_gets_both_gradients(backend, rng, dtype):
    w, x = rng.normal(size=(4, 4)).astype(dtype), rng.normal(size=(5, 4)).astype(dtype)
    twice = lambda w, x: g.sum(g.tanh(g.tanh(x @ w) @ w))  # noqa: E731
    found, expected = (g.grad(f)(w, g.Tensor(x)) for f in (g.compile(twice), twice))
    assert_same([found], [expected], dtype)


def test_two_batches_are_two_networks_and_the_program_says_why_it_is_split(backend, rng):
    w, v = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))

    def both(a, b):
        return g.sum(g.relu(a @ w) + g.tanh(b @ v))

    compiled = g.compile(both)
    args = rng.normal(size=(6, 4)), rng.normal(size=(6, 5))
    assert steps(compiled, *args) == ["network", "network", "add", "sum"]
    assert [line.split("# ")[1] for line in lines(compiled, *args) if "#" in line] == [
        "dense -> relu",
        "dense -> tanh",
        "reads more than one batch",
        "no node of a plan",
    ]
    assert float(compiled(*args)) == pytest.approx(float(both(*map(g.Tensor, args))), rel=1e-12)


def test_a_sum_of_two_batches_ends_the_network_that_reads_it(rng):
    a, b, w = rng.normal(size=(3, 4, 4))
    compiled = g.compile(lambda a, b: g.tanh(g.relu(a @ w + b @ w) @ w))
    assert steps(compiled, a, b) == ["matmul", "matmul", "add", "network"]
    np.testing.assert_allclose(compiled(a, b), np.tanh(np.maximum(a @ w + b @ w, 0) @ w), rtol=1e-13)


def test_a_result_in_the_middle_ends_a_network(rng):
    x, w = rng.normal(size=(2, 3, 3))
    compiled = g.compile(lambda x: ((h := g.relu(x @ w)), g.tanh(h @ w)))
    assert [line.split("# ")[1] for line in lines(compiled, x)[-3:-1]] == ["dense -> relu", "dense -> tanh"]
    for found, expected in zip(compiled(x), (h := np.maximum(x @ w, 0), np.tanh(h @ w)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_equal_operations_are_done_once_and_what_nobody_reads_not_at_all(rng):
    def f(x, y):
        g.exp(y)
        return g.sin(x) * g.sin(x) + g.reshape(g.sin(x), x.shape) * 2 + x.T.T[0] * 2 + x.T.T[0]

    compiled = g.compile(f)
    args = rng.normal(size=(3, 3)), rng.normal(size=2)
    names = steps(compiled, *args)
    assert (names.count("sin"), names.count("getitem"), names.count("exp"), names.count("reshape")) == (1, 1, 0, 0)
    np.testing.assert_array_equal(compiled(*args), f(*map(g.Tensor, args)))


def test_what_no_argument_leads_to_is_computed_while_tracing(rng):
    compiled = g.compile(lambda x: x * g.exp(g.Tensor(2.0)) * g.grad(lambda t: t**2)(3.0))
    assert steps(compiled, np.ones(3)) == ["multiply", "multiply"]
    np.testing.assert_allclose(compiled(np.ones(3)), np.full(3, 6 * np.exp(2)), rtol=1e-15)


def test_derivatives_may_be_taken_inside_of_a_compiled_function(backend):
    compiled = g.compile(g.grad(lambda x: g.sum(g.sin(x) * x)))
    x = np.linspace(-2, 2, 5)
    np.testing.assert_allclose(compiled(x), np.cos(x) * x + np.sin(x), rtol=1e-14)
    np.testing.assert_allclose(
        g.jvp(compiled, (x,), (np.ones(5),))[1], 2 * np.cos(x) - np.sin(x) * x, rtol=1e-13, atol=1e-15
    )


def test_a_compiled_function_inside_another_becomes_part_of_it(case):
    p, x, labels = case
    hidden = g.compile(lambda x, w, b: g.relu(g.dense(x, w, b)))
    whole = g.compile(lambda x: g.cross_entropy(g.dense(hidden(x, p[0], p[1]), p[2], p[3]), labels))
    assert steps(whole, x) == ["network"]


def test_results_are_nested_as_the_function_nests_them():
    compiled = g.compile(lambda a, *, b: {"sum": a["x"] + b, "both": [b, (a["x"],)]})
    found = compiled({"x": 1.0}, b=2.0)
    assert {name: str(part) for name, part in found.items()} == {
        "sum": "Tensor(3.)",
        "both": "[Tensor(2.), (Tensor(1.),)]",
    }


def test_floats_follow_the_dtype_of_the_arrays_and_need_no_new_trace():
    compiled = g.compile(lambda x, rate: x * rate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [compiled(np.ones(2, "float32"), rate) for rate in (0.5, 0.25)]
    assert [(r.dtype, float(r[0])) for r in results] == [("float32", 0.5), ("float32", 0.25)]


def test_results_do_not_change_with_the_array_that_was_given():
    x = np.ones(3)
    y = g.compile(lambda x: x)(x)
    x[:] = 2
    np.testing.assert_array_equal(y, np.ones(3))


def test_results_may_be_views_of_what_was_given():
    x = np.arange(6.0).reshape(2, 3)
    turned = g.compile(lambda x: [x.T, x[0], x.T.T])(x)
    x[...] = 0
    assert [str(y.numpy().ravel()) for y in turned] == ["[0. 3. 1. 4. 2. 5.]", "[0. 1. 2.]", "[0. 1. 2. 3. 4. 5.]"]


def test_a_backend_is_chosen_at_each_call(case):
    compiled, gradients = g.compile(classifier), {}
    for name in dg.available_backends():
        with dg.use_backend(name):
            for f in (g.grad(compiled), g.grad(g.compile(classifier))):
                gradients.setdefault(name, []).append(np.concatenate([d.numpy().ravel() for d in f(*case)]))
    for first, second in gradients.values():
        np.testing.assert_array_equal(first, second)
    apart = {found[0].tobytes() for found in gradients.values()}
    assert len(apart) == len(gradients)  # they round differently, or nothing was chosen


def test_numbers_that_are_not_finite_come_out_as_in_the_dynamic_run(backend, case, dtype):
    p, x, labels = case
    x[2, 1] = np.nan
    outputs = lambda x: g.dense(g.tanh(g.dense(x, p[0], p[1])), p[2], p[3])  # noqa: E731
    found, expected = (np.isnan(f(x).numpy()) for f in (g.compile(outputs), outputs))
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(float(g.compile(classifier)(p, x, labels)))


def test_labels_out_of_range_are_refused_with_the_words_of_the_dynamic_run(backend, case):
    p, x, labels = case
    compiled = g.compile(classifier)
    compiled(*case)
    wrong = np.where(labels == labels[3], 5, labels)
    with pytest.raises(ValueError, match=r"cross_entropy: expected labels 0 to 2, got 5 at row \d"):
        compiled(p, x, wrong)


@pytest.mark.parametrize("loss", [g.cross_entropy, lambda p, t: 2 * g.nll(g.log_softmax(p), t)])
def test_targets_are_checked_at_each_call_also_outside_of_networks(backend, loss):
    compiled = g.compile(loss)
    p = np.ones((3, 2))
    compiled(p, np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="expected labels 0 to 1, got -1 at row 2"):
        compiled(p, np.array([0, 1, -1]))


def test_predictions_that_are_no_probabilities_are_refused_as_in_the_dynamic_run(backend, rng):
    w, x, t = rng.normal(size=(3, 1)), rng.normal(size=(5, 3)), np.ones((5, 1))
    bare = g.compile(lambda x: g.binary_cross_entropy(g.relu(x @ w), t))
    assert steps(bare, 0 * x) == ["network", "binary_cross_entropy"]
    with pytest.raises(ValueError, match="binary_cross_entropy: expected prediction between 0 and 1"):
        bare(100 * x)
    assert steps(g.compile(lambda x: g.binary_cross_entropy(g.sigmoid(x @ w), t)), x) == ["network"]


def test_threads_may_call_one_compiled_function_at_once(case):
    p, x, labels = case
    compiled = g.value_and_grad(g.compile(classifier))
    rows = [x * scale for scale in (1, 2, 3, 4)]
    expected = [compiled(p, one, labels) for one in rows]
    found = [None] * len(rows)

    def work(n):
        for _ in range(50):
            found[n] = compiled(p, rows[n], labels)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(rows))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1][0], b[1][0])


# ---- random programs

_ONE = [g.sin, g.exp, g.tanh, g.relu, g.sigmoid, g.softmax, g.abs, lambda t: g.sum(t, 0, keepdims=True), lambda t: t.T]
_TWO = [g.add, g.multiply, g.subtract, g.maximum, g.dense, lambda a, b: g.dense(a, b, b[0])]


@st.composite
def programs(draw):
    """A function of two 4 x 4 matrices, as choices of operations and of what they read."""
    number = st.integers(0, 10**6)
    return draw(st.lists(st.tuples(number, number, number), min_size=1, max_size=14))


def run(choices, a, b):
    values = [g.tanh(a), g.tanh(b)]
    for operation, first, second in choices:
        every = len(_ONE) + len(_TWO)
        one, two = values[-1 - first % 3 % len(values)], values[second % len(values)]
        n = operation % every
        y = _ONE[n](one) if n < len(_ONE) else _TWO[n - len(_ONE)](one, two if one.shape == two.shape else one)
        if y.shape != (4, 4):
            y = y + values[0]
        values.append(g.tanh(y))
    return g.mean(values[-1] * values[-1]) + g.sum(values[len(values) // 2])


@given(programs())
def test_random_programs_have_the_values_and_derivatives_of_the_dynamic_run(choices):
    rng = np.random.default_rng(0)
    args = [g.Tensor(rng.normal(size=(4, 4))) for _ in range(2)]
    dynamic, compiled = lambda a, b: run(choices, a, b), g.compile(lambda a, b: run(choices, a, b))
    for name in dg.available_backends():
        with dg.use_backend(name):
            for f in (lambda f: [f(*args)], lambda f: g.grad(f, (0, 1))(*args), lambda f: [g.jvp(f, args, args)[1]]):
                assert_same(f(compiled), f(dynamic), "float64")


# ---- tracing


def test_each_set_of_shapes_is_traced_once_and_that_is_said_once():
    traces = []

    @g.compile
    def double(x):
        traces.append(x.shape)
        return 2 * x

    double(np.ones(3)), double(np.zeros(3))
    with pytest.warns(UserWarning, match=r"double: traced again, for float64 \(4,\) after float64 \(3,\)") as caught:
        assert double(np.ones(4)).shape == (4,)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        double(np.ones(5)), double(np.ones(3))
    assert traces == [(3,), (4,), (5,)]


def test_integers_and_strings_belong_to_the_program():
    @g.compile
    def f(x, n, kind):
        for _ in range(n):
            x = g.sin(x) if kind == "sin" else x * x
        return x

    assert float(f(2.0, 3, "square")) == 256
    with pytest.warns(UserWarning, match="another nesting, integer or string"):
        assert float(f(2.0, 1, "square")) == 4
    assert float(f(2.0, 1, "sin")) == np.sin(2)


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ("bool()", lambda t: 1 if t[0] > 0 else 2),
        ("float()", lambda t: float(t[0])),
        ("int()", lambda t: int(t[0])),
        (".numpy()", lambda t: t.numpy().sum()),
        (".numpy()", lambda t: np.asarray(t).sum()),
    ],
)
def test_reading_numbers_while_tracing_is_refused_with_the_line(asked, read):
    line = inspect.getsourcelines(read)[1]
    with pytest.raises(TypeError) as caught:
        g.compile(lambda t: t * read(t))(np.ones(2))
    assert f"expected no {asked} of a traced Tensor" in str(caught.value)
    assert f"{__file__}:{line}; choose with where(), or leave out compile" in str(caught.value)


def test_after_a_refused_trace_numbers_can_be_read_again():
    with pytest.raises(TypeError, match="traced Tensor"):
        g.compile(lambda t: t if t > 0 else -t)(1.0)
    assert float(g.grad(lambda t: t if t > 0 else -t)(-2.0)) == -1


def test_a_tensor_of_a_derivative_outside_is_refused():
    for inner in (lambda x, w: x * w, lambda x, w: w):
        outer = lambda w, inner=inner: g.compile(lambda x: inner(x, w))(2.0)  # noqa: E731
        with pytest.raises(ValueError, match="derivative call"):
            g.grad(outer)(3.0)


def test_what_is_no_argument_and_no_result_of_a_program_is_refused():
    with pytest.raises(TypeError, match=r"expected Tensors, arrays, numbers and strings, .* got object"):
        g.compile(lambda x: x)(object())
    with pytest.raises(TypeError, match="expected a function that gives Tensors, got ndarray"):
        g.compile(lambda x: np.ones(3))(1.0)


# ---- training


def model_and_trainer(dtype, optimizer, compiled, loss="cross_entropy"):
    model = dg.Sequential([dg.Dense(9, "relu"), dg.Dense(8, "tanh"), dg.Dense(3)], input_size=6, dtype=dtype, seed=3)
    parameters = [a for layer in model.layers for a in (layer.w, layer.b)]
    function = g.compile(classifier) if compiled else classifier
    return model, dg.Trainer(model, loss, optimizer()), g.Trainer(function, parameters, optimizer())


def optimizers():
    return [
        lambda: dg.SGD(0.1),
        lambda: dg.SGD(0.1, momentum=0.9, clip_norm=0.5),
        lambda: dg.Adam(dg.schedules.Exponential(0.01, 0.9), average=0.9),
    ]


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "dynamic"])
@pytest.mark.parametrize("optimizer", optimizers(), ids=["sgd", "clipped", "scheduled"])
def test_fifty_steps_are_those_of_the_same_layers(backend, case, dtype, optimizer, compiled):
    _, x, labels = case
    model, layers, tensors = model_and_trainer(dtype, optimizer, compiled)
    for step in range(50):
        rows = slice(0, 5) if step % 3 == 2 else slice(0, 7)
        assert tensors.step(x[rows], labels[rows]) == pytest.approx(layers.step(x[rows], labels[rows]), rel=1e-3)
    found = np.concatenate([a.ravel() for a in tensors.parameters])
    if compiled:
        np.testing.assert_array_equal(found, model.parameters)
    np.testing.assert_allclose(found, model.parameters, rtol=0, atol=1e-3 if dtype == "float32" else 1e-11)
    assert tensors.optimizer.steps == 50


def test_a_loss_that_is_no_network_trains_by_its_gradients(backend, case, dtype):
    p, x, labels = case

    def penalised(p, x, labels):
        return classifier(p, x, labels) + 0.01 * sum(g.sum(w * w) for w in p[::2])

    trainers = [g.Trainer(f, p, dg.SGD(0.1, momentum=0.5)) for f in (penalised, g.compile(penalised))]
    losses = [[trainer.step(x, labels) for _ in range(20)] for trainer in trainers]
    np.testing.assert_allclose(*losses, rtol=1e-4 if dtype == "float32" else 1e-11)
    assert losses[0][-1] < losses[0][0]


def tied(p, x, y, weights):
    return g.mse(g.dense(g.tanh(g.dense(x, p["w"], p["b"])), p["w"], p["b"]), y, weights)


def turned(p, x, y, weights):
    return g.mse(g.dense(g.tanh(x @ p["w"] + p["b"]), p["v"]), y, weights)


def aimed(p, x, y, weights):
    return g.mse(g.dense(x, p["w"], p["b"]), p["v"], weights)


def shifted(p, x, y, weights):
    return g.mse(g.dense(x - p["b"], p["w"], p["b"]) @ p["v"], y, weights)


def with_a_spare(p, x, y, weights):
    return g.huber(g.dense(g.sigmoid(x @ p["w"]), p["v"]), y, weights, delta=0.5)


@pytest.mark.parametrize("loss", [tied, turned, aimed, shifted, with_a_spare])
def test_weights_in_any_order_and_place_train_as_dynamically(backend, dtype, rng, loss):
    arrays = {"b": np.ones(4), "v": rng.normal(size=(4, 4)), "w": rng.normal(size=(4, 4))}
    parameters = {name: a.astype(dtype) for name, a in arrays.items() if loss is not tied or name != "v"}
    x, y = rng.normal(size=(2, 4, 4)).astype(dtype)
    trainers = [g.Trainer(f, parameters, dg.AdamW(0.01, weight_decay=0.1)) for f in (loss, g.compile(loss))]
    for _ in range(10):
        a, b = (trainer.step(x, y, np.linspace(0, 1, 4)) for trainer in trainers)
        assert a == pytest.approx(b, rel=1e-5 if dtype == "float32" else 1e-13)
    for name in parameters:
        found, expected = (trainer.parameters[name] for trainer in trainers)
        np.testing.assert_allclose(found, expected, atol=1e-5 if dtype == "float32" else 1e-12)


def test_rows_that_belong_to_the_loss_are_trained_on(backend, case):
    p, x, labels = case
    closed = g.Trainer(g.compile(lambda p: classifier(p, g.Tensor(x), labels)), p, dg.SGD(0.1))
    given_ = g.Trainer(g.compile(classifier), p, dg.SGD(0.1))
    assert [closed.step() for _ in range(5)] == [given_.step(x, labels) for _ in range(5)]


def test_data_is_made_ready_inside_of_the_loss(backend, case, dtype):
    p, x, labels = case
    plain = g.compile(classifier)
    scaled = g.compile(lambda p, batch: classifier(p, (batch["x"] - 1) / 2, batch["y"]))
    a, b = g.Trainer(plain, p, dg.SGD(0.1)), g.Trainer(scaled, p, dg.SGD(0.1))
    as_they_are = g.Trainer(g.compile(lambda p, batch: classifier(p, *batch)), p, dg.SGD(0.1))
    for _ in range(5):
        expected = a.step(x, labels)
        assert b.step({"x": 2 * x + 1, "y": labels}) == pytest.approx(expected, rel=1e-4)
        assert as_they_are.step([x, labels]) == expected


def test_lists_and_float64_data_are_converted_to_the_parameters_dtype(backend, case, dtype):
    p, x, labels = case
    trainers = [g.Trainer(g.compile(classifier), p, dg.SGD(0.1)) for _ in range(3)]
    given = [(x, labels), (np.asfortranarray(x.astype("float64")), labels), (g.Tensor(x), g.Tensor(labels))]
    losses = [[trainer.step(*data) for _ in range(5)] for trainer, data in zip(trainers, given, strict=True)]
    assert losses[0] == losses[1] == losses[2]


def test_a_trainer_goes_on_with_other_backends_and_other_data(case, dtype):
    p, x, labels = case
    compiled, dynamic = (g.Trainer(f, p, dg.Adam(0.01)) for f in (g.compile(classifier), classifier))
    soft = np.full((7, 3), 1 / 3, dtype)
    for name in [*dg.available_backends(), *dg.available_backends()]:
        with dg.use_backend(name):
            for data in ((x, labels), (x, soft), (x[:3], labels[:3].astype("int32")), (x.astype(float), labels)):
                assert compiled.step(*data) == pytest.approx(dynamic.step(*data), rel=1e-3)


def test_a_trainer_steps_on_the_backend_of_the_moment(case):
    p, x, labels = case
    trainer = g.Trainer(g.compile(classifier), p, dg.SGD(0.1))
    for name in [*dg.available_backends(), *dg.available_backends()]:
        with dg.use_backend(name):
            fresh = g.Trainer(g.compile(classifier), trainer.parameters, dg.SGD(0.1))
            assert trainer.step(x, labels) == fresh.step(x, labels)
        for found, expected in zip(trainer.parameters, fresh.parameters, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_loss_may_depend_on_the_number_of_rows(backend, case, dtype):
    p, x, labels = case

    def loss(p, x, labels):
        between = g.relu if len(x) > 5 else g.tanh
        return g.cross_entropy(g.dense(between(g.dense(x, p[0], p[1])), p[2], p[3]), labels)

    compiled, dynamic = (g.Trainer(f, p[:4], dg.SGD(0.1)) for f in (g.compile(loss), loss))
    for rows in (7, 4, 7, 4):
        expected = dynamic.step(x[:rows], labels[:rows])
        assert compiled.step(x[:rows], labels[:rows]) == pytest.approx(expected, rel=1e-4)


def test_parameters_are_copied_and_may_be_written_between_steps(backend, case):
    p, x, labels = case
    before = p[0].copy()
    trainer = g.Trainer(g.compile(classifier), p, dg.SGD(0.1))
    first = trainer.step(x, labels)
    np.testing.assert_array_equal(p[0], before)
    for mine, given_ in zip(trainer.parameters, p, strict=True):
        mine[...] = given_
    assert trainer.step(x, labels) == first


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "dynamic"])
def test_a_loss_that_is_not_finite_raises_before_the_update(backend, case, dtype, compiled):
    _, x, labels = case
    _, _, trainer = model_and_trainer(dtype, lambda: dg.SGD(0.1), compiled)
    trainer.step(x, labels)
    trainer.parameters[4][0, 0] = np.nan
    before = [a.copy() for a in trainer.parameters]
    with pytest.raises(dg.DivergenceError, match="expected a finite loss, got nan at step 2"):
        trainer.step(x, labels)
    for a, b in zip(trainer.parameters, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert trainer.optimizer.steps == 1


def test_refused_data_leave_the_parameters_as_they_were(backend, case):
    p, x, labels = case
    trainer = g.Trainer(g.compile(classifier), p, dg.SGD(0.1))
    trainer.step(x, labels)
    before = [a.copy() for a in trainer.parameters]
    with pytest.raises(ValueError, match="expected labels 0 to 2, got -1 at row 0"):
        trainer.step(x, np.where(np.arange(7) == 0, -1, labels))
    for a, b in zip(trainer.parameters, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_second_thread_that_would_train_is_told_so(case):
    p, x, labels = case
    inside, go_on = threading.Event(), threading.Event()

    def waiting(p, x, labels):
        inside.set()
        go_on.wait()
        return classifier(p, x, labels)

    trainer = g.Trainer(waiting, p, dg.SGD(0.1))
    first = threading.Thread(target=trainer.step, args=(x, labels))
    first.start()
    inside.wait()
    with pytest.raises(RuntimeError, match="expected one step at a time"):
        trainer.step(x, labels)
    go_on.set()
    first.join()
    assert trainer.optimizer.steps == 1


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(TypeError, match="Trainer: expected parameters of float32 or float64, got int64"):
        g.Trainer(classifier, [np.arange(3)], dg.SGD(0.1))
    with pytest.raises(TypeError, match=r"Trainer: expected optimizer as an object such as dg.SGD\(0.1\), got 'sgd'"):
        g.Trainer(classifier, [np.ones(3)], "sgd")
    with pytest.raises(TypeError, match="Trainer: expected loss as a function"):
        g.Trainer("mse", [np.ones(3)], dg.SGD(0.1))
