"""``compile``: a function of Tensors, traced once for each set of shapes and run as a program from then on."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Hashable
from typing import Any

from densegrad.graph.compile.lower import lowered
from densegrad.graph.compile.program import Program, Spec
from densegrad.graph.compile.simplify import simplified
from densegrad.graph.compile.trace import TracedArguments, is_tracing, traced
from densegrad.graph.core.recording import here
from densegrad.graph.core.structure import rebuilt


class Compiled:
    """A compiled function: called as the function is, with the same results."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._caller = getattr(function, "__name__", "compile")
        self._programs: dict[Hashable, tuple[Program, Any]] = {}
        self._has_warned = False

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The function's results."""
        if is_tracing():  # inside another one, of whose program it becomes a part
            return self._function(*args, **options)
        arguments = TracedArguments(self._caller, (args, options), borrow=here.scope is None)
        known = self._programs.get(arguments.signature)
        if known is None:
            self._warn(arguments)
            known = self._traced(arguments)
        program, tree = known
        return rebuilt(tree, arguments.apart(program.run(arguments.inputs)))

    def program(self, *args: Any, **options: Any) -> Program:
        """The steps for such arguments; printed, each with what it is, and why it is no part of a network."""
        arguments = TracedArguments(self._caller, (args, options), borrow=True)
        return (self._programs.get(arguments.signature) or self._traced(arguments))[0]

    def _traced(self, arguments: TracedArguments) -> tuple[Program, Any]:
        program, tree = traced(self._caller, lambda given: self._function(*given[0], **given[1]), arguments)
        made = lowered(simplified(program)), rebuilt(tree, [None] * len(program.outputs))
        self._programs[arguments.signature] = made
        return made

    def _warn(self, arguments: TracedArguments) -> None:
        """Say once that shapes have changed, which takes time."""
        if self._programs and not self._has_warned:
            self._has_warned = True
            before, _ = next(reversed(self._programs.values()))
            warnings.warn(_words(self._caller, before, arguments), UserWarning, stacklevel=3)

    def __repr__(self) -> str:
        return f"<compiled {self._caller}>"


def compile(function: Callable[..., Any]) -> Compiled:
    """Trace a function once for each nesting, shapes and dtypes of its arguments, and run the trace from then on.

    The trace is simplified, and subgraphs of it that are networks, with their loss where it is one of the library's,
    are run by the kernels that train models. Derivatives of all kinds work as without it: take them of the compiled
    function, so that they go through its networks. Arrays, Tensors and floats are a program's inputs. Integers, strings
    and whatever else the function reads, such as variables of modules, stay what they were when it was traced.

    Args:
        function: A function of Tensors whose course does not depend on their numbers: it chooses with ``where``, and
            always gives equal results for equal arguments.

    >>> import numpy as np, densegrad as dg
    >>> @dg.graph.compile
    ... def layer(x, w, b):
    ...     return dg.graph.relu(x @ w + b)
    >>> x, w, b = np.ones((1, 2)), np.ones((2, 3)), np.array([0.0, -1.0, -9.0])
    >>> layer(x, w, b)
    Tensor([[2., 1., 0.]])
    >>> layer.program(x, w, b)
    %0 = input float64 (1, 2)
    %1 = input float64 (2, 3)
    %2 = input float64 (3,)
    %5 = network(%0, %1, %2) float64 (1, 3)  # dense -> relu
    return %5
    """
    return Compiled(function)


def _words(caller: str, before: Program, arguments: TracedArguments) -> str:
    """Why a function is traced again."""
    old, now = [before.specs[i] for i in before.inputs], [Spec.of(t) for t in arguments.inputs]
    changed = [f"{b} after {a}" for a, b in zip(old, now, strict=False) if a != b]
    why = ", ".join(changed) or "another nesting, integer or string"
    return f"{caller}: traced again, for {why}; this is said once, and each trace is kept"
