"""ONNX: other programs compute from our files what we do, and we from theirs."""

from __future__ import annotations

import os
import sys
import tracemalloc

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_digits

import densegrad as dg
from networks import FEATURES, LAYERS, network

pytestmark = pytest.mark.above_the_kernels


def run(proto, x):
    """What onnxruntime computes."""
    return onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]


def graph(nodes, constants=(), features=4, kind=TensorProto.FLOAT, shape=None, opset=20):
    """A model of nodes given as (operator, inputs, output, attributes) from x to y."""
    made = [helper.make_node(op, list(inputs), [out], name=f"{op} {out}", **more) for op, inputs, out, more in nodes]
    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()]
    x = helper.make_tensor_value_info("x", kind, shape or ["batch", features])
    y = helper.make_tensor_value_info("y", kind, ["batch", "units"])
    return helper.make_model(
        helper.make_graph(made, "g", [x], [y], arrays), opset_imports=[helper.make_opsetid("", opset)], ir_version=9
    )


def floats(rng, *shape):
    return rng.normal(size=shape).astype("float32")


# ---- writing


@pytest.mark.parametrize("name", LAYERS)
def test_onnxruntime_computes_what_predict_does(backend, rng, name):
    model = network(name, "float32")
    proto = model.to_onnx()
    onnx.checker.check_model(proto, full_check=True)
    for rows in (1, 40):
        x = 3 * floats(rng, rows, FEATURES)
        expected = model.predict(x)
        np.testing.assert_allclose(run(proto, x), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", LAYERS)
def test_float64_models_stay_float64(backend, rng, name):
    model = network(name, "float64")
    x = 3 * rng.normal(size=(20, FEATURES))
    y = ReferenceEvaluator(model.to_onnx()).run(None, {"x": x})[0]
    assert y.dtype == np.float64
    rounded = "elu" in name or name.startswith("hard_s") or name.endswith("_norm")  # attributes of ONNX are float32
    tolerance = 1e-6 if rounded else 1e-9
    np.testing.assert_allclose(y, model.predict(x), rtol=tolerance, atol=tolerance)


def test_a_network_trained_on_digits_gives_the_same_in_onnxruntime(backend, tmp_path):
    x, y = load_digits(return_X_y=True)
    x = x.astype("float32")
    model = dg.Sequential(
        [
            dg.Standardize(),
            dg.Dense(32, "relu"),
            dg.BatchNorm(),
            dg.Residual([dg.Dense(32, "gelu"), dg.Dropout(0.1), dg.LayerNorm()]),
            dg.Dense(10, "softmax"),
        ],
        seed=0,
    )
    model.fit(x, y, loss="cross_entropy", optimizer=dg.Adam(), epochs=8, progress=False)
    path = tmp_path / "digits.onnx"
    proto = model.to_onnx(path)
    assert path.read_bytes() == proto.SerializeToString()
    session = onnxruntime.InferenceSession(path)
    assert [(end.name, end.shape) for end in (*session.get_inputs(), *session.get_outputs())] == [
        ("x", ["batch", 64]),
        ("y", ["batch", 10]),
    ]
    np.testing.assert_allclose(session.run(None, {"x": x})[0], model.predict(x), rtol=0, atol=1e-5)
    assert model.evaluate(x, y, metrics=["accuracy"])["accuracy"] > 0.9


def test_the_file_says_who_wrote_it_and_its_opset():
    proto = network("relu", "float32").to_onnx()
    assert (proto.producer_name, proto.producer_version) == ("densegrad", dg.__version__)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 20)]


def test_a_python_activation_is_refused():
    class Sine:
        def forward(self, z):
            return np.sin(z)

        def backward(self, dy, z, y):
            return dy * np.cos(z)

    model = dg.Sequential([dg.Dense(2), Sine()], input_size=2)
    with pytest.raises(ValueError, match=r"Sequential\.to_onnx: expected layers that ONNX can hold, got the Python"):
        model.to_onnx()


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ValueError, match=r"Sequential\.to_onnx: expected a model that knows its input_size"):
        dg.Sequential([dg.Dense(2)]).to_onnx()


def test_without_onnx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    model = network("relu", "float32")
    for call in (model.to_onnx, lambda: dg.from_onnx("model.onnx")):
        with pytest.raises(ImportError, match=r"needs onnx: pip install 'densegrad\[onnx\]'"):
            call()


# ---- reading our own


