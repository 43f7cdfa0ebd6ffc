"""Files that Python wrote, read by a C++ program: the same bits in predictions and in training.

``load_model`` is built with the C++ tests; ``DENSEGRAD_LOAD_MODEL`` says where it is.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import densegrad as dg
from densegrad._base.primitives import PRIMITIVES, names
from densegrad.layers import LAYERS as CLASSES
from densegrad.layers import flattened
from networks import FEATURES, LAYERS, network

STEPS, RATE = 3, 0.01
LOSSES = {
    "mse": ("identity", "values"),
    "half_squared_error": ("tanh", "values"),
    "mae": ("identity", "values"),
    "huber": ("identity", "values"),
    "log_cosh": ("identity", "values"),
    "quantile": ("identity", "values"),
    "poisson": ("identity", "counts"),
    "gaussian_nll": ("identity", "pairs"),
    "binary_cross_entropy": ("sigmoid", "odds"),
    "binary_cross_entropy_with_logits": ("identity", "odds"),
    "cross_entropy": ("softmax", "classes"),
    "nll": ("log_softmax", "classes"),
}


def in_cpp(folder, model, x, y=None, optimizer="sgd", steps=0):
    """What ``load_model`` writes, in the model's dtype."""
    x.tofile(folder / "x")
    (x if y is None else y).tofile(folder / "y")
    model.save(folder / "model")
    program = os.environ["DENSEGRAD_LOAD_MODEL"]
    paths = [str(folder / name) for name in ("model", "x", "y", "out")]
    command = [program, model.dtype, *paths[:3], optimizer, str(steps), paths[3]]
    environment = {**os.environ, "DENSEGRAD_ISA": dg.isa()}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    return np.fromfile(folder / "out", model.dtype)


def beside(outputs):
    """Several outputs side by side, as C++ has them."""
    return np.concatenate(outputs, axis=1) if isinstance(outputs, list) else outputs


def in_python(model, x, y, loss, optimizer):
    """The same from Python, which trains the model."""
    parts = [beside(model.predict(x)).ravel()]
    trainer = dg.Trainer(model, loss=loss, optimizer=optimizer)
    parts += [np.array([trainer.step(x, y) for _ in range(STEPS)], model.dtype)]
    return np.concatenate([*parts, model.parameters, beside(model.predict(x)).ravel()])


