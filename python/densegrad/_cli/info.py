"""Facts of this installation and its machine."""

from __future__ import annotations

import platform
import sys

import numpy as np

from densegrad import _build
from densegrad._base.version import __version__
from densegrad._plan import backend


def facts() -> dict[str, str]:
    """The lines of ``densegrad info``, by name."""
    runtime = backend.active().runtime()
    lines = {
        "version": __version__,
        "backend": backend.backend(),
        "backends": ", ".join(backend.available_backends()),
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