@pytest.mark.parametrize("name", LAYERS)
def test_a_model_comes_back_with_its_layers_and_numbers(backend, dtype, rng, tmp_path, name):
    model = network(name, dtype)
    path = tmp_path / "model.onnx"
    model.to_onnx(path)
    for source in (path, str(path), os.fsencode(path), onnx.load(path)):
        back = dg.from_onnx(source)
        assert back.dtype == dtype
        np.testing.assert_array_equal(back.parameters, model.parameters)
    x = rng.normal(size=(4, FEATURES))
    np.testing.assert_array_equal(back.predict(x), model.predict(x))
    if name not in {"identity", "an activation alone", "residual"}:  # where the same may be said in two ways
        assert repr(back.layers) == repr(model.layers)


# ---- reading others'


def test_products_sums_and_scalings_of_others_are_read(backend, rng):
    constants = {"a": floats(rng, 4, 6), "b": floats(rng, 6), "c": floats(rng, 3, 6), "d": floats(rng, 1, 3)}
    proto = graph(
        [
            ("Flatten", ["x"], "f", {}),
            ("Div", ["f", "255"], "s", {}),
            ("Sub", ["s", "half"], "t", {}),
            ("Mul", ["deviation", "t"], "u", {}),
            ("MatMul", ["u", "a"], "m", {}),
            ("Add", ["b", "m"], "n", {}),
            ("Relu", ["n"], "r", {}),
            ("Identity", ["r"], "i", {}),
            ("Gemm", ["i", "c", "d"], "g", {"transB": 1, "alpha": 0.5, "beta": 2.0}),
            ("Sub", ["one", "g"], "v", {}),
            ("Add", ["v", "e"], "w", {}),
            ("Softmax", ["w"], "y", {"axis": 1}),
        ],
        {
            **constants,
            "255": np.float32(255),
            "half": np.float32([0.5]),
            "deviation": floats(rng, 4),
            "one": np.float32(1),
            "e": floats(rng, 3),
        },
    )
    model = dg.from_onnx(proto)
    assert model.input_size == 4
    assert [type(layer).__name__ for layer in model.layers] == [
        "Standardize", "Standardize", "Dense", "Dense", "Standardize", "Standardize", "Activation",
    ]  # fmt: skip
    x = floats(rng, 9, 4)
    np.testing.assert_allclose(model.predict(x), run(proto, x), rtol=1e-5, atol=1e-6)


def test_gates_and_constants_in_nodes_are_read(backend, rng):
    weights = numpy_helper.from_array(floats(rng, 4, 4))
    proto = graph(
        [
            ("Constant", [], "w", {"value": weights}),
            ("Identity", ["w"], "same", {}),
            ("MatMul", ["x", "w"], "z", {}),
            ("Sigmoid", ["z"], "s", {}),
            ("Mul", ["s", "z"], "silu", {}),
            ("MatMul", ["silu", "same"], "m", {}),
            ("Add", ["m", "silu"], "y", {}),
        ],
    )
    model = dg.from_onnx(proto)
    assert repr(model.layers) == (
        "(Dense(4, activation='swish', use_bias=False), Residual((Dense(4, use_bias=False),)))"
    )
    x = floats(rng, 9, 4)
    np.testing.assert_allclose(model.predict(x), run(proto, x), rtol=1e-5, atol=1e-6)


def test_swish_as_one_operator_is_read():
    proto = graph([("Swish", ["x"], "y", {"alpha": 1.5})], opset=24)
    np.testing.assert_allclose(dg.from_onnx(proto).predict([[1, 2, -1, 0]])[0, 0], 1 / (1 + np.exp(-1.5)), rtol=1e-6)


# ---- reading what is no dense network


