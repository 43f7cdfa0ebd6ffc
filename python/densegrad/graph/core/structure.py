"""Nested lists, tuples and dicts of arrays: derivatives come back as arguments went in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_NESTS = (list, tuple, dict)


def leaves(tree: Any) -> list[Any]:
    """All that is no list, tuple or dict, from first to last."""
    if not isinstance(tree, _NESTS):
        return [tree]
    found: list[Any] = []
    for part in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(part, _NESTS):
            found += leaves(part)
        else:
            found.append(part)
    return found


def paths(tree: Any) -> list[str]:
    """Where each leaf is: ``"0.w"`` for ``w`` in the dict at the first place."""
    if not isinstance(tree, _NESTS):
        return [""]
    named = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return [f"{name}.{path}".rstrip(".") for name, part in named for path in paths(part)]


def rebuilt(tree: Any, replacements: Iterable[Any]) -> Any:
    """The same nesting with other leaves."""
    rest = iter(replacements)
    return _rebuilt(tree, rest) if isinstance(tree, _NESTS) else next(rest)


def _rebuilt(tree: Any, rest: Iterator[Any]) -> Any:
    inside = tree.values() if isinstance(tree, dict) else tree
    parts = [_rebuilt(part, rest) if isinstance(part, _NESTS) else next(rest) for part in inside]
    if isinstance(tree, dict):
        return dict(zip(tree, parts, strict=True))
    if isinstance(tree, tuple):
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return parts


def matching_leaves(caller: str, what: str, tree: Any, given: Any) -> list[Any]:
    """The leaves of ``given``, which is nested as ``tree`` is."""
    if _outline(tree) != _outline(given):
        raise ValueError(f"{caller}: expected {what} nested as {_outline(tree)}, got {_outline(given)}")
    return leaves(given)


def _outline(tree: Any) -> str:
    """The nesting alone, such as ``(*, [*, *])``."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{name!r}: {_outline(part)}" for name, part in tree.items()) + "}"
    if isinstance(tree, list | tuple):
        inside = ", ".join(_outline(part) for part in tree)
        return f"[{inside}]" if isinstance(tree, list) else f"({inside})"
    return "*"
