"""A program: what a traced function does, as steps over numbered values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from densegrad.graph.core.tensor import Rules, Tensor


@dataclass(frozen=True)
class Spec:
    """The shape and dtype of a value."""

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, array: Any) -> Spec:
        """Those of a Tensor or an array."""
        return cls(array.shape, array.dtype.name)

    @property
    def is_matrix(self) -> bool:
        """Tell whether it is a matrix of floating-point numbers that is not empty."""
        return len(self.shape) == 2 and all(self.shape) and self.dtype.startswith("float")

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


@dataclass(frozen=True)
class ProgramStep:
    """``output = primitive(*inputs, **attributes)``; ``note`` says why it runs by itself where it might not."""

    primitive: Rules
    inputs: tuple[int, ...]
    output: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Program:
    """Steps in an order in which they can run.

    Attributes:
        specs: The shape and dtype of each value.
        inputs: The values that a call brings.
        constants: The values that it was made with.
        steps: What is done.
        outputs: The values that come back.
    """

    specs: Mapping[int, Spec]
    inputs: tuple[int, ...]
    constants: Mapping[int, Tensor]
    steps: tuple[ProgramStep, ...]
    outputs: tuple[int, ...]
    _after: list[list[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_after", self._last_uses())

    def run(self, inputs: Iterable[Tensor]) -> list[Tensor]:
        """The outputs; every other value is let go of after its last use."""
        values = dict(self.constants)
        values.update(zip(self.inputs, inputs, strict=True))
        for step, done in zip(self.steps, self._after, strict=True):
            values[step.output] = step.primitive.replay(*[values[i] for i in step.inputs], **step.attributes)
            for i in done:
                del values[i]
        return [values[i] for i in self.outputs]

    def users(self) -> dict[int, list[ProgramStep]]:
        """For each value the steps that read it."""
        found: dict[int, list[ProgramStep]] = {i: [] for i in self.specs}
        for step in self.steps:
            for i in step.inputs:
                found[i].append(step)
        return found

    def _last_uses(self) -> list[list[int]]:
        needed, after = set(self.outputs), []
        for step in reversed(self.steps):
            read = {step.output, *step.inputs}
            after.append([i for i in read if i not in needed])
            needed |= read
        return after[::-1]

    def __repr__(self) -> str:
        lines = [f"%{i} = input {self.specs[i]}" for i in self.inputs]
        read = {i for step in self.steps for i in step.inputs}.union(self.outputs)
        lines += [f"%{i} = constant {_shown(self.constants[i])}" for i in self.constants if i in read]
        lines += [self._line(step) for step in self.steps]
        return "\n".join([*lines, f"return {_listed(self.outputs)}"])

    def _line(self, step: ProgramStep) -> str:
        attributes = "".join(f", {name}={value!r}" for name, value in step.attributes.items())
        call = f"%{step.output} = {step.primitive.name}({_listed(step.inputs)}{attributes}) {self.specs[step.output]}"
        return call + (f"  # {step.note}" if step.note else "")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(f"%{i}" for i in numbers)


def _shown(value: Tensor) -> str:
    """A number as it is; of an array the shape and dtype alone."""
    return f"{value.dtype} {float(value):g}" if value.size == 1 else str(Spec.of(value))
