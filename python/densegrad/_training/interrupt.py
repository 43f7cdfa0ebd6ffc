"""Ctrl-C at a moment that leaves everything whole: the first one stops a run, the next one interrupts it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class _Stops:
    """A handler that notifies somebody of the first Ctrl-C, and of each later one as Python does."""

    def __init__(self, stop: Callable[[str], None]) -> None:
        self._stop: Callable[[str], None] | None = stop

    def __call__(self, number: int, frame: FrameType | None) -> None:
        stop, self._stop = self._stop, None
        if stop is None:
            raise KeyboardInterrupt
        stop("Ctrl-C")


@contextmanager
def interrupt_stops(stop: Callable[[str], None]) -> Iterator[None]:
    """Makes the first Ctrl-C within the block a call of ``stop``; the next one raises ``KeyboardInterrupt``.

    Does nothing outside the main thread, where Python delivers no signals, and where the program has a handler
    of its own.
    """
    with _handled(_Stops(stop)):
        yield


@contextmanager
def interrupt_deferred() -> Iterator[None]:
    """Keeps every Ctrl-C until the block has ended, then does what it would have done."""
    got: list[FrameType | None] = []
    with _handled(lambda number, frame: got.append(frame)) as before:
        yield
    for frame in got:
        before(signal.SIGINT, frame)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], Any]) -> Iterator[Callable[[int, FrameType | None], Any]]:
    """Puts a handler in the place of Python's or of ours, which it gives."""
    before: Any = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not (before is signal.default_int_handler or isinstance(before, _Stops)):
        yield signal.default_int_handler
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield before
    finally:
        signal.signal(signal.SIGINT, before)
