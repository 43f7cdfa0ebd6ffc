"""Nested lists, tuples and dicts of arrays: derivatives come back as arguments went in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def leaves(tree: Any) -> Iterator[Any]:
    """What is no list, tuple or dict, from first to last."""
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, list | tuple):
        yield tree
        return
    for part in tree:
        yield from leaves(part)


def rebuilt(tree: Any, replacements: Iterable[Any]) -> Any:
    """The same nesting with other leaves."""
    return _rebuilt(tree, iter(replacements))


def _rebuilt(tree: Any, rest: Iterator[Any]) -> Any:
    if isinstance(tree, dict):
        return {name: _rebuilt(part, rest) for name, part in tree.items()}
    if isinstance(tree, list):
        return [_rebuilt(part, rest) for part in tree]
    if isinstance(tree, tuple):
        parts = [_rebuilt(part, rest) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return next(rest)


def matching_leaves(who: str, what: str, tree: Any, given: Any) -> list[Any]:
    """The leaves of ``given``, which is nested as ``tree`` is."""
    if _outline(tree) != _outline(given):
        raise ValueError(f"{who}: expected {what} nested as {_outline(tree)}, got {_outline(given)}")
    return list(leaves(given))


def _outline(tree: Any) -> str:
    """The nesting alone, such as ``(*, [*, *])``."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{name!r}: {_outline(part)}" for name, part in tree.items()) + "}"
    if isinstance(tree, list | tuple):
        inside = ", ".join(_outline(part) for part in tree)
        return f"[{inside}]" if isinstance(tree, list) else f"({inside})"
    return "*"
