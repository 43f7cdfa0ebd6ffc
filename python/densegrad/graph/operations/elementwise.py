"""Arithmetic and functions of each element; two operands broadcast as in NumPy.

Where f has a kink the derivative is that of one side, or the mean of both: 0 at 0 for ``abs``, a half for each of two
equal operands of ``maximum`` and ``minimum``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from densegrad._base.types import FloatArray
from densegrad.graph.core.primitives import Derivatives, Flat, Primitive, cast, pair
from densegrad.graph.core.tensor import Tensor, as_tensor, new
from densegrad.graph.operations.reductions import broadcast_to, unbroadcast

Slope: TypeAlias = "Callable[..., Tensor] | int"


class Elementwise(Primitive):
    """y = f(a, b, ...) of each element, with broadcasting: both rules multiply by the slopes dy/da, dy/db, ...

    Args:
        name, value: As ``Primitive``.
        slopes: For each input a function of y, the inputs and the attributes, or a number.
    """

    def __init__(self, name: str, value: Callable[..., FloatArray], *slopes: Slope) -> None:
        super().__init__(name, value, "shapes that broadcast" if len(slopes) > 1 else "numbers")
        self.slopes = slopes

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """dy = da dy/da + db dy/db + ..."""
        dy: Tensor | None = None
        for slope, dx in zip(self.slopes, tangents, strict=True):
            if dx is not None:
                term = self.scaled(dx, slope, y, inputs, attributes)
                dy = term if dy is None else dy + term
        return dy if dy is None or dy.shape == y.shape else broadcast_to(dy, y.shape)

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """da = dy dy/da, summed over the axes along which a was repeated."""
        return [
            unbroadcast(self.scaled(dy, slope, y, inputs, attributes), x._array.shape) if need else None
            for need, slope, x in zip(needed, self.slopes, inputs, strict=True)
        ]

    def refusal(self, error: Exception, inputs: Sequence[Tensor], attributes: dict[str, Any]) -> Exception:
        """About shapes, if they are to blame."""
        try:
            np.broadcast_shapes(*(x.shape for x in inputs))
        except ValueError:
            return super().refusal(error, inputs, attributes)
        return error

    def scaled(
        self, d: Tensor, slope: Slope, y: Tensor, inputs: Sequence[Tensor], attributes: dict[str, Any]
    ) -> Tensor:
        """Tangent or cotangent, times the slope."""
        if isinstance(slope, int):
            return d if slope == 1 else -d
        return d * slope(y, *inputs, **attributes)


def _sides(relation: np.ufunc) -> tuple[Slope, Slope]:
    return (lambda y, a, b: _share(relation, y, a, b)), (lambda y, a, b: _share(relation, y, b, a))


def _share(relation: np.ufunc, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """1 where a was chosen, 1/2 where both are equal, else 0."""
    return 0.5 * (cast(compare(relation, a, b), y.dtype) + 1 - cast(compare(relation, b, a), y.dtype))


def _power_slope(y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """b a^(b - 1), and 0 where b = 0, even at a = 0."""
    return b * power(a, where(b == 0, 1, b - 1))


def _exponent_slope(y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a^b log a, and 0 at a = 0."""
    return y * log(where(a == 0, 1, a))


_RELATIONS: dict[np.ufunc, Flat] = {
    f: Flat(f.__name__, f, "shapes that broadcast")
    for f in (np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal)
}
_add = Elementwise("add", np.add, 1, 1)
_subtract = Elementwise("subtract", np.subtract, 1, -1)
_multiply = Elementwise("multiply", np.multiply, lambda y, a, b: b, lambda y, a, b: a)
_divide = Elementwise("divide", np.true_divide, lambda y, a, b: 1 / b, lambda y, a, b: -y / b)
_power = Elementwise("power", np.power, _power_slope, _exponent_slope)
_maximum = Elementwise("maximum", np.maximum, *_sides(np.greater))
_minimum = Elementwise("minimum", np.minimum, *_sides(np.less))
_negative = Elementwise("negative", np.negative, -1)
_abs = Elementwise("abs", np.abs, lambda y, x: sign(x))
_sign = Flat("sign", np.sign)
_exp = Elementwise("exp", np.exp, lambda y, x: y)
_log = Elementwise("log", np.log, lambda y, x: 1 / x)
_sqrt = Elementwise("sqrt", np.sqrt, lambda y, x: 0.5 / y)
_sin = Elementwise("sin", np.sin, lambda y, x: cos(x))
_cos = Elementwise("cos", np.cos, lambda y, x: -sin(x))


