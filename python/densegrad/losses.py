"""Losses by name: what training minimises."""

from __future__ import annotations

from typing import Any

from densegrad import _check, plan
from densegrad._primitives import PRIMITIVES, names

__all__ = ["available", "resolve"]


def available() -> dict[str, str]:
    """Every loss with its formula; p is the prediction, t the target, j counts the outputs."""
    return {name: PRIMITIVES[name].formula for name in names("loss")}


def resolve(who: str, loss: Any) -> plan.Loss:
    """The loss a user named; ``prediction`` is filled in when a model is lowered."""
    row = _check.primitive(who, "loss", loss)
    return plan.Loss(row.name, -1, _check.attributes(who, row, {}))
