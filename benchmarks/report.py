"""What ``compare.py`` has measured, as text, as Markdown and as a picture."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

from densegrad.bench import Row

OURS = "densegrad"
TITLES = {
    "densegrad": "densegrad",
    "numpy": "NumPy",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
    "torch.compile": "torch.compile",
    "jax": "JAX jit",
    "fann": "FANN",
}
KINDS = {"steps": "One training step", "epochs": "One step of an epoch, rows shuffled"}


@dataclass
class Result:
    """Seconds a step of each peer in each round, for one network."""

    row: Row
    seconds: dict[str, dict[str, list[float]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    left_out: dict[str, str] = field(default_factory=dict)
    ceilings: list[float] = field(default_factory=list)  # FLOP/s

    def median(self, kind: str, peer: str) -> float | None:
        """Seconds a step."""
        seconds = self.seconds[kind].get(peer)
        return median(seconds) if seconds else None

    def ratio(self, kind: str, peer: str) -> float | None:
        """How many times our time a peer takes: the median over rounds."""
        theirs, ours = self.seconds[kind].get(peer), self.seconds[kind].get(OURS)
        return median(a / b for a, b in zip(theirs, ours, strict=True)) if theirs and ours else None

    def of_ceiling(self, kind: str) -> float | None:
        """Our share of the multiply-adds that the machine could have done meanwhile."""
        ours, ceiling = self.median(kind, OURS), median(self.ceilings)
        return self.row.flops / ours / ceiling if ours and ceiling else None

    def as_text(self) -> str:
        """One line for each kind."""
        lines = [f"{self.row.title}"]
        for kind in KINDS:
            cells = [f"{name} {self._cell(kind, name)}" for name in self.seconds[kind]]
            share = self.of_ceiling(kind)
            lines.append(
                f"  {kind:<7} " + ", ".join(cells) + (f"; ours {percent(share)} of the ceiling" if share else "")
            )
        lines += [f"  {name} left out: {reason}" for name, reason in self.left_out.items()]
        return "\n".join(lines)

    def markdown_cells(self, kind: str, peers: Iterable[str]) -> list[str]:
        """Title, our share of the ceiling, each peer."""
        share = self.of_ceiling(kind)
        cells = [self.row.title, percent(share) if share else ""]
        return cells + [f"**{self._cell(kind, name)}**" if name == OURS else self._cell(kind, name) for name in peers]

    def _cell(self, kind: str, peer: str) -> str:
        seconds, ratio = self.median(kind, peer), self.ratio(kind, peer)
        if seconds is None:
            return "left out" if peer in self.left_out else ""
        return microseconds(seconds) + (f" ({times(ratio)} x)" if ratio and peer != OURS else "")


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


def as_markdown(results: Sequence[Result], peers: dict[str, str], facts: dict[str, str]) -> str:
    """The tables, and all that one must know to repeat them; ``peers`` says how each is run."""
    ceilings = [ceiling for result in results for ceiling in result.ceilings if ceiling]
    machine = {"processor": processor(), "processors": str(os.cpu_count()), "system": platform.platform()}
    if ceilings:
        machine["FMA ceiling"] = f"{median(ceilings) / 1e9:.0f} GFLOP/s of float32"
    lines = [
        "# Training side by side",
        "",
        "Microseconds a step, medians; in brackets how many times ours, by rounds. ReLU hidden layers, linear last "
        "layer, cross-entropy on labels (one output: squared error), float32. *Ceiling*: our share of the "
        "multiply-adds that the machine can do, measured beside each round.",
    ]
    for kind, title in KINDS.items():
        header = ["network, batch", "ceiling", *(TITLES[name] for name in peers)]
        lines += ["", f"## {title}", "", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
        lines += [f"| {' | '.join(result.markdown_cells(kind, peers))} |" for result in results]
    reasons = [
        f"- {result.row.title}: {TITLES[name]}: {reason}"
        for result in results
        for name, reason in result.left_out.items()
    ]
    lines += ["", "Left out:", "", *reasons] if reasons else []
    lines += ["", "## How", "", *(f"- {TITLES[name]}: {how}" for name, how in peers.items())]
    lines += ["", "## Where and when", "", f"- date: {date.today().isoformat()}"]
    lines += [f"- {name}: {value}" for name, value in {**machine, **facts}.items()]
    return "\n".join(lines) + "\n"


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

    markers = dict(zip(TITLES, "*osDd^v", strict=True))
    colors = dict(
        zip(TITLES, ("#d1495b", "#4c72b0", "#937860", "#dd8452", "#ccb974", "#55a868", "#8c8c8c"), strict=True)
    )
    height = 1.6 + 0.55 * len(results)
    figure, panels = plt.subplots(1, 2, sharey=True, figsize=(11, height), layout="constrained")
    places = range(len(results))
    for axes, (kind, title) in zip(panels, KINDS.items(), strict=True):
        for name in sorted(peers, key=lambda name: name == OURS):  # ours on top
            points = [(result.ratio(kind, name), place) for place, result in enumerate(results)]
            known = [(ratio, place) for ratio, place in points if ratio]
            axes.scatter(
                [ratio for ratio, _ in known],
                [place for _, place in known],
                s=170 if name == OURS else 42,
                marker=markers[name],
                color=colors[name],
                edgecolors="white",
                linewidths=0.6,
                label=TITLES[name],
                zorder=3 if name == OURS else 2,
            )
        for place, seconds in enumerate(result.median(kind, OURS) for result in results):
            if seconds:
                label = f"{microseconds(seconds)} µs"
                axes.annotate(label, (1, place), (0, 8), textcoords="offset points", ha="center", fontsize=9)
        axes.axvline(1, color="#d1495b", linewidth=0.8, zorder=1)
        axes.set(xscale="log", title=title, xlabel="times as long as densegrad")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.grid(axis="x", color="#dddddd", zorder=0)
        axes.grid(axis="y", color="#eeeeee", zorder=0)
        axes.margins(x=0.05, y=0.1)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(list(places), [result.row.title for result in results])
    panels[0].set_ylabel("network, batch")
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=len(peers), frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
