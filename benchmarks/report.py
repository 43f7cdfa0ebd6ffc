"""What ``compare.py`` has measured, as text, as Markdown and as a picture."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple

from peers import PEERS
from tasks import Task

from densegrad._cli.bench import Row

OURS = "densegrad"


class Place(NamedTuple):
    """Where a time was taken."""

    peer: str
    threads: int


@dataclass
class Result:
    """Seconds a unit of each peer on each number of threads in each round, for one network."""

    task: Task
    row: Row
    ceilings: dict[int, list[float]]  # FLOP/s, by the number of threads
    seconds: dict[str, dict[Place, list[float]]] = field(init=False)
    left_out: dict[Place, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seconds = {call: {} for call in self.task.calls}

    def median(self, call: str, at: Place) -> float | None:
        """Seconds a unit."""
        seconds = self.seconds[call].get(at)
        return median(seconds) if seconds else None

    def ratio(self, call: str, at: Place) -> float | None:
        """How many times our time a peer takes on as many threads."""
        return self._over(call, at, Place(OURS, at.threads))

    def gain(self, call: str, threads: int) -> float | None:
        """How many times as fast as on the fewest threads we are; nothing where these are the fewest."""
        fewest = min(self.ceilings)
        return self._over(call, Place(OURS, fewest), Place(OURS, threads)) if threads > fewest else None

    def of_ceiling(self, call: str, threads: int) -> float | None:
        """Our share of the multiply-adds that the machine could have done meanwhile."""
        ours, ceiling = self.median(call, Place(OURS, threads)), median(self.ceilings[threads])
        return self.task.flops(self.row) / ours / ceiling if ours and ceiling else None

    def as_text(self) -> str:
        """One line for each kind of call and number of threads."""
        lines = [self.row.title]
        for call in self.task.calls:
            for threads in self.ceilings:
                places = [at for at in self.seconds[call] if at.threads == threads]
                line = f"  {call}, {plural(threads)}: " + ", ".join(f"{at.peer} {self.cell(call, at)}" for at in places)
                share, gain = self.of_ceiling(call, threads), self.gain(call, threads)
                line += f"; ours {percent(share)} of the ceiling" if share else ""
                lines.append(line + (f", {times(gain)} x as fast as on {min(self.ceilings)}" if gain else ""))
        lines += [f"  {at.peer}, {plural(at.threads)}, left out: {reason}" for at, reason in self.left_out.items()]
        return "\n".join(lines)

    def cell(self, call: str, at: Place) -> str:
        """A peer's time, and how many times ours."""
        seconds, ratio = self.median(call, at), self.ratio(call, at)
        if seconds is None:
            return "left out" if at in self.left_out else ""
        return microseconds(seconds) + (f" ({times(ratio)} x)" if ratio and at.peer != OURS else "")

    def _over(self, call: str, above: Place, below: Place) -> float | None:
        a, b = self.seconds[call].get(above), self.seconds[call].get(below)
        return median(x / y for x, y in zip(a, b, strict=True)) if a and b else None


def plural(threads: int) -> str:
    """So many threads, in words."""
    return f"{threads} thread" + ("" if threads == 1 else "s")


def times(ratio: float) -> str:
    """Three digits of a ratio."""
    return f"{ratio:.3g}" if ratio < 1000 else f"{ratio:,.0f}"


def microseconds(seconds: float) -> str:
    """Three digits of a time."""
    us = seconds * 1e6
    return f"{us:.3g}" if us < 1000 else f"{us:,.0f}"


def percent(share: float) -> str:
    """A share without decimals."""
    return f"{share:.0%}" if share >= 0.01 else "< 1%"


