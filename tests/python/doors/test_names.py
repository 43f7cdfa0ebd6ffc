"""The names that a prompt completes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import densegrad as dg

PACKAGE = Path(dg.__file__).parent
PUBLIC = sorted(
    path.stem if path.is_file() else path.name
    for path in PACKAGE.iterdir()
    if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
)
OF_A_MODEL = [
    "backward",
    "build",
    "copy",
    "dtype",
    "evaluate",
    "fit",
    "forward",
    "gradients",
    "input_size",
    "layers",
    "loss",
    "output_size",
    "outputs",
    "parameters",
    "plot",
    "predict",
    "predict_proba",
    "save",
    "seed",
    "summary",
    "to_cpp",
    "to_onnx",
    "to_torch_state_dict",
    "trace",
]


def test_the_package_shows_what_it_promises_and_nothing_else() -> None:
    assert dir(dg) == sorted(dg.__all__)
    for name in dg.__all__:
        assert getattr(dg, name) is not None


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_module_says_what_is_public(name: str) -> None:
    module = importlib.import_module(f"densegrad.{name}")
    assert len(module.__all__) == len(set(module.__all__)) > 0
    for public in module.__all__:
        assert not public.startswith("_")
        assert hasattr(module, public)


def test_a_model_shows_what_a_user_may_call_and_nothing_else() -> None:
    model = dg.Sequential([dg.Dense(1)], input_size=1)
    assert dir(model) == OF_A_MODEL
    a = dg.Input(1)
    assert dir(dg.Model(a, dg.Dense(1)(a))) == sorted([*OF_A_MODEL, "inputs"])
    for name in OF_A_MODEL:
        assert hasattr(model, name)


@pytest.mark.skipif("core" not in dg.available_backends(), reason="the core is not installed")
def test_the_specification_is_loaded_only_where_it_computes() -> None:
    code = "import sys, densegrad as dg; assert dg.backend() == 'core'; print('densegrad._numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
