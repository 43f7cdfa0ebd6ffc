"""Tracing: a function is run once, for the operations that it does with its arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from densegrad._base.types import FloatArray
from densegrad.graph.compile.program import Program, ProgramStep, Spec
from densegrad.graph.core.primitives import variable
from densegrad.graph.core.recording import Scope, here
from densegrad.graph.core.structure import leaves, rebuilt
from densegrad.graph.core.tensor import KEPT, Node, Tensor, as_tensor, new
from densegrad.graph.transforms import Outputs, Recording


class TracedArguments:
    """The arguments of a call, the numbers that a program reads apart from what it is made for.

    Args:
        caller: As errors call the function.
        tree: The arguments, nested.
        borrow: Whether arrays are read where they lie, which nobody must write to before the call has ended.

    Attributes:
        signature: Equal for calls that one program serves.
        inputs: A Tensor for each array or number that is read; a float is of float32 where all arrays of floats are.
    """

    def __init__(self, caller: str, tree: Any, *, borrow: bool = False) -> None:
        self.tree = tree
        self.signature = signature(caller, tree)
        found = read_leaves(tree)
        sizes = {leaf.dtype.itemsize for leaf in found if type(leaf) is not float and leaf.dtype.kind == "f"}
        self._numbers = "float32" if sizes and max(sizes) <= 4 else "float64"
        self._borrowed: list[FloatArray] = []
        self.inputs = [self._input(caller, leaf, borrow) for leaf in found]

    def _input(self, caller: str, leaf: Any, borrow: bool) -> Tensor:
        if type(leaf) is float:
            return new(np.array(leaf, self._numbers))
        if borrow and type(leaf) is np.ndarray and leaf.dtype in KEPT:
            self._borrowed.append(leaf)
            return new(leaf)
        return as_tensor(caller, leaf)

    def apart(self, results: Iterable[Tensor]) -> Iterator[Tensor]:
        """The results, copied where they lie in an array that was borrowed."""
        for y in results:
            shared = any(np.may_share_memory(y._array, array) for array in self._borrowed)
            yield new(y._array.copy()) if shared else y


def signature(caller: str, tree: Any) -> Hashable:
    """The key of a program: nesting, shapes, dtypes, and the values of integers, strings and their like."""
    if isinstance(tree, dict):
        return dict, *[(name, signature(caller, part)) for name, part in tree.items()]
    if isinstance(tree, list | tuple):
        return type(tree), *[signature(caller, part) for part in tree]
    if _is_read(tree):
        return float if type(tree) is float else (tree.shape, tree.dtype)
    if tree is None or isinstance(tree, int | str):
        return type(tree), tree
    raise TypeError(
        f"{caller}: expected Tensors, arrays, numbers and strings, nested in lists, tuples and dicts, "
        f"got {type(tree).__name__}"
    )


def read_leaves(tree: Any) -> list[Any]:
    """The arrays, Tensors and floats, whose numbers a program reads."""
    return [leaf for leaf in leaves(tree) if _is_read(leaf)]


def with_inputs(tree: Any, inputs: Iterable[Any]) -> Any:
    """The same nesting, with others in the place of what is read."""
    rest = iter(inputs)
    return rebuilt(tree, [next(rest) if _is_read(leaf) else leaf for leaf in leaves(tree)])


def traced(caller: str, function: Callable[[Any], Any], arguments: TracedArguments) -> tuple[Program, Any]:
    """The program of a function of one nested argument, and the nesting of what it gives."""
    with _tracing(caller):
        inputs = [new(t._array, Node(variable, (), {}, t._array)) for t in arguments.inputs]
        tree = function(with_inputs(arguments.tree, inputs))
        outputs = Outputs(caller, tree).tensors
        _refuse_from_outside(caller, outputs)
        return _program(inputs, outputs, Recording(tuple(inputs), outputs).nodes), tree


def is_tracing() -> bool:
    """Tell whether a function is being traced."""
    return here.refuse is not None


@contextmanager
def _tracing(caller: str) -> Iterator[None]:
    """Record in a scope of its own, in which nobody sees numbers."""

    def refuse(asked: str) -> None:
        raise TypeError(
            f"{caller}: expected no {asked} of a traced Tensor, whose numbers differ from call to call, got one at "
            f"{_users_line()}; choose with where(), or leave out compile for what depends on numbers"
        )

    before = here.scope, here.paused, here.refuse
    here.scope, here.paused, here.refuse = Scope(), False, refuse
    try:
        yield
    finally:
        here.scope, here.paused, here.refuse = before


def _users_line() -> str:
    """Where the user's code stands that led here."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("densegrad", "numpy"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _refuse_from_outside(caller: str, outputs: Sequence[Tensor]) -> None:
    if any(y.node is not None and y.node.scope is not here.scope for y in outputs):
        raise ValueError(f"{caller}: expected Tensors made from its arguments, got one of a derivative call outside")


def _is_read(leaf: Any) -> bool:
    return type(leaf) is float or isinstance(leaf, Tensor | np.ndarray | np.generic)


def _program(inputs: Sequence[Tensor], outputs: Sequence[Tensor], nodes: Sequence[Node]) -> Program:
    """The nodes as steps; what no input leads to is a constant."""
    numbers: dict[Any, int] = {t.node: i for i, t in enumerate(inputs)}
    specs = {i: Spec.of(t) for i, t in enumerate(inputs)}
    constants: dict[int, Tensor] = {}

    def number(t: Tensor) -> int:
        if t.node in numbers:
            return numbers[t.node]
        i = len(specs)
        specs[i] = Spec.of(t)
        constants[i] = new(t._array)
        return i

    steps = []
    for node in nodes:
        if node not in numbers:
            read = tuple(number(t) for t in node.inputs)
            numbers[node] = output = len(specs)
            specs[output] = Spec.of(node.value)
            steps.append(ProgramStep(node.primitive, read, output, node.attributes))
    return Program(specs, tuple(range(len(inputs))), constants, tuple(steps), tuple(number(y) for y in outputs))
