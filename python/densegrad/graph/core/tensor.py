"""Tensor: an array that cannot be written to, and remembers how it came about where that is recorded.

A derivative is taken of nodes, one for each operation on a recorded Tensor, which point to their parents only. There is
no list of operations: the Tensors that a function returns keep alive what led to them, and nothing else. A node made
later has a larger number, so that sorting by number is a topological order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from densegrad._base import check
from densegrad._base.types import FloatArray
from densegrad.graph.core.recording import Scope, here
from densegrad.graph.core.structure import leaves, rebuilt

numbers = itertools.count()


class Operations:
    """Functions that the methods of a Tensor call, by name; ``densegrad.graph.operations`` sets them."""

    ufuncs: Mapping[str, Callable[..., Tensor]]
    abs: Callable[..., Tensor]
    add: Callable[..., Tensor]
    cast: Callable[..., Tensor]
    compare: Callable[..., Tensor]
    divide: Callable[..., Tensor]
    getitem: Callable[..., Tensor]
    matmul: Callable[..., Tensor]
    max: Callable[..., Tensor]
    mean: Callable[..., Tensor]
    min: Callable[..., Tensor]
    multiply: Callable[..., Tensor]
    negative: Callable[..., Tensor]
    power: Callable[..., Tensor]
    prod: Callable[..., Tensor]
    reshape: Callable[..., Tensor]
    stack: Callable[..., Tensor]
    subtract: Callable[..., Tensor]
    sum: Callable[..., Tensor]
    transpose: Callable[..., Tensor]


operations = Operations()


class Rules(Protocol):
    """A primitive, as a node knows it."""

    name: str
    in_table: bool

    def __call__(self, *inputs: Tensor, **attributes: Any) -> Tensor:
        """Value and node."""
        ...

    def replay(self, *inputs: Tensor, **attributes: Any) -> Tensor:
        """Value and node, from other numbers than a function was traced with."""
        ...

    def jvp(self, tangents: Sequence[Tensor | None], y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """The tangent of y."""
        ...

    def vjp(
        self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any
    ) -> Sequence[Tensor | None]:
        """The cotangent of each input."""
        ...


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
        self, primitive: Rules, inputs: tuple[Tensor, ...], attributes: dict[str, Any], value: FloatArray
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


class Tensor:
    """A constant array of float32 or float64, or of integers or booleans, such as labels and masks.

    It copies what it is given. Arithmetic broadcasts as NumPy's does, and float32 with float64 gives float64; Python's
    numbers take the dtype of the Tensor that they meet. NumPy's arithmetic and its functions of the same names work on
    it as well. Comparisons give Tensors of booleans. Inside ``grad`` and its like, operations on the function's
    arguments are recorded; ``float(t)``, ``t.numpy()`` and comparisons are numbers through which no derivative goes.

    Args:
        value: A number, an array or anything that NumPy makes a numeric array of.
        dtype: ``"float32"`` or ``"float64"``; else that of the value, which is float64 for Python's floats.

    Attributes:
        node: The operation that it came from, where that was recorded, else ``None``.

    >>> import densegrad as dg
    >>> t = dg.graph.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> t @ t + t[0]
    Tensor([[ 8., 12.],
            [16., 24.]])
    >>> (t > 1.5).numpy()
    array([[False,  True],
           [ True,  True]])
    """

    __slots__ = ("__weakref__", "_array", "node")

    _array: FloatArray
    node: Node | None

    def __init__(self, value: Any, dtype: str | None = None) -> None:
        self._array = _own_array("Tensor", value, None if dtype is None else check.dtype("Tensor", dtype))
        self.node = None

    # ---- the array

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._array.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self._array.dtype

    def numpy(self) -> FloatArray:
        """The numbers, as a view that cannot be written to."""
        if here.refuse and self.node is not None:
            here.refuse(".numpy()")
        view = self._array.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> FloatArray:
        view = self.numpy()
        if copy or (dtype is not None and view.dtype != dtype):
            return view.astype(dtype or view.dtype)
        return view

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        function = operations.ufuncs.get(ufunc.__name__)
        if method == "__call__" and not options and function is not None:
            return function(*inputs)
        return _by_numpy(ufunc.__name__, getattr(ufunc, method), inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return _by_numpy(function.__name__, function, args, options)

    def __float__(self) -> float:
        return float(self._only("float"))

    def __int__(self) -> int:
        return int(self._only("int"))

    def __bool__(self) -> bool:
        return bool(self._only("bool"))

    def _only(self, caller: str) -> Any:
        if here.refuse and self.node is not None:
            here.refuse(f"{caller}()")
        if self._array.size != 1:
            raise ValueError(f"{caller}: expected a Tensor of 1 element, got shape {self.shape}")
        return self._array.item()

    def __len__(self) -> int:
        if not self._array.ndim:
            raise TypeError("len: expected a Tensor with at least one axis, got shape ()")
        return len(self._array)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        text = np.array2string(self._array, separator=", ", prefix="Tensor(")
        plain = self._array.dtype.name in ("float64", "int64", "bool")
        return f"Tensor({text})" if plain else f"Tensor({text}, dtype={self._array.dtype})"

    def __reduce__(self) -> tuple[type[Tensor], tuple[FloatArray]]:
        return Tensor, (self._array,)  # without its node: copies and pickles are constants

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "Tensor: expected no assignment to elements, a Tensor cannot be changed; "
            "make another, as with where(mask, new, old) or concatenate"
        )

    # ---- operations

    def astype(self, dtype: str) -> Tensor:
        """The same numbers in float32 or float64."""
        return operations.cast(self, dtype)

    @property
    def T(self) -> Tensor:  # noqa: N802  (NumPy's name)
        """With its axes in reverse order."""
        return operations.transpose(self)

    def reshape(self, *shape: Any) -> Tensor:
        """``dg.graph.reshape``."""
        return operations.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """``dg.graph.transpose``."""
        return operations.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """``dg.graph.sum``."""
        return operations.sum(self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """``dg.graph.mean``."""
        return operations.mean(self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """``dg.graph.max``."""
        return operations.max(self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """``dg.graph.min``."""
        return operations.min(self, axis, keepdims)

    def prod(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """``dg.graph.prod``."""
        return operations.prod(self, axis, keepdims)

    def __getitem__(self, index: Any) -> Tensor:
        return operations.getitem(self, index)

    def __add__(self, other: Any) -> Tensor:
        return operations.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return operations.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return operations.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return operations.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return operations.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return operations.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return operations.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return operations.divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return operations.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return operations.power(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return operations.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return operations.matmul(other, self)

    def __neg__(self) -> Tensor:
        return operations.negative(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return operations.abs(self)

    def __lt__(self, other: Any) -> Tensor:
        return operations.compare(np.less, self, other)

    def __le__(self, other: Any) -> Tensor:
        return operations.compare(np.less_equal, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return operations.compare(np.greater, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return operations.compare(np.greater_equal, self, other)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]  # element by element, as NumPy's
        return operations.compare(np.equal, self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return operations.compare(np.not_equal, self, other)

    __hash__ = None  # type: ignore[assignment]


_make = object.__new__
KEPT = frozenset(map(np.dtype, ("float32", "float64", "int64", "bool")))


def new(array: FloatArray, node: Node | None = None) -> Tensor:
    """A Tensor on an array that nobody else will write to."""
    tensor = _make(Tensor)
    tensor._array = array
    tensor.node = node
    return tensor


def as_tensor(caller: str, value: Any) -> Tensor:
    """A Tensor as it is; a list with Tensors in it stacked; anything else as a constant."""
    if type(value) is Tensor:
        return value
    if isinstance(value, list | tuple) and any(isinstance(part, Tensor | list | tuple) for part in value):
        return operations.stack([as_tensor(caller, part) for part in value])
    return new(_own_array(caller, value))


def _by_numpy(name: str, function: Any, args: Any, options: Any) -> Any:
    """The result of NumPy's function on numbers of constants; of a recorded Tensor it would lose the derivative."""
    given = leaves((args, options))
    if any(type(leaf) is Tensor and leaf.node is not None for leaf in given):
        raise TypeError(
            f"numpy.{name}: expected arrays, got a recorded Tensor; densegrad.graph has functions of Tensors, "
            "and .numpy() gives the numbers without a derivative"
        )
    args, options = rebuilt((args, options), (leaf.numpy() if type(leaf) is Tensor else leaf for leaf in given))
    return function(*args, **options)


def _own_array(caller: str, value: Any, dtype: Any = None) -> FloatArray:
    """A copy in native byte order, of float32, float64, integers or booleans."""
    raw = value._array if type(value) is Tensor else check.numeric(caller, "numbers", value)
    if dtype is None and raw.dtype not in KEPT:
        small = raw.dtype.kind == "f" and raw.dtype.itemsize <= 4
        dtype = "float32" if small else "float64" if raw.dtype.kind == "f" else raw.dtype.newbyteorder("=")
    return np.array(raw, dtype)
