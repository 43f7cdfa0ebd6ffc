"""How large the gradients are, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from densegrad._inspect.probe import gradients
from densegrad._model_core import ModelCore
from densegrad._rows.rows import checked_rows
from densegrad.losses import LossLike
from densegrad.plot.axes import axes_of


def gradient_flow(model: ModelCore, x: Any, y: Any, loss: LossLike, ax: Any = None) -> Any:
    """The size of the gradients of each trained array, first layer first: sqrt(mean(dw^2)) and max |dw|.

    Bars that shrink towards the first layers are a vanishing gradient, bars that grow an exploding one. An array whose
    gradients are all 0 has a 0 in the place of its bar.

    Args:
        model: Left as it is.
        x, y: Rows, as for ``fit``: one batch.
        loss: Name or object.
        ax: Matplotlib axes to draw on; by default those of a new figure.

    Returns:
        The axes.
    """
    model.require_built("gradient_flow")
    resolved = model.resolve_loss("gradient_flow", loss)
    model.check_loss("gradient_flow", resolved)
    _, by_name = gradients(model, resolved, checked_rows("gradient_flow", model, resolved, x, y, None))
    if not by_name:
        raise ValueError("gradient_flow: expected a model with something to train, got every layer frozen")
    ax = axes_of(ax)
    places = range(len(by_name))
    largest = [float(np.abs(d).max()) for d in by_name.values()]
    ax.bar(places, largest, color="C0", alpha=0.35, label="largest")
    ax.bar(places, [float(np.sqrt(np.mean(d**2))) for d in by_name.values()], color="C0", label="root mean square")
    if any(largest):
        ax.set_yscale("log")
    for place, value in zip(places, largest, strict=True):
        if value == 0:
            ax.text(place, 0.01, "0", transform=ax.get_xaxis_transform(), ha="center", va="bottom", color="C3")
    ax.set_xticks(places, by_name, rotation=90 if len(by_name) > 4 else 0)
    ax.set(ylabel="gradient")
    ax.legend(frameon=True)
    ax.grid(axis="y", alpha=0.3)
    return ax
