"""Models of any wiring in other formats: several inputs and outputs lie side by side."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import numpy as np
import onnxruntime
import pytest

import densegrad as dg

pytestmark = pytest.mark.above_the_kernels

COMPILER = next(filter(None, map(shutil.which, ("g++", "c++", "clang++"))), None)


@pytest.fixture
def model():
    """A skip connection, a layer that two ways share, two inputs and two outputs."""
    a, b = dg.Input(3), dg.Input(2)
    shared = dg.Dense(4, "tanh")
    first = dg.Dense(4, "relu")(a)
    both = dg.add(shared(first), shared(dg.Dense(4)(b)))
    whole = dg.concatenate(both, b)
    return dg.Model([a, b], [dg.Dense(2, "softmax")(whole), dg.Dense(1)(dg.add(both, first))], seed=0)


def test_onnxruntime_computes_what_predict_does(backend, model, rng):
    x = rng.normal(size=(9, 5)).astype("float32")
    session = onnxruntime.InferenceSession(model.to_onnx().SerializeToString())
    (y,) = session.run(None, {"x": x})
    np.testing.assert_allclose(y, np.concatenate(model.predict([x[:, :3], x[:, 3:]]), axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
def test_the_header_computes_what_predict_does(backend, model, rng, tmp_path):
    x = rng.normal(size=(9, 5)).astype("float32")
    model.to_cpp(tmp_path / "model.hpp", name="wired")
    code = '#include "model.hpp"\nextern "C" void call(const float* x, float* y) { wired::forward(x, y); }\n'
    (tmp_path / "all.cpp").write_text(code)
    library = tmp_path / "all.so"
    words = [COMPILER, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*words, str(tmp_path / "all.cpp")], check=True)
    call = ctypes.CDLL(str(library)).call
    y = np.full((9, 3), np.nan, "float32")
    for row, out in zip(x, y, strict=True):
        call(row.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
    np.testing.assert_allclose(y, np.concatenate(model.predict([x[:, :3], x[:, 3:]]), axis=1), rtol=1e-5, atol=1e-6)
