"""Layers and models: parameters, initial weights, copies, prediction, gradients, traces."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
from scipy import special

import densegrad as dg
from densegrad._base.primitives import PRIMITIVES, names
from densegrad._numpy import activations

ACTIVATIONS = names("activation")
LOSSES = names("loss")


def targets(loss, rng, rows, outputs):
    """Targets that suit a loss."""
    match PRIMITIVES[loss].target:
        case "values":
            return rng.normal(size=(rows, outputs // PRIMITIVES[loss].predictions))
        case "counts":
            return rng.poisson(2, (rows, outputs))
        case "probabilities":
            return rng.uniform(0, 1, (rows, outputs))
        case "classes":
            return rng.dirichlet(np.ones(outputs), rows)


def small(dtype="float32", seed=0, **options):
    """Two layers, 2 features, 3 hidden units, 4 outputs: 25 parameters."""
    layers = [dg.Dense(3, activation="tanh", **options), dg.Dense(4)]
    return dg.Sequential(layers, input_size=2, dtype=dtype, seed=seed)


# ---- parameters


def test_parameters_are_one_contiguous_aligned_buffer(dtype):
    for units in (1, 3, 17, 100):
        model = dg.Sequential([dg.Dense(units, "relu"), dg.Dense(5)], input_size=7, dtype=dtype)
        parameters = model.parameters
        assert parameters.shape == (7 * units + units + 5 * units + 5,)
        assert parameters.dtype == dtype
        assert parameters.flags.c_contiguous
        assert parameters.flags.writeable
        assert parameters.ctypes.data % 64 == 0
        assert model.gradients.ctypes.data % 64 == 0


def test_layers_are_views_in_order_w_before_b(dtype):
    model = small(dtype)
    model.parameters[...] = np.arange(25)
    first, second = model.layers
    np.testing.assert_array_equal(first.w, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(first.b, [6, 7, 8])
    np.testing.assert_array_equal(second.w, np.arange(9, 21).reshape(3, 4))
    np.testing.assert_array_equal(second.b, [21, 22, 23, 24])


def test_writing_a_view_writes_the_buffer_and_the_prediction(backend, dtype):
    model = dg.Sequential([dg.Dense(2)], input_size=3, dtype=dtype)
    model.layers[0].w[...] = [[1, 2], [3, 4], [5, 6]]
    model.layers[0].b[...] = [10, 20]
    np.testing.assert_array_equal(model.parameters, [1, 2, 3, 4, 5, 6, 10, 20])
    np.testing.assert_array_equal(model.predict([[1, 1, 1], [1, 0, -1]]), [[19, 32], [6, 16]])


def test_gradients_are_laid_out_as_parameters(backend, dtype, rng):
    model = small(dtype)
    np.testing.assert_array_equal(model.gradients, np.zeros(25))
    model.forward(rng.normal(size=(5, 2)))
    model.backward(rng.normal(size=(5, 4)))
    flat = np.concatenate([part.ravel() for layer in model.layers for part in (layer.dw, layer.db)])
    assert flat.any()
    np.testing.assert_array_equal(model.gradients, flat)
    assert np.shares_memory(model.layers[1].dw, model.gradients)


def test_a_layer_without_bias_has_only_w(dtype):
    model = dg.Sequential([dg.Dense(3, use_bias=False)], input_size=2, dtype=dtype)
    assert model.parameters.size == 6
    with pytest.raises(AttributeError, match="no bias"):
        _ = model.layers[0].b
    with pytest.raises(AttributeError, match="no bias"):
        _ = model.layers[0].db


def test_a_layer_outside_a_model_says_that_it_has_no_arrays_yet():
    with pytest.raises(AttributeError, match=r"Dense\.w.*no model yet"):
        _ = dg.Dense(3).w
    unbuilt = dg.Sequential([dg.Dense(3)])
    with pytest.raises(AttributeError, match="no input_size yet"):
        _ = unbuilt.layers[0].w


# ---- initial weights


def test_one_seed_makes_one_model():
    a, b = small(seed=7), small(seed=7)
    np.testing.assert_array_equal(a.parameters, b.parameters)
    assert (small(seed=8).parameters != a.parameters).any()
    assert (small(seed=None).parameters != small(seed=None).parameters).any()


def variance_of(scheme, fan_in, fan_out):
    family = scheme.split("_")[0]
    return {
        "glorot": 2 / (fan_in + fan_out),
        "he": 2 / fan_in,
        "lecun": 1 / fan_in,
        "orthogonal": 1 / max(fan_in, fan_out),
        "zeros": 0.0,
    }[family]


@pytest.mark.parametrize(("fan_in", "fan_out"), [(300, 200), (100, 700)])
@pytest.mark.parametrize("scheme", dg.initializers.INITIALIZERS)
def test_initial_weights_have_the_variance_of_their_scheme(dtype, scheme, fan_in, fan_out):
    model = dg.Sequential([dg.Dense(fan_out, init=scheme)], input_size=fan_in, dtype=dtype, seed=5)
    w = model.layers[0].w.astype("float64")
    variance = variance_of(scheme, fan_in, fan_out)
    assert abs(w.mean()) <= 5 * (variance / w.size) ** 0.5
    deviation = variance * (2 / w.size) ** 0.5  # of the variance of normal draws; uniform ones vary less
    assert abs(w.var() - variance) <= 5 * deviation
    limit = (3 * variance) ** 0.5
    if scheme.endswith("_uniform"):
        assert 0.999 * limit < np.abs(w).max() <= limit * (1 + 1e-6)
    if scheme.endswith("_normal"):
        share = (np.abs(w) < variance**0.5).mean()
        assert share == pytest.approx(0.6827, abs=0.01)  # within one standard deviation; of uniform draws 0.577
    np.testing.assert_array_equal(model.layers[0].b, np.zeros(fan_out))


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_auto_initialisation_follows_the_activation(activation):
    rectifiers = {"relu", "leaky_relu", "elu", "softplus", "swish", "gelu", "gelu_tanh", "mish", "hard_swish"}
    scheme = "he_normal" if activation in rectifiers else "lecun_normal" if activation == "selu" else "glorot_uniform"
    auto = dg.Sequential([dg.Dense(9, activation)], input_size=4, seed=3)
    named = dg.Sequential([dg.Dense(9, activation, init=scheme)], input_size=4, seed=3)
    np.testing.assert_array_equal(auto.parameters, named.parameters)


# ---- building late


def test_a_model_without_input_size_is_built_by_its_first_batch(backend, rng):
    x, y = rng.normal(size=(6, 2)), np.arange(6) % 4
    late = dg.Sequential([dg.Dense(3, activation="tanh"), dg.Dense(4)], seed=0)
    assert late.input_size is None
    late.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), shuffle=False)
    early = small()
    early.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), shuffle=False)
    assert late.input_size == 2
    np.testing.assert_array_equal(late.parameters, early.parameters)
    stepped = dg.Sequential([dg.Dense(3, activation="tanh"), dg.Dense(4)], seed=0)
    dg.Trainer(stepped, "cross_entropy", dg.SGD(0.1)).step(x, y)
    assert stepped.input_size == 2


NEEDS_PARAMETERS = {
    "parameters": lambda model: model.parameters,
    "gradients": lambda model: model.gradients,
    "predict": lambda model: model.predict([[1.0]]),
    "predict_proba": lambda model: model.predict_proba([[1.0]]),
    "forward": lambda model: model.forward([[1.0]]),
    "evaluate": lambda model: model.evaluate([[1.0]], [[1.0]], loss="mse"),
    "trace": lambda model: model.trace([[1.0]], [[1.0]], "mse"),
    "summary": lambda model: model.summary(),
    "save": lambda model: model.save("never.safetensors"),
    "check_gradients": lambda model: dg.check_gradients(model, [[1.0]], [[1.0]], "mse"),
    "apply_gradients": lambda model: dg.Trainer(model, "mse", dg.SGD(0.1)).apply_gradients(),
}


@pytest.mark.parametrize("use", NEEDS_PARAMETERS)
def test_what_needs_parameters_asks_for_input_size(use):
    with pytest.raises(ValueError, match=r"expected a model that knows its input_size; give input_size"):
        NEEDS_PARAMETERS[use](dg.Sequential([dg.Dense(1)]))


# ---- text


@pytest.mark.parametrize(
    "text",
    [
        "Sequential([Dense(2)])",
        "Sequential([Dense(1)], input_size=3)",
        "Sequential([Dense(3, activation='relu'), Dense(2)], input_size=4, dtype='float64', seed=11)",
        "Sequential([Dense(5, activation='tanh', init='zeros', use_bias=False)], input_size=1, seed=0)",
        "Sequential([Dense(2, trainable_w=False), Dense(2, trainable_b=False)], input_size=2)",
    ],
)
def test_repr_is_the_call_that_makes_the_model(text):
    model = eval(text, vars(dg))
    assert repr(model) == text
    assert eval(repr(model), vars(dg)).config() == model.config()


def test_repr_of_layer_and_optimizer_is_the_call_that_makes_them():
    layer = dg.Dense(8, "sigmoid", init="he_uniform")
    assert eval(repr(layer), vars(dg)).config() == layer.config()
    for text in ("SGD(0.25)", "Adam(0.001)", "Adam(0.01, betas=(0.8, 0.95), eps=1e-06, weight_decay=0.1)"):
        assert repr(eval(text, vars(dg))) == text


def test_frozen_parts_show_in_repr():
    layer = dg.Dense(3)
    layer.trainable = False
    assert repr(layer) == "Dense(3, trainable_w=False, trainable_b=False)"


def test_summary_tells_layers_shapes_and_counts():
    model = dg.Sequential(
        [dg.Dense(128, activation="relu", trainable_w=False), dg.Dense(10, use_bias=False)], input_size=784
    )
    text = str(model.summary())
    assert repr(model.summary()) == text
    title, head, rule, first, second, end, foot, work = text.splitlines()
    assert title == "Sequential, input (batch, 784)"
    assert head.split() == ["layer", "output", "parameters"]
    assert set(rule) == set(end) == {"-"}
    assert first.startswith("Dense(128, activation='relu', trainable_w=False)")
    assert "(batch, 128)" in first
    assert first.endswith("100,480")
    assert "(batch, 10)" in second
    assert second.endswith("1,280")
    assert foot == "101,760 parameters (100,352 frozen), float32, 397.5 KiB"
    assert len({len(line) for line in (head, rule, first, second, end)}) == 1
    assert work == "products: 203,264 FLOPs a row, 208,384 in a training step"  # 2 (784 128 + 128 10), 2 128 10 more


def test_the_work_of_a_step_counts_what_it_needs():
    def work(*layers):
        return str(dg.Sequential(layers, input_size=3).summary()).splitlines()[-1]

    layers = [dg.Standardize(), dg.Dense(5), dg.PReLU(), dg.Dense(7), dg.Dense(2)]
    products = [2 * 3 * 5, 2 * 5 * 7, 2 * 7 * 2]
    expected = 2 * products[0] + 3 * products[1] + 3 * products[2]  # no dx of the inputs
    assert work(*layers) == f"products: {sum(products)} FLOPs a row, {expected} in a training step"
    layers = [layer.copy() for layer in layers]
    layers[1].trainable = layers[3].trainable_w = False
    expected = products[0] + (1 + 1) * products[1] + 3 * products[2]  # PReLU's slope is trained
    assert work(*layers) == f"products: {sum(products)} FLOPs a row, {expected} in a training step"


# ---- copies

COPIES = {
    "copy": lambda model: model.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_has_equal_bits_in_buffers_of_its_own(backend, dtype, rng, how):
    model = small(dtype)
    model.layers[1].trainable_b = False
    x, y = rng.normal(size=(9, 2)), rng.integers(0, 4, 9)
    model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1))
    other = COPIES[how](model)
    assert other.config() == model.config()
    assert other.loss == model.loss
    np.testing.assert_array_equal(other.parameters, model.parameters)
    np.testing.assert_array_equal(other.predict(x), model.predict(x))
    assert not np.shares_memory(other.parameters, model.parameters)
    assert other.parameters.ctypes.data % 64 == 0
    for mine, theirs in zip(model.layers, other.layers, strict=True):
        assert mine is not theirs
        assert np.shares_memory(theirs.w, other.parameters)
        assert np.shares_memory(theirs.b, other.parameters)

    before = model.parameters.copy()
    for part in (other, model):  # the same shuffles lie before both
        part.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), batch_size=2, epochs=2)
        if part is other:
            np.testing.assert_array_equal(model.parameters, before)
    np.testing.assert_array_equal(other.parameters, model.parameters)
    assert (model.parameters != before).any()


def test_a_copy_in_another_dtype_keeps_numbers_and_architecture(backend):
    model = small("float32")
    wide = model.copy(dtype="float64")
    assert wide.dtype == "float64"
    assert wide.parameters.dtype == "float64"
    np.testing.assert_array_equal(wide.parameters, model.parameters)
    np.testing.assert_array_equal(wide.copy(dtype="float32").parameters, model.parameters)
    assert model.dtype == "float32"


def test_an_unbuilt_model_can_be_copied():
    model = dg.Sequential([dg.Dense(3, "relu")], seed=4)
    for how in COPIES.values():
        assert how(model).config() == model.config()
        assert how(model).input_size is None


def test_a_layer_of_one_model_is_refused_by_another_with_a_hint():
    free, taken = dg.Dense(2), small().layers[0]
    with pytest.raises(ValueError, match=r"belongs to no model yet, got Dense\(3.*give layer\.copy\(\) instead"):
        dg.Sequential([free, taken])
    dg.Sequential([free, taken.copy()])  # the refusal took neither


def test_one_layer_twice_is_refused():
    layer = dg.Dense(2)
    with pytest.raises(ValueError, match=r"each layer once, got one twice; give layer\.copy\(\)"):
        dg.Sequential([layer, layer])


def test_a_copied_layer_has_the_same_configuration_and_no_arrays():
    layer = small(use_bias=False, trainable_w=False).layers[0]
    for other in (layer.copy(), copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.config() == layer.config()
        with pytest.raises(AttributeError, match="no model yet"):
            _ = other.w


# ---- prediction


def test_predict_is_the_formula(backend, dtype, rng):
    model = small(dtype)
    x = rng.normal(size=(7, 2)).astype(dtype)
    first, second = model.layers
    expected = np.tanh(x @ first.w.astype("float64") + first.b) @ second.w + second.b
    y = model.predict(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6 if dtype == "float32" else 1e-14)


def test_predict_of_no_rows_is_no_rows(backend, dtype):
    y = small(dtype).predict(np.empty((0, 2)))
    assert y.shape == (0, 4)
    assert y.dtype == dtype


def test_predict_proba_of_no_rows_is_no_rows(backend, dtype):
    model = dg.Sequential([dg.Dense(3, activation="softmax")], input_size=2, dtype=dtype)
    assert model.predict_proba(np.empty((0, 2))).shape == (0, 3)


@pytest.mark.parametrize("rows", [1, 2, 31, 33, 1023, 1024, 1025, 3000])
def test_predict_takes_any_number_of_rows(backend, dtype, rng, rows):
    model = small(dtype)
    x = rng.normal(size=(rows, 2)).astype(dtype)
    whole = model.predict(x)
    assert whole.shape == (rows, 4)
    for row in {0, rows // 2, rows - 1}:
        np.testing.assert_allclose(model.predict(x[row : row + 1])[0], whole[row], rtol=0, atol=1e-6)


def test_predictions_are_the_callers_own(backend, rng):
    model = small()
    x = rng.normal(size=(5, 2))
    for method in (model.predict, model.forward):
        first = method(x)
        kept = first.copy()
        method(x + 1)
        np.testing.assert_array_equal(first, kept)
        first[...] = 0
        np.testing.assert_array_equal(method(x), kept)


PROBABILITIES = [  # loss, last activation, outputs, the probabilities of a prediction
    ("cross_entropy", None, 3, lambda p: special.softmax(p, axis=1)),
    ("cross_entropy", "identity", 3, lambda p: special.softmax(p, axis=1)),
    ("cross_entropy", "softmax", 3, lambda p: p),
    ("cross_entropy", "sigmoid", 3, lambda p: special.softmax(p, axis=1)),
    ("cross_entropy", "tanh", 3, lambda p: special.softmax(p, axis=1)),
    ("nll", None, 3, lambda p: special.softmax(p, axis=1)),
    ("binary_cross_entropy_with_logits", None, 1, special.expit),
    ("binary_cross_entropy_with_logits", None, 3, special.expit),
    ("binary_cross_entropy", "sigmoid", 1, lambda p: p),
    ("binary_cross_entropy", "sigmoid", 2, lambda p: p),
    ("binary_cross_entropy", "softmax", 2, lambda p: p),
    ("mse", "softmax", 2, lambda p: p),
    ("mse", "sigmoid", 1, lambda p: p),
]


@pytest.mark.parametrize("case", PROBABILITIES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
def test_predict_proba_is_what_the_loss_saw(backend, dtype, rng, case):
    loss, activation, outputs, probabilities = case
    model = dg.Sequential([dg.Dense(outputs, activation)], input_size=2, dtype=dtype, seed=1)
    x, y = rng.normal(size=(8, 2)), rng.integers(0, 2, (8, outputs))
    model.fit(x, np.arange(8) % 3 if PRIMITIVES[loss].target == "classes" else y, loss=loss, optimizer=dg.SGD(0.1))
    got = model.predict_proba(x)
    assert got.dtype == dtype
    expected = probabilities(model.predict(x).astype("float64"))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_predict_proba_asks_for_a_loss_on_probabilities(backend, rng):
    model, x = small(), rng.normal(size=(8, 2))
    with pytest.raises(
        ValueError, match=r"Sequential\.predict_proba: expected a model trained with .*, got no loss yet"
    ):
        model.predict_proba(x)
    model.fit(x, rng.normal(size=(8, 4)), loss="mse", optimizer=dg.SGD(0.1))
    with pytest.raises(ValueError, match=r"Sequential\.predict_proba: expected a model trained with .*, got .*'mse'"):
        model.predict_proba(x)


# ---- gradients


def test_forward_backward_apply_gradients_is_a_trainer_step(backend, dtype, rng):
    x, y = rng.normal(size=(9, 2)).astype(dtype), rng.normal(size=(9, 4)).astype(dtype)
    stepped, apart = small(dtype), small(dtype)
    step, update = dg.Trainer(stepped, "mse", dg.SGD(0.3)), dg.Trainer(apart, "mse", dg.SGD(0.3))
    for _ in range(5):
        loss = step.step(x, y)
        p = apart.forward(x)
        assert loss == pytest.approx(float(((p - y).astype("float64") ** 2).mean()), rel=1e-6)
        apart.backward(2 * (p - y) / p.size)
        update.apply_gradients()
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(apart.parameters, stepped.parameters, rtol=0, atol=tolerance)
    assert update.optimizer.steps == step.optimizer.steps == 5


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_backward_agrees_with_central_differences(backend, rng, activation):
    model = dg.Sequential([dg.Dense(5, activation), dg.Dense(3, activation)], input_size=4, dtype="float64", seed=2)
    model.layers[0].b[...] = rng.normal(size=5)
    x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    model.forward(x)
    dx = model.backward(dy)
    gradients = model.gradients.copy()

    def differences(flat):
        result, h = np.empty(flat.size), 6e-6
        for i in range(flat.size):
            kept = flat[i]
            flat[i] = kept + h
            above = float((dy * model.predict(x)).sum())
            flat[i] = kept - h
            below = float((dy * model.predict(x)).sum())
            flat[i] = kept
            result[i] = (above - below) / (2 * h)
        return result

    np.testing.assert_allclose(gradients, differences(model.parameters), rtol=0, atol=1e-8)
    np.testing.assert_allclose(dx.ravel(), differences(x.reshape(-1)), rtol=0, atol=1e-8)


def test_backward_needs_a_forward_of_as_many_rows(backend, rng):
    model = small()
    with pytest.raises((ValueError, RuntimeError), match=r"expected a forward before"):
        model.backward(rng.normal(size=(5, 4)))
    model.forward(rng.normal(size=(5, 2)))
    with pytest.raises(ValueError, match=r"5 rows of the last forward, got 4"):
        model.backward(rng.normal(size=(4, 4)))


COMBINATIONS = [  # hidden activation, last activation, loss
    *((hidden, None, "mse") for hidden in ACTIVATIONS),
    *(("tanh", last, loss) for last, loss in itertools.product(ACTIVATIONS, LOSSES) if loss != "binary_cross_entropy"),
    ("tanh", "sigmoid", "binary_cross_entropy"),
    ("tanh", "softmax", "binary_cross_entropy"),
    *((hidden, "softmax", "cross_entropy") for hidden in ACTIVATIONS),
]


@pytest.mark.parametrize("case", COMBINATIONS, ids=lambda case: "-".join(map(str, case)))
def test_gradients_of_every_activation_and_loss_are_right(backend, dtype, rng, case):
    hidden, last, loss = case
    model = dg.Sequential([dg.Dense(4, hidden), dg.Dense(4, last)], input_size=3, dtype=dtype, seed=6)
    x, y = rng.normal(size=(5, 3)), targets(loss, rng, 5, 4)
    before = model.parameters.copy()
    for target in [y, np.arange(5) % 4] if PRIMITIVES[loss].target == "classes" else [y]:
        report = dg.check_gradients(model, x, target, loss)
        assert list(report) == ["layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b", "x"]
        assert report.largest == max(report.values())
        assert report.largest < 1e-7, report
    np.testing.assert_array_equal(model.parameters, before)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_right_at_widths_and_batches_that_fill_no_vector(backend, rng, loss):
    last = "sigmoid" if loss == "binary_cross_entropy" else None
    outputs = 5 * PRIMITIVES[loss].predictions
    layers = [dg.Dense(17, "tanh"), dg.Dense(9, "sigmoid"), dg.Dense(11, "tanh"), dg.Dense(outputs, last)]
    model = dg.Sequential(layers, input_size=13, seed=0)
    x, y = rng.normal(size=(19, 13)), targets(loss, rng, 19, outputs)
    assert dg.check_gradients(model, x, y, loss).largest < 1e-7


def test_check_gradients_covers_frozen_layers_and_layers_without_bias(backend, rng):
    model = dg.Sequential([dg.Dense(3, "tanh", use_bias=False, trainable_w=False), dg.Dense(1)], input_size=2, seed=0)
    report = dg.check_gradients(model, rng.normal(size=(4, 2)), rng.normal(size=4), "half_squared_error")
    assert list(report) == ["layers.0.w", "layers.1.w", "layers.1.b", "x"]
    assert report.largest < 1e-7


def test_check_gradients_detects_a_wrong_gradient(monkeypatch, rng):
    right = activations.tanh_backward

    def slightly_wrong(dy, z, y):
        return right(dy, z, y) * 1.001

    model = small()
    x, y = rng.normal(size=(5, 2)), np.arange(5) % 4
    with dg.use_backend("numpy"):
        monkeypatch.setattr(activations, "tanh_backward", slightly_wrong)
        report = dg.check_gradients(model, x, y, "cross_entropy")
    for name in ("layers.0.w", "layers.0.b", "x"):
        assert report[name] == pytest.approx(1e-3, rel=0.01)
    for name in ("layers.1.w", "layers.1.b"):
        assert report[name] < 1e-7
    assert "largest 1.0e-03" in repr(report)


# ---- trace


def assert_close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


def test_trace_shows_every_quantity_of_the_formulas(backend, rng):
    model = small("float64")
    x, t = rng.normal(size=(5, 2)), rng.normal(size=(5, 4))
    trace = model.trace(x, t, "mse")
    (w1, b1), (w2, b2) = ((layer.w, layer.b) for layer in model.layers)
    z1 = x @ w1 + b1
    y1 = np.tanh(z1)
    z2 = y1 @ w2 + b2
    dz2 = 2 * (z2 - t) / t.size
    dy1 = dz2 @ w2.T
    dz1 = dy1 * (1 - np.tanh(z1) ** 2)
    first, second = trace.layers
    assert [layer.name for layer in trace.layers] == ["layers.0", "layers.1"]
    assert [layer.activation for layer in trace.layers] == ["tanh", "identity"]
    assert trace.loss == pytest.approx(((z2 - t) ** 2).mean(), rel=1e-14)
    for got, expected in [
        (first.x, x),
        (first.z, z1),
        (first.y, y1),
        (first.dy, dy1),
        (first.dz, dz1),
        (first.dx, dz1 @ w1.T),
        (first.dw, x.T @ dz1),
        (first.db, dz1.sum(axis=0)),
        (second.x, y1),
        (second.z, z2),
        (second.y, z2),
        (second.dy, dz2),
        (second.dz, dz2),
        (second.dx, dy1),
        (second.dw, y1.T @ dz2),
        (second.db, dz2.sum(axis=0)),
    ]:
        assert_close(got, expected)


def test_trace_of_softmax_under_cross_entropy_shows_both_gradients(backend, rng):
    model = dg.Sequential([dg.Dense(3, "softmax")], input_size=2, dtype="float64", seed=1)
    x, t = rng.normal(size=(4, 2)), rng.dirichlet(np.ones(3), 4)
    a = special.softmax(x @ model.layers[0].w, axis=1)
    (layer,) = model.trace(x, t, "cross_entropy").layers
    assert_close(layer.y, a)
    assert_close(layer.dy, -t / a / 4)
    assert_close(layer.dz, (a - t) / 4)
    (layer,) = model.trace(x, [0, 1, 2, 0], "cross_entropy").layers
    one_hot = np.eye(3)[[0, 1, 2, 0]]
    assert_close(layer.dy, -one_hot / a / 4)
    assert_close(layer.dz, (a - one_hot) / 4)


def test_trace_of_sigmoid_under_binary_cross_entropy_shows_both_gradients(backend, rng):
    model = dg.Sequential([dg.Dense(2, "sigmoid")], input_size=2, dtype="float64", seed=1)
    x, t = rng.normal(size=(4, 2)), rng.uniform(0, 1, (4, 2))
    a = special.expit(x @ model.layers[0].w)
    trace = model.trace(x, t, "binary_cross_entropy")
    assert trace.loss == pytest.approx(-(t * np.log(a) + (1 - t) * np.log(1 - a)).mean(), rel=1e-13)
    assert_close(trace.layers[0].dy, (a - t) / (a * (1 - a)) / 8)
    assert_close(trace.layers[0].dz, (a - t) / 8)


def test_trace_of_a_saturated_softmax_gives_the_gradient_of_z(backend, dtype):
    model = dg.Sequential([dg.Dense(2, "softmax")], input_size=1, dtype=dtype)
    model.layers[0].w[...] = [[1000, -1000]]
    trace = model.trace([[1.0]], [1], "cross_entropy")
    assert trace.loss == 2000
    np.testing.assert_array_equal(trace.layers[0].dz, [[1, -1]])


@pytest.mark.parametrize("case", COMBINATIONS, ids=lambda case: "-".join(map(str, case)))
def test_trace_agrees_with_forward_backward_and_evaluate(backend, rng, case):
    hidden, last, loss = case
    model = dg.Sequential([dg.Dense(4, hidden), dg.Dense(4, last)], input_size=3, dtype="float64", seed=6)
    x = rng.normal(size=(5, 3))
    y = targets(loss, rng, 5, 4)
    trace = model.trace(x, y, loss)
    assert trace.loss == pytest.approx(model.evaluate(x, y, loss=loss)["loss"], rel=1e-13)
    assert_close(model.forward(x), trace.layers[-1].y)
    assert_close(model.backward(trace.layers[-1].dy), trace.layers[0].dx)
    for layer, traced in zip(model.layers, trace.layers, strict=True):
        assert traced.activation == (layer.activation or "identity")
        assert_close(layer.dw, traced.dw)
        assert_close(layer.db, traced.db)


def test_trace_prints_every_quantity(backend, rng):
    model = dg.Sequential([dg.Dense(3, "tanh", use_bias=False), dg.Dense(1)], input_size=2, seed=0)
    trace = model.trace(rng.normal(size=(2, 2)), [0.0, 1.0], "mse")
    text = str(trace)
    assert text.startswith(f"loss = {trace.loss:.9g}\nlayers.0 (tanh)\n")
    assert trace.layers[0].db is None
    assert str(trace.layers[0]).count(" = ") == 7
    assert [line.split()[0] for line in str(trace.layers[1]).splitlines() if "=" in line] == [
        *("x", "z", "y", "dy", "dz", "dx", "dw", "db")
    ]
