"""Wires between layers: symbolic tensors, which say what feeds what before there are any numbers.

A layer that is called with a value gives the next one. Each value knows its width and what it comes from, so nothing
can feed itself, and the order of their making is one in which they can be computed.
"""

from __future__ import annotations

import itertools
from typing import Any

from densegrad._base import check
from densegrad._base.configured import Configured

_births = itertools.count()


class SymbolicTensor:
    """A symbolic tensor: the output of a layer, or of a join of several values, for each row.

    Attributes:
        width: Number of columns.
        maker: The layer, the name of the join, or ``None`` for an ``Input``.
        sources: What it is made from.
        birth: Later for later values.
    """

    def __init__(self, width: int, maker: Any, sources: tuple[SymbolicTensor, ...]) -> None:
        self.width = width
        self.maker = maker
        self.sources = sources
        self.birth = next(_births)

    def __repr__(self) -> str:
        made = self.maker if isinstance(self.maker, str) else type(self.maker).__name__
        return f"<SymbolicTensor of width {self.width}, made by {made}>"


class Input(Configured, SymbolicTensor):
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


def add(*values: SymbolicTensor) -> SymbolicTensor:
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
        result = SymbolicTensor(result.width, "add", (result, value))
    return result


def concatenate(*values: SymbolicTensor) -> SymbolicTensor:
    """y = (a, b, ...), side by side.

    >>> import densegrad as dg
    >>> dg.concatenate(dg.Input(8), dg.Input(3)).width
    11
    """
    _check_values("concatenate", values)
    result = values[0]
    for value in values[1:]:
        result = SymbolicTensor(result.width + value.width, "concatenate", (result, value))
    return result


def check_value(caller: str, value: object) -> SymbolicTensor:
    """Refuse what is no symbolic tensor."""
    if not isinstance(value, SymbolicTensor):
        raise TypeError(f"{caller}: expected a symbolic tensor such as dg.Input(8), got {type(value).__name__}")
    return value


def _check_values(caller: str, values: tuple[object, ...]) -> None:
    if len(values) < 2:
        raise ValueError(f"{caller}: expected at least 2 values, got {len(values)}")
    for value in values:
        check_value(caller, value)


def needed_for(outputs: tuple[SymbolicTensor, ...]) -> list[SymbolicTensor]:
    """The values that some depend on, and these, in an order in which they can be computed."""
    found = {id(value): value for value in outputs}
    waiting = list(found.values())
    while waiting:
        for source in waiting.pop().sources:
            if id(source) not in found:
                found[id(source)] = source
                waiting.append(source)
    return sorted(found.values(), key=lambda value: value.birth)