def target(rng, kind, outputs, dtype):
    rows = {
        "values": lambda: rng.normal(size=(9, outputs)),
        "pairs": lambda: rng.normal(size=(9, outputs // 2)),
        "counts": lambda: rng.poisson(2, (9, outputs)),
        "odds": lambda: rng.uniform(size=(9, outputs)),
        "classes": lambda: np.eye(outputs)[rng.integers(outputs, size=9)],
    }
    return rows[kind]().astype(dtype)


def same_bits(got, want):
    assert got.size == want.size
    assert got.tobytes() == want.tobytes(), f"differ by up to {abs(got - want).max()}"


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_every_layer_loss_and_fusion_is_among_those_tried_here():
    layers = {type(layer).__name__ for name in LAYERS for layer in flattened(network(name, "float32").layers)}
    assert layers == set(CLASSES)
    assert list(LOSSES) == names("loss")
    for name, (activation, _) in LOSSES.items():
        fuses = PRIMITIVES[name].fuses
        assert fuses is None or fuses[0] == activation


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_and_activation_predicts_and_trains_on(tmp_path, rng, dtype, name):
    model = network(name, dtype)
    x, y = rng.normal(size=(9, FEATURES)).astype(dtype), target(rng, "values", model.output_size, dtype)
    same_bits(in_cpp(tmp_path, model, x), model.predict(x).ravel())
    model.loss = "mse"
    got = in_cpp(tmp_path, model, x, y, "adam", STEPS)
    same_bits(got, in_python(model, x, y, "mse", dg.Adam(RATE)))


@pytest.mark.parametrize("name", LOSSES)
def test_a_model_trains_on_with_the_loss_it_was_trained_with(tmp_path, rng, dtype, name):
    activation, kind = LOSSES[name]
    layers = [dg.Dense(6, "relu"), dg.Dropout(0.3), dg.Dense(4, activation)]
    model = dg.Sequential(layers, input_size=FEATURES, dtype=dtype, seed=1)
    x, y = rng.normal(size=(9, FEATURES)).astype(dtype), target(rng, kind, 4, dtype)
    dg.Trainer(model, loss=name, optimizer=dg.SGD(RATE)).fit(x, y, epochs=2)
    got = in_cpp(tmp_path, model, x, y, "sgd", STEPS)
    same_bits(got, in_python(model, x, y, name, dg.SGD(RATE)))


@pytest.mark.parametrize("loss", [dg.losses.Huber(0.3), dg.losses.CrossEntropy(label_smoothing=0.1)], ids=repr)
def test_attributes_of_losses_penalties_and_frozen_parts_are_kept(tmp_path, rng, dtype, loss):
    layers = [
        dg.Dense(6, "elu", l1=0.01, l2=0.02, trainable_b=False),
        dg.BatchNorm(trainable=False),
        dg.PReLU(trainable=False),
        dg.Dense(4, trainable_w=False),
    ]
    model = dg.Sequential(layers, input_size=FEATURES, dtype=dtype, seed=1)
    x, y = rng.normal(size=(9, FEATURES)).astype(dtype), target(rng, "classes", 4, dtype)
    dg.Trainer(model, loss=loss, optimizer=dg.SGD(RATE)).fit(x, y, epochs=2)
    got = in_cpp(tmp_path, model, x, y, "sgd", STEPS)
    same_bits(got, in_python(model, x, y, loss, dg.SGD(RATE)))


def wired(dtype):
    """Two inputs, a shared layer, both joins, two outputs."""
    a, b = dg.Input(4, name="a"), dg.Input(2, name="b")
    shared = dg.Dense(3, "tanh")
    one = shared(a)
    other = shared(dg.Dense(4, "elu")(b))
    joined = dg.concatenate(dg.add(one, other), dg.Dropout(0.1)(b))
    outputs = {"class": dg.Dense(3, "softmax")(joined), "size": dg.Dense(2)(joined)}
    return dg.Model([a, b], outputs, dtype=dtype, seed=0)


@pytest.mark.parametrize("weights", [None, [1.0, 0.3]])
def test_a_wired_model_predicts_and_trains_on(tmp_path, rng, dtype, weights):
    model = wired(dtype)
    x = rng.normal(size=(9, 6)).astype(dtype)
    y = np.concatenate([target(rng, "classes", 3, dtype), target(rng, "values", 2, dtype)], axis=1)
    same_bits(in_cpp(tmp_path, model, x), beside(model.predict(x)).ravel())
    parts = [np.ascontiguousarray(y[:, :3]), np.ascontiguousarray(y[:, 3:])]
    loss = dg.losses.Sum(["cross_entropy", dg.losses.Huber(0.5)], weights)
    dg.Trainer(model, loss=loss, optimizer=dg.SGD(RATE)).fit(x, parts, epochs=1)
    got = in_cpp(tmp_path, model, x, y, "adam", STEPS)
    same_bits(got, in_python(model, x, parts, loss, dg.Adam(RATE)))


def test_a_checkpoint_is_read_as_its_model(tmp_path, rng, dtype):
    model = dg.Sequential([dg.Dense(6, "relu"), dg.Dense(2)], input_size=FEATURES, dtype=dtype, seed=1)
    x, y = rng.normal(size=(9, FEATURES)).astype(dtype), target(rng, "values", 2, dtype)
    path = tmp_path / "checkpoint"
    model.fit(x, y, loss="mse", optimizer=dg.Adam(RATE), epochs=2, callbacks=[dg.ModelCheckpoint(path)])
    loaded = dg.load(path)
    loaded.save = lambda to: Path(to).write_bytes(path.read_bytes())
    same_bits(in_cpp(tmp_path, loaded, x), model.predict(x).ravel())


def bad_files(folder):
    """By what is wrong with them; None is no file."""
    dg.Sequential([dg.Dense(2, "tanh")], input_size=3, seed=0).save(folder / "good")
    good = (folder / "good").read_bytes()
    with safetensors.safe_open(folder / "good", "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        unsigned = safetensors.numpy.save(arrays, {"densegrad": file.metadata()["densegrad"]})
    return {
        "gone": None,
        "empty": b"",
        "truncated": good[:-1],
        "longer": good + b"\0",
        "number": good[:-1] + bytes([good[-1] ^ 1]),
        "strange": good.replace(b'"sha256"', b'"sha257"'),
        "format": unsigned.replace(rb"\"format\": 1", rb"\"format\": 9"),
        "units": unsigned.replace(rb"\"units\": 2", rb"\"units\": 0"),
        "key": unsigned.replace(rb"\"input_size\"", rb"\"tupni_size\""),
        "layer": unsigned.replace(rb"\"Dense\"", rb"\"Xyz00\""),
        "model": unsigned.replace(rb"\"Sequential\"", rb"\"Xyz0000000\""),
        "dtype": unsigned.replace(rb"\"float32\"", rb"\"float64\""),
        "foreign": unsigned.replace(b'"densegrad"', b'"densedarg"'),
        "kind": unsigned.replace(b'"F32"', b'"I32"'),
    }


def test_refusals_are_in_the_words_of_python(tmp_path):
    path = tmp_path / "bad"
    cause = "is not a whole safetensors file: "  # behind which the format's own library has the word
    for what, data in bad_files(tmp_path).items():
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        with pytest.raises((ValueError, FileNotFoundError)) as refusal:
            dg.load(path)
        command = [os.environ["DENSEGRAD_LOAD_MODEL"], "float32", str(path), "", "", "sgd", "0", ""]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 1, what
        assert result.stderr.strip().partition(cause)[:2] == str(refusal.value).partition(cause)[:2], what
