"""A drawing as SVG: boxes in layers, inputs above and outputs below, and edges with their local derivatives.

Whatever an element needs is written into it, no ids and no style sheet, so that several pictures can share a page.
Letters of one width let sizes be computed where no font can be asked.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from xml.sax.saxutils import escape

from densegrad.graph.draw.arrangement import BOX, LABEL, Arrangement, Curve, Label
from densegrad.graph.draw.elements import DrawnEdge, DrawnNode

FONT, LETTER = 12, 7.3  # height and width
PAD, MARGIN, TITLE = 10, 16, 44
PORT = 44  # the room at a box's side for each of its edges
INK, RED, BLUE, GREY = "#222222", "#b8334a", "#2f5597", "#8c8c8c"
INPUT, BETWEEN, OUTPUT = "#eaf1fb", "#f7f7f7", "#fdeedd"


def picture(title: str, nodes: Sequence[DrawnNode], outputs: Sequence[DrawnNode]) -> str:
    """The text of an SVG file."""
    number = {node: n for n, node in enumerate(nodes)}
    edges = [edge for node in nodes for edge in node.edges]
    joined = [(number[edge.source], n) for n, node in enumerate(nodes) for edge in node.edges]
    widths = [_box_width(node, sum(source == n for source, _ in joined)) for n, node in enumerate(nodes)]
    drawn = Arrangement(widths, joined, [_width(edge.text) + 4 if edge.text else 0 for edge in edges])
    parts = [
        *map(_line, edges, drawn.curves),
        *(_label(edge, label) for edge, label in zip(edges, drawn.labels, strict=True) if label),
        *(
            _box(node, place, width, node in outputs)
            for node, place, width in zip(nodes, drawn.boxes, widths, strict=True)
        ),
    ]
    sides = [(x - width / 2, x + width / 2) for (x, _), width in zip(drawn.boxes, widths, strict=True)]
    sides += [(label.x - label.width / 2, label.x + label.width / 2) for label in drawn.labels if label]
    return _page(title, parts, min(left for left, _ in sides), max(right for _, right in sides), drawn.height)


def _box_width(node: DrawnNode, leaving: int) -> float:
    """Room for the text, and for the edges on both sides."""
    return max(max(map(_width, node.lines)) + 2 * PAD, PORT * leaving, PORT * len(node.edges))


def _width(text: str) -> float:
    return LETTER * sum(2 if unicodedata.east_asian_width(letter) in "FW" else 1 for letter in text)


def _page(title: str, parts: Sequence[str], left: float, right: float, height: float) -> str:
    width = max(right - left, _width(title)) + 2 * MARGIN
    height += TITLE + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" '
            f'font-size="{FONT}" fill="{INK}">',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="{MARGIN}" y="{MARGIN + FONT}">{escape(title)}</text>',
            f'<g transform="translate({(width - left - right) / 2:.1f} {TITLE})" text-anchor="middle">',
            *parts,
            "</g>",
            "</svg>",
            "",
        ]
    )


def _line(edge: DrawnEdge, curves: Sequence[Curve]) -> str:
    path = f"M{curves[0].x0:.1f} {curves[0].y0:.1f}"
    for x0, y0, x1, y1 in curves:
        third = (y1 - y0) / 3
        path += f"L{x0:.1f} {y0:.1f}C{x0:.1f} {y0 + third:.1f} {x1:.1f} {y1 - third:.1f} {x1:.1f} {y1:.1f}"
    return (
        f'<g class="edge"><title>{escape(edge.line)}</title><path d="{path}" fill="none" stroke="{GREY}"/>'
        f'<path d="M{x1:.1f} {y1:.1f}l-4 -8h8z" fill="{GREY}"/></g>'
    )


def _label(edge: DrawnEdge, label: Label) -> str:
    x, y, width = label
    return (
        f'<g class="label"><title>{escape(edge.line)}</title><rect x="{x - width / 2:.1f}" y="{y - LABEL / 2:.1f}" '
        f'width="{width:.1f}" height="{LABEL:.0f}" fill="white" fill-opacity="0.85"/>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}" fill="{BLUE}">{escape(edge.text)}</text></g>'
    )


def _box(node: DrawnNode, place: tuple[float, float], width: float, is_output: bool) -> str:
    x, top = place
    fill = OUTPUT if is_output else BETWEEN if node.formula else INPUT
    styles = (' font-weight="bold"', "", f' fill="{RED}"')
    texts = [
        f'<text x="{x:.1f}" y="{top + 18 + 17 * n:.1f}"{style}>{escape(text)}</text>'
        for n, (text, style) in enumerate(zip(node.lines, styles, strict=True))
    ]
    return (
        f'<g class="node"><rect x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{BOX:.0f}" rx="6" '
        f'fill="{fill}" stroke="{GREY}"/>{"".join(texts)}</g>'
    )
