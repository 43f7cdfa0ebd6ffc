"""Models as ONNX: each node of the plan becomes one operator, or the few that compose it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from densegrad._base.atomic_file import write_atomically
from densegrad._base.plan import Node, Plan
from densegrad._base.primitives import PRIMITIVES
from densegrad._base.version import __version__
from densegrad._exchange.optional import imported
from densegrad._model_core import ModelCore

OPSET, IR_VERSION = 20, 9  # the first opset with Gelu, and the format of its day: what onnxruntime 1.17 reads
EXTRA = "densegrad[onnx]"
SET: Mapping[str, Mapping[str, Any]] = {  # attributes that make ours of ONNX's operator
    "hard_sigmoid": {"alpha": 1 / 6, "beta": 0.5},
    "gelu_tanh": {"approximate": "tanh"},
}
_LARGEST = 2**31 - 2**20  # bytes of arrays; protobuf ends at 2 GiB


def to_onnx(model: ModelCore, path: str | os.PathLike[str] | None = None) -> Any:
    """``model.to_onnx``: the ``onnx.ModelProto``, written to ``path`` where one is given."""
    caller = f"{type(model).__name__}.to_onnx"
    onnx = imported(caller, "onnx", EXTRA)
    model.require_built("to_onnx")
    plan = model.lower()
    if model.parameters.nbytes > _LARGEST:
        raise ValueError(f"{caller}: expected at most {_LARGEST} bytes of parameters, got {model.parameters.nbytes}")
    graph = _Graph(caller, model, plan)
    for node in plan.nodes:
        graph.add(node)
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(model.dtype))
    ends = [
        onnx.helper.make_tensor_value_info(name, kind, ["batch", plan.widths[buffer]])
        for name, buffer in (("x", plan.input), ("y", plan.output))
    ]
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, "densegrad", ends[:1], ends[1:], graph.constants),
        producer_name="densegrad",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    )
    if path is not None:
        write_atomically(path, proto.SerializeToString())
    return proto


class _Graph:
    """Operators and constants, collected node by node of a model's plan.

    A primitive that is not just the operator of its row has a method of its name.
    """

    def __init__(self, caller: str, model: ModelCore, plan: Plan) -> None:
        self._caller, self._model, self._widths = caller, model, plan.widths
        self._names = {plan.input: "x", plan.output: "y"}
        self._onnx = imported(caller, "onnx", EXTRA)
        self.nodes: list[Any] = []
        self._constants: dict[str, Any] = {}  # by name: layers may share them

    @property
    def constants(self) -> list[Any]:
        """The arrays that operators read."""
        return list(self._constants.values())

    def add(self, node: Node) -> None:
        """Append what computes a node's output."""
        inputs, output = [self._name(buffer) for buffer in node.inputs], self._name(node.output)
        arrays = [self._constant(slot.name, self._model.view(slot)) for slot in node.slots]
        compose = getattr(self, f"_{node.primitive}", None)
        if compose is not None:
            compose(node, *inputs, *arrays, output)
            return
        if node.primitive == "python":
            function = node.attributes["function"]
            raise ValueError(
                f"{self._caller}: expected layers that ONNX can hold, got the Python activation {function!r}"
            )
        operator = PRIMITIVES[node.primitive].onnx
        assert operator is not None, f"{node.primitive} has no operator in the table, and no method here"
        attributes = dict(zip(["alpha"], node.attributes.values(), strict=False))  # ONNX's name for all of them
        self._operator(operator, [*inputs, *arrays], output, **attributes, **SET.get(node.primitive, {}))

    def _batch_norm(self, node: Node, x: str, *rest: str) -> None:
        eps, momentum = node.attributes["eps"], node.attributes["momentum"]
        self._operator("BatchNormalization", [x, *rest[:-1]], rest[-1], epsilon=eps, momentum=1 - momentum)

    def _layer_norm(self, node: Node, x: str, gamma: str, beta: str, y: str) -> None:
        self._operator("LayerNormalization", [x, gamma, beta], y, axis=-1, epsilon=node.attributes["eps"])

    def _dropout(self, node: Node, x: str, y: str) -> None:
        rate = self._constant(f"{y}.rate", np.array(node.attributes["rate"], "float32"))
        self._operator("Dropout", [x, rate], y)

    def _standardize(self, node: Node, x: str, mean: str, scale: str, y: str) -> None:
        self._operator("Sub", [x, mean], f"{y}.centred")
        self._operator("Mul", [f"{y}.centred", scale], y)

    def _columns(self, node: Node, x: str, y: str) -> None:
        first, width = int(node.attributes["first"]), self._widths[node.output]
        ends = {"starts": [first], "ends": [first + width], "axes": [1]}
        self._operator("Slice", [x, *(self._constant(f"{y}.{k}", np.array(v)) for k, v in ends.items())], y)

    def _concatenate(self, node: Node, a: str, b: str, y: str) -> None:
        self._operator("Concat", [a, b], y, axis=1)

    def _swish(self, node: Node, z: str, y: str) -> None:
        beta = self._constant(f"{y}.beta", np.array(node.attributes["beta"], self._model.dtype))
        self._learned_swish(node, z, beta, y)

    def _learned_swish(self, node: Node, z: str, a: str, y: str) -> None:
        self._operator("Mul", [z, a], f"{y}.scaled")
        self._operator("Sigmoid", [f"{y}.scaled"], f"{y}.gate")
        self._operator("Mul", [z, f"{y}.gate"], y)

    def _gelu_tanh(self, node: Node, z: str, y: str) -> None:
        self._operator("Gelu", [z], y, **SET["gelu_tanh"])

    def _hard_tanh(self, node: Node, z: str, y: str) -> None:
        ends = [self._constant(f"{y}.{end}", np.array(end, self._model.dtype)) for end in (-1, 1)]
        self._operator("Clip", [z, *ends], y)

    def _operator(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))

    def _constant(self, name: str, array: np.ndarray[Any, Any]) -> str:
        self._constants[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def _name(self, buffer: int) -> str:
        return self._names.get(buffer, f"buffer{buffer}")
