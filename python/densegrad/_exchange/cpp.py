"""Models as one C++17 header: weights as constants, and a forward function for a row that needs only ``<cmath>``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from densegrad._base.atomic_file import write_atomically
from densegrad._base.plan import Node, Plan
from densegrad._base.version import __version__
from densegrad._model_core import ModelCore

_TYPES = {"float32": "float", "float64": "double"}
_TAKEN = (  # what no namespace may be called
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t class compl const "
    "const_cast constexpr continue decltype default delete do double dynamic_cast else enum explicit export extern "
    "false float for friend goto if inline int long main mutable namespace new noexcept not not_eq nullptr operator or "
    "or_eq private protected public register reinterpret_cast return short signed sizeof static static_assert "
    "static_cast std struct switch template this thread_local throw true try typedef typeid typename union unsigned "
    "using virtual void volatile wchar_t while xor xor_eq"
)
_EXPRESSIONS: Mapping[str, str] = {  # y of z, element by element
    "identity": "z",
    "dropout": "z",
    "sigmoid": "1 / (1 + std::exp(-z))",
    "tanh": "std::tanh(z)",
    "relu": "z < 0 ? 0 : z",
    "leaky_relu": "z > 0 ? z : {slope} * z",
    "elu": "z > 0 ? z : {alpha} * std::expm1(z)",
    "selu": "z > 0 ? Number(1.0507009873554805) * z : Number(1.7580993408473768) * std::expm1(z)",
    "softplus": "(z > 0 ? z : 0) + std::log1p(std::exp(-std::fabs(z)))",
    "swish": "z / (1 + std::exp(-{beta} * z))",
    "gelu": "z / 2 * std::erfc(Number(-0.7071067811865476) * z)",
    "gelu_tanh": "z / (1 + std::exp(Number(-1.5957691216057308) * (z + Number(0.044715) * z * z * z)))",
    "mish": "z * std::tanh((z > 0 ? z : 0) + std::log1p(std::exp(-std::fabs(z))))",
    "softsign": "z / (1 + std::fabs(z))",
    "hard_sigmoid": "(z < -3 ? 0 : z > 3 ? 6 : z + 3) / 6",
    "hard_tanh": "z < -1 ? -1 : z > 1 ? 1 : z",
    "hard_swish": "z * (z < -3 ? 0 : z > 3 ? 6 : z + 3) / 6",
}
_CALLS: Mapping[str, str] = {  # of a function below, for what is more than an expression
    "dense": "dense({x}, {in_features}, {w}, {b}, {width}, {y});",
    "add": "add({x}, {x2}, {width}, {y});",
    "columns": "columns({x}, {first}, {width}, {y});",
    "concatenate": "concatenate({x}, {in_features}, {x2}, {width}, {y});",
    "standardize": "affine({x}, {mean}, {scale}, nullptr, {width}, {y});",
    "batch_norm": "affine({x}, {mean}, {scale}, {beta}, {width}, {y});",
    "layer_norm": "layer_norm({x}, {gamma}, {beta}, {eps}, {width}, {y});",
    "prelu": "prelu({x}, {a}, {step}, {width}, {y});",
    "learned_swish": "learned_swish({x}, {a}, {step}, {width}, {y});",
    "softmax": "softmax({x}, {width}, {y});",
    "log_softmax": "log_softmax({x}, {width}, {y});",
}
_APART = ("dense", "concatenate")  # what writes elsewhere than it reads
_FUNCTIONS: Mapping[str, str] = {
    "each": """\
// y = f(z), element by element.
template <class F>
void each(const Number* z, int n, Number* y, F f) {
  for (int i = 0; i < n; ++i) y[i] = f(z[i]);
}
""",
    "dense": """\
// z = x w + b, w as (units, inputs); eight sums for each unit, whose rounding stays small.
inline void dense(const Number* x, int inputs, const Number* w, const Number* b, int units, Number* z) {
  for (int j = 0; j < units; ++j, w += inputs) {
    Number s[8] = {};
    int i = 0;
    for (; i + 8 <= inputs; i += 8)
      for (int k = 0; k < 8; ++k) s[k] += x[i + k] * w[i + k];
    for (int k = 0; i + k < inputs; ++k) s[k] += x[i + k] * w[i + k];
    z[j] = ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7])) + (b ? b[j] : 0);
  }
}
""",
    "add": """\
// y = a + b.
inline void add(const Number* a, const Number* b, int n, Number* y) {
  for (int i = 0; i < n; ++i) y[i] = a[i] + b[i];
}
""",
    "columns": """\
