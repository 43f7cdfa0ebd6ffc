"""Worked examples from textbooks: their printed figures, and the chain rule written out in plain NumPy.

Nothing on the expected side calls densegrad.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import densegrad as dg

pytestmark = pytest.mark.usefixtures("backend")

Array = np.ndarray[Any, np.dtype[np.float64]]

RELATIVE = {"float64": 1e-12, "float32": 4e-6}  # what a few ops may lose, each of them within its bound


def assert_printed(values: Any, figures: str, dtype: str = "float64") -> None:
    """Each value rounds to its printed figure, or agrees with it as far as float32 reaches."""
    values, printed = np.ravel(values), figures.split()
    assert len(values) == len(printed)
    for value, figure in zip(values, printed, strict=True):
        tolerance = 0.5 * 10.0 ** int(Decimal(figure).as_tuple().exponent)
        if dtype == "float32":
            tolerance = max(tolerance, RELATIVE[dtype] * abs(float(figure)))
        assert float(value) == pytest.approx(float(figure), rel=0, abs=tolerance)


def assert_equal(computed: Any, expected: Any, dtype: str = "float64") -> None:
    rtol, atol = (1e-12, 1e-14) if dtype == "float64" else (2e-5, 1e-7)
    np.testing.assert_allclose(computed, expected, rtol=rtol, atol=atol)


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


# ---- 2-2-2: Matt Mazur, "A Step by Step Backpropagation Example", 2015

INPUT = np.array([[0.05, 0.10]])
TARGET = np.array([[0.01, 0.99]])
MAZUR: dict[str, Array] = {
    "w1": np.array([[0.15, 0.25], [0.20, 0.30]]),
    "b1": np.array([0.35, 0.35]),
    "w2": np.array([[0.40, 0.50], [0.45, 0.55]]),
    "b2": np.array([0.60, 0.60]),
}
LOSS = "half_squared_error"


def mazur_model(dtype: str, *, trainable_w: bool = True, trainable_b: bool = False) -> dg.Sequential:
    model = dg.Sequential(
        [dg.Dense(2, "sigmoid", trainable_w=trainable_w, trainable_b=trainable_b) for _ in range(2)],
        input_size=2,
        dtype=dtype,
    )
    for layer, w, b in zip(model.layers, ("w1", "w2"), ("b1", "b2"), strict=True):
        layer.w[...] = MAZUR[w]
        layer.b[...] = MAZUR[b]
    return model


def weights(layer: Any) -> Array:
    """In the page's numbering: first the weights of the first neuron, then those of the second."""
    return layer.w.T.ravel()


def mazur_update(p: dict[str, Array] = MAZUR, *, hidden_learns_from_new: bool = False) -> dict[str, Array]:
    """All parameters after one update with learning rate 0.5, biases included."""
    w1, b1, w2, b2 = (p[name] for name in ("w1", "b1", "w2", "b2"))
    h = sigmoid(INPUT @ w1 + b1)
    o = sigmoid(h @ w2 + b2)
    dz2 = (o - TARGET) * o * (1 - o)
    new_w2 = w2 - 0.5 * h.T @ dz2
    dz1 = dz2 @ (new_w2 if hidden_learns_from_new else w2).T * h * (1 - h)
    return {
        "w1": w1 - 0.5 * INPUT.T @ dz1,
        "b1": b1 - 0.5 * dz1[0],
        "w2": new_w2,
        "b2": b2 - 0.5 * dz2[0],
    }


