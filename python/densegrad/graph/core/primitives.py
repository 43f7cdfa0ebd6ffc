"""Primitives: what is done in one piece, with its three rules side by side.

value   the array y that comes out, from the arrays that go in
jvp     the tangent of y, from those of the inputs: forward mode
vjp     the cotangents of the inputs, from that of y: reverse mode

The last two are written in operations on Tensors, so that a traversal through the graph can itself be recorded and
differentiated. A tangent or cotangent that is zero everywhere is ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np

from densegrad._base.types import FloatArray
from densegrad.graph.core.recording import here
from densegrad.graph.core.tensor import Node, Tensor, as_tensor, new

Derivatives: TypeAlias = "Sequence[Tensor | None]"
WEAK = (float, int, bool)  # Python's numbers take the dtype of what they meet
_array_of = attrgetter("_array")


class Primitive:
    """A differentiable function of Tensors.

    Args:
        name: As errors, drawings and plans call it.
        value: The array that comes out, from the inputs' arrays and the attributes.
        expects: What it says of the inputs where ``value`` refuses them.

    Attributes:
        in_table: Whether it is the row of its name in the library's table.
    """

    in_table = False

    def __init__(self, name: str, value: Callable[..., FloatArray], expects: str = "") -> None:
        self.name = name
        self.value = value
        self.expects = expects

    def __call__(self, *inputs: Tensor, **attributes: Any) -> Tensor:
        """Value and node."""
        try:
            array = self.value(*map(_array_of, inputs), **attributes)
        except (ValueError, IndexError) as error:
            if not self.expects:
                raise
            raise self.refusal(error, inputs, attributes) from None
        if type(array) is not np.ndarray:  # NumPy makes a scalar of an array without axes
            array = np.asarray(array)
        if not here.paused:
            for tensor in inputs:
                if tensor.node is not None:
                    return new(array, Node(self, inputs, attributes, array))
        return new(array)

    def replay(self, *inputs: Tensor, **attributes: Any) -> Tensor:
        """Value and node, from other numbers of the same shapes and dtypes than a function was traced with."""
        return self(*inputs, **attributes)

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """The tangent of y."""
        raise NotImplementedError

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """The cotangent of each input; of one that is not needed anything will do."""
        raise NotImplementedError

    def refusal(self, error: Exception, inputs: Sequence[Tensor], attributes: dict[str, Any]) -> Exception:
        """NumPy's error in the words of ``expects``."""
        got = " and ".join(str(t.shape) for t in inputs)
        said = "".join(f", {name}={value!r}" for name, value in attributes.items() if value is not None)
        kind = IndexError if type(error) is IndexError else ValueError
        return kind(f"{self.name}: expected {self.expects}, got {got}{said}")

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


class Flat(Primitive):
    """Masks and signs, whose derivative is 0 almost everywhere."""

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """dy = 0."""
        return None

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """Nothing comes back."""
        return [None for _ in inputs]


class Variable(Primitive):
    """y = x: where a derivative call begins, and an outer one goes on."""

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """dy = dx."""
        return tangents[0]

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """dx = dy."""
        return [dy]


class Linear(Primitive):
    """y = L x of the first input; others, such as the arrays of an index, have no derivative.

    Its jvp is L itself, its vjp the transpose of L.

    Args:
        name, value, expects: As ``Primitive``.
        transposed: The cotangent of x, from dy, the inputs and the attributes.
    """

    def __init__(
        self, name: str, value: Callable[..., FloatArray], transposed: Callable[..., Tensor], expects: str = ""
    ) -> None:
        super().__init__(name, value, expects)
        self.transposed = transposed

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """dy = L dx."""
        return None if tangents[0] is None else self(tangents[0], *inputs[1:], **attributes)

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """dx = L^T dy."""
        return [self.transposed(dy, *inputs, **attributes), *(None for _ in inputs[1:])]


variable = Variable("variable", lambda x: x)
_cast = Linear("cast", lambda x, dtype: x.astype(dtype), lambda dy, x, dtype: cast(dy, x.dtype))


def cast(x: Tensor, dtype: Any) -> Tensor:
    """The same numbers in another dtype."""
    return x if x._array.dtype == dtype else _cast(x, dtype=np.dtype(dtype))


def pair(caller: str, a: Any, b: Any) -> Sequence[Tensor]:
    """Two operands as ``conformed`` makes them, quickly where they are Tensors of one dtype or one is a float."""
    if type(a) is Tensor:
        if type(b) is Tensor and a._array.dtype is b._array.dtype:
            return a, b
        if type(b) is float and a._array.dtype.kind == "f":
            return a, new(np.array(b, a._array.dtype))
    elif type(a) is float and type(b) is Tensor and b._array.dtype.kind == "f":
        return new(np.array(a, b._array.dtype)), b
    return conformed(caller, a, b)


def conformed(caller: str, *operands: Any) -> Sequence[Tensor]:
    """All operands as Tensors of one dtype, which Python's numbers take from the others where those are floats."""
    dtype, settled = None, True
    for value in operands:
        if type(value) is Tensor:
            if dtype is None:
                dtype = value._array.dtype
            elif value._array.dtype != dtype:
                settled = False
        elif type(value) not in WEAK:
            return conformed(caller, *[v if type(v) in WEAK else as_tensor(caller, v) for v in operands])
    if settled and dtype is not None and dtype.kind == "f":
        return [value if type(value) is Tensor else new(np.array(value, dtype)) for value in operands]
    return _promoted(operands)


def _promoted(operands: Sequence[Any]) -> Sequence[Tensor]:
    """Tensors and Python's numbers in the dtype that NumPy would give."""
    found = [value._array.dtype for value in operands if type(value) is Tensor]
    kept = np.result_type(*found) if found else np.dtype(bool)
    numbers = kept if kept.kind == "f" else None
    tensors = [value if type(value) is Tensor else new(np.array(value, numbers)) for value in operands]
    dtype = np.result_type(*(t._array.dtype for t in tensors))
    return [cast(t, dtype) for t in tensors]