// y_j = x_(first + j).
inline void columns(const Number* x, int first, int n, Number* y) {
  for (int i = 0; i < n; ++i) y[i] = x[first + i];
}
""",
    "concatenate": """\
// y = (a, b), side by side.
inline void concatenate(const Number* a, int count, const Number* b, int n, Number* y) {
  for (int i = 0; i < n; ++i) y[i] = i < count ? a[i] : b[i - count];
}
""",
    "affine": """\
// y = (x - mean) scale + shift.
inline void affine(const Number* x, const Number* mean, const Number* scale, const Number* shift, int n, Number* y) {
  for (int i = 0; i < n; ++i) y[i] = (x[i] - mean[i]) * scale[i] + (shift ? shift[i] : 0);
}
""",
    "layer_norm": """\
// y = (x - mean) / sqrt(variance + eps) gamma + beta, mean and variance over the row.
inline void layer_norm(const Number* x, const Number* gamma, const Number* beta, Number eps, int n, Number* y) {
  Number mean = 0, variance = 0;
  for (int i = 0; i < n; ++i) mean += x[i] / Number(n);
  for (int i = 0; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean) / Number(n);
  const Number inverse = 1 / std::sqrt(variance + eps);
  for (int i = 0; i < n; ++i) y[i] = (x[i] - mean) * inverse * gamma[i] + beta[i];
}
""",
    "prelu": """\
// y = z where z > 0, else a z; one a for all where step is 0.
inline void prelu(const Number* z, const Number* a, int step, int n, Number* y) {
  for (int i = 0; i < n; ++i) y[i] = z[i] > 0 ? z[i] : a[i * step] * z[i];
}
""",
    "learned_swish": """\
// y = z / (1 + exp(-a z)); one a for all where step is 0.
inline void learned_swish(const Number* z, const Number* a, int step, int n, Number* y) {
  for (int i = 0; i < n; ++i) y[i] = z[i] / (1 + std::exp(-a[i * step] * z[i]));
}
""",
    "softmax": """\
// y_j = exp(z_j) / sum_k exp(z_k).
inline void softmax(const Number* z, int n, Number* y) {
  Number largest = z[0], sum = 0;
  for (int i = 1; i < n; ++i) largest = z[i] > largest ? z[i] : largest;
  for (int i = 0; i < n; ++i) sum += y[i] = std::exp(z[i] - largest);
  for (int i = 0; i < n; ++i) y[i] /= sum;
}
""",
    "log_softmax": """\
// y_j = z_j - log(sum_k exp(z_k)).
inline void log_softmax(const Number* z, int n, Number* y) {
  Number largest = z[0], sum = 0;
  for (int i = 1; i < n; ++i) largest = z[i] > largest ? z[i] : largest;
  for (int i = 0; i < n; ++i) sum += std::exp(z[i] - largest);
  for (int i = 0; i < n; ++i) y[i] = z[i] - largest - std::log(sum);
}
""",
}
_HEADER = """\
// {inputs} inputs, {outputs} outputs, {parameters} parameters; written by densegrad {version} in C++17.
#pragma once

#include <cmath>

namespace {name} {{

inline constexpr int kInputs = {inputs};
inline constexpr int kOutputs = {outputs};

namespace detail {{

using Number = {type};

{arrays}
{functions}
}}  // namespace detail

// The outputs for one row: x has kInputs numbers, y kOutputs, and they do not overlap. Never allocates or throws;
// takes {bytes} bytes of stack, so that threads may call it at once.
inline void forward(const {type}* x, {type}* y) noexcept {{
  using namespace detail;
{body}
}}

}}  // namespace {name}
"""


def to_cpp(model: ModelCore, path: str | os.PathLike[str] | None = None, name: str = "model") -> str:
    """``model.to_cpp``: the header's text, written to ``path`` where one is given."""
    caller = f"{type(model).__name__}.to_cpp"
    if not isinstance(name, str):
        raise TypeError(f"{caller}: expected name as text, got {type(name).__name__}")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or "__" in name or name in _TAKEN.split():
        raise ValueError(f"{caller}: expected a name that a C++ namespace can have, got {name!r}")
    model.require_built("to_cpp")
    header = _Header(caller, model)
    text = header.text(name)
    if path is not None:
        write_atomically(path, text.encode())
    return text


