"""Times training side by side with other libraries: ``python benchmarks/compare.py --help``.

Each peer runs in a process of its own (``peers.py``), so that their thread pools do not disturb each other, and
only one of them works at a time. A round times each of them once, one after another, in blocks long enough for the
clock; a ratio compares two blocks of the same round, so that a machine which drifts misleads nobody.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peers import PEERS
from report import Result, as_markdown, draw

import densegrad as dg
from densegrad import info
from densegrad._primitives import names
from densegrad.bench import ROWS, Row

HERE = Path(__file__).parent
BLOCK_SECONDS = 0.05
LIMIT_SECONDS = 5.0  # a peer that takes longer for one step, or for one epoch, is left out of that row
COMPILE_LIMIT = 60.0  # the same for the first, in which some compile


class LeftOutError(Exception):
    """A peer, or one of its rows, cannot be timed."""


class Worker:
    """A peer in its own process."""

    def __init__(self, peer: str, threads: int) -> None:
        command = [sys.executable, str(HERE / "peers.py"), peer, str(threads)]
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env={**os.environ, **limits}, stdin=pipe, stdout=pipe, text=True)
        self.versions: dict[str, str] = self._ask(do="load")["versions"]

    def prepare(self, row: Row, optimizer: str) -> None:
        """Make the network and data of a row."""
        self._ask(do="prepare", job={**asdict(row), "optimizer": optimizer})

    def calibrate(self, what: str) -> int:
        """How many calls fill a block, once whatever is compiled or allocated at first is there."""
        self._within(COMPILE_LIMIT, what)
        count, seconds = 1, self._within(LIMIT_SECONDS, what)
        while seconds < BLOCK_SECONDS:
            count = max(2 * count, int(1.1 * count * BLOCK_SECONDS / max(seconds, 1e-9)))
            seconds = count * self.seconds(what, count)
        return count

    def seconds(self, what: str, count: int) -> float:
        """Seconds a call, over so many."""
        answer = self._ask(do=what, count=count)
        return float(answer["seconds"] / answer["count"])

    def stop(self) -> None:
        """Let the process end."""
        self._process.communicate()

    def _within(self, limit: float, what: str) -> float:
        answer = self._ask(do=what, count=1)
        if answer["seconds"] > limit:
            raise LeftOutError(f"{answer['seconds']:.0f} s for one of its {what}")
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


class Ceiling:
    """The multiply-adds that the machine can do now, by a small C++ program; nothing without a compiler."""

    def __init__(self, threads: int) -> None:
        self._process: subprocess.Popen[str] | None = None
        compiler = shutil.which("g++")
        if compiler is None:
            print("no g++: the FMA ceiling is not measured", file=sys.stderr)
            return
        isa = dg.isa() if dg.backend() == "core" else "scalar"
        with tempfile.TemporaryDirectory() as folder:
            program = str(Path(folder, "fma_ceiling"))
            source = str(HERE / "fma_ceiling.cpp")
            subprocess.run([compiler, "-O2", "-std=c++17", "-pthread", source, "-o", program], check=True)
            pipe = subprocess.PIPE
            self._process = subprocess.Popen([program, isa, str(threads)], stdin=pipe, stdout=pipe, text=True)

    def flops(self) -> float:
        """Multiplications and additions a second, 0 where it is not known."""
        if self._process is None:
            return 0.0
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline()) * 1e9

    def stop(self) -> None:
        """Let the process end."""
        if self._process is not None:
            self._process.communicate()


def usable_cpus() -> list[int]:
    """The processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(cpus: Sequence[int]) -> None:
    """Keep this process, and those it starts, on some processors, before any library counts them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def time_row(row: Row, workers: dict[str, Worker], ceiling: Ceiling, options: argparse.Namespace) -> Result:
    """Time a step, then a step of an epoch, in rounds over all peers."""
    result = Result(row)
    ready = of_each(workers, lambda name: workers[name].prepare(row, options.optimizer), result.left_out)
    for what, steps in (("steps", 1), ("epochs", row.batches)):
        counts = of_each(ready, lambda name, what=what: workers[name].calibrate(what), result.left_out)
        for _ in range(options.rounds):
            result.ceilings.append(ceiling.flops())
            for name, count in counts.items():
                result.seconds[what].setdefault(name, []).append(workers[name].seconds(what, count) / steps)
        ready = counts
    return result


def of_each(peers: Iterable[str], function: Callable[[str], Any], left_out: dict[str, str]) -> dict[str, Any]:
    """What the function gives for each peer; one that fails goes to those left out, with the reason."""
    given = {}

    def attempt(name: str) -> None:
        try:
            given[name] = function(name)
        except LeftOutError as reason:
            left_out[name] = str(reason)

    for name in peers:
        attempt(name)
    return given


def main() -> None:
    """Compare, print, and write what was asked for."""
    options = parse()
    cpus = options.cpus or usable_cpus()[-options.threads :]
    print(f"{options.threads} thread(s) on processor(s) {', '.join(map(str, cpus))}", file=sys.stderr)
    pin(cpus)
    ceiling = Ceiling(options.threads)
    missing: dict[str, str] = {}
    workers = of_each(options.peers, lambda name: Worker(name, options.threads), missing)
    for name, reason in missing.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    results = []
    for row in options.rows:
        results.append(time_row(row, workers, ceiling, options))
        print(results[-1].as_text(), flush=True)
    facts = {
        "threads": str(options.threads),
        "optimiser": options.optimizer,
        "instruction set": dg.isa(),
        "Python": info.facts()["Python"],
        **{name: text for worker in workers.values() for name, text in worker.versions.items()},
        "not installed": "; ".join(f"{name} ({reason})" for name, reason in missing.items()) or "none",
        "command": " ".join(["python", "benchmarks/compare.py", *sys.argv[1:]]),
    }
    for worker in workers.values():
        worker.stop()
    ceiling.stop()
    if options.out:
        how = {name: str(PEERS[name].__doc__) for name in workers}
        Path(options.out).write_text(as_markdown(results, how, facts), encoding="utf-8")
    if options.plot:
        draw(results, list(workers), options.plot)


def parse() -> argparse.Namespace:
    """The command line."""
    by_name = {row.name: row for row in ROWS}
    optimizers = [name for name in names("optimizer") if name in ("sgd", "adam")]

    def listed(choices: Sequence[str]) -> Any:
        def convert(text: str) -> list[str]:
            wanted = text.split(",")
            for name in wanted:
                if name not in choices:
                    raise argparse.ArgumentTypeError(f"expected some of {','.join(choices)}, got {name}")
            return wanted

        return convert

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=listed(list(by_name)), default=list(by_name), metavar="NAME,...")
    parser.add_argument("--peers", type=listed(list(PEERS)), default=list(PEERS), metavar="NAME,...")
    parser.add_argument("--optimizer", choices=optimizers, default="sgd", help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default %(default)s")
    parser.add_argument("--cpus", help="processors to run on, such as 2,3 (default: the last ones allowed)")
    parser.add_argument("--out", metavar="FILE.md", help="write the tables as Markdown")
    parser.add_argument("--plot", metavar="FILE.png", help="draw a picture (needs Matplotlib)")
    options = parser.parse_args()
    if options.rounds < 1 or not 1 <= options.threads <= len(usable_cpus()):
        parser.error(f"expected at least 1 round, and from 1 to {len(usable_cpus())} threads")
    if options.cpus:
        options.cpus = [int(cpu) for cpu in options.cpus.split(",")]
        if len(options.cpus) != options.threads:
            parser.error(f"expected {options.threads} processor(s) for --cpus, got {len(options.cpus)}")
    options.rows = [by_name[name] for name in options.rows]
    options.peers = ["densegrad", *(name for name in options.peers if name != "densegrad")]
    return options


if __name__ == "__main__":
    main()
