"""Activations by name: y = f(z) after a dense layer's linear part."""

from __future__ import annotations

from densegrad._primitives import PRIMITIVES, names

__all__ = ["available"]


def available() -> dict[str, str]:
    """Every activation with its formula."""
    return {name: PRIMITIVES[name].formula for name in names("activation")}
