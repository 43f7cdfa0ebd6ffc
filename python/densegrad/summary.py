"""A model as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from densegrad.layers import PythonActivation, flattened

if TYPE_CHECKING:
    from densegrad.layers import Layer
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
    slots, width = model.slots(), model.input_size
    total = sum(slot.size for slot in slots)
    frozen = sum(slot.size for slot in slots if not slot.trainable)

    def add(layer: Layer, path: str, width: int, indent: str) -> int:
        """A row for the layer, behind it those of the layers within it; gives the width of its output."""
        count = sum(slot.size for slot in slots if slot.name.startswith(f"{path}."))
        name = f"{type(layer).__name__}: x + f(x), f:" if layer.layers else repr(layer)
        rows.append((indent + name, f"(batch, {layer.out_features(width)})", f"{count:,}"))
        inner = width
        for index, within in enumerate(layer.layers):
            inner = add(within, f"{path}.{index}", inner, indent + "  ")
        return layer.out_features(width)

    for index, layer in enumerate(model.layers):
        width = add(layer, f"layers.{index}", width, "")
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    split = sum(isinstance(layer, PythonActivation) for layer in flattened(model.layers))
    rule = "-" * len(lines[0])
    kilobytes = model.parameters.nbytes / 1024
    foot = f"{total:,} parameters ({frozen:,} frozen), {model.dtype}, {kilobytes:,.1f} KiB"
    title = f"{type(model).__name__}, input (batch, {model.input_size})"
    said = [f"split in {split + 1} pieces at Python activations: a step at a time"] if split else []
    return Summary("\n".join([title, lines[0], rule, *lines[1:], rule, foot, *said]))
