"""Simplification: the same program in fewer steps.

Constants are folded by then: what no argument leads to was computed while tracing.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

from densegrad.graph.compile.program import Program, ProgramStep, Spec
from densegrad.graph.core.primitives import variable
from densegrad.graph.operations import elementwise, products, reductions, shapes

_SMALL = 16  # elements of a constant that is compared by its numbers


def simplified(program: Program) -> Program:
    """Each value made once, a product and its bias in one step, and nothing that nobody reads."""
    return needed(_with_bias(_distinct(program)))


def needed(program: Program) -> Program:
    """Without the steps and constants that no output is made from."""
    read, steps = set(program.outputs), []
    for step in reversed(program.steps):
        if step.output in read:
            read.update(step.inputs)
            steps.append(step)
    constants = {i: value for i, value in program.constants.items() if i in read}
    return replace(program, steps=tuple(steps[::-1]), constants=constants)


def _distinct(program: Program) -> Program:
    """Each value once."""
    same: dict[int, int] = {}  # which value stands for another
    found: dict[Hashable, int] = {}
    for i, value in program.constants.items():
        numbers = value._array.tobytes() if value.size <= _SMALL else id(value._array)
        same[i] = found.setdefault((Spec.of(value), numbers), i)
    steps = []
    for step in program.steps:
        inputs = tuple(same.get(i, i) for i in step.inputs)
        if _is_idle(step, program.specs):
            same[step.output] = inputs[0]
            continue
        same[step.output] = found.setdefault((step.primitive, inputs, _key(step.attributes)), step.output)
        if same[step.output] == step.output:
            steps.append(replace(step, inputs=inputs))
    return replace(program, steps=tuple(steps), outputs=tuple(same.get(i, i) for i in program.outputs))


def _is_idle(step: ProgramStep, specs: Mapping[int, Spec]) -> bool:
    """Tell whether the output is the input."""
    if step.primitive.in_table:
        return step.primitive.name == "identity"
    idle = (variable, shapes._reshape, reductions._broadcast_to)
    return step.primitive in idle and specs[step.output] == specs[step.inputs[0]]


def _key(value: Any) -> Hashable:
    """Equal for equal attributes; arrays and other objects equal themselves alone."""
    if isinstance(value, Mapping):
        return tuple((name, _key(part)) for name, part in value.items())
    if isinstance(value, tuple):
        return tuple(map(_key, value))
    if isinstance(value, slice):
        return slice, _key(value.start), _key(value.stop), _key(value.step)
    if value is None or isinstance(value, bool | int | float | str):
        return type(value), value
    return id(value)


def _with_bias(program: Program) -> Program:
    """x w + b as one dense, where x w serves nothing else."""
    users = program.users()
    made = {step.output: step for step in program.steps}

    def fused(step: ProgramStep) -> ProgramStep:
        if step.primitive is elementwise._add:
            for product, bias in (step.inputs, step.inputs[::-1]):
                columns = program.specs[product].shape[1:]
                alone = len(users[product]) == 1 and product not in program.outputs
                if alone and program.specs[bias].shape == columns and is_product(made.get(product), program.specs):
                    return ProgramStep(products._dense, (*made[product].inputs, bias), step.output)
        return step

    return replace(program, steps=tuple(map(fused, program.steps)))


def is_product(step: ProgramStep | None, specs: Mapping[int, Spec]) -> bool:
    """Tell whether a step is x w without a bias, of two matrices."""
    if step is None or step.primitive not in (products._matmul, products._dense) or len(step.inputs) > 2:
        return False
    return all(specs[i].is_matrix for i in step.inputs)
