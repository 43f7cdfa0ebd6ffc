"""Processes that time one library each, on request: ``peers.py`` in the child, this in the parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from densegrad._cli.bench import Row

BLOCK_SECONDS = 0.05
LIMIT_SECONDS = 5.0  # a peer that takes longer for one step, or for one epoch, is left out of that row
COMPILE_LIMIT = 60.0  # the same for the first, in which some compile
PEERS_PROGRAM = Path(__file__).parent / "peers.py"


class LeftOutError(Exception):
    """A peer, or one of its rows, cannot be timed."""


class Worker:
    """A peer in its own process, on some of the processors."""

    def __init__(self, peer: str, threads: int, cpus: Sequence[int]) -> None:
        pin(cpus)
        command = [sys.executable, str(PEERS_PROGRAM), peer, str(threads)]
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env={**os.environ, **limits}, stdin=pipe, stdout=pipe, text=True)
        self.pid = self._process.pid
        self.versions: dict[str, str] = self._ask(do="load")["versions"]

    def prepare(self, task: str, row: Row, optimizer: str) -> None:
        """Make the network and data of a row."""
        self._ask(do="prepare", task=task, job={**asdict(row), "optimizer": optimizer})

    def calibrate(self, call: str, block_seconds: float = BLOCK_SECONDS) -> int:
        """How many calls fill a block, once whatever is compiled or allocated at first is there."""
        self._within(COMPILE_LIMIT, call)
        count, seconds = 1, self._within(LIMIT_SECONDS, call)
        while seconds < block_seconds:
            count = max(2 * count, int(1.1 * count * block_seconds / max(seconds, 1e-9)))
            seconds = count * self.seconds(call, count)
        return count

    def seconds(self, call: str, count: int) -> float:
        """Seconds a call, over so many."""
        answer = self._ask(do=call, count=count)
        return float(answer["seconds"] / answer["count"])

    def stop(self) -> None:
        """Let the process end."""
        self._process.communicate()

    def _within(self, limit: float, call: str) -> float:
        answer = self._ask(do=call, count=1)
        if answer["seconds"] > limit:
            raise LeftOutError(f"{answer['seconds']:.0f} s for one of its {call}")
        return float(answer["seconds"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise LeftOutError(f"its process ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LeftOutError(answer["error"])
        return answer


def usable_cpus() -> list[int]:
    """The processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(cpus: Sequence[int]) -> None:
    """Keep the processes that are started next on some processors, before any library counts them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