def mazur_error(p: dict[str, Array]) -> float:
    o = sigmoid(sigmoid(INPUT @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"])
    return float(0.5 * ((o - TARGET) ** 2).sum())


def by_step(model: dg.Sequential, updates: int) -> float:
    """The loss before the last update, by ``Trainer.step``."""
    trainer = dg.Trainer(model, loss=LOSS, optimizer=dg.SGD(0.5))
    x, t = INPUT.astype(model.dtype), TARGET.astype(model.dtype)
    return [trainer.step(x, t) for _ in range(updates)][-1]


def by_fit(model: dg.Sequential, updates: int) -> float:
    """The same by ``fit``: all updates but the last in one epoch, the last in another."""
    optimizer = dg.SGD(0.5)
    if updates > 1:
        rows = np.repeat(INPUT, updates - 1, axis=0), np.repeat(TARGET, updates - 1, axis=0)
        model.fit(*rows, loss=LOSS, optimizer=optimizer, batch_size=1)
    return float(model.fit(INPUT, TARGET, loss=LOSS, optimizer=optimizer, batch_size=1)["loss"][-1])


def by_backward(model: dg.Sequential, updates: int) -> float:
    """The same by ``forward``, a loss that lives elsewhere, ``backward`` and ``apply_gradients``."""
    trainer = dg.Trainer(model, loss=LOSS, optimizer=dg.SGD(0.5))
    error = math.nan
    for _ in range(updates):
        d = model.forward(INPUT) - TARGET
        error = float(0.5 * (d**2).sum())
        model.backward(d)
        trainer.apply_gradients()
    return error


doors = pytest.mark.parametrize("train", [by_step, by_fit, by_backward])
Train = Callable[[dg.Sequential, int], float]


def test_mazur_forward_pass_prints_the_published_neurons_and_error(dtype: str) -> None:
    model = mazur_model(dtype)
    trace = model.trace(INPUT, TARGET, LOSS)
    hidden, output = trace.layers
    assert_printed(hidden.z[0, 0], "0.3775", dtype)
    assert_printed(hidden.y, "0.593269992 0.596884378", dtype)
    assert_printed(output.z[0, 0], "1.105905967", dtype)
    assert_printed(output.y, "0.75136507 0.772928465", dtype)
    assert_printed(model.predict(INPUT), "0.75136507 0.772928465", dtype)
    assert_printed(trace.loss, "0.298371109", dtype)
    assert_printed(model.evaluate(INPUT, TARGET, loss=LOSS)["loss"], "0.298371109", dtype)


def test_mazur_backward_pass_prints_the_published_derivatives(dtype: str) -> None:
    hidden, output = mazur_model(dtype).trace(INPUT, TARGET, LOSS).layers
    assert_printed(output.dy[0, 0], "0.74136507", dtype)
    assert_printed(output.dz[0, 0], "0.138498562", dtype)
    assert_printed(output.dw[0, 0], "0.082167041", dtype)
    assert_printed(hidden.dy[0, 0], "0.036350306", dtype)
    assert_printed(hidden.dw[0, 0], "0.000438568", dtype)


@doors
def test_one_update_gives_the_published_eight_weights(train: Train, dtype: str) -> None:
    model = mazur_model(dtype)
    error = train(model, 1)
    assert_printed(error, "0.298371109", dtype)
    assert_printed(weights(model.layers[1]), "0.35891648 0.408666186 0.511301270 0.561370121", dtype)
    assert_printed(weights(model.layers[0]), "0.149780716 0.19956143 0.24975114 0.29950229", dtype)


@doors
def test_the_hidden_layer_learns_from_the_old_output_weights(train: Train, dtype: str) -> None:
    """With the new ones w1 would be 0.149817642; the page's error after one update was computed so."""
    old, new = mazur_update(), mazur_update(hidden_learns_from_new=True)
    assert_printed(mazur_error({**MAZUR, "w1": new["w1"], "w2": new["w2"]}), "0.291027924")
    model = mazur_model(dtype)
    train(model, 1)
    assert_equal(model.layers[0].w, old["w1"], dtype)
    assert np.abs(model.layers[0].w - new["w1"]).min() > 1e-5
    expected = mazur_error({**MAZUR, "w1": old["w1"], "w2": old["w2"]})
    assert model.evaluate(INPUT, TARGET)["loss"] == pytest.approx(expected, rel=RELATIVE[dtype])


@pytest.mark.parametrize("train", [by_step, by_fit])
def test_the_ten_thousandth_update_finds_and_leaves_the_known_errors(train: Train) -> None:
    """float64 only: in float32 every update's rounding moves the fifth digit."""
    model = mazur_model("float64")
    assert_printed(train(model, 10_000) * 1e5, "3.5108548")
    assert_printed(model.evaluate(INPUT, TARGET)["loss"] * 1e5, "3.5101878")


@doors
def test_frozen_biases_stay_fixed_to_the_last_bit(train: Train, dtype: str) -> None:
    model = mazur_model(dtype)
    before = [(layer.w.copy(), layer.b.copy()) for layer in model.layers]
    train(model, 50)
    for layer, (w, b) in zip(model.layers, before, strict=True):
        assert np.array_equal(layer.b, b)
        assert (layer.w != w).all()


@doors
def test_frozen_weights_stay_fixed_while_biases_learn(train: Train, dtype: str) -> None:
    model = mazur_model(dtype, trainable_w=False, trainable_b=True)
    before = [layer.w.copy() for layer in model.layers]
    train(model, 1)
    after = mazur_update()
    for layer, w, b in zip(model.layers, before, ("b1", "b2"), strict=True):
        assert np.array_equal(layer.w, w)
        assert_equal(layer.b, after[b], dtype)


@doors
def test_training_both_moves_weights_and_biases_by_the_chain_rule(train: Train, dtype: str) -> None:
    model = mazur_model(dtype, trainable_b=True)
    train(model, 1)
    after = mazur_update()
    for layer, w, b in zip(model.layers, ("w1", "w2"), ("b1", "b2"), strict=True):
        assert_equal(layer.w, after[w], dtype)
        assert_equal(layer.b, after[b], dtype)
        assert (np.abs(layer.b - MAZUR[b]) > 1e-3).all()


def test_biases_thawed_in_the_middle_of_training_begin_to_move(dtype: str) -> None:
    model = mazur_model(dtype)
    trainer = dg.Trainer(model, loss=LOSS, optimizer=dg.SGD(0.5))
    trainer.step(INPUT, TARGET)
    for layer in model.layers:
        layer.trainable_b = True
    trainer.step(INPUT, TARGET)
    first = {**mazur_update(), "b1": MAZUR["b1"], "b2": MAZUR["b2"]}  # the biases were frozen
    second = mazur_update(first)
    for layer, w, b in zip(model.layers, ("w1", "w2"), ("b1", "b2"), strict=True):
        assert_equal(layer.w, second[w], dtype)
        assert_equal(layer.b, second[b], dtype)
        assert (np.abs(layer.b - MAZUR[b]) > 1e-3).all()


# ---- 2-4-1 with quadratic loss

X = np.array([[0.5, -1.0], [1.5, 0.25], [-0.75, 2.0], [0.0, 0.3], [-2.0, -0.5]])
Y = np.array([[1.0], [0.0], [1.0], [0.25], [0.0]])
NET: list[Array] = [
    np.array([[0.1, -0.2, 0.3, 0.4], [0.5, 0.6, -0.7, 0.8]]),
    np.array([0.1, 0.0, -0.1, 0.2]),
    np.array([[0.3], [-0.4], [0.5], [0.6]]),
    np.array([-0.1]),
]
rows = pytest.mark.parametrize("m", [1, 5], ids=["sample", "batch"])


def net_model(dtype: str) -> dg.Sequential:
    model = dg.Sequential([dg.Dense(4, "sigmoid"), dg.Dense(1, "sigmoid")], input_size=2, dtype=dtype)
    for layer, (w, b) in zip(model.layers, (NET[:2], NET[2:]), strict=True):
        layer.w[...] = w
        layer.b[...] = b
    return model


def net_loss(p: list[Array], x: Array, t: Array) -> float:
    y = sigmoid(sigmoid(x @ p[0] + p[1]) @ p[2] + p[3])
    return float(0.5 * ((y - t) ** 2).sum() / len(x))


def net_by_hand(x: Array, t: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """What a textbook names in each layer, sample by sample and neuron by neuron; hidden layer first."""
    w1, b1, w2, b2 = NET
    m = len(x)
    one = {"dy": np.zeros((m, 4)), "dz": np.zeros((m, 4)), "dw": np.zeros((2, 4)), "db": np.zeros(4)}
    two = {"dy": np.zeros((m, 1)), "dz": np.zeros((m, 1)), "dw": np.zeros((4, 1)), "db": np.zeros(1)}
    for n in range(m):
        h = [1 / (1 + math.exp(-(x[n, 0] * w1[0, j] + x[n, 1] * w1[1, j] + b1[j]))) for j in range(4)]
        y = 1 / (1 + math.exp(-(sum(h[j] * w2[j, 0] for j in range(4)) + b2[0])))
        two["dy"][n, 0] = (y - t[n, 0]) / m
        two["dz"][n, 0] = delta = two["dy"][n, 0] * y * (1 - y)
        two["db"][0] += delta
        for j in range(4):
            two["dw"][j, 0] += h[j] * delta
            one["dy"][n, j] = w2[j, 0] * delta
            one["dz"][n, j] = one["dy"][n, j] * h[j] * (1 - h[j])
            one["db"][j] += one["dz"][n, j]
            for i in range(2):
                one["dw"][i, j] += x[n, i] * one["dz"][n, j]
    return one, two


@rows
def test_the_oracle_of_the_17_gradients_agrees_with_central_differences(m: int) -> None:
    x, t = X[:m], Y[:m]
    one, two = net_by_hand(x, t)
    expected = np.concatenate([g.ravel() for g in (one["dw"], one["db"], two["dw"], two["db"])])
    assert expected.size == 17
    differences = []
    for k, a in enumerate(NET):
        for place in np.ndindex(a.shape):
            ends = []
            for h in (1e-5, -1e-5):
                p = [q.copy() for q in NET]
                p[k][place] += h
                ends.append(net_loss(p, x, t))
            differences.append((ends[0] - ends[1]) / 2e-5)
    np.testing.assert_allclose(differences, expected, rtol=0, atol=1e-10)


@rows
def test_trace_shows_the_four_textbook_quantities_of_each_layer(m: int, dtype: str) -> None:
    trace = net_model(dtype).trace(X[:m], Y[:m], LOSS)
    assert trace.loss == pytest.approx(net_loss(NET, X[:m], Y[:m]), rel=RELATIVE[dtype])
    for layer, expected in zip(trace.layers, net_by_hand(X[:m], Y[:m]), strict=True):
        for quantity, value in expected.items():
            assert_equal(getattr(layer, quantity), value, dtype)


@rows
def test_backward_fills_the_17_gradients(m: int, dtype: str) -> None:
    model = net_model(dtype)
    assert model.parameters.size == model.gradients.size == 17
    y = model.forward(X[:m])
    dx = model.backward((y - Y[:m]) / m)
    one, two = net_by_hand(X[:m], Y[:m])
    for layer, expected in zip(model.layers, (one, two), strict=True):
        assert_equal(layer.dw, expected["dw"], dtype)
        assert_equal(layer.db, expected["db"], dtype)
    assert_equal(dx, one["dz"] @ NET[0].T, dtype)


@rows
def test_one_step_subtracts_the_17_gradients(m: int, dtype: str) -> None:
    model = net_model(dtype)
    dg.Trainer(model, loss=LOSS, optimizer=dg.SGD(0.5)).step(X[:m], Y[:m])
    one, two = net_by_hand(X[:m], Y[:m])
    for layer, (w, b), expected in zip(model.layers, (NET[:2], NET[2:]), (one, two), strict=True):
        assert_equal(layer.w, w - 0.5 * expected["dw"], dtype)
        assert_equal(layer.b, b - 0.5 * expected["db"], dtype)


@rows
def test_check_gradients_confirms_all_17_and_the_input(m: int) -> None:
    report = dg.check_gradients(net_model("float64"), X[:m], Y[:m], LOSS)
    assert set(report) == {"layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b", "x"}
    assert report.largest < 1e-7


# ---- softmax with cross-entropy: logits 2, 3, 4, the second class is true

LOGITS = np.array([[2.0, 3.0, 4.0]])
LABEL = np.array([1])
ONE_HOT = np.array([[0.0, 1.0, 0.0]])
targets = pytest.mark.parametrize("target", [LABEL, ONE_HOT], ids=["label", "one-hot"])


def test_softmax_of_2_3_4_prints_the_published_probabilities(dtype: str) -> None:
    y = dg.ops.activation_forward("softmax", LOGITS.astype(dtype))
    assert y.dtype == dtype
    assert_printed(y, "0.0900 0.2447 0.6652", dtype)
    assert_printed(y[0, 0], "0.09003", dtype)  # a widely read tutorial prints 0.0903
    exact = [math.exp(k) / (math.exp(2) + math.exp(3) + math.exp(4)) for k in (2, 3, 4)]
    assert_equal(y[0], exact, dtype)


@targets
def test_cross_entropy_of_2_3_4_prints_the_published_gradient(target: Array, dtype: str) -> None:
    value, dz = dg.ops.loss("cross_entropy", LOGITS.astype(dtype), target)
    assert_printed(value, "1.4076", dtype)  # -log 0.2447
    assert_printed(dz, "0.0900 -0.7553 0.6652", dtype)
    assert float(dz.sum()) == pytest.approx(0, abs=RELATIVE[dtype])


@targets
@pytest.mark.parametrize("activation", [None, "softmax"], ids=["logits", "softmax layer"])
def test_a_model_under_cross_entropy_has_that_gradient(activation: str | None, target: Array, dtype: str) -> None:
    """With a softmax as its last layer too: it is recognised, not applied twice."""
    layer = dg.Dense(3, activation, use_bias=False)
    model = dg.Sequential([layer], input_size=1, dtype=dtype)
    layer.w[...] = LOGITS
    trace = model.trace([[1.0]], target, "cross_entropy")
    assert_printed(trace.loss, "1.4076", dtype)
    assert_printed(trace.layers[0].dz, "0.0900 -0.7553 0.6652", dtype)
    dg.Trainer(model, loss="cross_entropy", optimizer=dg.SGD(1.0)).step([[1.0]], target)
    assert_printed(LOGITS - layer.w, "0.0900 -0.7553 0.6652", dtype)
    layer.w[...] = LOGITS
    assert_printed(model.predict_proba([[1.0]]), "0.0900 0.2447 0.6652", dtype)


# ---- a logistic output with binary cross-entropy: dL/dz = a - y


def logistic(m: int) -> tuple[Array, ...]:
    """x, y, w, b, and by hand: loss, dz, dw, db, the gradient through dL/da."""
    generator = np.random.default_rng(7)
    x, y = generator.normal(size=(m, 3)), (np.arange(m) % 2 == 0)[:, None].astype(float)
    w, b = np.array([[0.4], [-0.3], [0.8]]), np.array([0.1])
    a = sigmoid(x @ w + b)
    loss = -(y * np.log(a) + (1 - y) * np.log(1 - a)).mean()
    da = (-y / a + (1 - y) / (1 - a)) / m
    dz = da * a * (1 - a)
    np.testing.assert_allclose(dz, (a - y) / m, rtol=1e-12)  # the textbook's a - y, mean over m
    return x, y, w, b, loss, dz, x.T @ dz, dz.sum(axis=0)


paths = pytest.mark.parametrize(
    ("activation", "loss"),
    [("sigmoid", "binary_cross_entropy"), (None, "binary_cross_entropy_with_logits")],
    ids=["sigmoid layer", "logits"],
)


@paths
@pytest.mark.parametrize("m", [1, 6])
def test_a_logistic_output_under_binary_cross_entropy_has_dz_a_minus_y(
    activation: str | None, loss: str, m: int, dtype: str
) -> None:
    x, y, w, b, value, dz, dw, db = logistic(m)
    layer = dg.Dense(1, activation)
    model = dg.Sequential([layer], input_size=3, dtype=dtype)
    layer.w[...] = w
    layer.b[...] = b
    trace = model.trace(x, y, loss)
    assert trace.loss == pytest.approx(value, rel=RELATIVE[dtype])
    assert_equal(trace.layers[0].dz, dz, dtype)
    assert_equal(trace.layers[0].dw, dw, dtype)
    assert_equal(trace.layers[0].db, db, dtype)
    before = dg.Trainer(model, loss=loss, optimizer=dg.SGD(0.5)).step(x, y)
    assert before == pytest.approx(value, rel=RELATIVE[dtype])
    assert_equal(layer.w, w - 0.5 * dw, dtype)
    assert_equal(layer.b, b - 0.5 * db, dtype)


def test_the_long_way_through_dl_da_gives_the_same_gradient(dtype: str) -> None:
    x, y, w, b, value, dz, _, _ = logistic(6)
    z = (x @ w + b).astype(dtype)
    a = dg.ops.activation_forward("sigmoid", z)
    loss, da = dg.ops.loss("binary_cross_entropy", a, y.astype(dtype))
    assert loss == pytest.approx(value, rel=RELATIVE[dtype])
    assert_equal(dg.ops.activation_backward("sigmoid", da, z, a), dz, dtype)


@paths
def test_a_sure_and_wrong_logistic_output_still_has_its_whole_gradient(
    activation: str | None, loss: str, dtype: str
) -> None:
    """At z = 40 the sigmoid rounds to 1; the loss is log(1 + exp(40)) = 40, and a - y = 1."""
    layer = dg.Dense(1, activation)
    model = dg.Sequential([layer], input_size=1, dtype=dtype)
    layer.w[...] = 40
    trace = model.trace([[1.0]], [[0.0]], loss)
    assert trace.loss == pytest.approx(40, rel=1e-6)
    assert trace.layers[0].dz[0, 0] == pytest.approx(1, rel=1e-6)


# ---- softmax through its Jacobian


def jacobian_case() -> tuple[Array, Array, Array, Array, Array]:
    """x, w, t, z and y of three samples; targets one-hot."""
    x = np.array([[1.0, -2.0], [0.5, 0.25], [-1.5, 0.0]])
    w = np.array([[0.5, -0.5, 1.0, 0.2], [-0.25, 0.75, -0.5, 0.1]])
    t = np.eye(4)[[1, 0, 3]]
    z = x @ w
    y = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return x, w, t, z, y


def through_jacobian(dy: Array, y: Array) -> Array:
    """dz = J dy row by row, J formed entry by entry: y_j (1 - y_j), else -y_j y_k."""
    dz = np.zeros_like(y)
    n = y.shape[1]
    for row in range(len(y)):
        for k in range(n):
            for j in range(n):
                entry = y[row, j] * (1 - y[row, j]) if j == k else -y[row, j] * y[row, k]
                dz[row, k] += entry * dy[row, j]
    return dz


def softmax_model(w: Array, dtype: str) -> dg.Sequential:
    layer = dg.Dense(w.shape[1], "softmax", use_bias=False)
    model = dg.Sequential([layer], input_size=len(w), dtype=dtype)
    layer.w[...] = w
    return model


def test_softmax_under_squared_error_goes_through_the_whole_jacobian(dtype: str) -> None:
    x, w, t, z, y = jacobian_case()
    dy = (y - t) / len(x)
    dz = through_jacobian(dy, y)
    assert np.abs(dz - dy).max() > 0.05  # no collapse here
    backward = dg.ops.activation_backward("softmax", *(a.astype(dtype) for a in (dy, z, y)))
    assert_equal(backward, dz, dtype)
    model = softmax_model(w, dtype)
    seen = model.trace(x, t, LOSS).layers[0]
    assert_equal(seen.dy, dy, dtype)
    assert_equal(seen.dz, dz, dtype)
    assert_equal(seen.dw, x.T @ dz, dtype)
    model.backward((model.forward(x) - t) / len(x))
    assert_equal(model.layers[0].dw, x.T @ dz, dtype)
    dg.Trainer(model, loss=LOSS, optimizer=dg.SGD(1.0)).step(x, t)
    assert_equal(model.layers[0].w, w - x.T @ dz, dtype)


def test_softmax_under_cross_entropy_collapses_to_a_minus_y(dtype: str) -> None:
    x, w, t, z, y = jacobian_case()
    dy = -t / y / len(x)
    dz = (y - t) / len(x)
    np.testing.assert_allclose(through_jacobian(dy, y), dz, rtol=1e-12, atol=1e-15)
    backward = dg.ops.activation_backward("softmax", *(a.astype(dtype) for a in (dy, z, y)))
    assert_equal(backward, dz, dtype)
    assert_equal(dg.ops.loss("cross_entropy", z.astype(dtype), t.astype(dtype))[1], dz, dtype)
    model = softmax_model(w, dtype)
    seen = model.trace(x, t, "cross_entropy").layers[0]
    assert_equal(seen.dy, dy, dtype)
    assert_equal(seen.dz, dz, dtype)
    assert_equal(seen.dw, x.T @ dz, dtype)
    dg.Trainer(model, loss="cross_entropy", optimizer=dg.SGD(1.0)).step(x, t)
    assert_equal(model.layers[0].w, w - x.T @ dz, dtype)


# ---- loops over samples and neurons against the batch in matrix form


def loops(parameters: list[Array], x: Array, t: Array) -> list[Array]:
    """dw, db of each layer of a sigmoid stack, by loops over samples, neurons and inputs."""
    ws, bs = [p.tolist() for p in parameters[::2]], [p.tolist() for p in parameters[1::2]]
    gradients = [np.zeros_like(p) for p in parameters]
    for sample, target in zip(x.tolist(), t.tolist(), strict=True):
        ys = [sample]
        for w, b in zip(ws, bs, strict=True):
            z = [b[j] + sum(ys[-1][i] * w[i][j] for i in range(len(w))) for j in range(len(b))]
            ys.append([1 / (1 + math.exp(-v)) for v in z])
        dy = [(y - v) / len(x) for y, v in zip(ys[-1], target, strict=True)]
        for k in reversed(range(len(ws))):
            dz = [d * y * (1 - y) for d, y in zip(dy, ys[k + 1], strict=True)]
            for j, d in enumerate(dz):
                gradients[2 * k + 1][j] += d
                for i, v in enumerate(ys[k]):
                    gradients[2 * k][i, j] += v * d
            dy = [sum(d * ws[k][i][j] for j, d in enumerate(dz)) for i in range(len(ys[k]))]
    return gradients


@pytest.mark.parametrize("m", [1, 33])
def test_the_batch_in_matrix_form_equals_loops_over_samples_and_neurons(m: int, dtype: str) -> None:
    generator = np.random.default_rng(5)
    x, t = generator.normal(size=(m, 8)), generator.uniform(size=(m, 4))
    sizes = [(8, 16), (16, 5), (5, 4)]
    parameters = [p for size in sizes for p in (generator.normal(size=size) / 2, generator.normal(size=size[1]))]
    model = dg.Sequential([dg.Dense(units, "sigmoid") for _, units in sizes], input_size=8, dtype=dtype)
    for layer, w, b in zip(model.layers, parameters[::2], parameters[1::2], strict=True):
        layer.w[...] = w
        layer.b[...] = b
    expected = loops(parameters, x, t)
    seen = model.trace(x, t, LOSS).layers
    model.backward((model.forward(x) - t) / m)
    for k, layer in enumerate(model.layers):
        assert_equal(layer.dw, expected[2 * k], dtype)
        assert_equal(layer.db, expected[2 * k + 1], dtype)
        assert_equal(seen[k].dw, expected[2 * k], dtype)
        assert_equal(seen[k].db, expected[2 * k + 1], dtype)


# ---- 2-2-2 and 2-4-1 again, through the graph


def graph_loss(p: list[Any], x: Any, t: Any) -> Any:
    """Two sigmoid layers under half the squared error."""
    g = dg.graph
    hidden = g.sigmoid(g.dense(x, p[0], p[1]))
    return g.half_squared_error(g.sigmoid(g.dense(hidden, p[2], p[3])), t)


def by_neurons(w: list[Any], b: list[Any], i: list[float], t: list[float]) -> Any:
    """The 2-2-2 network number by number, weights in the page's order."""
    s = dg.graph.sigmoid
    h1, h2 = s(w[0] * i[0] + w[1] * i[1] + b[0]), s(w[2] * i[0] + w[3] * i[1] + b[0])
    o1, o2 = s(w[4] * h1 + w[5] * h2 + b[1]), s(w[6] * h1 + w[7] * h2 + b[1])
    return 0.5 * (o1 - t[0]) ** 2 + 0.5 * (o2 - t[1]) ** 2


def as_type(arrays: Any, dtype: str) -> list[Array]:
    return [a.astype(dtype) for a in arrays]


def test_the_graph_prints_mazurs_error_derivatives_and_weights(dtype: str) -> None:
    p, (x, t) = as_type(MAZUR.values(), dtype), as_type((INPUT, TARGET), dtype)
    error, (dw1, _, dw2, _) = dg.graph.value_and_grad(graph_loss)(p, x, t)
    assert_printed(error, "0.298371109", dtype)
    assert_printed(dw2.numpy()[0, 0], "0.082167041", dtype)
    assert_printed(dw1.numpy()[0, 0], "0.000438568", dtype)
    assert_printed((p[2] - 0.5 * dw2.numpy()).T, "0.35891648 0.408666186 0.511301270 0.561370121", dtype)
    assert_printed((p[0] - 0.5 * dw1.numpy()).T, "0.149780716 0.19956143 0.24975114 0.29950229", dtype)


def test_the_graph_of_single_neurons_has_the_same_derivatives() -> None:
    w = [0.15, 0.20, 0.25, 0.30, 0.40, 0.45, 0.50, 0.55]
    sample = (INPUT[0].tolist(), TARGET[0].tolist())
    error, dw = dg.graph.value_and_grad(by_neurons)(w, [0.35, 0.60], *sample)
    assert_printed(error, "0.298371109")
    after = np.array(w) - 0.5 * np.array(dw)
    assert_equal(after, np.concatenate([mazur_update()[name].T.ravel() for name in ("w1", "w2")]))
    drawing = dg.graph.draw(by_neurons, w, [0.35, 0.60], *sample)
    assert_printed([drawing.nodes[4].derivative, drawing.nodes[0].derivative], "0.082167041 0.000438568")


def test_the_ten_thousandth_update_through_the_graph_finds_the_known_error() -> None:
    p = [a.copy() for a in MAZUR.values()]
    step = dg.graph.value_and_grad(graph_loss)
    for _ in range(10_000):
        error, (dw1, _, dw2, _) = step(p, INPUT, TARGET)
        p[0] -= 0.5 * dw1.numpy()
        p[2] -= 0.5 * dw2.numpy()
    assert_printed(float(error) * 1e5, "3.5108548")


@rows
def test_the_graph_gives_the_17_gradients_of_the_layers(m: int, dtype: str) -> None:
    x, t = as_type((X[:m], Y[:m]), dtype)
    loss, gradients = dg.graph.value_and_grad(graph_loss)(as_type(NET, dtype), x, t)
    trace = net_model(dtype).trace(x, t, LOSS)
    by_hand = [layer[name] for layer in net_by_hand(X[:m], Y[:m]) for name in ("dw", "db")]
    by_layers = [gradient for layer in trace.layers for gradient in (layer.dw, layer.db)]
    assert sum(gradient.size for gradient in gradients) == 17
    assert_equal(loss, trace.loss, dtype)
    for found, expected, traced in zip(gradients, by_hand, by_layers, strict=True):
        assert_equal(found, expected, dtype)
        assert_equal(found, traced, dtype)
