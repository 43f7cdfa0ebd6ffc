"""The way of x from ``fit`` to the backend is short."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import densegrad as dg

PACKAGE = str(Path(dg.__file__).parent)


@pytest.mark.skipif("core" not in dg.available_backends(), reason="the core is not installed")
@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("built", [False, True])
def test_x_passes_at_most_twelve_calls(rng: np.random.Generator, as_list: bool, built: bool) -> None:
    rows = rng.normal(size=(640, 8)).astype("float32")
    x, y = rows.tolist() if as_list else rows, rng.normal(size=(640, 1)).astype("float32")
    calls: dict[str, None] = {}

    def is_x(value: Any) -> bool:
        if isinstance(value, tuple):
            return any(map(is_x, value))
        return value is x or getattr(value, "shape", None) == rows.shape

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + 2]
            if any(is_x(frame.f_locals.get(name)) for name in names if name != "self"):
                calls[f"{code.co_filename}:{code.co_firstlineno} {code.co_name}"] = None

    with dg.use_backend("core"):
        model = dg.Sequential([dg.Dense(4, "relu"), dg.Dense(1)], **({"input_size": 8} if built else {}))
        sys.setprofile(note)
        try:
            model.fit(x, y, loss="mse", optimizer=dg.SGD(0.01), progress=False)
        finally:
            sys.setprofile(None)
    assert next(iter(calls)).endswith(" fit")
    assert len(calls) <= 12, list(calls)
