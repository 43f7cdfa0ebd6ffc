"""What a derivative is taken of: a node for each operation on a recorded Tensor, which points to its parents only.

There is no list of operations: the Tensors that a function returns keep alive what led to them, and nothing else. A
node made later has a larger number, so that sorting by number is a topological order.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from densegrad._numpy.types import FloatArray
    from densegrad.graph.primitives import Primitive
    from densegrad.graph.tensor import Tensor


class Scope:
    """The course of an outermost derivative call."""


numbers = itertools.count()


class Here(threading.local):
    """Where a thread stands.

    Attributes:
        scope: Stands for the outermost derivative call that is running, if one is.
        paused: Whether operations are not recorded, whatever they work on.
        refuse: While a function is traced, raises for whoever asks for the numbers of what is recorded.
    """

    scope: Scope | None = None
    paused: bool = False
    refuse: Callable[[str], None] | None = None


here = Here()


class Node:
    """A recorded operation.

    Attributes:
        primitive: What was done; ``primitive.name`` names it. ``"variable"`` is an input of a derivative call.
        inputs: The Tensors it was done to. One whose ``node`` is ``None`` is a constant.
        attributes: What shaped it, such as ``axis``, by name.
        value: The array that came out; nobody may write into it.
        number: Larger than those of all its parents.
        scope: Stands for the outermost derivative call in whose course it was made.
    """

    __slots__ = ("__weakref__", "attributes", "inputs", "number", "primitive", "scope", "value")

    scope: Scope | None

    def __init__(
        self, primitive: Primitive, inputs: tuple[Tensor, ...], attributes: dict[str, Any], value: FloatArray
    ) -> None:
        scope = here.scope
        for tensor in inputs:
            if tensor.node is not None and tensor.node.scope is not scope:
                raise ValueError(
                    f"{primitive.name}: expected Tensors of this derivative call, got one of another that "
                    f"{'has ended' if scope is None else 'has ended or runs in another thread'}; "
                    "return it from the function that was differentiated, or take its numbers with .numpy()"
                )
        self.primitive = primitive
        self.inputs = inputs
        self.attributes = attributes
        self.value = value
        self.number = next(numbers)
        self.scope = scope

    def __repr__(self) -> str:
        return f"<Node {self.number} {self.primitive.name} {self.value.shape}>"


@contextmanager
def recording() -> Iterator[bool]:
    """Record what is done to variables; gives whether somebody outside records as well."""
    scope, was_paused = here.scope, here.paused
    here.scope, here.paused = scope or Scope(), False
    try:
        yield scope is not None and not was_paused
    finally:
        here.scope, here.paused = scope, was_paused


@contextmanager
def paused(pause: bool = True) -> Iterator[None]:
    """Record nothing, if ``pause``."""
    before = here.paused
    here.paused = pause
    try:
        yield
    finally:
        here.paused = before
