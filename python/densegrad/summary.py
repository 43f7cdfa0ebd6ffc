"""A model as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from densegrad.model import BaseModel


class Summary(str):
    """Text that shows itself as it reads, in a prompt as in ``print``."""

    def __repr__(self) -> str:
        return str(self)


def summarize(model: BaseModel) -> Summary:
    """Layers, output shapes and parameter counts, aligned."""
    model.require_built("summary")
    assert model.input_size is not None
    rows = [("layer", "output", "parameters")]
    width, total, frozen = model.input_size, 0, 0
    slots = model.slots()
    for index, layer in enumerate(model.layers):
        width = layer.out_features(width)
        own = [slot for slot in slots if slot.name.startswith(f"layers.{index}.")]
        count = sum(slot.size for slot in own)
        total += count
        frozen += sum(slot.size for slot in own if not slot.trainable)
        rows.append((repr(layer), f"(batch, {width})", f"{count:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    rule = "-" * len(lines[0])
    kilobytes = model.parameters.nbytes / 1024
    foot = f"{total:,} parameters ({frozen:,} frozen), {model.dtype}, {kilobytes:,.1f} KiB"
    title = f"{type(model).__name__}, input (batch, {model.input_size})"
    return Summary("\n".join([title, lines[0], rule, *lines[1:], rule, foot]))
