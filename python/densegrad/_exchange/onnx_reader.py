"""ONNX graphs of dense networks as models: each operator becomes a layer, or a part of the one before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from densegrad import activations
from densegrad._base.primitives import PRIMITIVES, names
from densegrad._exchange.onnx_graph import WHO, Array, OnnxGraph, OperatorStep, operator, read, refused
from densegrad._exchange.onnx_writer import EXTRA, SET
from densegrad._exchange.optional import imported
from densegrad._exchange.parts import Part, ReadNetwork, dense, residual
from densegrad.layers import Activation, BatchNorm, Dense, Dropout, LayerNorm, LearnedSwish, PReLU, Standardize

_ACTIVATIONS = {row.onnx: row for row in map(PRIMITIVES.__getitem__, names("activation")) if row.onnx}
_T = TypeVar("_T")
_LAST = {"axis": (-1, 1)}  # of a row
_ONLY: Mapping[str, Mapping[str, tuple[Any, ...]]] = {  # values of attributes that are read
    "BatchNormalization": {"training_mode": (0,)},
    "Flatten": {"axis": (1, -1)},
    "Gemm": {"transA": (0,)},
    "HardSigmoid": {name: (value,) for name, value in SET["hard_sigmoid"].items()},
    "LayerNormalization": _LAST,
    "LogSoftmax": _LAST,
    "Selu": {"alpha": (1.6732632423543772,), "gamma": (1.0507009873554805,)},
    "Softmax": _LAST,
}
# Activations that others compose: how z and what is made of it are joined, and the operators that make it; with the
# constants among these, and what the activation is multiplied by.
_COMPOSED: Mapping[tuple[str, ...], tuple[str, list[float], float]] = {
    ("Mul", "Sigmoid"): ("swish", [], 1.0),
    ("Mul", "HardSigmoid"): ("hard_swish", [], 1.0),
    ("Mul", "Softplus", "Tanh"): ("mish", [], 1.0),
    ("Div", "Abs", "Add"): ("softsign", [1.0], 1.0),
    ("Mul", "Div", "Erf", "Add"): ("gelu", [2**0.5, 1.0], 2.0),
}


def read_onnx(source: Any) -> ReadNetwork:
    """The network that a graph computes; ``dg.from_onnx`` says of which."""
    graph = OnnxGraph(read(source).graph)
    with np.errstate(all="ignore"):  # others' numbers are taken as they are
        parts = _Reader(graph, graph.width).parts_of(graph.chain(graph.input, graph.output))
    return ReadNetwork(WHO, parts, graph.dtype, graph.width)


class _Reader:
    """Parts from steps, in order; ``width`` is that of the value reached."""

    def __init__(self, graph: OnnxGraph, width: int) -> None:
        self._graph, self._width = graph, width
        self._parts: list[Part] = []

    def parts_of(self, steps: Iterable[OperatorStep]) -> list[Part]:
        """Every step in turn."""
        for node, block in steps:
            self._take(node, block)
        return self._parts

    def _take(self, node: Any, block: list[OperatorStep]) -> None:
        try:
            if block:
                _known(_JOINS, node, "where it joins two values")(self, node, block)
            else:
                _known(_READS, node, "in a dense network")(self, node, _attributes(node))
        except ValueError as error:
            raise error if str(error).startswith(WHO) else refused(node, str(error)) from None

    def _add(self, part: Part) -> None:
        self._graph.use(sum(map(math.prod, part.layer.shapes(self._width).values())))
        self._width = part.layer.out_features(self._width)
        self._parts.append(part)

    def _last(self, kind: type) -> Part | None:
        """The part before, if it is of this class."""
        return self._parts[-1] if self._parts and type(self._parts[-1].layer) is kind else None

    # ---- constants

    def _vector(self, node: Any, place: int) -> Array:
        """A constant for the features, (width,) or (1,)."""
        array = self._graph.constant(node, place)
        if array.size not in {1, self._width} or array.shape not in {(), (array.size,), (1, array.size)}:
            raise refused(node, f"expected input {place} of shape ({self._width},), got {array.shape}")
        return array.reshape(-1)

    def _wide(self, array: Any) -> Array:
        """A number, or one for each feature, as (width,), without an allocation."""
        return np.broadcast_to(array, (self._width,))

    def _matrix(self, node: Any, *, transposed: bool = False) -> Array:
        """The weights (in_features, units) of a product."""
        w = self._graph.constant(node, 1)
        w = w.T if transposed else w
        if w.ndim != 2 or w.shape[0] != self._width or not w.shape[1]:
            raise refused(node, f"expected weights of shape ({self._width}, units), got {w.shape}")
        return w

    def _operand(self, node: Any) -> Array:
        """The constant among two inputs."""
        return self._vector(node, self._place(node))

    def _place(self, node: Any) -> int:
        return int(self._graph.is_constant(node.input[1]))

    # ---- operators

    def gemm(self, node: Any, attributes: Mapping[str, Any]) -> None:
        w = self._matrix(node, transposed=bool(attributes["transB"]))
        self._add(dense(w if attributes["alpha"] == 1 else w * w.dtype.type(attributes["alpha"])))
        if len(node.input) > 2:
            self._bias(self._vector(node, 2) * w.dtype.type(attributes["beta"]))

    def matmul(self, node: Any, attributes: Mapping[str, Any]) -> None:
        self._add(dense(self._matrix(node)))

    def _bias(self, b: Array) -> None:
        self._parts[-1] = dense(self._parts[-1].arrays["w"], self._wide(b))

    def add(self, node: Any, attributes: Mapping[str, Any]) -> None:
        before, c = self._last(Dense), self._operand(node)
        if before and "b" not in before.arrays:
            self._bias(c)
        else:
            self._standardize(-c, 1.0)

    def sub(self, node: Any, attributes: Mapping[str, Any]) -> None:
        self._standardize(self._operand(node), 1.0 if self._place(node) == 1 else -1.0)

    def mul(self, node: Any, attributes: Mapping[str, Any]) -> None:
        self._scale(self._operand(node))

    def div(self, node: Any, attributes: Mapping[str, Any]) -> None:
        self._scale(1 / self._vector(node, 1))

    def _scale(self, scale: Array) -> None:
        """Multiply: in the layer before where that only shifts, and nothing where that is undone."""
        before = self._last(Standardize)
        mean: Any = 0.0
        if before and (before.arrays["scale"] == 1).all():
            mean = self._parts.pop().arrays["mean"]
        elif before and not before.arrays["mean"].any() and (before.arrays["scale"] * scale == 1).all():
            self._parts.pop()
            return
        self._standardize(mean, scale)

    def _standardize(self, mean: Any, scale: Any) -> None:
        self._add(Part(Standardize(fitted=True), {"mean": self._wide(mean), "scale": self._wide(scale)}))

    def batch_norm(self, node: Any, attributes: Mapping[str, Any]) -> None:
        gamma, beta, mean, variance = (self._vector(node, place) for place in range(1, 5))
        momentum = round(1 - attributes["momentum"], 9)
        layer = BatchNorm(momentum, attributes["epsilon"])
        self._add(Part(layer, {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}))

    def layer_norm(self, node: Any, attributes: Mapping[str, Any]) -> None:
        gamma = self._vector(node, 1)
        beta = self._vector(node, 2) if len(node.input) > 2 else 0.0
        layer = LayerNorm(attributes["epsilon"])
        self._add(Part(layer, {"gamma": self._wide(gamma), "beta": self._wide(beta)}))

    def dropout(self, node: Any, attributes: Mapping[str, Any]) -> None:
        if len(node.input) > 2 and node.input[2] and self._graph.constant(node, 2).any():
            raise refused(node, "expected a network that predicts, got training_mode = 1")
        rated = len(node.input) > 1 and node.input[1]
        self._add(Part(Dropout(_number(self._graph.constant(node, 1)) if rated else 0.5)))

    def prelu(self, node: Any, attributes: Mapping[str, Any]) -> None:
        a = self._vector(node, 1)
        self._add(Part(PReLU(shared=a.size == 1), {"a": a}))

    def clip(self, node: Any, attributes: Mapping[str, Any]) -> None:
        ends = [_number(self._graph.constant(node, place)) for place in range(1, len(node.input))]
        if ends != [-1.0, 1.0]:
            raise refused(node, f"expected the ends -1 and 1 of hard_tanh, got {ends}")
        self._add(Part(Activation("hard_tanh")))

    def activation(self, node: Any, attributes: Mapping[str, Any]) -> None:
        row = _ACTIVATIONS[node.op_type]
        name = "gelu_tanh" if attributes.get("approximate") == b"tanh" else row.name
        given = {attribute.name: attributes["alpha"] for attribute in row.attributes}
        self._add(Part(Activation(activations.resolve(WHO, {"name": name, **given}))))

    def passed(self, node: Any, attributes: Mapping[str, Any]) -> None:
        """Rows stay as they are."""

    # ---- joins

    def residual(self, node: Any, block: list[OperatorStep]) -> None:
        self._add(residual(_Reader(self._graph, self._width).parts_of(block)))

    def gate(self, node: Any, block: list[OperatorStep]) -> None:
        """An activation that joins z and what was made of it."""
        form = (operator(node), *(operator(inner) for inner, _ in block))
        if form == ("Mul", "Mul", "Sigmoid"):
            self._swish(block[0][0])
            return
        name, numbers, scale = _COMPOSED.get(form, ("", [], 1.0))
        divides = node.op_type == "Div" and node.input[0] == block[-1][0].output[0]
        if not name or divides or not self._holds(block, numbers):
            raise refused(node, f"is no activation that is read, joining z and {' of '.join(form[:0:-1])} of z")
        self._add(Part(Activation(name)))
        if scale != 1:
            self._scale(np.array([scale]))

    def _swish(self, scaled: Any) -> None:
        a = self._graph.constant(scaled, self._place(scaled))
        if a.ndim == 0:
            self._add(Part(Activation(activations.Swish(_number(a)))))
        else:
            a = self._operand(scaled)
            self._add(Part(LearnedSwish(shared=a.size == 1), {"a": a}))

    def _holds(self, block: list[OperatorStep], numbers: list[float]) -> bool:
        """Tell whether the constants in a chain are these numbers, and its attributes those that are read."""
        found = []
        for inner, joined in block:
            _attributes(inner)
            constants = [place for place, name in enumerate(inner.input) if self._graph.is_constant(name)]
            if joined or (inner.op_type == "Div" and constants != [1]):
                return False
            found += [self._graph.constant(inner, place) for place in constants]
        return len(found) == len(numbers) and all(map(np.allclose, found, numbers))


_READS: Mapping[str, Callable[[_Reader, Any, Mapping[str, Any]], None]] = {
    **dict.fromkeys(_ACTIVATIONS, _Reader.activation),
    "Add": _Reader.add,
    "BatchNormalization": _Reader.batch_norm,
    "Clip": _Reader.clip,
    "Div": _Reader.div,
    "Dropout": _Reader.dropout,
    "Flatten": _Reader.passed,
    "Gemm": _Reader.gemm,
    "Identity": _Reader.passed,
    "LayerNormalization": _Reader.layer_norm,
    "MatMul": _Reader.matmul,
    "Mul": _Reader.mul,
    "PRelu": _Reader.prelu,
    "Sub": _Reader.sub,
}
_JOINS: Mapping[str, Callable[[_Reader, Any, list[OperatorStep]], None]] = {
    "Add": _Reader.residual,
    "Div": _Reader.gate,
    "Mul": _Reader.gate,
}


def _known(table: Mapping[str, _T], node: Any, where: str) -> _T:
    """The reader of an operator."""
    if operator(node) not in table:
        raise refused(node, f"is not read {where}; {', '.join(sorted(table))} are")
    return table[operator(node)]


def _attributes(node: Any) -> dict[str, Any]:
    """A node's attributes, ONNX's defaults included; one with a value that is not read is refused."""
    onnx = imported(WHO, "onnx", EXTRA)
    schema = onnx.defs.get_schema(node.op_type).attributes.values()
    every = [entry.default_value for entry in schema if entry.default_value.name] + list(node.attribute)
    given = {entry.name: onnx.helper.get_attribute_value(entry) for entry in every}
    given = {name: _number(np.float32(value)) if type(value) is float else value for name, value in given.items()}
    for name, (usual, *others) in _ONLY.get(node.op_type, {}).items():
        if given[name] not in (usual, *others) and not np.isclose(given[name], usual, rtol=1e-6):
            raise refused(node, f"expected {name} = {usual}, got {given[name]}")
    return given


def _number(array: Any) -> float:
    """A single number, with the decimals that it was made from: 0.1 where float32 has 0.100000001."""
    if array.size != 1:
        raise ValueError(f"expected a single number, got an array of shape {array.shape}")
    return float(str(array.reshape(-1)[0]))
