"""Every test that asks for ``backend`` runs on each backend this installation has."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import densegrad as dg

settings.register_profile("densegrad", deadline=None, derandomize=True, database=None)  # every run is the same
settings.load_profile("densegrad")

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with Ctrl-C ignored


@pytest.fixture(params=dg.available_backends())
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a backend, in use for the length of the test."""
    with dg.use_backend(request.param):
        yield request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    """Both dtypes."""
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded source of test data."""
    return np.random.default_rng(20260101)


@pytest.fixture
def data_folder() -> Path:
    """Where DENSEGRAD_DATA points; tests of real files are skipped where it is unset."""
    folder = os.environ.get("DENSEGRAD_DATA")
    if not folder:
        pytest.skip("DENSEGRAD_DATA is not set")
    return Path(folder)