class _Where(Primitive):
    """y = a where the mask is true, b elsewhere; what was not chosen has no share, even where it is not finite."""

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """dy = where(mask, da, db)."""
        zero = new(np.zeros((), y.dtype))
        da, db = (zero if d is None else d for d in tangents[1:])
        dy = _where(inputs[0], da, db)
        return dy if dy.shape == y.shape else broadcast_to(dy, y.shape)

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """da = where(mask, dy, 0), db = where(mask, 0, dy)."""
        mask, a, b = inputs
        zero = new(np.zeros((), y.dtype))
        da = unbroadcast(_where(mask, dy, zero), a.shape) if needed[1] else None
        db = unbroadcast(_where(mask, zero, dy), b.shape) if needed[2] else None
        return [None, da, db]


_where = _Where("where", np.where, "shapes that broadcast")


def add(a: Any, b: Any) -> Tensor:
    """a + b."""
    return _add(*pair("add", a, b))


def subtract(a: Any, b: Any) -> Tensor:
    """a - b."""
    return _subtract(*pair("subtract", a, b))


def multiply(a: Any, b: Any) -> Tensor:
    """a b, element by element."""
    return _multiply(*pair("multiply", a, b))


def divide(a: Any, b: Any) -> Tensor:
    """a / b."""
    return _divide(*pair("divide", a, b))


def power(a: Any, b: Any) -> Tensor:
    """a^b; the derivative by b takes the logarithm of a."""
    return _power(*pair("power", a, b))


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of two, element by element."""
    return _maximum(*pair("maximum", a, b))


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of two, element by element."""
    return _minimum(*pair("minimum", a, b))


def clip(x: Any, low: Any, high: Any) -> Tensor:
    """min(max(x, low), high).

    >>> import densegrad as dg
    >>> dg.graph.clip([-2.0, 0.5, 3.0], 0.0, 1.0)
    Tensor([0. , 0.5, 1. ])
    """
    return minimum(maximum(x, low), high)


def where(mask: Any, a: Any, b: Any) -> Tensor:
    """a where the mask is true, b elsewhere, with broadcasting.

    >>> import densegrad as dg
    >>> dg.graph.grad(lambda x: dg.graph.where(x > 0, dg.graph.sqrt(x), 0.0))(4.0)
    Tensor(0.25)
    """
    chosen = as_tensor("where", mask)
    if chosen.dtype != bool:
        raise TypeError(f"where: expected a mask of booleans, got {chosen.dtype}; compare, as in x > 0")
    return _where(chosen, *pair("where", a, b))


def negative(x: Any) -> Tensor:
    """-x."""
    return _negative(as_tensor("negative", x))


def abs(x: Any) -> Tensor:
    """|x|; the derivative at 0 is taken as 0."""
    return _abs(as_tensor("abs", x))


def exp(x: Any) -> Tensor:
    """e^x."""
    return _exp(as_tensor("exp", x))


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    return _log(as_tensor("log", x))


def sqrt(x: Any) -> Tensor:
    """The square root; its derivative at 0 is infinite."""
    return _sqrt(as_tensor("sqrt", x))


def sin(x: Any) -> Tensor:
    """The sine of x in radians."""
    return _sin(as_tensor("sin", x))


def cos(x: Any) -> Tensor:
    """The cosine of x in radians."""
    return _cos(as_tensor("cos", x))


def sign(x: Any) -> Tensor:
    """-1, 0 or 1; its derivative is taken as 0."""
    return _sign(as_tensor("sign", x))


def compare(relation: np.ufunc, a: Any, b: Any) -> Tensor:
    """A mask, through which no derivative goes."""
    return _RELATIONS[relation](*pair(relation.__name__, a, b))


# What answers where NumPy's function of that name is called with a Tensor; other modules add theirs.
UFUNCS: dict[str, Callable[..., Tensor]] = {
    **{f.__name__: f for f in (add, subtract, multiply, divide, power, maximum, minimum)},
    **{f.__name__: f for f in (negative, sign, exp, log, sqrt, sin, cos)},
    **{f.__name__: partial(compare, f) for f in _RELATIONS},
    "absolute": abs,
}
