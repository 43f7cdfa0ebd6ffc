"""What threads cost beside other work: ``python benchmarks/contention.py --help``.

Makes the load itself, and times a training step under it with default settings and on one thread, in blocks of a
quarter of a second that alternate. A ratio compares two blocks of one round; below 1 the default is faster.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from peers import PEERS
from tasks import SQUARES, TASKS
from workers import LeftOutError, Worker, usable_cpus

from densegrad._cli import info
from densegrad._cli.bench import Row

BLOCK_SECONDS = 0.25
ROWS = ("8-64-64-4", "50-100-1", "784-128-10", "784-512-512-10", "1024x4")
BUSY = "while True: pass"
JOBLIB = """
import numpy as np
from joblib import Parallel, delayed
from densegrad.sklearn import MLPClassifier

x = np.random.default_rng(0).normal(size=(2000, 50))
fit = lambda: MLPClassifier(max_iter=50).fit(x, (x[:, 0] > 0) + 0)
with Parallel(n_jobs=2) as pool:
    while True:
        pool([delayed(fit)(), delayed(fit)()])
"""


class CannotError(Exception):
    """A load that cannot be made here."""


# Makes a load for the processes with these numbers, for as long as the context lasts.
Load = Callable[[Sequence[int]], AbstractContextManager[None]]


def programs(*sources: str) -> Load:
    """Python programs that run meanwhile, anywhere."""

    @contextmanager
    def load(_: Sequence[int]) -> Iterator[None]:
        command = [sys.executable, "-W", "ignore", "-c"]
        started = [subprocess.Popen([*command, source], start_new_session=True) for source in sources]
        time.sleep(3 if JOBLIB in sources else 0.5)
        try:
            yield
        finally:
            for process in started:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                process.wait()

    return load


def quota(processors: float) -> Load:
    """A control group that may use so many processors."""

    @contextmanager
    def load(pids: Sequence[int]) -> Iterator[None]:
        root, period = Path("/sys/fs/cgroup"), 100_000
        first = (root / "cgroup.controllers").exists()  # version 2
        group = (root if first else root / "cpu") / "densegrad-contention"
        try:
            group.mkdir()
        except OSError as error:
            raise CannotError(f"no control group: {error}") from None
        try:
            limit = int(processors * period)
            if first:
                (group / "cpu.max").write_text(f"{limit} {period}")
            else:
                (group / "cpu.cfs_period_us").write_text(str(period))
                (group / "cpu.cfs_quota_us").write_text(str(limit))
            for pid in pids:
                (group / "cgroup.procs").write_text(str(pid))
            yield
        finally:
            for pid in pids:
                with suppress(OSError):
                    (group.parent / "cgroup.procs").write_text(str(pid))
            group.rmdir()

    return load


LOADS: dict[str, Load] = {
    "quiet": programs(),
    "1 busy": programs(BUSY),
    "2 busy": programs(*[BUSY] * 2),
    "4 busy": programs(*[BUSY] * 4),
    "quota 1.5": quota(1.5),
    "joblib": programs(JOBLIB),  # two workers of it
    "torch": programs(),  # in the same process
}


@dataclass(frozen=True)
class Sides:
    """A library's processes: on one thread, as it comes, and for ours on as many as there are, come what may."""

    one: Worker
    default: Worker
    fixed: Worker | None

    @property
    def all(self) -> list[Worker]:
        """Those that there are."""
        return [side for side in (self.one, self.default, self.fixed) if side is not None]


def start(peer: str, load: str, cpus: Sequence[int]) -> Sides:
    """The processes of a peer. JAX knows no other limit than the processors it may run on."""
    name = "beside torch" if load == "torch" else peer
    most = len(cpus)
    one = Worker(name, 1, cpus[-1:] if peer == "jax" else cpus)
    fixed = Worker("fixed", most, cpus) if peer == "densegrad" and load == "quiet" else None
    return Sides(one, Worker(name, most, cpus), fixed)


def time_row(row: Row, sides: Sides, rounds: int) -> list[list[float]]:
    """Seconds a step of each side, by round, once each has run for a second."""
    for side in sides.all:
        side.prepare("training", row, "sgd")
    counts = [side.calibrate("steps", BLOCK_SECONDS) for side in sides.all]
    for side, count in zip(sides.all, counts, strict=True):
        for _ in range(3):
            side.seconds("steps", count)
    times = list(zip(sides.all, counts, strict=True))
    return [[side.seconds("steps", count) for side, count in times] for _ in range(rounds)]


def us(seconds: float) -> str:
    """Microseconds, three digits."""
    value = seconds * 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def report(peer: str, load: str, row: Row, rounds: list[list[float]]) -> str:
    """A line of the table."""
    one, default, *fixed = (median(side) for side in zip(*rounds, strict=True))
    ratio = median(default / one for one, default, *_ in rounds)
    text = f"| {load} | {row.title} | {PEERS[peer].title} | {us(one)} | {us(default)} | {ratio:.2f} |"
    if not fixed:
        return f"{text} |"
    best = median(default / min(one, fixed) for one, default, fixed in rounds)
    return f"{text} {us(fixed[0])} ({best:.2f}) |"


def parse() -> argparse.Namespace:
    """The command line."""

    def some(choices: Sequence[str]) -> Callable[[str], list[str]]:
        def names(text: str) -> list[str]:
            wanted = text.split(",")
            for name in wanted:
                if name not in choices:
                    raise argparse.ArgumentTypeError(f"expected some of {','.join(choices)}, got {name}")
            return wanted

        return names

    rows = [*TASKS["training"].rows, *SQUARES]
    peers = [name for name in PEERS if hasattr(PEERS[name], "training")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=some(list(LOADS)), default=list(LOADS), metavar="NAME,...")
    parser.add_argument("--rows", type=some(rows), default=list(ROWS), metavar="NAME,...", help="also squares")
    parser.add_argument("--peers", type=some(peers), default=["densegrad", "torch", "jax", "numpy"], metavar="NAME,...")
    parser.add_argument("--rounds", type=int, default=9, help="default %(default)s")
    return parser.parse_args()


def main() -> None:
    """Time and print."""
    options, cpus = parse(), usable_cpus()
    facts = info.facts()
    print(f"densegrad {facts['version']}, {facts['instruction set']}, {len(cpus)} processors; microseconds a step\n")
    print("| beside | network, batch | library | one thread | default | default / one | all threads (default / best) |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for load in options.loads:
        for peer in options.peers if load != "torch" else ["densegrad"]:
            try:
                sides = start(peer, load, cpus)
            except LeftOutError as reason:
                print(f"{PEERS[peer].title} is left out: {reason}", file=sys.stderr)
                continue
            try:
                with LOADS[load]([side.pid for side in sides.all]):
                    for name in options.rows:
                        for row in {**TASKS["training"].rows, **SQUARES}[name]:
                            print(report(peer, load, row, time_row(row, sides, options.rounds)), flush=True)
            except (CannotError, LeftOutError) as reason:
                print(f"{load}, {PEERS[peer].title}: left out: {reason}", file=sys.stderr)
            finally:
                for side in sides.all:
                    side.stop()


if __name__ == "__main__":
    main()
