"""Lowering: the subgraphs of a program that are networks in the plan's terms, each as one step.

A subgraph is grown backward from its last step, over layers that nobody else reads, until one batch leads into it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from densegrad._base.plan import LossSpec, Plan
from densegrad._base.primitives import PRIMITIVES
from densegrad._plan.lowering import PlanBuilder
from densegrad.graph.compile.fused_subgraph import FusedSubgraph
from densegrad.graph.compile.program import Program, ProgramStep, Spec
from densegrad.graph.compile.simplify import is_product, needed
from densegrad.graph.operations import elementwise

Specs = Mapping[int, Spec]


def lowered(program: Program) -> Program:
    """Each subgraph of two steps or more that has a dense layer as one step."""
    subgraphs = _Subgraphs(program)
    steps = (subgraphs.replaced(step) for step in program.steps)
    return needed(replace(program, steps=tuple(steps)))


@dataclass(frozen=True)
class _Layer:
    """A step as a node of a plan.

    Attributes:
        batches: Its inputs that have a row for each of the batch.
        targets: Those of a loss, and its weights.
        parameters: The others.
    """

    step: ProgramStep
    batches: tuple[int, ...]
    targets: tuple[int, ...] = ()
    parameters: tuple[int, ...] = ()

    @property
    def is_sum(self) -> bool:
        """Tell whether it reads two batches."""
        return len(self.batches) > 1

    @property
    def primitive(self) -> str:
        """Its name in the plan."""
        return "dense" if self.parameters else self.step.primitive.name


class _Subgraphs:
    """The subgraphs of a program, by their last steps, and why other steps are in none."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._users = program.users()
        self._places = {step.output: n for n, step in enumerate(program.steps)}
        self._layers: dict[int, _Layer] = {}
        for step in program.steps:
            layer = _layer(step, program.specs)
            if layer and not self._needs_check(layer):
                self._layers[step.output] = layer
        self._roots: dict[int, ProgramStep] = {}
        self._notes: dict[int, str] = {}
        for step in reversed(program.steps):
            if step.output in self._layers and step.output not in self._notes:
                self._settle(step)

    def replaced(self, step: ProgramStep) -> ProgramStep:
        """A subgraph in the place of its last step, any other with its note."""
        note = self._notes.get(step.output, "no node of a plan")
        return self._roots.get(step.output) or replace(step, note=note)

    def _needs_check(self, layer: _Layer) -> bool:
        """Tell whether a loss must look at its prediction, of which nobody says that it is a probability."""
        before = self._layers.get(layer.batches[0])
        certain = before is not None and PRIMITIVES[before.primitive].range == (0, 1)
        return layer.primitive == "binary_cross_entropy" and not certain

    def _settle(self, root: ProgramStep) -> None:
        """Find out what subgraph ends with a step, if one does."""
        layers = self._reached(root, with_sums=True)
        if _is_split(layers) and not layers[-1].is_sum:
            layers = self._reached(root, with_sums=False)
        if not any(layer.primitive == "dense" for layer in layers):
            self._note(layers, "no dense layer beside it")
        elif _is_split(layers):
            self._note(layers[-1:], "reads more than one batch")
        elif len(layers) == 1:
            self._note(layers, "no layer beside it")
        else:
            self._note(layers, "")
            self._roots[root.output] = _as_one(layers, self._program.specs)

    def _note(self, layers: Sequence[_Layer], note: str) -> None:
        self._notes.update((layer.step.output, note) for layer in layers)

    def _reached(self, root: ProgramStep, *, with_sums: bool) -> list[_Layer]:
        """A layer, and those before it whose results go nowhere else."""
        found = [self._layers[root.output]]
        inside, seen = {root.output}, set[int]()
        waiting: list[int] = []  # the last step first, whose users have all been seen by then

        def wait(values: Sequence[int]) -> None:
            for i in values:
                if i in self._layers and i not in seen:
                    seen.add(i)
                    heapq.heappush(waiting, -self._places[i])

        wait(found[0].batches)
        while waiting:
            step = self._program.steps[-heapq.heappop(waiting)]
            layer = self._layers[step.output]
            apart = step.output in self._program.outputs or layer.targets or (layer.is_sum and not with_sums)
            if not apart and all(user.output in inside for user in self._users[step.output]):
                found.append(layer)
                inside.add(step.output)
                wait(layer.batches)
        return found[::-1]


