"""Every comparison runs on each backend this installation has."""

from __future__ import annotations

import pytest

import densegrad as dg


@pytest.fixture(params=dg.available_backends())
def backend(request):
    with dg.use_backend(request.param):
        yield request.param
