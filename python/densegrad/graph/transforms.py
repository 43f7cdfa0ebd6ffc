"""Derivatives of functions of Tensors, in both modes.

A function takes arrays, numbers, Tensors, or nested lists, tuples and dicts of them, and gives Tensors; derivatives
come back nested in the same way. Any Python between is free: what is differentiated is what was done in this very call.
Functions may themselves take derivatives.

Reverse mode costs a few times the function for each output, however many inputs there are; forward mode for each input,
however many outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad.graph.core.primitives import cast, variable
from densegrad.graph.core.recording import here, paused, recording
from densegrad.graph.core.structure import leaves, matching_leaves, rebuilt
from densegrad.graph.core.tensor import Node, Tensor, as_tensor, new
from densegrad.graph.core.traversal import Graph
from densegrad.graph.operations.shapes import reshape, stack

Function = Callable[..., Any]


class Arguments:
    """The arguments of a call, those at ``argnums`` made into variables.

    Attributes:
        given: The function's arguments, with variables where it is differentiated.
        variables: All of them in one list.
    """

    def __init__(self, caller: str, args: Sequence[Any], argnums: int | Sequence[int]) -> None:
        self._single = isinstance(argnums, int)
        self._places = [_place(caller, n, args) for n in ([argnums] if isinstance(argnums, int) else argnums)]
        self._trees = [args[n] for n in self._places]
        self.given = list(args)
        self.variables: list[Tensor] = []
        for n, tree in zip(self._places, self._trees, strict=True):
            made = [_variable(caller, f"argument {n}", leaf) for leaf in leaves(tree)]
            self.variables += made
            self.given[n] = rebuilt(tree, made)

    def nested(self, results: Iterable[Any]) -> Any:
        """One result for each variable, nested as the arguments are; a tuple where ``argnums`` is one."""
        rest = iter(results)
        trees = tuple(rebuilt(tree, rest) for tree in self._trees)
        return trees[0] if self._single else trees


class Outputs:
    """Results of a function: Tensors, nested in any way."""

    def __init__(self, caller: str, tree: Any) -> None:
        self.tree = tree
        self.tensors: list[Tensor] = list(leaves(tree))
        for leaf in self.tensors:
            if type(leaf) is not Tensor:
                raise TypeError(
                    f"{caller}: expected a function that gives Tensors, got {type(leaf).__name__}; "
                    "float(), .numpy() and NumPy's own functions give numbers without a derivative"
                )

    def nested(self, results: Iterable[Any]) -> Any:
        """One result for each Tensor, nested as they are."""
        return rebuilt(self.tree, results)

    def kept(self, outside: bool) -> Any:
        """The results without their nodes, which end here, unless somebody outside differentiates as well."""
        return self.tree if outside else self.nested(new(y._array) for y in self.tensors)


def grad(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The gradient of a function that gives one number, by reverse mode.

    Args:
        function: Gives a Tensor with one element.
        argnums: By which argument it is taken; where they are several, a tuple comes back.

    Returns:
        A function of the same arguments.

    >>> import densegrad as dg
    >>> e = lambda a, b: (a + b) * (b + 1)
    >>> dg.graph.grad(e, argnums=(0, 1))(2.0, 1.0)
    (Tensor(2.), Tensor(5.))
    >>> dg.graph.grad(dg.graph.grad(lambda x: x**3))(2.0)
    Tensor(12.)
    """

    def gradient(*args: Any, **options: Any) -> Any:
        return _value_and_grad("grad", function, argnums, args, options)[1]

    return gradient


