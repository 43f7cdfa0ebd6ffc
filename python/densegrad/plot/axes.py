"""Where pictures are drawn."""

from __future__ import annotations

from typing import Any

_MISSING = "densegrad.plot needs Matplotlib: pip install 'densegrad[plot]'"


def new_figure(width: float = 7.0, height: float = 4.2) -> Any:
    """A Matplotlib figure that no window shows, to be saved; inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(_MISSING) from None
    return Figure(figsize=(width, height), layout="constrained")


def axes_of(ax: Any, width: float = 7.0, height: float = 4.2) -> Any:
    """The axes given, or those of a new figure that ``pyplot.show`` and notebooks show."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError(_MISSING) from None
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]
