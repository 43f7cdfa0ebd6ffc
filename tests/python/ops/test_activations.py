"""The classes of ``dg.activations`` and the layer ``dg.Activation``: what they say, compute, survive and refuse."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import safetensors.numpy
from scipy import special

import densegrad as dg
from densegrad._base.primitives import PRIMITIVES, names
from densegrad.activations import ELU, GELU, ActivationFunction, LeakyReLU, Swish

CLASSES = [cls for cls in vars(dg.activations).values() if isinstance(cls, type) and hasattr(cls, "primitive")]
SHAPED = {  # an activation of other attributes, and its function
    LeakyReLU(0.2): lambda z: np.where(z > 0, z, 0.2 * z),
    LeakyReLU(0): lambda z: np.maximum(z, 0),
    ELU(0.5): lambda z: np.where(z > 0, z, 0.5 * np.expm1(np.minimum(z, 0))),
    Swish(1.7): lambda z: z * special.expit(1.7 * z),
    Swish(-0.5): lambda z: z * special.expit(-0.5 * z),
}


def shaped(value):
    return repr(value) if isinstance(value, ActivationFunction) else None


# ---- classes


def test_every_activation_has_one_class_with_the_defaults_of_the_table():
    assert sorted(cls.primitive for cls in CLASSES) == sorted(names("activation"))
    for cls in CLASSES:
        assert cls.__name__ in dg.activations.__all__
        assert cls().attributes == {a.name: a.default for a in PRIMITIVES[cls.primitive].attributes}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_class_tells_formula_derivative_range_and_attributes(cls):
    text = " ".join((cls.__doc__ or "").split())
    assert text.startswith(("y = ", "y_j = "))
    assert "dy/dz = " in text or "dz_j = " in text
    assert "Range: " in text
    for attribute in PRIMITIVES[cls.primitive].attributes:
        assert f"{attribute.name}: " in text


@pytest.mark.parametrize("name", [name for name in names("activation") if not PRIMITIVES[name].by_row])
def test_outputs_lie_in_the_range_of_the_table_and_come_near_its_ends(backend, dtype, name):
    low, high = PRIMITIVES[name].range
    z = np.concatenate([np.linspace(-30, 30, 60_001), [-1e4, 1e4]]).astype(dtype)
    y = dg.ops.activation_forward(name, z)
    assert y.min() >= np.array(low, dtype)
    assert y.max() <= high
    assert np.isinf(low) or y.min() < low + 2e-4
    assert np.isinf(high) or y.max() > high - 2e-4


def test_an_activation_prints_as_the_call_that_makes_it():
    shown = {repr(f) for f in [*SHAPED, GELU(), ELU(), ELU(1), ELU(alpha=2)]}
    assert shown == {
        *("LeakyReLU(slope=0.2)", "LeakyReLU(slope=0.0)", "ELU(alpha=0.5)", "Swish(beta=1.7)", "Swish(beta=-0.5)"),
        *("GELU()", "ELU()", "ELU(alpha=2.0)"),
    }
    for text in shown:
        assert repr(eval(text, vars(dg.activations))) == text


def test_activations_are_equal_where_they_compute_the_same():
    assert ELU(0.5) == ELU(alpha=0.5) != ELU(0.25)
    assert ELU(1) == ELU() == "elu" == ELU()
    assert ELU(0.5) != "elu"
    assert GELU() == GELU() != dg.activations.GELUTanh()
    assert ELU() != 1
    assert len({ELU(0.5), ELU(0.5), ELU(0.25), ELU(), "elu"}) == 3


@pytest.mark.parametrize("function", [*SHAPED, GELU(), ELU()], ids=shaped)
def test_an_activation_cannot_be_changed_and_survives_copies(function):
    with pytest.raises(AttributeError, match=r"\) cannot be changed"):
        function.alpha = 3
    for other in (copy.copy(function), copy.deepcopy(function), pickle.loads(pickle.dumps(function))):
        assert other == function
        assert repr(other) == repr(function)


# ---- layers


def test_a_layer_reads_as_what_it_was_given():
    assert dg.Dense(2).activation is None
    assert dg.Dense(2, "tanh").activation == "tanh"
    assert dg.Dense(2, "silu").activation == "swish"
    assert dg.Dense(2, ELU()).activation == "elu"
    assert dg.Dense(2, ELU(0.5)).activation == ELU(0.5)
    assert dg.Activation("tanh").activation == "tanh"
    assert dg.Activation(ELU(0.5)).activation.alpha == 0.5
    with pytest.raises(AttributeError):
        dg.Dense(2).activation = "tanh"


@pytest.mark.parametrize(
    "text",
    [
        "Dense(2, activation='elu')",
        "Dense(2, activation=ELU(alpha=0.5))",
        "Dense(2, activation=Swish(beta=1.7), use_bias=False)",
        "Activation('tanh')",
        "Activation(LeakyReLU(slope=0.2))",
    ],
)
def test_a_layer_with_an_activation_prints_as_the_call_that_makes_it(text):
    made = eval(text, {**vars(dg), **vars(dg.activations)})
    assert repr(made) == text
    assert repr(made.copy()) == text
    assert repr(copy.deepcopy(made)) == text
    assert repr(pickle.loads(pickle.dumps(made))) == text


@pytest.mark.parametrize("function", SHAPED, ids=shaped)
def test_a_layer_computes_its_activation_with_its_attributes(backend, dtype, rng, function):
    x = rng.normal(0, 2, (40, 5)).astype(dtype)
    model = dg.Sequential([dg.Dense(7, function)], input_size=5, dtype=dtype, seed=1)
    exact = SHAPED[function](x.astype("float64") @ model.layers[0].w)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(model.predict(x), exact, rtol=0, atol=tolerance)
    np.testing.assert_allclose(model.forward(x), exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("function", SHAPED, ids=shaped)
def test_gradients_follow_the_attributes(backend, rng, function):
    layers = [dg.Activation(function), dg.Dense(6, function), dg.Dense(4), dg.Activation(function), dg.Dense(3)]
    model = dg.Sequential(layers, input_size=3, dtype="float64", seed=2)
    model.parameters[...] = rng.normal(size=model.parameters.size)  # biases, too: no z on a kink
    x, y = rng.normal(size=(8, 3)), rng.integers(0, 3, 8)
    assert dg.check_gradients(model, x, y, "cross_entropy").largest < 1e-7


@pytest.mark.parametrize("function", [*SHAPED, *names("activation")], ids=str)
def test_an_activation_layer_is_the_activation_of_the_dense_layer_before_it(backend, dtype, rng, function):
    x, y = rng.normal(size=(50, 6)).astype(dtype), rng.integers(0, 4, 50)
    one = dg.Sequential([dg.Dense(9, function), dg.Dense(4)], input_size=6, dtype=dtype, seed=3)
    two = dg.Sequential([dg.Dense(9), dg.Activation(function), dg.Dense(4)], input_size=6, dtype=dtype, seed=3)
    np.testing.assert_array_equal(one.parameters, two.parameters)  # init="auto" sees the layer behind
    for model in (one, two):
        model.fit(x, y, loss="cross_entropy", optimizer=dg.SGD(0.1), epochs=3, batch_size=16)
    np.testing.assert_array_equal(one.parameters, two.parameters)
    np.testing.assert_array_equal(one.predict(x), two.predict(x))


def test_a_last_activation_layer_is_fused_with_its_loss(backend, rng):
    model = dg.Sequential([dg.Dense(2), dg.Activation("softmax")], input_size=1)
    model.layers[0].w[...] = [[1000, -1000]]
    assert model.evaluate([[1.0]], [1], loss="cross_entropy")["loss"] == 2000  # computed from the logits
    np.testing.assert_array_equal(model.predict_proba([[1.0]]), [[1, 0]])


def test_trace_shows_an_activation_layer_of_its_own(backend, rng):
    model = dg.Sequential([dg.Dense(3, "relu"), dg.Activation(ELU(0.5)), dg.Dense(2)], input_size=2, dtype="float64")
    x, t = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    first, alone, last = model.trace(x, t, "mse").layers
    assert [layer.name for layer in (first, alone, last)] == ["layers.0", "layers.1", "layers.2"]
    assert [layer.activation for layer in (first, alone, last)] == ["relu", "elu", "identity"]
    for z in (alone.x, alone.z, first.y):
        np.testing.assert_array_equal(z, np.maximum(first.z, 0))
    np.testing.assert_allclose(alone.y, SHAPED[ELU(0.5)](alone.z), rtol=1e-14)
    np.testing.assert_array_equal(last.x, alone.y)
    np.testing.assert_allclose(alone.dy, last.dz @ model.layers[2].w.T, rtol=1e-13)
    np.testing.assert_allclose(alone.dz, alone.dy * np.where(alone.z > 0, 1, 0.5), rtol=1e-13)  # z = 0 elsewhere
    np.testing.assert_array_equal(alone.dx, alone.dz)
    np.testing.assert_array_equal(first.dy, alone.dx)
    assert alone.dw is None
    assert alone.db is None
    lines = [line for line in str(alone).splitlines() if " = " in line]
    assert [line.split()[0] for line in lines] == ["x", "z", "y", "dy", "dz", "dx"]


def test_an_activation_layer_has_no_parameters(backend):
    layer = dg.Activation("tanh")
    model = dg.Sequential([dg.Dense(2), layer], input_size=3)
    assert "Activation('tanh')  (batch, 2)           0" in model.summary()
    with pytest.raises(AttributeError, match="'Activation' object has no attribute 'w'"):
        _ = layer.w


def test_a_model_without_parameters_predicts_trains_and_is_kept(backend, dtype, rng, tmp_path):
    model = dg.Sequential([dg.Activation("tanh")], input_size=2, dtype=dtype)
    x = rng.normal(size=(5, 2)).astype(dtype)
    np.testing.assert_allclose(model.predict(x), np.tanh(x), rtol=1e-6)
    model.forward(x)
    np.testing.assert_allclose(model.backward(np.ones((5, 2))), 1 - np.tanh(x) ** 2, rtol=0, atol=1e-6)
    for optimizer in (dg.SGD(0.1), dg.Adam()):
        history = model.fit(x, np.tanh(x) + 1, loss="mse", optimizer=optimizer, epochs=2)
        np.testing.assert_allclose(history["loss"], [1, 1], rtol=1e-6)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(dg.load(tmp_path / "model").predict(x), model.predict(x))


# ---- files


def description_of(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["densegrad"])


@pytest.mark.parametrize("function", SHAPED, ids=shaped)
def test_an_activation_survives_copies_and_files_of_its_model(backend, dtype, rng, tmp_path, function):
    layers = [dg.Dense(4, function), dg.Activation(function), dg.Dense(2, "elu")]
    model = dg.Sequential(layers, input_size=3, dtype=dtype, seed=4)
    model.save(tmp_path / "model")
    x = rng.normal(size=(6, 3)).astype(dtype)
    loaded = dg.load(tmp_path / "model")
    for other in (loaded, model.copy(), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(other) == repr(model)
        assert [layer.activation for layer in other.layers] == [function, function, "elu"]
        np.testing.assert_array_equal(other.predict(x), model.predict(x))
    kept = description_of(tmp_path / "model")["model"]["layers"]
    entry = {"name": function.primitive, **function.attributes}
    assert [layer["activation"] for layer in kept] == [entry, entry, "elu"]


def test_an_activation_with_the_defaults_is_kept_as_its_name(tmp_path):
    layers = [dg.Dense(4, ELU()), dg.Dense(3, "silu"), dg.Dense(2), dg.Activation(GELU())]
    dg.Sequential(layers, input_size=3).save(tmp_path / "model")
    kept = description_of(tmp_path / "model")["model"]["layers"]
    assert [layer["activation"] for layer in kept] == ["elu", "swish", None, "gelu"]
