"""Ctrl-C waits for a moment that leaves everything whole."""

from __future__ import annotations

import signal
import threading

import pytest

from densegrad._training.interrupt import interrupt_deferred, interrupt_stops

pytestmark = pytest.mark.above_the_kernels


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def press_within(reached: list[bool]) -> None:
    """Press in a deferred block, whose end is reached."""
    with interrupt_deferred():
        press()
        reached.append(True)


@pytest.mark.parametrize("nested", [False, True])
def test_within_a_run_each_one_waits_and_then_does_what_it_would_have_done(nested: bool) -> None:
    stops: list[str] = []
    with interrupt_stops(stops.append):
        if nested:
            with interrupt_stops([].append):
                press()
        with interrupt_deferred():
            press()
            assert stops == []
        assert stops == ["Ctrl-C"]
        with pytest.raises(KeyboardInterrupt):
            press_within(reached := [])
        assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_run_it_waits_as_well() -> None:
    with pytest.raises(KeyboardInterrupt):
        press_within(reached := [])
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_in_another_thread_leaves_it_to_the_program() -> None:
    def run() -> None:
        with interrupt_stops([].append), interrupt_deferred():
            inside.set()
            leave.wait(10)

    inside, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    assert inside.wait(10)
    stops: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        press()
    with interrupt_stops(stops.append):
        leave.set()
        thread.join()
        with interrupt_deferred():
            press()
            assert stops == []
        assert stops == ["Ctrl-C"]


def test_a_handler_of_the_programs_own_stays_in_its_place() -> None:
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        with interrupt_stops([].append), interrupt_deferred():
            press()
            assert len(pressed) == 1
    finally:
        signal.signal(signal.SIGINT, before)