REFUSED = {
    "operator": ([("Sin", ["x"], "y", {})], r"node 'Sin y' \(Sin\): is not read in a dense network; Add, BatchNorm"),
    "attribute": ([("HardSigmoid", ["x"], "y", {})], r"node 'HardSigmoid y' \(HardSigmoid\): expected alpha = 0\.16"),
    "axis": ([("Softmax", ["x"], "y", {"axis": 0})], r"\(Softmax\): expected axis = -1, got 0"),
    "clip": ([("Clip", ["x", "zero", "six"], "y", {})], r"\(Clip\): expected the ends -1 and 1 .* got \[0\.0, 6\.0\]"),
    "product of values": ([("Mul", ["x", "x"], "y", {})], r"\(Mul\): expected one or two values .* got \['x', 'x'\]"),
    "gate": (
        [("Tanh", ["x"], "t", {}), ("Mul", ["x", "t"], "y", {})],
        r"\(Mul\): is no activation that is read, joining z and Tanh of z",
    ),
    "constants of a gate": (
        [("Abs", ["x"], "a", {}), ("Add", ["a", "six"], "b", {}), ("Div", ["x", "b"], "y", {})],
        r"'Div y' \(Div\): is no activation that is read, joining z and Add of Abs of z",
    ),
    "gate turned": (
        [("Abs", ["x"], "a", {}), ("Add", ["a", "one"], "b", {}), ("Div", ["b", "x"], "y", {})],
        r"'Div y' \(Div\): is no activation that is read, joining z and Add of Abs of z",
    ),
    "join": (
        [("Tanh", ["x"], "t", {}), ("Max", ["x", "t"], "y", {})],
        r"node 'Max y' \(Max\): is not read where it joins two values; Add, Div, Mul are",
    ),
    "branches": (
        [("Tanh", ["x"], "t", {}), ("Relu", ["x"], "r", {}), ("Add", ["t", "r"], "y", {})],
        r"expected one chain of layers and residual blocks, got a branch at 't'",
    ),
    "nothing": ([("Identity", ["x"], "y", {})], "expected at least 1 layer, got none"),
    "weights first": ([("MatMul", ["square", "x"], "y", {})], r"\(MatMul\): expected input 1 to be constant, got 'x'"),
    "transA": ([("Gemm", ["x", "square"], "y", {"transA": 1})], r"\(Gemm\): expected transA = 0, got 1"),
    "shape of weights": (
        [("MatMul", ["x", "square"], "m", {}), ("MatMul", ["m", "row"], "y", {})],
        r"'MatMul y' \(MatMul\): expected weights of shape \(4, units\), got \(3,\)",
    ),
    "shape of a bias": ([("Add", ["x", "row"], "y", {})], r"\(Add\): expected input 1 of shape \(4,\), got \(3,\)"),
    "widths": (
        [("MatMul", ["x", "wide"], "m", {}), ("Add", ["x", "m"], "y", {})],
        r"node 'Add y' \(Add\): Residual: expected layers that keep the width 4, got 2 outputs",
    ),
    "rate": ([("Dropout", ["x", "one"], "y", {})], r"\(Dropout\): Dropout: expected a finite rate >= 0 and < 1, got 1"),
    "in training": ([("Dropout", ["x", "zero", "true"], "y", {})], r"\(Dropout\): expected a network that predicts"),
    "integers": ([("Add", ["x", "integers"], "y", {})], r"\(Add\): expected 'integers' of floating point, got dtype"),
    "second output": (
        [("Dropout", ["x"], "d", {})], r"expected 'y' to depend on 'x'|expected a valid ONNX model",
    ),
    "constant output": ([("Relu", ["row"], "y", {})], r"\(Relu\): expected one or two values that depend on 'x', got"),
}  # fmt: skip
CONSTANTS = {
    "zero": np.float32(0),
    "six": np.float32(6),
    "one": np.float32(1),
    "true": np.array(True),
    "square": np.eye(4, dtype="float32"),
    "row": np.ones(3, "float32"),
    "wide": np.ones((4, 2), "float32"),
    "integers": np.arange(4),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_dense_network_is_refused_by_name_and_type(name):
    nodes, words = REFUSED[name]
    with pytest.raises(ValueError, match=f"^from_onnx: .*{words}"):
        dg.from_onnx(graph(nodes, CONSTANTS))


def test_other_domains_and_other_inputs_are_refused():
    custom = graph([("Relu", ["x"], "y", {"domain": "com.other"})])
    custom.opset_import.append(helper.make_opsetid("com.other", 1))
    with pytest.raises(ValueError, match=r"node 'Relu y' \(com\.other\.Relu\): is not read"):
        dg.from_onnx(custom)
    relu = [("Relu", ["x"], "y", {})]
    with pytest.raises(ValueError, match=r"expected 'x' of shape \(batch, features\), got \(batch, 1, 28, 28\)"):
        dg.from_onnx(graph(relu, shape=["batch", 1, 28, 28]))
    with pytest.raises(ValueError, match=r"expected 'x' of shape \(batch, features\), got \(batch, n\)"):
        dg.from_onnx(graph(relu, shape=["batch", "n"]))
    with pytest.raises(ValueError, match="expected 'x' of float32 or float64, got ONNX's type 10"):
        dg.from_onnx(graph(relu, kind=TensorProto.FLOAT16))
    with pytest.raises(ValueError, match=r"expected opset 13 or later, got 11; onnx\.version_converter"):
        dg.from_onnx(graph(relu, opset=11))
    two = graph(relu)
    two.graph.input.append(helper.make_tensor_value_info("x2", TensorProto.FLOAT, [1, 4]))
    with pytest.raises(ValueError, match="expected 1 input, got 2"):
        dg.from_onnx(two)


def claiming(width, scale):
    """A model whose input claims a width that no array has."""
    return graph([("Mul", ["x", "scale"], "y", {})], {"scale": scale}, shape=["batch", width])


def lying():
    """A tensor that claims 2^60 numbers and has one."""
    proto = graph([("Mul", ["x", "scale"], "y", {})], {"scale": np.float32([2])})
    proto.graph.initializer[0].dims[:] = [2**30, 2**30]
    return proto


@pytest.mark.parametrize(
    "make",
    [
        lambda: claiming(2**60, np.float32(2)),
        lambda: claiming(2**60, np.float32([2])),
        lambda: graph([("Relu", ["x"], "y", {})], shape=["batch", 2**60]),
        lambda: graph(
            [("Mul", [f"v{i}" if i else "x", "scale"], f"v{i + 1}" if i < 999 else "y", {}) for i in range(1000)],
            {"scale": np.float32(2)},
            shape=["batch", 2**16],
        ),
        lambda: graph(
            [
                ("Gemm", [f"v{i}" if i else "x", "w"], f"v{i + 1}" if i < 999 else "y", {"alpha": 2.0})
                for i in range(1000)
            ],
            {"w": np.ones((100, 100), "float32")},
            features=100,
        ),
        lying,
    ],
    ids=["scalar", "one number", "no array", "many nodes", "one array many times", "tensor"],
)
def test_sizes_that_no_array_has_are_refused_without_allocating_them(make):
    proto = make()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^from_onnx: "):
            dg.from_onnx(proto)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_damaged_or_missing_file_is_refused_by_its_name(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(FileNotFoundError, match=r"from_onnx: no file '.*model\.onnx'"):
        dg.from_onnx(path)
    data = network("residual", "float32").to_onnx().SerializeToString()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"^from_onnx: "):
            dg.from_onnx(path)
    with pytest.raises(TypeError, match=r"from_onnx: expected a path or an onnx\.ModelProto, got int"):
        dg.from_onnx(3)


def refusal(path):
    """The words in which a file is refused, or nothing."""
    try:
        dg.from_onnx(path)
    except ValueError as error:
        return str(error)
    return ""


def test_every_flipped_bit_is_refused_or_harmless(tmp_path):
    path = tmp_path / "model.onnx"
    data = network("residual in residual", "float32").to_onnx().SerializeToString()
    refusals = []
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        if words := refusal(path):
            refusals.append(words)
    assert len(refusals) > 500
    assert all(words.startswith("from_onnx: ") for words in refusals)


def test_arrays_in_other_files_are_not_opened(tmp_path):
    proto = network("relu", "float32").to_onnx()
    path = tmp_path / "model.onnx"
    onnx.save_model(proto, path, save_as_external_data=True, location="arrays", size_threshold=0)
    with pytest.raises(ValueError, match="expected the arrays within the file, got some in others"):
        dg.from_onnx(path)
    dg.from_onnx(onnx.load(path))
    array = onnx.load(path, load_external_data=False).graph.initializer[0]
    with pytest.raises(ValueError, match="expected the arrays within the file, got some in others"):
        dg.from_onnx(graph([("Constant", [], "w", {"value": array}), ("MatMul", ["x", "w"], "y", {})]))


def test_blocks_at_any_depth_end_in_a_model_or_a_refusal():
    deep = [("Tanh", [f"v{i}" if i else "x"], f"v{i + 1}", {}) for i in range(3000)]
    ends = [f"v{3000 - i}" if i else "v3000" for i in range(3000)]
    sums = [
        ("Add", [f"s{i}" if i else ends[0], f"v{2999 - i}" if i < 2999 else "x"], f"s{i + 1}" if i < 2999 else "y", {})
        for i in range(3000)
    ]
    with pytest.raises(ValueError, match="expected fewer residual blocks within one another"):
        dg.from_onnx(graph(deep + sums))
