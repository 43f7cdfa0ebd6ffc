"""A model as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from densegrad._base.html import preformatted
from densegrad._base.plan import Plan
from densegrad._model_core import ModelCore
from densegrad.layers import Layer, PythonActivation, flattened


class Summary(str):
    """Text that shows itself as it reads, in a prompt as in ``print``."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return preformatted(self)


class SummaryRow(NamedTuple):
    """One row of the table: what stands before and behind the layer, where its parameters are, its widths."""

    before: str
    layer: Layer | None
    behind: str
    path: str
    in_width: int
    width: int


def stacked(layers: Sequence[Layer], path: str, width: int) -> list[SummaryRow]:
    """Rows of layers one behind the other; theirs are the parameters of ``path`` and their number."""
    rows = []
    for index, layer in enumerate(layers):
        out = layer.out_features(width)
        rows.append(SummaryRow("", layer, "", f"{path}{index}", width, out))
        width = out
    return rows


def flops(plan: Plan) -> tuple[int, int]:
    """Additions and multiplications of the matrix products for one row: of a prediction, and of a training step.

    z = x w takes 2 in out; a step also dw = x^T dz where w is trained, and dx = dz w^T where what lies before is.
    """
    forward = training = 0
    learns = set()  # the buffers that depend on something that is trained
    for node in plan.nodes:
        trained = any(slot.trainable for slot in node.slots)
        before = any(buffer in learns for buffer in node.inputs)
        if trained or before:
            learns.add(node.output)
        if node.primitive == "dense":
            product = 2 * node.slots[0].size
            forward += product
            training += product * (1 + node.slots[0].trainable + before)
    return forward, training


def summarize(model: ModelCore, rows: Sequence[SummaryRow]) -> Summary:
    """Layers, output shapes and parameter counts, aligned; below them memory and work."""
    model.require_built("summary")
    assert model.input_size is not None
    cells = [("layer", "output", "parameters")]
    slots = model.slots()
    total = sum(slot.size for slot in slots)
    frozen = sum(slot.size for slot in slots if not slot.trainable)

    shown: set[str] = set()

    def add(row: SummaryRow, indent: str) -> None:
        """A row for what makes a value, behind it those of the layers within it."""
        count = sum(slot.size for slot in slots if slot.name.startswith(f"{row.path}.")) if row.path else 0
        inner = () if row.layer is None else row.layer.layers
        name = f"{row.before}{row.layer or ''}{row.behind}"
        if inner:
            name = f"{row.before}{type(row.layer).__name__}{row.behind}: x + f(x), f:"
        counted = "shared" if count and row.path in shown else f"{count:,}"
        cells.append((indent + name, f"(batch, {row.width})", counted))
        if row.path in shown:
            return
        shown.add(row.path)
        for within in stacked(inner, f"{row.path}.", row.in_width):
            add(within, indent + "  ")

    for row in rows:
        add(row, "")
    widths = [max(len(line[i]) for line in cells) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in cells]
    split = sum(isinstance(layer, PythonActivation) for layer in flattened(model.layers))
    rule = "-" * len(lines[0])
    kilobytes = model.parameters.nbytes / 1024
    foot = f"{total:,} parameters ({frozen:,} frozen), {model.dtype}, {kilobytes:,.1f} KiB"
    forward, training = flops(model.lower())
    work = f"products: {forward:,} FLOPs a row, {training:,} in a training step"
    title = f"{type(model).__name__}, input (batch, {model.input_size})"
    said = [f"split in {split + 1} segments at Python activations: a step at a time"] if split else []
    return Summary("\n".join([title, lines[0], rule, *lines[1:], rule, foot, work, *said]))
