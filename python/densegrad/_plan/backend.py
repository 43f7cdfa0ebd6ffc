"""Picks the backend: the compiled ``_core`` or its NumPy twin. Nothing else imports either.

``DENSEGRAD_BACKEND=core|numpy`` chooses at import, ``use_backend`` while the program runs. The twin takes
over by itself only where the package was installed without a core, and the first import then says why.
A core that was built but does not load raises.
"""

from __future__ import annotations

import importlib
import os
import warnings
from types import ModuleType, TracebackType

from densegrad import _build

BACKENDS = ("core", "numpy")
# A backend takes what lies as it reads it, and refuses whatever would need a conversion, or words for a user. So go
# straight to it, and find both only where it refuses; a function around the call would cost a tenth of a prediction.
REFUSAL = (TypeError, ValueError)


def _load(caller: str, name: str) -> ModuleType:
    if not isinstance(name, str):
        raise TypeError(f"{caller}: expected the name of a backend ({', '.join(BACKENDS)}), got {name!r}")
    if name not in BACKENDS:
        raise ValueError(f"{caller}: expected one of {', '.join(BACKENDS)}, got {name!r}")
    if name == "numpy":
        return importlib.import_module("densegrad._numpy")
    if not _build.HAS_CORE:
        raise ValueError(f"{caller}: the compiled core is not installed: {_build.REASON}")
    return importlib.import_module("densegrad._core")


def _first() -> str:
    chosen = os.environ.get("DENSEGRAD_BACKEND", "")
    if chosen:
        return chosen
    if _build.HAS_CORE:
        return "core"
    warnings.warn(
        f"densegrad runs on its NumPy backend, many times slower than the compiled core: {_build.REASON}",
        RuntimeWarning,
        stacklevel=2,
    )
    return "numpy"


_name = _first()
_module = _load("DENSEGRAD_BACKEND", _name)


def active() -> ModuleType:
    """The backend in use."""
    return _module


def backend() -> str:
    """The name of the backend in use, ``"core"`` or ``"numpy"``."""
    return _name


def available_backends() -> list[str]:
    """The backends that this installation has."""
    return [name for name in BACKENDS if name == "numpy" or _build.HAS_CORE]


def isa() -> str:
    """Name of the instruction set that the backend computes with."""
    return str(_module.runtime()["isa"])


def modules() -> list[ModuleType]:
    """Every backend that this installation has."""
    return [_load("densegrad", name) for name in available_backends()]


class use_backend:  # noqa: N801  (a function to its callers, and a context manager)
    """Choose the backend, for good or for a ``with`` block.

    Models, trainers and optimisers go on with their numbers: only who computes changes.

    >>> import densegrad as dg
    >>> with dg.use_backend("numpy"):
    ...     dg.backend()
    'numpy'
    """

    def __init__(self, name: str) -> None:
        global _name, _module
        module = _load("use_backend", name)
        self._previous = _name
        _name, _module = name, module

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _name, _module
        _name, _module = self._previous, _load("use_backend", self._previous)

    def __repr__(self) -> str:
        return f"use_backend({_name!r})"
