"""Wires between layers: symbolic values, which say what feeds what before there are any numbers.

A layer that is called with a value gives the next one. Each value knows its width and what it comes from, so nothing
can feed itself, and the order of their making is one in which they can be computed.
"""

from __future__ import annotations

import itertools
from typing import Any

from densegrad._base import check
from densegrad._base.configured import Configured

_births = itertools.count()


class Value:
    """What a layer, or a join of several values, gives for each row.

    Attributes:
        width: Number of columns.
        maker: The layer, the name of the join, or ``None`` for an ``Input``.
        sources: What it is made from.
        birth: Later for later values.
    """

    def __init__(self, width: int, maker: Any, sources: tuple[Value, ...]) -> None:
        self.width = width
        self.maker = maker
        self.sources = sources
        self.birth = next(_births)

    def __repr__(self) -> str:
        made = self.maker if isinstance(self.maker, str) else type(self.maker).__name__
        return f"<value of width {self.width}, made by {made}>"


class Input(Configured, Value):
    """A symbolic input of a ``Model``: rows of ``width`` numbers.

    Args:
        width: Features of a row, at least 1.
        name: By which data may be given in a dict; by default "input" and its place among the inputs.

    >>> import densegrad as dg
    >>> dg.Dense(32, "relu")(dg.Input(8)).width
    32
    """

    def __init__(self, width: int, name: str | None = None) -> None:
        super().__init__(check.count("Input", "width", width), None, ())
        if name is not None and not isinstance(name, str):
            raise TypeError(f"Input: expected name as a string, got {name!r}")
        self.name = name


def add(*values: Value) -> Value:
    """y = a + b + ..., values of one width.

    >>> import densegrad as dg
    >>> h = dg.Dense(16, "relu")(dg.Input(8))
    >>> dg.add(h, dg.Dense(16)(h)).width
    16
    """
    _check_values("add", values)
    widths = [value.width for value in values]
    if len(set(widths)) > 1:
        raise ValueError(f"add: expected values of one width, got {' and '.join(map(str, widths))}")
    result = values[0]
    for value in values[1:]:
        result = Value(result.width, "add", (result, value))
    return result


def concatenate(*values: Value) -> Value:
    """y = (a, b, ...), side by side.

    >>> import densegrad as dg
    >>> dg.concatenate(dg.Input(8), dg.Input(3)).width
    11
    """
    _check_values("concatenate", values)
    result = values[0]
    for value in values[1:]:
        result = Value(result.width + value.width, "concatenate", (result, value))
    return result


def check_value(who: str, value: object) -> Value:
    """Refuse what is no symbolic value."""
    if not isinstance(value, Value):
        raise TypeError(f"{who}: expected a symbolic value such as dg.Input(8), got {type(value).__name__}")
    return value


def _check_values(who: str, values: tuple[object, ...]) -> None:
    if len(values) < 2:
        raise ValueError(f"{who}: expected at least 2 values, got {len(values)}")
    for value in values:
        check_value(who, value)


def needed_for(outputs: tuple[Value, ...]) -> list[Value]:
    """The values that some depend on, and these, in an order in which they can be computed."""
    found = {id(value): value for value in outputs}
    waiting = list(found.values())
    while waiting:
        for source in waiting.pop().sources:
            if id(source) not in found:
                found[id(source)] = source
                waiting.append(source)
    return sorted(found.values(), key=lambda value: value.birth)