def value_and_grad(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The value and the gradient of a function that gives one number, as a pair; see ``grad``.

    >>> import densegrad as dg
    >>> dg.graph.value_and_grad(lambda p: p["a"] * p["b"])({"a": 3.0, "b": 4.0})
    (Tensor(12.), {'a': Tensor(4.), 'b': Tensor(3.)})
    """

    def value_and_gradient(*args: Any, **options: Any) -> tuple[Tensor, Any]:
        return _value_and_grad("value_and_grad", function, argnums, args, options)

    return value_and_gradient


def _value_and_grad(
    caller: str, function: Function, argnums: int | Sequence[int], args: Sequence[Any], options: dict[str, Any]
) -> tuple[Tensor, Any]:
    with recording() as outside:
        arguments = Arguments(caller, args, argnums)
        y = function(*arguments.given, **options)
        if type(y) is not Tensor or y._array.size != 1:
            _refuse(caller, y)
        graph = Graph(arguments.variables, [y])
        with paused(not outside):
            found = graph.backward([y], [new(np.ones(y._array.shape, y._array.dtype))])
            gradients = [_found(found, v) for v in arguments.variables]
        return y if outside else new(y._array), arguments.nested(gradients)


def vjp(function: Function, *args: Any) -> tuple[Any, Function]:
    """The value of f, and the function that takes a cotangent dy to dy^T J: reverse mode in two steps.

    Args:
        function: Gives Tensors, nested in any way.
        args: Where; each is differentiated.

    Returns:
        The value, and a function of dy, nested as the value is, which gives a tuple with a cotangent for each argument.

    >>> import densegrad as dg
    >>> y, backward = dg.graph.vjp(lambda a, b: a * b, 3.0, 4.0)
    >>> y, backward(2.0)
    (Tensor(12.), (Tensor(8.), Tensor(6.)))
    """
    with recording() as outside:
        arguments = Arguments("vjp", args, range(len(args)))
        outputs = Outputs("vjp", function(*arguments.given))
        graph = Graph(arguments.variables, outputs.tensors)

    def backward(dy: Any) -> tuple[Any, ...]:
        cotangents = _like("vjp", "the cotangent", outputs.tree, outputs.tensors, dy)
        with paused(here.paused or here.scope is None):
            found = graph.backward(outputs.tensors, cotangents)
            results: tuple[Any, ...] = arguments.nested(_found(found, v) for v in arguments.variables)
            return results

    return outputs.kept(outside), backward


def cotangents(function: Function, needed: Sequence[bool], dy: Tensor, args: Sequence[Tensor]) -> list[Tensor | None]:
    """dy^T J for the arguments that need it, ``None`` for the others: a rule for what is given as a function."""
    places = [n for n, need in enumerate(needed) if need]

    def of_needed(*changing: Tensor) -> Any:
        chosen = dict(zip(places, changing, strict=True))
        return function(*(chosen.get(n, x) for n, x in enumerate(args)))

    found = iter(vjp(of_needed, *(args[n] for n in places))[1](dy))
    return [next(found) if need else None for need in needed]


def jvp(function: Function, args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of f, and its derivative J dx along a direction: forward mode.

    Args:
        function: Gives Tensors, nested in any way.
        args: Where, as a tuple of the arguments.
        tangents: The direction, nested as the arguments are; ``None`` for one that is held constant.

    >>> import densegrad as dg
    >>> dg.graph.jvp(lambda a, b: (a + b) * (b + 1), (2.0, 1.0), (0.0, 1.0))
    (Tensor(6.), Tensor(5.))
    """
    with recording() as outside:
        moved = _moved("jvp", args, tangents)
        arguments = Arguments("jvp", args, moved)
        directions = [tangents[n] for n in moved]
        given = _like("jvp", "tangents", [args[n] for n in moved], arguments.variables, directions)
        outputs = Outputs("jvp", function(*arguments.given))
        graph = Graph(arguments.variables, outputs.tensors)
        with paused(not outside):
            found = graph.forward(arguments.variables, given)
            return outputs.kept(outside), outputs.nested(_found(found, y) for y in outputs.tensors)


def hvp(function: Function, args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, ...]:
    """H v, the second derivatives of a function that gives one number times a direction: forward over reverse mode.

    It costs a few times the function, however many inputs there are: H is never formed.

    Args:
        function: Gives a Tensor with one element.
        args: Where, as a tuple of the arguments.
        tangents: The direction v, nested as the arguments are; ``None`` for one that is held constant.

    Returns:
        A tuple with the product for each argument, ``None`` where the tangent is.

    >>> import densegrad as dg
    >>> dg.graph.hvp(lambda a, b: a * a * b, (3.0, 2.0), (1.0, 0.0))
    (Tensor(4.), Tensor(6.))
    """
    moved = _moved("hvp", args, tangents)
    products = iter(jvp(grad(function, moved), args, tangents)[1])
    return tuple(next(products) if n in moved else None for n in range(len(args)))


def jacobian(
    function: Function, argnums: int | Sequence[int] = 0, *, mode: str = "auto", with_mode: bool = False
) -> Function:
    """All derivatives of all outputs: for y of shape s and x of shape t an array of shape s + t.

    Args:
        function: Gives Tensors, nested in any way; the result has such an array in the place of each, and within it
            one for each input, nested as they are.
        argnums: By which argument, or by which.
        mode: ``"forward"``, one traversal for each input; ``"reverse"``, one for each output; ``"auto"`` takes
            forward where there are no more inputs than outputs.
        with_mode: Whether the mode that was taken comes back as well, in a pair.

    >>> import densegrad as dg
    >>> f = lambda x: dg.graph.stack([x[0] * x[1], x[1] ** 2, x[0]])
    >>> dg.graph.jacobian(f, with_mode=True)(dg.graph.Tensor([2.0, 3.0]))
    (Tensor([[3., 2.],
            [0., 6.],
            [1., 0.]]), 'forward')
    """
    check.choice("jacobian", "mode", mode, ("auto", "forward", "reverse"))

    def derivatives(*args: Any, **options: Any) -> Any:
        with recording() as outside:
            arguments = Arguments("jacobian", args, argnums)
            outputs = Outputs("jacobian", function(*arguments.given, **options))
            graph = Graph(arguments.variables, outputs.tensors)
            taken = mode
            if mode == "auto":
                wide = _count(arguments.variables) > _count(outputs.tensors)
                taken = "reverse" if wide else "forward"
            with paused(not outside):
                form = _by_columns if taken == "forward" else _by_rows
                blocks = form(graph, arguments.variables, outputs.tensors)
                result = outputs.nested(arguments.nested(row) for row in blocks)
        return (result, taken) if with_mode else result

    return derivatives


def jacobian_forward(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """``jacobian`` by forward mode: f runs once, then each input's direction is carried through."""
    return jacobian(function, argnums, mode="forward")


class Recording:
    """A function's graph for certain arguments: what drawing and compiling start from.

    Attributes:
        inputs: The arguments, with variables in the place of floats and of arrays, of integers as well; the rest stays.
        outputs: What the function gave, nested Tensors.
        nodes: What lies between, in topological order, the variables first.
    """

    def __init__(self, inputs: tuple[Any, ...], outputs: Any) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._variables = [leaf for leaf in leaves(inputs) if type(leaf) is Tensor]
        self._outputs: list[Tensor] = list(leaves(outputs))
        self.nodes = Graph(self._variables, self._outputs).nodes

    def backward(self, cotangents: Any = None) -> dict[Node, Tensor]:
        """Reverse mode: the cotangent of each node, from those of the outputs, which are ones unless given."""
        with paused():
            given = self._given("cotangents", self.outputs, self._outputs, cotangents)
            return self._differentiable().backward(self._outputs, given, keep=self.nodes)

    def forward(self, tangents: Any = None) -> dict[Node, Tensor]:
        """Forward mode: the tangent of each node, from those of the inputs, which are ones unless given."""
        with paused():
            graph = self._differentiable()
            variables = [v for v in self._variables if v.dtype.kind == "f"]
            given = self._given("tangents", variables, variables, tangents)
            return graph.forward(variables, given)

    def _differentiable(self) -> Graph:
        return Graph([v for v in self._variables if v.dtype.kind == "f"], self._outputs)

    @staticmethod
    def _given(what: str, tree: Any, tensors: list[Tensor], given: Any) -> list[Tensor]:
        if given is None:
            return [new(np.ones_like(t._array)) for t in tensors]
        return _like("record", what, tree, tensors, given)


def record(function: Function, *args: Any) -> Recording:
    """Run a function, and keep its graph.

    >>> import densegrad as dg
    >>> recorded = dg.graph.record(lambda a, b: (a + b) * (b + 1), 2.0, 1.0)
    >>> [node.primitive.name for node in recorded.nodes]
    ['variable', 'variable', 'add', 'add', 'multiply']
    >>> [float(d) for d in recorded.backward().values()]
    [1.0, 2.0, 3.0, 5.0, 2.0]
    """
    with recording():
        given = tuple(rebuilt(tree, [_input(leaf) for leaf in leaves(tree)]) for tree in args)
        return Recording(given, Outputs("record", function(*given)).tree)


def _by_rows(graph: Graph, variables: list[Tensor], outputs: list[Tensor]) -> list[list[Tensor]]:
    """Reverse mode: each output's derivatives are a traversal."""
    blocks = []
    for y in outputs:
        found = (graph.backward([y], [direction]) for direction in _directions(y))
        rows = [[_found(one, v) for v in variables] for one in found]
        blocks.append([_block([row[n] for row in rows], 0, y, v) for n, v in enumerate(variables)])
    return blocks


def _by_columns(graph: Graph, variables: list[Tensor], outputs: list[Tensor]) -> list[list[Tensor]]:
    """Forward mode: the derivatives by each input are a traversal."""
    columns = []
    for v in variables:
        found = (graph.forward([v], [direction]) for direction in _directions(v))
        rows = [[_found(one, y) for y in outputs] for one in found]
        columns.append([_block([row[n] for row in rows], -1, y, v) for n, y in enumerate(outputs)])
    return [list(row) for row in zip(*columns, strict=True)]


def _directions(t: Tensor) -> Iterator[Tensor]:
    """1 at each element in turn, 0 at the others."""
    for place in range(t.size):
        direction = np.zeros_like(t._array, order="C")
        direction.reshape(-1)[place] = 1
        yield new(direction)


def _block(parts: list[Tensor], axis: int, y: Tensor, x: Tensor) -> Tensor:
    shape = y.shape + x.shape
    return reshape(stack(parts, axis), shape) if parts else new(np.zeros(shape, y.dtype))


def _count(tensors: list[Tensor]) -> int:
    return sum(t.size for t in tensors)


def _found(found: dict[Node, Tensor], t: Tensor) -> Tensor:
    """The derivative at a Tensor, which is zero where no traversal came."""
    d = None if t.node is None else found.get(t.node)
    return new(np.zeros_like(t._array)) if d is None else d


def _variable(caller: str, what: str, value: Any) -> Tensor:
    x = as_tensor(caller, value)
    if x.dtype.kind != "f":
        raise TypeError(
            f"{caller}: expected {what} as float32 or float64 numbers, got {x.dtype}; write 2.0 for 2, "
            "x.astype(float) for an array, and leave out of argnums what is not differentiated"
        )
    return _begin(x)


def _input(leaf: Any) -> Any:
    """A variable for an array, of labels as well, or a float; integers of Python may be sizes, and stay."""
    if isinstance(leaf, Tensor | np.ndarray | np.floating | float):
        return _begin(as_tensor("record", leaf))
    return leaf


def _begin(x: Tensor) -> Tensor:
    """A variable of its own, through which an outer traversal goes on to x."""
    return new(x._array, Node(variable, () if x.node is None else (x,), {}, x._array))


def _place(caller: str, n: Any, args: Sequence[Any]) -> int:
    place = check.count(caller, "argnums", n, low=-len(args))
    if place >= len(args):
        raise ValueError(f"{caller}: expected argnums below {len(args)}, the number of arguments, got {place}")
    return place % len(args)


def _refuse(caller: str, y: Any) -> None:
    """Say what a function gave in the place of one number."""
    Outputs(caller, [y])
    raise ValueError(
        f"{caller}: expected a function that gives one number, got shape {y.shape}; take its sum or mean, "
        "or use jacobian"
    )


def _moved(caller: str, args: Any, tangents: Any) -> list[int]:
    """The places of the arguments that have a tangent."""
    for what, given in (("args", args), ("tangents", tangents)):
        if not isinstance(given, tuple | list):
            raise TypeError(f"{caller}: expected {what} as a tuple, one for each argument, got {type(given).__name__}")
    if len(args) != len(tangents):
        raise ValueError(f"{caller}: expected as many tangents as arguments, {len(args)}, got {len(tangents)}")
    return [n for n, tangent in enumerate(tangents) if tangent is not None]


def _like(caller: str, what: str, tree: Any, tensors: Sequence[Tensor], given: Any) -> list[Tensor]:
    """Tangents or cotangents, each of its Tensor's shape and dtype."""
    result = []
    for t, leaf in zip(tensors, matching_leaves(caller, what, tree, given), strict=True):
        d = as_tensor(caller, leaf)
        if d.shape != t.shape:
            raise ValueError(f"{caller}: expected {what} of shape {t.shape}, got {d.shape}")
        result.append(cast(d, t.dtype))
    return result
