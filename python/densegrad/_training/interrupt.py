"""Ctrl-C at a moment that leaves everything whole: the first one stops a run, the next one interrupts it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any


class _Stops:
    """A handler that notifies somebody of the first Ctrl-C, and of each later one as Python does."""

    def __init__(self, stop: Callable[[str], None]) -> None:
        self._stop: Callable[[str], None] | None = stop
        self._deferred: list[FrameType | None] | None = None  # while they are

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._deferred is not None:
            self._deferred.append(frame)
            return
        stop, self._stop = self._stop, None
        if stop is None:
            raise KeyboardInterrupt
        stop("Ctrl-C")

    def __enter__(self) -> None:
        self._deferred = []

    def __exit__(self, *_: object) -> None:
        deferred, self._deferred = self._deferred or (), None
        for frame in deferred:
            self(signal.SIGINT, frame)


@contextmanager
def interrupt_stops(stop: Callable[[str], None]) -> Iterator[None]:
    """Makes the first Ctrl-C within the block a call of ``stop``; the next one raises ``KeyboardInterrupt``.

    Does nothing outside the main thread, where Python delivers no signals, and where the program has a handler
    of its own.
    """
    global _of_run  # noqa: PLW0603  (there is one handler for the process)
    handler = _Stops(stop)
    with _handled(handler) as replaced:
        if replaced is None:
            yield
            return
        before, _of_run = _of_run, handler
        try:
            yield
        finally:
            _of_run = before


def interrupt_deferred() -> AbstractContextManager[None]:
    """Keeps every Ctrl-C until the block has ended, then does what it would have done."""
    if _of_run is not None and threading.current_thread() is threading.main_thread():
        return _of_run  # changing handlers takes as long as some steps
    return _deferred()


@contextmanager
def _deferred() -> Iterator[None]:
    waiting: list[FrameType | None] = []
    with _handled(lambda number, frame: waiting.append(frame)) as before:
        yield
    for frame in waiting:
        if before is not None:
            before(signal.SIGINT, frame)


@contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], Any],
) -> Iterator[Callable[[int, FrameType | None], Any] | None]:
    """Puts a handler in the place of Python's or of ours, which it gives; leaves any other where it is."""
    before: Any = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not (before is signal.default_int_handler or isinstance(before, _Stops)):
        yield None
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield before
    finally:
        signal.signal(signal.SIGINT, before)


_of_run: _Stops | None = None  # the handler of the innermost run, where it is in place
