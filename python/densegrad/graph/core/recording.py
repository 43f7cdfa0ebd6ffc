"""Tell whether operations on Tensors are recorded now, in this thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Scope:
    """The course of an outermost derivative call."""


class Here(threading.local):
    """Where a thread stands.

    Attributes:
        scope: Stands for the outermost derivative call that is running, if one is.
        paused: Whether operations are not recorded, whatever they work on.
        refuse: While a function is traced, raises for whoever asks for the numbers of what is recorded.
    """

    scope: Scope | None = None
    paused: bool = False
    refuse: Callable[[str], None] | None = None


here = Here()


@contextmanager
def recording() -> Iterator[bool]:
    """Record what is done to variables; gives whether somebody outside records as well."""
    scope, was_paused = here.scope, here.paused
    here.scope, here.paused = scope or Scope(), False
    try:
        yield scope is not None and not was_paused
    finally:
        here.scope, here.paused = scope, was_paused


@contextmanager
def paused(pause: bool = True) -> Iterator[None]:
    """Record nothing, if ``pause``."""
    before = here.paused
    here.paused = pause
    try:
        yield
    finally:
        here.paused = before
