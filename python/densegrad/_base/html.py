"""Notebooks' views of objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def preformatted(text: str) -> str:
    """Text as it stands."""
    return f"<pre>{escape(text)}</pre>"


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], foot: str = "") -> str:
    """A table with a title above it and a line below."""
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    below = f"<div>{escape(foot)}</div>" if foot else ""
    return f"<div><b>{escape(title)}</b><table>{''.join(lines)}</table>{below}</div>"


def _row(kind: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{escape(cell)}</{kind}>' for cell in cells)}</tr>"
