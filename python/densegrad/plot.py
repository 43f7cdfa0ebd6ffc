"""Pictures, drawn with Matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from densegrad.history import History


def learning_curve(history: History, axes: Any = None) -> Any:
    """Loss by epoch on the left axis, metrics on the right; gives the Matplotlib axes of the loss."""
    if axes is None:
        axes = _figure().add_subplot()
    epochs = range(1, history.epochs + 1)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    shown = [name for name in history if name != "seconds"]
    colors = {name: f"C{place}" for place, name in enumerate(dict.fromkeys(map(_quantity, shown)))}
    right: Any = axes.twinx() if len(colors) > 1 else None
    lines = []
    for name in shown:
        target = axes if _quantity(name) == "loss" else right
        color, style = colors[_quantity(name)], "-" if name.startswith("val_") else "--"
        lines += target.plot(epochs, history[name], style, color=color, label=name.replace("val_", "validation "))
    if right is not None:
        right.set_ylabel(", ".join(list(colors)[1:]))
    axes.set_yscale("log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=len(lines), frameon=False)
    axes.grid(alpha=0.3)
    return axes


def _quantity(name: str) -> str:
    """What a column and its validation twin measure."""
    return name.removeprefix("val_")


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("densegrad.plot needs Matplotlib: pip install 'densegrad[plot]'") from None
    return Figure(figsize=(7, 4.2), layout="constrained")
