"""A model as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from densegrad._html import preformatted
from densegrad.layers import PythonActivation, flattened

if TYPE_CHECKING:
    from densegrad.layers import Layer
    from densegrad.model import BaseModel
    from densegrad.plan import Plan


class Summary(str):
    """Text that shows itself as it reads, in a prompt as in ``print``."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return preformatted(self)


class Step(NamedTuple):
    """One row of the table: what stands before and behind the layer, where its parameters are, its widths."""

    before: str
    layer: Layer | None
    behind: str
    path: str
    in_width: int
    width: int


def stacked(layers: Sequence[Layer], path: str, width: int) -> list[Step]:
    """Steps of layers one behind the other; theirs are the parameters of ``path`` and their number."""
    steps = []
    for index, layer in enumerate(layers):
        out = layer.out_features(width)
        steps.append(Step("", layer, "", f"{path}{index}", width, out))
        width = out
    return steps


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


def summarize(model: BaseModel) -> Summary:
    """Layers, output shapes and parameter counts, aligned; below them memory and work."""
    model.require_built("summary")
    assert model.input_size is not None
    rows = [("layer", "output", "parameters")]
    slots = model.slots()
    total = sum(slot.size for slot in slots)
    frozen = sum(slot.size for slot in slots if not slot.trainable)

    shown: set[str] = set()

    def add(step: Step, indent: str) -> None:
        """A row for what makes a value, behind it those of the layers within it."""
        count = sum(slot.size for slot in slots if slot.name.startswith(f"{step.path}.")) if step.path else 0
        inner = () if step.layer is None else step.layer.layers
        name = f"{step.before}{step.layer or ''}{step.behind}"
        if inner:
            name = f"{step.before}{type(step.layer).__name__}{step.behind}: x + f(x), f:"
        counted = "shared" if count and step.path in shown else f"{count:,}"
        rows.append((indent + name, f"(batch, {step.width})", counted))
        if step.path in shown:
            return
        shown.add(step.path)
        for within in stacked(inner, f"{step.path}.", step.in_width):
            add(within, indent + "  ")

    for step in model.steps():
        add(step, "")
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    split = sum(isinstance(layer, PythonActivation) for layer in flattened(model.layers))
    rule = "-" * len(lines[0])
    kilobytes = model.parameters.nbytes / 1024
    foot = f"{total:,} parameters ({frozen:,} frozen), {model.dtype}, {kilobytes:,.1f} KiB"
    forward, training = flops(model.lower())
    work = f"products: {forward:,} FLOPs a row, {training:,} in a training step"
    title = f"{type(model).__name__}, input (batch, {model.input_size})"
    said = [f"split in {split + 1} pieces at Python activations: a step at a time"] if split else []
    return Summary("\n".join([title, lines[0], rule, *lines[1:], rule, foot, work, *said]))
