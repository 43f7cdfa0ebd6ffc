"""The C++ header of a model: it compiles alone, and computes what ``predict`` does."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

import densegrad as dg
from networks import FEATURES, LAYERS, OUTPUTS, network

pytestmark = pytest.mark.above_the_kernels

COMPILER = next(filter(None, map(shutil.which, ("g++", "c++", "clang++"))), None)
OPTIONS = ["-std=c++17", "-O1", "-fno-exceptions", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
TOLERANCE = {"float32": 1e-6, "float64": 1e-13}
TYPES = {"float32": "float", "float64": "double"}


def identifier(name):
    return "m_" + re.sub(r"\W", "_", name)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Every network in both dtypes, in one program: the headers live side by side."""
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("cpp")
    lines = []
    for name in LAYERS:
        for dtype, kind in TYPES.items():
            space = f"{identifier(name)}_{dtype}"
            network(name, dtype).to_cpp(folder / f"{space}.hpp", name=space)
            lines += [
                f'#include "{space}.hpp"',
                f"static_assert({space}::kInputs == {FEATURES} && {space}::kOutputs == {OUTPUTS});",
                f'extern "C" void call_{space}(const {kind}* x, {kind}* y) {{ {space}::forward(x, y); }}',
            ]
    return compiled(folder, "\n".join(lines))


def compiled(folder, text):
    (folder / "all.cpp").write_text(text + "\n")
    command = [COMPILER, *OPTIONS, "-shared", "-fPIC", "-o", str(folder / "all.so"), str(folder / "all.cpp")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[:3000]
    return ctypes.CDLL(str(folder / "all.so"))


def called(function, x, outputs):
    y = np.full((len(x), outputs), np.nan, x.dtype)
    for row, out in zip(x, y, strict=True):
        function(row.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
    return y


@pytest.mark.parametrize("name", LAYERS)
def test_the_header_computes_what_predict_does(backend, dtype, library, rng, name):
    x = (3 * rng.normal(size=(50, FEATURES))).astype(dtype)
    expected = network(name, dtype).predict(x)
    y = called(library[f"call_{identifier(name)}_{dtype}"], x, OUTPUTS)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(y, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def test_wide_and_trained_networks_stay_as_near(backend, tmp_path, rng):
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    x = rng.normal(size=(64, 300)).astype("float32")
    layers = [dg.Standardize(), dg.Dense(90, "gelu"), dg.Residual([dg.Dense(90, "relu"), dg.BatchNorm()]), dg.Dense(4)]
    model = dg.Sequential(layers, input_size=300, seed=0)
    model.fit(x, np.arange(64) % 4, loss="cross_entropy", optimizer=dg.Adam(), epochs=3, progress=False)
    model.to_cpp(tmp_path / "model.hpp")
    call = 'extern "C" void call(const float* x, float* y) { model::forward(x, y); }'
    y = called(compiled(tmp_path, f'#include "model.hpp"\n{call}').call, x, 4)
    expected = model.copy("float64").predict(x)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_forward_asks_for_no_memory_and_no_library(library):
    """What the compiled headers need of others: functions of mathematics, nothing that allocates or throws."""
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm")
    output = subprocess.run([nm, "-Du", library._name], capture_output=True, text=True, check=True).stdout
    needed = {line.split()[-1].partition("@")[0] for line in output.splitlines() if " U " in line}
    assert needed
    assert needed <= {
        f"{f}{s}" for f in ("exp", "expm1", "log", "log1p", "tanh", "erfc", "sqrt") for s in ("", "f")
    } | {
        "__stack_chk_fail",
        "memcpy",
        "memset",
    }


def test_buffers_are_used_again():
    deep = dg.Sequential([dg.Dense(10, "tanh") for _ in range(20)], input_size=10)
    assert "takes 80 bytes of stack" in deep.to_cpp()
    block = dg.Residual([dg.Dense(10, "tanh"), dg.Dense(10)])
    assert "takes 120 bytes of stack" in dg.Sequential([dg.Dense(10), block, dg.Dense(1)], input_size=10).to_cpp()


def test_the_text_is_what_is_written(tmp_path):
    model = dg.Sequential([dg.Dense(2)], input_size=2, seed=0)
    path = tmp_path / "a.hpp"
    assert model.to_cpp(path, name="a") == path.read_text()
    assert os.listdir(tmp_path) == ["a.hpp"]


@pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "class", "std", "main", "a::b", "_a", "a__b", "é", "a\n"])
def test_names_that_c_plus_plus_has_not_are_refused(name):
    with pytest.raises(ValueError, match=r"Sequential\.to_cpp: expected a name that a C\+\+ namespace can have, got"):
        dg.Sequential([dg.Dense(2)], input_size=2).to_cpp(name=name)


def test_what_has_no_literal_is_refused():
    class Sine:
        def forward(self, z):
            return np.sin(z)

        def backward(self, dy, z, y):
            return dy * np.cos(z)

    model = dg.Sequential([dg.Dense(2)], input_size=2)
    model.layers[0].w[0, 0] = np.inf
    with pytest.raises(ValueError, match=r"expected finite parameters, got NaN or infinity in layers\.0\.w"):
        model.to_cpp()
    with pytest.raises(ValueError, match=r"to_cpp: expected layers of densegrad, got the Python activation"):
        dg.Sequential([dg.Dense(2), Sine()], input_size=2).to_cpp()
    with pytest.raises(ValueError, match=r"Sequential\.to_cpp: expected a model that knows its input_size"):
        dg.Sequential([dg.Dense(2)]).to_cpp()
