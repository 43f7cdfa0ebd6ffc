"""Measures of a run as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from densegrad._base.types import FloatArray
from densegrad.plot.axes import axes_of

_FEW = 30  # epochs that get a dot each


class RangeTest(Protocol):
    """The losses of a range test by learning rate."""

    rates: FloatArray
    losses: FloatArray
    smoothed: FloatArray
    suggestion: float | None


def learning_curve(history: Mapping[str, Sequence[float]], ax: Any = None) -> Any:
    """Loss by epoch on the left axis, metrics on the right.

    Args:
        history: What ``fit`` gave, with at least one epoch.
        ax: Matplotlib axes to draw on; by default those of a new figure.

    Returns:
        The axes of the loss.
    """
    epochs = max(map(len, history.values()), default=0)
    if not epochs:
        raise ValueError("learning_curve: expected a history with at least 1 epoch, got 0")
    ax = axes_of(ax)
    shown = [name for name in history if name != "seconds"]
    colors = {name: f"C{place}" for place, name in enumerate(dict.fromkeys(map(_quantity, shown)))}
    right: Any = ax.twinx() if len(colors) > 1 else None
    lines = []
    for name in shown:
        target = ax if _quantity(name) == "loss" else right
        style = {
            "color": colors[_quantity(name)],
            "linestyle": "-" if name.startswith("val_") else "--",
            "marker": "." if epochs <= _FEW else "",
            "label": name.replace("val_", "validation "),
        }
        lines += target.plot(range(1, len(history[name]) + 1), history[name], **style)
    ax.set(xlabel="epoch", ylabel="loss")
    if right is not None:
        right.set_ylabel(", ".join(list(colors)[1:]))
    if all(value > 0 for name in shown if _quantity(name) == "loss" for value in history[name]):
        ax.set_yscale("log")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
    ax.grid(alpha=0.3)
    return ax


def learning_rates(found: RangeTest, ax: Any = None) -> Any:
    """The losses of a range test by learning rate, as they were and smoothed, with the suggestion.

    Args:
        found: What ``dg.find_learning_rate`` gave.
        ax: Matplotlib axes to draw on; by default those of a new figure.

    Returns:
        The axes.
    """
    ax = axes_of(ax)
    ax.plot(found.rates, found.losses, color="C0", alpha=0.3, label="loss")
    ax.plot(found.rates, found.smoothed, color="C0", label="smoothed")
    if found.suggestion is not None:
        ax.axvline(found.suggestion, color="C3", linestyle="--", label=f"suggestion {found.suggestion:.2g}")
    low = float(found.losses.min())
    span = float(found.losses[: found.losses.argmin() + 1].max()) - low  # what comes behind may be of any size
    if span > 0:
        ax.set_ylim(low - 0.1 * span, low + 1.6 * span)
    ax.set_xscale("log")
    ax.set(xlabel="learning rate", ylabel="loss")
    ax.legend(frameon=False)
    ax.grid(alpha=0.3)
    return ax


def _quantity(name: str) -> str:
    """The quantity that a column and its validation twin measure."""
    return name.removeprefix("val_")
