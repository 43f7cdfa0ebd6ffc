"""Primitives of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from densegrad._base.types import FloatArray
from densegrad.graph.core.primitives import Derivatives, Primitive, cast
from densegrad.graph.core.tensor import Tensor, as_tensor, new

Rule = Callable[..., Any]


class CustomPrimitive:
    """A function made a primitive: to be called with Tensors, and given its rules."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__name__ = str(getattr(function, "__name__", "primitive"))
        self.__doc__ = function.__doc__
        self._primitive = _WithRules(self.__name__, function)

    def __call__(self, *inputs: Any, **attributes: Any) -> Tensor:
        """The value; positional arguments are the inputs, keywords the attributes."""
        return self._primitive(*(as_tensor(self.__name__, x) for x in inputs), **attributes)

    def vjp(self, rule: Rule) -> Rule:
        """Take a rule for reverse mode."""
        self._primitive.rules["vjp"] = rule
        return rule

    def jvp(self, rule: Rule) -> Rule:
        """Take a rule for forward mode."""
        self._primitive.rules["jvp"] = rule
        return rule

    def __repr__(self) -> str:
        return f"<primitive {self.__name__}, rules: {', '.join(self._primitive.rules) or 'none'}>"


class MissingRuleError(TypeError):
    """A primitive has no rule for the mode that was asked for."""


class _WithRules(Primitive):
    """A primitive whose function and rules are checked at each use."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        super().__init__(name, self._checked_value)
        self._function = function
        self.rules: dict[str, Rule] = {}

    def _checked_value(self, *arrays: FloatArray, **attributes: Any) -> FloatArray:
        y = self._function(*(new(a).numpy() for a in arrays), **attributes)
        if type(y) is Tensor:
            raise TypeError(f"{self.name}: expected its function to give an array, got a Tensor; it is given arrays")
        return as_tensor(self.name, y)._array

    def jvp(self, tangents: Derivatives, y: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor | None:
        """As the rule says; a tangent that is zero is made."""
        rule = self._rule("jvp", "forward mode (jvp, jacobian_forward, hvp)")
        made = tuple(new(np.zeros_like(x._array)) if d is None else d for d, x in zip(tangents, inputs, strict=True))
        return self._fitting("jvp", rule(made, y, *inputs, **attributes), y)

    def vjp(self, needed: Sequence[bool], dy: Tensor, y: Tensor, *inputs: Tensor, **attributes: Any) -> Derivatives:
        """As the rule says."""
        rule = self._rule("vjp", "reverse mode (grad, vjp, jacobian)")
        found = rule(dy, y, *inputs, **attributes)
        parts = found if isinstance(found, tuple) else (found,)
        if len(parts) != len(inputs):
            raise ValueError(f"{self.name}.vjp: expected {len(inputs)} cotangents, one an input, got {len(parts)}")
        return [self._fitting("vjp", d, x) if need else None for need, d, x in zip(needed, parts, inputs, strict=True)]

    def _rule(self, name: str, mode: str) -> Rule:
        if name not in self.rules:
            raise MissingRuleError(
                f"{self.name}: expected a {name} rule for {mode}, got {', '.join(self.rules) or 'none'}; "
                f"write @{self.name}.{name} above one"
            )
        return self.rules[name]

    def _fitting(self, rule: str, value: Any, like: Tensor) -> Tensor | None:
        """The result of a rule, which has the shape and the dtype of its Tensor."""
        if value is None:
            return None
        d = as_tensor(self.name, value)
        if d.shape != like.shape:
            raise ValueError(f"{self.name}.{rule}: expected shape {like.shape}, got {d.shape}")
        return cast(d, like.dtype)


def primitive(function: Callable[..., Any]) -> CustomPrimitive:
    """Make a function of arrays a primitive, with derivatives that you give: a decorator.

    The function takes arrays that it cannot write to, and keyword attributes, and gives an array. Its rules take
    Tensors and give Tensors; written in operations of ``dg.graph``, they can be differentiated in turn. y is what came
    out.

    - ``@f.vjp``, for reverse mode: ``(dy, y, *inputs, **attributes)`` to the cotangent of each input, a tuple where
      there are several; ``None`` stands for zero.
    - ``@f.jvp``, for forward mode: ``(tangents, y, *inputs, **attributes)`` to the tangent of y, where ``tangents`` is
      a tuple with one for each input.

    >>> import numpy as np
    >>> import densegrad as dg
    >>> @dg.graph.primitive
    ... def arctan(x):
    ...     return np.arctan(x)
    >>> @arctan.vjp
    ... def _(dy, y, x):
    ...     return dy / (1 + x * x)
    >>> dg.graph.grad(arctan)(1.0)
    Tensor(0.5)
    """
    return CustomPrimitive(function)
