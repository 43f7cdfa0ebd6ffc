"""The rows of the table as functions."""

from __future__ import annotations

from collections.abc import Callable

from densegrad._base.primitives import PrimitiveRow
from densegrad.graph.core.tensor import Tensor


def defaults_of(row: PrimitiveRow) -> dict[str, float]:
    """The attributes that nobody gave."""
    return {a.name: float(a.default) for a in row.attributes}


def named(function: Callable[..., Tensor], row: PrimitiveRow, formula: str, room: str) -> Callable[..., Tensor]:
    """The function, with its row's name, what it computes, and the module that tells more."""
    keywords = ", ".join(f"{name}={value:g}" for name, value in defaults_of(row).items())
    function.__name__ = function.__qualname__ = row.name
    given = f", with {keywords} unless given" if keywords else ""
    function.__doc__ = f"{formula}{given}; ``densegrad.{room}`` says when to take it."
    return function
