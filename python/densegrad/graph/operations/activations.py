"""The library's activations as functions of Tensors: value and derivative by the kernels of the active backend.

Where a traversal is itself recorded, an activation's slope, written in operations on Tensors, takes the kernel's place.
Each row of the table has its line here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from densegrad._base import check
from densegrad._base.primitives import PRIMITIVES
from densegrad._base.types import FloatArray
from densegrad._plan import backend
from densegrad.graph.core.primitives import Derivatives, Primitive, cast
from densegrad.graph.core.recording import here
from densegrad.graph.core.tensor import Tensor, as_tensor, new
from densegrad.graph.operations.elementwise import UFUNCS, Elementwise, abs, exp, where
from densegrad.graph.operations.reductions import sum
from densegrad.graph.operations.vocabulary import defaults_of, named


def _forward(name: str) -> Callable[..., FloatArray]:
    def forward(z: FloatArray, **attributes: float) -> FloatArray:
        y: FloatArray = backend.active().activation_forward(name, _rows(z), **attributes)
        return y if z.ndim else y.reshape(())

    return forward


def _backward(name: str, dy: Tensor, z: Tensor, y: Tensor, attributes: dict[str, Any]) -> Tensor:
    arrays = [_rows(t._array) for t in (dy, z, y)]
    dz: FloatArray = backend.active().activation_backward(name, *arrays, **attributes)
    return new(dz if z.ndim else dz.reshape(()))


def _rows(z: FloatArray) -> FloatArray:
    """As the kernels read it: contiguous, with at least one axis."""
    return z if z.ndim and z.flags.c_contiguous else np.ascontiguousarray(z)


class _Activation(Elementwise):
    """y = f(z); tangent and cotangent go through the same kernel."""

    in_table = True

    def scaled(self, d: Tensor, slope: Any, y: Tensor, inputs: Sequence[Tensor], attributes: dict[str, Any]) -> Tensor:
        """The kernel where nobody records, else d times the slope."""
        if here.paused:
            return _backward(self.name, d, inputs[0], y, attributes)
        return super().scaled(d, slope, y, inputs, attributes)


class _RowActivation(Primitive):
    """y = f(z) of each row."""

    in_table = True

    def __init__(self, name: str, jvp: Callable[[Tensor, Tensor], Tensor], vjp: Callable[[Tensor, Tensor], Tensor]):
        super().__init__(name, self._checked, "at least one axis, the last not empty")
        self._forward = _forward(name)
        self._rules = jvp, vjp

    def _checked(self, z: FloatArray) -> FloatArray:
        if not z.ndim or not z.shape[-1]:
            raise ValueError
        return self._forward(z)

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        (dz,) = tangents
        return None if dz is None else self._rules[0](dz, y)

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        if here.paused:
            return [_backward(self.name, dy, inputs[0], y, attributes)]
        return [self._rules[1](dy, y)]


def _public(name: str, primitive: Primitive) -> Callable[..., Tensor]:
    """The function of a primitive, with the table's attributes as its keywords."""
    row = PRIMITIVES[name]
    defaults = defaults_of(row)

    def activation(z: Any, **attributes: float) -> Tensor:
        z = as_tensor(name, z)
        if z._array.dtype.kind != "f":
            z = cast(z, "float64")
        return primitive(z, **(check.attributes(name, row, attributes) if attributes else defaults))

    return named(activation, row, row.formula, "activations")


def _by_element(name: str, slope: Callable[..., Tensor] | int) -> Callable[..., Tensor]:
    """An activation with its slope dy/dz, a function of y, z and the attributes."""
    return _public(name, _Activation(name, _forward(name), slope))


def _by_row(
    name: str, jvp: Callable[[Tensor, Tensor], Tensor], vjp: Callable[[Tensor, Tensor], Tensor]
) -> Callable[..., Tensor]:
    """An activation of rows with its rules: dy from (dz, y), and dz from (dy, y)."""
    return _public(name, _RowActivation(name, jvp, vjp))


def _mask(y: Tensor, where_one: Tensor) -> Tensor:
    return cast(where_one, y.dtype)


def _softmax_rule(d: Tensor, y: Tensor) -> Tensor:
    """y_j (d_j - sum_k d_k y_k): the Jacobian is symmetric."""
    return y * (d - sum(d * y, -1, keepdims=True))


def _swish_slope(y: Tensor, z: Tensor, beta: float) -> Tensor:
    s = sigmoid(beta * z)
    return s * (1 + beta * z * (1 - s))


def _gelu_slope(y: Tensor, z: Tensor) -> Tensor:
    return _normal_cdf(z) + z * _normal_density(z)


def _gelu_tanh_slope(y: Tensor, z: Tensor) -> Tensor:
    c = math.sqrt(8 / math.pi)
    s = sigmoid(c * (z + 0.044715 * z**3))
    return s * (1 + z * (1 - s) * c * (1 + 3 * 0.044715 * z**2))


def _mish_slope(y: Tensor, z: Tensor) -> Tensor:
    w = tanh(softplus(z))
    return w + z * (1 - w * w) * sigmoid(z)


def _normal_density(z: Tensor) -> Tensor:
    return exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _normal_cdf_value(z: FloatArray) -> FloatArray:
    erfc = np.frompyfunc(math.erfc, 1, 1)
    return np.asarray(erfc(z * -math.sqrt(0.5)) / 2, z.dtype)


_normal_cdf = Elementwise("normal_cdf", _normal_cdf_value, lambda y, z: _normal_density(z))

_ABOVE, _BELOW = 1.0507009873554804934, 1.7580993408473768600  # SELU's scale, and scale alpha

identity = _by_element("identity", 1)
sigmoid = _by_element("sigmoid", lambda y, z: y * (1 - y))
tanh = _by_element("tanh", lambda y, z: (1 - y) * (1 + y))
relu = _by_element("relu", lambda y, z: _mask(y, z > 0))
leaky_relu = _by_element("leaky_relu", lambda y, z, slope: where(z > 0, new(np.ones((), y.dtype)), slope))
elu = _by_element("elu", lambda y, z, alpha: where(z > 0, 1, y + alpha))
selu = _by_element("selu", lambda y, z: where(z > 0, _ABOVE, y + _BELOW))
softplus = _by_element("softplus", lambda y, z: sigmoid(z))
swish = _by_element("swish", _swish_slope)
silu = swish
gelu = _by_element("gelu", _gelu_slope)
gelu_tanh = _by_element("gelu_tanh", _gelu_tanh_slope)
mish = _by_element("mish", _mish_slope)
softsign = _by_element("softsign", lambda y, z: (1 - abs(y)) ** 2)
hard_sigmoid = _by_element("hard_sigmoid", lambda y, z: _mask(y, abs(z) < 3) / 6)
hard_tanh = _by_element("hard_tanh", lambda y, z: _mask(y, abs(z) < 1))
hard_swish = _by_element("hard_swish", lambda y, z: where(abs(z) < 3, (z + 1.5) / 3, _mask(y, z >= 3)))
softmax = _by_row("softmax", _softmax_rule, _softmax_rule)
log_softmax = _by_row(
    "log_softmax",
    lambda dz, y: dz - sum(exp(y) * dz, -1, keepdims=True),
    lambda dy, y: dy - exp(y) * sum(dy, -1, keepdims=True),
)
UFUNCS["tanh"] = tanh