class _Header:
    """Needs of the plan's nodes: arrays, functions, and a statement each."""

    def __init__(self, caller: str, model: ModelCore) -> None:
        self._caller, self._model, self._plan = caller, model, model.lower()
        self._places, self._sizes = _places(self._plan)
        self._arrays: dict[str, str] = {}  # by name: layers may share them
        self._functions: set[str] = set()
        self._body = [f"  Number v{place}[{size}];" for place, size in enumerate(self._sizes)]
        for node in self._plan.nodes:
            self._add(node)

    def text(self, name: str) -> str:
        """The whole header."""
        plan, kind = self._plan, _TYPES[self._model.dtype]
        return _HEADER.format(
            name=name,
            version=__version__,
            type=kind,
            inputs=plan.widths[plan.input],
            outputs=plan.widths[plan.output],
            parameters=plan.parameter_count,
            bytes=sum(self._sizes) * np.dtype(self._model.dtype).itemsize,
            arrays="\n".join(self._arrays.values()),
            functions="\n".join(text for name, text in _FUNCTIONS.items() if name in self._functions),
            body="\n".join(self._body),
        )

    def _add(self, node: Node) -> None:
        x, y = self._places[node.inputs[0]], self._places[node.output]
        width = self._plan.widths[node.output]
        attributes = {name: self._literal(node, value) for name, value in node.attributes.items()}
        if node.primitive == "columns":
            attributes = {"first": str(int(node.attributes["first"]))}
        if node.primitive in _EXPRESSIONS:
            expression = _EXPRESSIONS[node.primitive].format(**attributes)
            if expression != "z" or x != y:
                self._statement(f"each({x}, {width}, {y}, [](Number z) -> Number {{ return {expression}; }});")
            return
        words = {**attributes, **self._constants(node), "x": x, "x2": self._places[node.inputs[-1]]}
        words |= {"in_features": self._plan.widths[node.inputs[0]], "width": width, "y": y}
        self._statement(_CALLS[node.primitive].format_map(words))

    def _statement(self, call: str) -> None:
        self._functions.add(call.partition("(")[0])
        self._body.append(f"  {call}")

    def _constants(self, node: Node) -> dict[str, Any]:
        """The names of a node's arrays in the header, as they are used there."""
        arrays = {slot.name.rpartition(".")[2]: self._model.view(slot) for slot in node.slots}
        words: dict[str, Any] = {"b": "nullptr"}
        if node.primitive == "dense":
            arrays["w"] = arrays["w"].T
        if node.primitive == "batch_norm":
            eps = arrays["gamma"].dtype.type(node.attributes["eps"])
            with np.errstate(all="ignore"):
                arrays["scale"] = arrays.pop("gamma") / np.sqrt(arrays.pop("variance") + eps)
        if "a" in arrays:
            words["step"] = int(arrays["a"].size > 1)
        for name, array in arrays.items():
            words[name] = self._array(f"{node.slots[0].name.rpartition('.')[0]}.{name}", array)
        return words

    def _array(self, name: str, array: np.ndarray[Any, Any]) -> str:
        if not np.isfinite(array).all():
            raise ValueError(f"{self._caller}: expected finite parameters, got NaN or infinity in {name}")
        numbers = [f"{number}{self._suffix}" for number in array.astype(str).ravel()]
        rows = [", ".join(numbers[first : first + 8]) for first in range(0, len(numbers), 8)]
        name = name.replace(".", "_")
        text = ",\n    ".join(rows)
        self._arrays[name] = f"inline constexpr Number {name}[{len(numbers)}] = {{\n    {text}}};\n"
        return name

    def _literal(self, node: Node, value: Any) -> str:
        if node.primitive == "python":
            raise ValueError(f"{self._caller}: expected layers of densegrad, got the Python activation {value!r}")
        return f"({np.dtype(self._model.dtype).type(value)}{self._suffix})"

    @property
    def _suffix(self) -> str:
        return "f" if self._model.dtype == "float32" else ""


def _places(plan: Plan) -> tuple[dict[int, str], list[int]]:
    """Where each buffer of a plan lies, and the sizes of those places; one is free again after its last reader.

    All but those of ``_APART`` may write where they read.
    """
    last = {buffer: index for index, node in enumerate(plan.nodes) for buffer in node.inputs}
    where = {plan.input: "x", plan.output: "y"}
    held: dict[int, int] = {}
    free: list[int] = []
    sizes: list[int] = []
    for index, node in enumerate(plan.nodes):
        done = [held.pop(buffer) for buffer in set(node.inputs) if buffer in held and last[buffer] == index]
        free, busy = (free, done) if node.primitive in _APART else (free + done, [])
        if node.output != plan.output:
            place = free.pop() if free else len(sizes)
            sizes += [0] if place == len(sizes) else []
            sizes[place] = max(sizes[place], plan.widths[node.output])
            where[node.output], held[node.output] = f"v{place}", place
        free += busy
    return where, sizes