def as_markdown(results: Sequence[Result], peers: Sequence[str], facts: dict[str, str]) -> str:
    """The tables, and all that one must know to repeat them."""
    task, counts = results[0].task, list(results[0].ceilings)
    machine = {"processor": processor(), "processors": str(os.cpu_count()), "system": platform.platform()}
    for threads in counts:
        if any(ceilings := [ceiling for result in results for ceiling in result.ceilings[threads]]):
            machine[f"FMA ceiling, {plural(threads)}"] = f"{median(ceilings) / 1e9:.0f} GFLOP/s of float32"
    lines = [
        f"# {task.title} side by side",
        "",
        f"Microseconds a {task.unit}, medians; in brackets how many times ours, by rounds. {task.about}. *Ceiling*: "
        "our share of the multiply-adds that the machine can do, measured beside each round.",
    ]
    for call, title in task.calls.items():
        for threads in counts:
            lines += ["", f"## {title}, {plural(threads)}", "", *table(results, call, threads, peers)]
    reasons = [
        f"- {result.row.title}: {PEERS[at.peer].title}, {plural(at.threads)}: {reason}"
        for result in results
        for at, reason in result.left_out.items()
    ]
    lines += ["", "Left out:", "", *reasons] if reasons else []
    lines += ["", "## How", "", *(f"- {PEERS[name].title}: {PEERS[name].__doc__}" for name in peers)]
    lines += ["", "## Where and when", "", f"- date: {date.today().isoformat()}"]
    lines += [f"- {name}: {value}" for name, value in {**machine, **facts}.items()]
    return "\n".join(lines) + "\n"


def table(results: Sequence[Result], call: str, threads: int, peers: Sequence[str]) -> list[str]:
    """Lines of Markdown; beyond the fewest threads, a column says how many times as fast as on these we are."""
    fewest = min(results[0].ceilings)
    gained = [f"gain over {fewest}"] if threads > fewest else []
    header = ["network, batch", "ceiling", *gained, *(PEERS[name].title for name in peers)]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for result in results:
        share, gain = result.of_ceiling(call, threads), result.gain(call, threads)
        cells = [result.row.title, percent(share) if share else ""]
        cells += [f"{times(gain)} x" if gain else ""] if gained else []
        for name in peers:
            cell = result.cell(call, Place(name, threads))
            cells.append(f"**{cell}**" if name == OURS else cell)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def processor() -> str:
    """The processor's name, and its family and model where they are known."""
    cpuinfo = Path("/proc/cpuinfo")
    facts: dict[str, str] = {}
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    if "model name" in facts:  # which alone may be no more than a brand
        return f"{facts['model name']}, family {facts.get('cpu family')}, model {facts.get('model')}"
    return platform.processor() or platform.machine()


def draw(results: Sequence[Result], peers: Sequence[str], path: str) -> None:
    """How many times as long as ours each peer takes, on a logarithmic scale; our own time beside the star."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    markers = dict(zip(PEERS, "*hosDd^Pv", strict=True))
    colors = dict(
        zip(
            PEERS,
            ("#d1495b", "#e9a3ad", "#4c72b0", "#937860", "#dd8452", "#ccb974", "#55a868", "#8172b3", "#8c8c8c"),
            strict=True,
        )
    )
    calls, counts = results[0].task.calls, list(results[0].ceilings)
    size = (5.5 * max(len(calls), 1.5), (1.6 + 0.55 * len(results)) * len(counts))
    figure, panels = plt.subplots(
        len(counts), len(calls), sharey=True, squeeze=False, figsize=size, layout="constrained"
    )
    places = range(len(results))
    for axes, (threads, call) in zip(panels.flat, product(counts, calls), strict=True):
        for name in sorted(peers, key=lambda name: name == OURS):  # ours on top
            points = [(result.ratio(call, Place(name, threads)), place) for place, result in enumerate(results)]
            known = [(ratio, place) for ratio, place in points if ratio]
            axes.scatter(
                [ratio for ratio, _ in known],
                [place for _, place in known],
                s=170 if name == OURS else 42,
                marker=markers[name],
                color=colors[name],
                edgecolors="white",
                linewidths=0.6,
                label=PEERS[name].title,
                zorder=3 if name == OURS else 2,
            )
        for place, seconds in enumerate(result.median(call, Place(OURS, threads)) for result in results):
            if seconds:
                label = f"{microseconds(seconds)} µs"
                axes.annotate(label, (1, place), (0, 8), textcoords="offset points", ha="center", fontsize=9)
        axes.axvline(1, color="#d1495b", linewidth=0.8, zorder=1)
        axes.set(xscale="log", title=f"{calls[call]}, {plural(threads)}", xlabel="times as long as densegrad")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.grid(axis="x", color="#dddddd", zorder=0)
        axes.grid(axis="y", color="#eeeeee", zorder=0)
        axes.margins(x=0.05, y=0.1)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    for axes in panels[:, 0]:
        axes.set_yticks(list(places), [result.row.title for result in results])
        axes.set_ylabel("network, batch")
    panels[0, 0].invert_yaxis()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=min(len(peers), 6), frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