def _layer(step: ProgramStep, specs: Specs) -> _Layer | None:
    """The node that a step would be, if a plan has one."""
    if is_product(step, specs):
        return _Layer(step, step.inputs[:1], parameters=step.inputs[1:])
    if step.primitive is elementwise._add:
        equal = len({specs[i] for i in step.inputs}) == 1
        return _Layer(step, step.inputs) if equal and specs[step.output].is_matrix else None
    if not step.primitive.in_table or not specs[step.inputs[0]].is_matrix:
        return None
    first, rest = step.inputs[:1], step.inputs[1:]
    if PRIMITIVES[step.primitive.name].kind == "loss":
        return _Layer(step, first, targets=rest)
    return _Layer(step, first, parameters=rest)


def _sources(layers: Sequence[_Layer]) -> set[int]:
    """The batches that lead into a subgraph."""
    return {i for layer in layers for i in layer.batches} - {layer.step.output for layer in layers}


def _is_split(layers: Sequence[_Layer]) -> bool:
    """Tell whether a subgraph reads several batches, or one of its own as a parameter or target."""
    others = {i for layer in layers for i in (*layer.targets, *layer.parameters)}
    return len(_sources(layers)) > 1 or not others.isdisjoint(layer.step.output for layer in layers)


def _as_one(layers: Sequence[_Layer], specs: Specs) -> ProgramStep:
    """One step in the place of a subgraph; its inputs are the batch, target and weights, then the parameters."""
    (source,) = _sources(layers)
    last = layers[-1]
    inputs = (source, *last.targets, *(i for layer in layers for i in layer.parameters))
    plan = _plan(layers, specs, source)
    primitive = FusedSubgraph(_formula(layers, specs, inputs), plan, len(last.targets))
    return ProgramStep(primitive, inputs, last.step.output, note=str(primitive))


def _formula(layers: Sequence[_Layer], specs: Specs, inputs: tuple[int, ...]) -> Program:
    """The subgraph as a program, in which an array that is used twice as a parameter is two inputs."""
    numbers = {inputs[0]: 0, **{layer.step.output: len(inputs) + n for n, layer in enumerate(layers)}}
    targets = range(1, 1 + len(layers[-1].targets))
    parameters = iter(range(targets.stop, len(inputs)))
    steps = []
    for layer in layers:
        others = targets if layer.targets else [next(parameters) for _ in layer.parameters]
        read = (*(numbers[i] for i in layer.batches), *others)
        steps.append(replace(layer.step, inputs=read, output=numbers[layer.step.output]))
    shapes = {n: specs[i] for n, i in enumerate(inputs)}
    shapes.update((numbers[layer.step.output], specs[layer.step.output]) for layer in layers)
    return Program(shapes, tuple(range(len(inputs))), {}, tuple(steps), (steps[-1].output,))


def _plan(layers: Sequence[_Layer], specs: Specs, source: int) -> Plan:
    """The subgraph as a plan, its parameters one after the other."""
    builder = PlanBuilder(specs[source].shape[1], 0)
    buffers = {source: 0}
    for n, layer in enumerate(layer for layer in layers if not layer.targets):
        named = zip("wb", layer.parameters, strict=False)
        slots = [builder.slot(f"layers.{n}.{name}", specs[i].shape, trainable=True) for name, i in named]
        read = tuple(buffers[i] for i in layer.batches)
        width = specs[layer.step.output].shape[1]
        buffers[layer.step.output] = builder.node(layer.primitive, read, width, tuple(slots), layer.step.attributes)
    last, output = layers[-1], len(builder.widths) - 1
    loss = LossSpec(last.primitive, output, dict(last.step.attributes)) if last.targets else None
    return Plan(
        specs[source].dtype, tuple(builder.widths), tuple(builder.nodes), 0, output, builder.parameter_count, loss
    )
