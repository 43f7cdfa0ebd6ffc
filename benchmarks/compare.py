"""Times training, or inference, side by side with other libraries: ``python benchmarks/compare.py --help``.

Each peer runs in a process of its own for each number of threads (``peers.py``), so that their thread pools do not
disturb each other, and only one of them works at a time. A round times each of them once, one after another, in
blocks long enough for the clock; a ratio compares two blocks of the same round, so that a machine which drifts
misleads nobody.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from peers import PEERS
from report import Place, Result, as_markdown, draw, plural
from tasks import SQUARES, TASKS
from workers import LeftOutError, Worker, pin, usable_cpus

import densegrad as dg
from densegrad._base.primitives import names
from densegrad._cli import info
from densegrad._cli.bench import Row

HERE = Path(__file__).parent


class Ceiling:
    """The multiply-adds that the machine can do now, by a small C++ program; nothing without a compiler."""

    def __init__(self, threads: int, cpus: Sequence[int]) -> None:
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
            pin(cpus[-threads:])
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


def time_row(
    row: Row, workers: dict[Place, Worker], ceilings: dict[int, Ceiling], options: argparse.Namespace
) -> Result:
    """Time each kind of call in rounds over all peers, each on one number of threads after the other."""
    task = TASKS[options.task]
    result = Result(task, row, {threads: [] for threads in ceilings})
    ready = of_each(workers, lambda at: workers[at].prepare(options.task, row, options.optimizer), result.left_out)
    for call in task.calls:
        units = row.batches if call == "epochs" else 1
        counts = of_each(ready, lambda at, call=call: workers[at].calibrate(call), result.left_out)
        for _ in range(options.rounds):
            for threads, ceiling in ceilings.items():
                result.ceilings[threads].append(ceiling.flops())
            for at, count in counts.items():
                result.seconds[call].setdefault(at, []).append(workers[at].seconds(call, count) / units)
        ready = counts
    return result


def of_each(places: Iterable[Place], function: Callable[[Place], Any], left_out: dict[Place, str]) -> dict[Place, Any]:
    """What the function gives for each place; one that fails goes to those left out, with the reason."""
    given = {}

    def attempt(at: Place) -> None:
        try:
            given[at] = function(at)
        except LeftOutError as reason:
            left_out[at] = str(reason)

    for at in places:
        attempt(at)
    return given


def main() -> None:
    """Compare, print, and write what was asked for."""
    options = parse()
    for threads in options.threads:
        chosen = ", ".join(map(str, options.cpus[-threads:]))
        print(f"{plural(threads)} on {'processor' if threads == 1 else 'processors'} {chosen}", file=sys.stderr)
    ceilings = {threads: Ceiling(threads, options.cpus) for threads in options.threads}
    missing: dict[Place, str] = {}
    places = [Place(name, threads) for name in options.peers for threads in options.threads]
    workers = of_each(places, lambda at: Worker(at.peer, at.threads, options.cpus[-at.threads :]), missing)
    reasons = {PEERS[at.peer].title: reason for at, reason in missing.items()}
    for title, reason in reasons.items():
        print(f"{title} is left out: {reason}", file=sys.stderr)
    results = []
    for row in options.rows:
        results.append(time_row(row, workers, ceilings, options))
        print(results[-1].as_text(), flush=True)
    facts = {
        "threads": ", ".join(map(str, options.threads)),
        "optimiser": options.optimizer if options.task == "training" else "none",
        "instruction set": dg.isa(),
        "Python": info.facts()["Python"],
        **{name: text for worker in workers.values() for name, text in worker.versions.items()},
        "not installed": "; ".join(f"{title} ({reason})" for title, reason in reasons.items()) or "none",
        "command": " ".join(["python", "benchmarks/compare.py", *sys.argv[1:]]),
    }
    for process in (*workers.values(), *ceilings.values()):
        process.stop()
    peers = list(dict.fromkeys(at.peer for at in workers))
    if options.out:
        Path(options.out).write_text(as_markdown(results, peers, facts), encoding="utf-8")
    if options.plot:
        draw(results, peers, options.plot)


def parse() -> argparse.Namespace:
    """The command line."""
    optimizers = [name for name in names("optimizer") if name in ("sgd", "adam")]
    usable = usable_cpus()

    def numbers(text: str) -> list[int]:
        return [int(number) for number in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS), nargs="?", default="training", help="default %(default)s")
    parser.add_argument("--rows", metavar="NAME,...", help="default: all but squares, a sweep of sizes")
    parser.add_argument("--peers", metavar="NAME,...", help="default: all")
    parser.add_argument("--optimizer", choices=optimizers, default="sgd", help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument("--threads", type=numbers, default=[1], metavar="N,...", help="each timed in turn; default 1")
    parser.add_argument("--cpus", type=numbers, default=usable, metavar="N,...", help="the last are used; default all")
    parser.add_argument("--out", metavar="FILE.md", help="write the tables as Markdown")
    parser.add_argument("--plot", metavar="FILE.png", help="draw a picture (needs Matplotlib)")
    options = parser.parse_args()

    def listed(option: str, choices: Iterable[str], default: Iterable[str]) -> list[str]:
        said = getattr(options, option)
        wanted = said.split(",") if said else list(default)
        for name in wanted:
            if name not in choices:
                parser.error(f"--{option} of {options.task}: expected some of {','.join(choices)}, got {name}")
        return wanted

    options.threads = sorted(set(options.threads))
    if not set(options.cpus) <= set(usable):
        parser.error(f"--cpus: expected some of {','.join(map(str, usable))}, got {','.join(map(str, options.cpus))}")
    if options.rounds < 1 or not 1 <= options.threads[0] <= options.threads[-1] <= len(options.cpus):
        parser.error(f"expected at least 1 round, and from 1 to {len(options.cpus)} threads")
    tables = TASKS[options.task].rows
    rows = {**tables, **SQUARES}
    options.rows = [row for name in listed("rows", rows, tables) for row in rows[name]]
    able = [name for name in PEERS if hasattr(PEERS[name], options.task)]
    options.peers = ["densegrad", *(name for name in listed("peers", able, able) if name != "densegrad")]
    return options


if __name__ == "__main__":
    main()
