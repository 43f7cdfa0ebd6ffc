"""What this installation is and runs on."""

from __future__ import annotations

import platform
import sys

import numpy as np

from densegrad import _backend, _build
from densegrad.version import __version__


def isa() -> str:
    """Name of the instruction set that the backend computes with."""
    return str(_backend.active().runtime()["isa"])


def facts() -> dict[str, str]:
    """The lines of ``densegrad info``, by name."""
    runtime = _backend.active().runtime()
    lines = {
        "version": __version__,
        "backend": _backend.backend(),
        "backends": ", ".join(_backend.available_backends()),
        "instruction set": str(runtime["isa"]),
        "threads": str(runtime["threads"]),
        "OpenMP": str(runtime["openmp"]),
        "compiler": _build.COMPILER or "none",
        "Python": f"{sys.implementation.name} {platform.python_version()}",
        "NumPy": np.__version__,
        "platform": platform.platform(),
    }
    if not _build.HAS_CORE:
        lines["no core because"] = _build.REASON
    return lines
