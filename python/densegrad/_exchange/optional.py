"""Libraries that only one format needs."""

from __future__ import annotations

import importlib
from typing import Any


def imported(caller: str, module: str, install: str) -> Any:
    """The module, or an ``ImportError`` that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(f"{caller} needs {module.partition('.')[0]}: pip install {install!r}") from None
