"""ONNX files as chains of operators: read whole, and followed from the output back to the input."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import numpy as np

from densegrad._exchange.onnx_writer import EXTRA
from densegrad._exchange.optional import imported

WHO = "from_onnx"
_OLDEST = 13  # before it, axes and attributes meant other things
_SHARED, _FREE = 16, 2**16  # how often a model may use each number of a file, and how many may come from nowhere
_OURS = {"", "ai.onnx"}  # names of ONNX's own domain
Array: TypeAlias = "np.ndarray[Any, Any]"
# An operator, and the chain to its later input where it joins two values.
OperatorStep: TypeAlias = "tuple[Any, list[OperatorStep]]"


def read(source: Any) -> Any:
    """The ``onnx.ModelProto`` of a path or itself, if it is whole, with its arrays, and of an opset that is read."""
    onnx = imported(WHO, "onnx", EXTRA)
    proto = source
    if isinstance(source, str | bytes | os.PathLike):
        proto = _loaded(onnx, os.fsdecode(source))
    elif not isinstance(source, onnx.ModelProto):
        raise TypeError(f"{WHO}: expected a path or an onnx.ModelProto, got {type(source).__name__}")
    tensors = [*proto.graph.initializer, *(entry.t for node in proto.graph.node for entry in node.attribute)]
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
        raise ValueError(f"{WHO}: expected the arrays within the file, got some in others; give onnx.load(path)")
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"{WHO}: expected a valid ONNX model; {str(error).strip()}") from None
    opset = max((entry.version for entry in proto.opset_import if entry.domain in _OURS), default=0)
    if opset < _OLDEST:
        raise ValueError(
            f"{WHO}: expected opset {_OLDEST} or later, got {opset}; onnx.version_converter.convert_version raises it"
        )
    return proto


def _loaded(onnx: Any, name: str) -> Any:
    if not os.path.isfile(name):
        raise FileNotFoundError(f"{WHO}: no file {name!r}")
    with open(name, "rb") as file:
        data = file.read()
    try:
        return onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's implementations raise different ones
        raise ValueError(f"{WHO}: {name!r} is not a whole ONNX file: {error}") from None


def operator(node: Any) -> str:
    """Type of an operator, with its domain where that is not ONNX's own."""
    return str(node.op_type if node.domain in _OURS else f"{node.domain}.{node.op_type}")


def refused(node: Any, why: str) -> ValueError:
    """The error of an operator that is not read, by its name and type."""
    return ValueError(f"{WHO}: node {node.name or node.output[0]!r} ({operator(node)}): {why}")


class OnnxGraph:
    """A graph's operators by what they make, its constants, and its one input and output.

    Attributes:
        input, output: Names of x and y.
        dtype, width: Of x.
    """

    def __init__(self, graph: Any) -> None:
        self._arrays = {tensor.name: _array(tensor) for tensor in graph.initializer}
        self._makers: dict[str, tuple[int, Any]] = {}
        for place, node in enumerate(graph.node):
            self._add(place, node)
        inputs = [value for value in graph.input if value.name not in self._arrays]
        for what, values in (("input", inputs), ("output", graph.output)):
            if len(values) != 1:
                raise ValueError(f"{WHO}: expected 1 {what}, got {len(values)}")
        self.input, self.output = inputs[0].name, graph.output[0].name
        self._held = sum({id(array): array.size for array in self._arrays.values()}.values())
        self._used = 0
        self.dtype, self.width = _kind(inputs[0])
        self.use(self.width)

    def _add(self, place: int, node: Any) -> None:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            self._arrays[node.output[0]] = _array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in self._arrays:  # an array that is shared
            self._arrays[node.output[0]] = self._arrays[node.input[0]]
        else:
            self._makers.update(dict.fromkeys(node.output, (place, node)))

    def use(self, numbers: int) -> None:
        """Refuse to make of a file what is out of all proportion to it, before it is allocated."""
        self._used += numbers
        if self._used > _SHARED * self._held + _FREE:
            raise ValueError(f"{WHO}: expected arrays for {self._used} numbers, got {self._held} in all constants")

    def is_constant(self, name: str) -> bool:
        """Tell whether a value is an array of the file."""
        return name in self._arrays

    def constant(self, node: Any, place: int) -> Array:
        """Input ``place`` of a node, which must be a constant array of real numbers, or of booleans."""
        name = node.input[place]
        if name not in self._arrays:
            raise refused(node, f"expected input {place} to be constant, got {name!r}")
        array = self._arrays[name]
        if array.dtype.name not in {"float16", "float32", "float64", "bool"}:
            raise refused(node, f"expected {name!r} of floating point, got dtype {array.dtype}")
        return array

    def chain(self, start: str, end: str) -> list[OperatorStep]:
        """The steps that make ``end`` of ``start``.

        Of two values that an operator joins, the later must come from the earlier, through a chain of its own.
        """
        steps: list[OperatorStep] = []
        while end != start:
            _, node = self._maker(end)
            if node is None:
                raise ValueError(f"{WHO}: expected one chain of layers and residual blocks, got a branch at {start!r}")
            values = sorted((name for name in node.input if name and name not in self._arrays), key=self._maker_place)
            if not 1 <= len(values) <= 2 or len(set(values)) < len(values) or node.output[0] != end:
                raise refused(node, f"expected one or two values that depend on {self.input!r}, got {values}")
            steps.append((node, self.chain(*values) if len(values) == 2 else []))
            end = values[0]
        return steps[::-1]

    def _maker(self, name: str) -> tuple[int, Any]:
        """Place and node of the operator that makes a value; x is there before all."""
        if name not in self._makers and name != self.input:
            raise ValueError(f"{WHO}: expected {self.output!r} to depend on {self.input!r}, got the constant {name!r}")
        return self._makers.get(name, (-1, None))

    def _maker_place(self, name: str) -> int:
        return self._maker(name)[0]


def _array(tensor: Any) -> Array:
    """A tensor's numbers; one that claims more than it has is refused before anything is allocated."""
    try:
        array: Array = imported(WHO, "onnx.numpy_helper", EXTRA).to_array(tensor)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{WHO}: the array {tensor.name!r} is not whole: {error}") from None
    return array


def _kind(value: Any) -> tuple[str, int]:
    """Dtype and number of features of the graph's input."""
    tensor = value.type.tensor_type
    shape = [dim.dim_value or dim.dim_param or "?" for dim in tensor.shape.dim]
    dtype = {1: "float32", 11: "float64"}.get(tensor.elem_type)
    if dtype is None:
        raise ValueError(f"{WHO}: expected {value.name!r} of float32 or float64, got ONNX's type {tensor.elem_type}")
    if len(shape) != 2 or not isinstance(shape[1], int) or shape[1] < 1:
        shown = ", ".join(map(str, shape))
        raise ValueError(f"{WHO}: expected {value.name!r} of shape (batch, features), got ({shown})")
    return dtype, shape[1]
