"""A network as a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from densegrad._base.types import FloatArray
from densegrad._model_core import ModelCore
from densegrad.plot.axes import axes_of

_MOST = 16  # units of a column that are all drawn; of more, some at both ends
_ENDS = 5
_GREY = "0.45"


@dataclass
class _Column:
    """The units of one layer, and what makes them."""

    width: int
    words: list[str]
    source: int = 0  # the column that w reads
    w: FloatArray | None = None
    b: FloatArray | None = None
    skips: list[int] = field(default_factory=list)  # columns that reach this one past w

    def heights(self) -> FloatArray:
        """Where its units are drawn, the first one at the top; NaN for those that are not."""
        drawn = np.arange(self.width, dtype=float)
        if self.width > _MOST:
            drawn[_ENDS:-_ENDS] = np.nan
            drawn[-_ENDS:] = np.arange(_ENDS) + _ENDS + 2  # the gap has room for an ellipsis
        centred: FloatArray = np.nanmax(drawn) / 2 - drawn
        return centred


def network(model: ModelCore, ax: Any = None) -> Any:
    """The network as a picture: a column of circles for the inputs and each layer, a line for each weight.

    In a network whose layers have up to 16 units colours show the weights (lines) and the biases (circles), red above 0
    and blue below. Of wider layers five units at each end are drawn, and no colours. Arcs are what reaches a layer past
    its weights, as in ``Residual``.

    Args:
        model: A model that knows its input_size.
        ax: Matplotlib axes to draw on; by default those of a new figure.

    Returns:
        The axes.
    """
    model.require_built("plot")
    columns = _columns(model)
    tallest = max(np.nanmax(column.heights()) for column in columns) + 0.5
    ax = axes_of(ax, min(2.2 + 1.5 * len(columns), 14), 4.2)
    small = all(column.width <= _MOST for column in columns)
    largest = max((float(np.abs(part).max()) for c in columns for part in (c.w, c.b) if part is not None), default=0.0)
    scale = {"cmap": "coolwarm", "clim": (-largest or -1.0, largest or 1.0)} if small else {}
    picture = None
    for place, column in enumerate(columns):
        picture = _draw_lines(ax, columns, place, scale) or picture
        _draw_units(ax, column, place, tallest, scale)
        for source in column.skips:
            _draw_arc(ax, source, place, tallest)
    if small and picture is not None:
        ax.figure.colorbar(picture, ax=ax, label="weight (line), bias (circle)", shrink=0.8)
    ax.set_xticks(range(len(columns)), ["\n".join([f"{c.width:,}", *c.words]) for c in columns])
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    above = 1.0 + 0.12 * any(column.skips for column in columns)
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-tallest - 0.3, above * tallest + 0.3))
    return ax


def _columns(model: ModelCore) -> list[_Column]:
    """The plan as columns: each dense node makes one, and what works unit by unit belongs to the one it reads."""
    lowered = model.lower()
    columns, of = [_Column(lowered.widths[lowered.input], ["input"])], {lowered.input: 0}
    for node in lowered.nodes:
        sources = [of[buffer] for buffer in node.inputs]
        width = lowered.widths[node.output]
        if node.primitive == "dense":
            w, b = [*map(model.view, node.slots), None][:2]
            of[node.output] = len(columns)
            columns.append(_Column(width, [], sources[0], w, b))
            continue
        unit_by_unit = node.primitive == "add" or (len(sources) == 1 and width == columns[sources[0]].width)
        if not unit_by_unit:
            columns.append(_Column(width, []))
        place = max(sources) if unit_by_unit else len(columns) - 1
        of[node.output] = place
        columns[place].words.append("+" if node.primitive == "add" else node.primitive)
        columns[place].skips += [source for source in sources if source != place]
    return columns


def _draw_lines(ax: Any, columns: list[_Column], place: int, scale: dict[str, Any]) -> Any:
    """The weights of a column, as a collection of lines; ``None`` where it has none."""
    from matplotlib.collections import LineCollection

    column = columns[place]
    if column.w is None:
        return None
    starts, ends = np.meshgrid(columns[column.source].heights(), column.heights(), indexing="ij")
    drawn = np.isfinite(starts) & np.isfinite(ends)
    left, right = np.full(drawn.sum(), float(column.source)), np.full(drawn.sum(), float(place))
    segments = np.stack([np.stack([left, starts[drawn]], -1), np.stack([right, ends[drawn]], -1)], axis=1)
    if not scale:
        return ax.add_collection(LineCollection(list(segments), colors=_GREY, linewidths=0.4, alpha=0.5, zorder=1))
    sizes = np.abs(column.w[drawn]) / scale["clim"][1]
    lines = LineCollection(
        list(segments), array=column.w[drawn], cmap=scale["cmap"], linewidths=0.4 + 2.2 * sizes, zorder=1
    )
    lines.set_clim(*scale["clim"])
    return ax.add_collection(lines)


def _draw_units(ax: Any, column: _Column, place: int, tallest: float, scale: dict[str, Any]) -> None:
    heights = column.heights()
    drawn = np.isfinite(heights)
    points = ax.get_window_extent().height / ax.figure.dpi * 72  # of the axes' height
    size = min(20.0, 0.65 * points / (2 * tallest + 1)) ** 2
    style: dict[str, Any] = {"color": "white"}
    if scale and column.b is not None:
        low, high = scale["clim"]
        style = {"c": column.b, "cmap": scale["cmap"], "vmin": low, "vmax": high}
    ax.scatter(np.full(drawn.sum(), place), heights[drawn], s=size, edgecolors=_GREY, zorder=3, **style)
    if not drawn.all():
        ax.scatter([place] * 3, [-0.35, 0, 0.35], s=6, color=_GREY, zorder=3)


def _draw_arc(ax: Any, source: int, place: int, tallest: float) -> None:
    """An arc for what reaches a column past its weights, above both."""
    from matplotlib.patches import FancyArrowPatch

    style: dict[str, Any] = {
        "connectionstyle": "arc3,rad=-0.12",
        "arrowstyle": "-|>",
        "mutation_scale": 10,
        "color": _GREY,
    }
    ax.add_patch(FancyArrowPatch((source, tallest), (place, tallest), **style))
