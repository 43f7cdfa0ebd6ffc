"""Names in a drawing: of the nodes of a graph, and what was done in each."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from densegrad.graph.core.tensor import Node, Tensor
from densegrad.graph.draw.elements import written
from densegrad.graph.transforms import Function

LONGEST = 40  # characters of a formula
FORMS = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "power": "{} ** {}",
    "matmul": "{} @ {}",
    "negative": "-{}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "variable": "{}",  # of a derivative within the function
}


def names_of(
    nodes: Sequence[Node], inputs: Mapping[Node, str], outputs: Sequence[Node], function: Function, given: Sequence[str]
) -> dict[Node, str]:
    """The given names first, then those of the arguments, the function's for its result, and v1, v2, ..."""
    names = dict(zip(nodes, _checked(given, len(nodes)), strict=False))
    names = {**inputs, **names}
    own = getattr(function, "__name__", "")
    if len(outputs) == 1 and own.isidentifier() and own not in names.values():
        names.setdefault(outputs[0], own)
    taken = set(names.values())
    if len(taken) < len(names):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        raise ValueError(f"draw: expected different names, got {twice!r} twice")
    fresh = (name for name in map("v{}".format, itertools.count(1)) if name not in taken)
    return {node: names.get(node) or next(fresh) for node in nodes}


def _checked(given: Sequence[str], most: int) -> Sequence[str]:
    if not isinstance(given, Sequence) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"draw: expected names as a list of texts, got {given!r}")
    for name in given:
        if not name or not name.isprintable():
            raise ValueError(f"draw: expected names of printable characters, got {name!r}")
    if len(given) > most:
        raise ValueError(f"draw: expected at most {most} names, one for each node, got {len(given)}")
    return given


def named_inputs(function: Function, inputs: tuple[Any, ...]) -> dict[Node, str]:
    """The variables among a recording's arguments, as the function calls them: ``x``, ``p['w']``, ``rest[0]``."""
    try:
        arguments = inspect.signature(function).bind(*inputs).arguments
    except (TypeError, ValueError):  # some functions that are not written in Python have no signature
        arguments = {f"x{n}": x for n, x in enumerate(inputs, 1)}
    named = (pair for name, tree in arguments.items() for pair in _named(name, tree))
    return {x.node: name for name, x in named if type(x) is Tensor and x.node is not None}


def _named(name: str, tree: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, part in tree.items():
            yield from _named(f"{name}[{key!r}]", part)
    elif isinstance(tree, list | tuple):
        for place, part in enumerate(tree):
            yield from _named(f"{name}[{place}]", part)
    else:
        yield name, tree


def formula(node: Node, names: Mapping[Node, str]) -> str:
    """The operation, such as ``a + b`` or ``sum(x, axis=0)``; nothing for an input."""
    known = [None if t.node is None else names.get(t.node) for t in node.inputs]
    if not any(known):
        return ""
    operands = [name or written(t.numpy()) for name, t in zip(known, node.inputs, strict=True)]
    name = node.primitive.name
    if name in FORMS:
        return _short(FORMS[name].format(*operands))
    said = [f"{key}={value!r}" for key, value in node.attributes.items() if value is not None and value is not False]
    return _short(f"{name}({', '.join(operands + said)})")


def _short(text: str) -> str:
    """In one line, cut where it is too long, with nothing in it that a file cannot show."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."
