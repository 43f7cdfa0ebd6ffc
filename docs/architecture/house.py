"""The house, drawn from its imports: ``python docs/architecture/house.py`` writes ``house.svg`` beside this file.

Rooms are the files and folders at the top of ``python/densegrad``. A room stands as low as its imports let it: one
floor above the highest of the rooms that it imports. Imports for types alone and those within functions count. A line
is drawn where no longer way down says the same.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "python" / "densegrad"
SEAM = ("_core", "_numpy")  # two sides of one floor
GENERATED = "_build"  # by the build: a checkout has its stub alone
WIDTH, HEIGHT, GAP, MARGIN = 940, 26, 30, 14


def modules() -> dict[str, Path]:
    """Every module by its name within the package; ``""`` is the package itself."""
    found = {}
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")]):
        if path.stem == GENERATED and path.suffix == ".py":
            continue
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports() -> set[tuple[str, str]]:
    """Pairs of a module and another one that it imports."""
    known = modules()
    pairs = {(name, other) for name, path in known.items() for other in _imported(path, known)}
    return {(name, other) for name, other in pairs if name != other}


def _imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the package that a file names in imports, wherever in it they stand."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}: expected imports by the whole name, got a relative one")
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            names = [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
        for name in names:
            package, _, inner = name.partition(".")
            if package == "densegrad":
                while inner and inner not in known:
                    inner = inner.rpartition(".")[0]
                yield inner


def rooms_below() -> dict[str, set[str]]:
    """The rooms that each room imports; what stands on top of all, ``__init__`` and ``__main__``, is left out."""
    below: dict[str, set[str]] = {_room(name): set() for name in modules() if _room(name)}
    for name, other in imports():
        if _room(name) and _room(other) and _room(name) != _room(other):
            below[_room(name)].add(_room(other))
    return below


def _room(module: str) -> str:
    room = module.partition(".")[0]
    return "" if room in ("__main__", GENERATED) else room


def floors(below: dict[str, set[str]]) -> list[list[str]]:
    """Rooms by floor, from the ground up."""
    level: dict[str, int] = {}
    for _ in count():
        ready = [room for room in below if room not in level and below[room] <= set(level)]
        if not ready:
            break
        level.update({room: max((level[other] + 1 for other in below[room]), default=0) for room in ready})
    if len(level) < len(below):
        raise ValueError(f"expected no circle of rooms, got one among {sorted(set(below) - set(level))}")
    result: dict[int, list[str]] = defaultdict(list)
    for room in sorted(level, key=str.lower):
        result[max(level[side] for side in SEAM) if room in SEAM else level[room]].append(room)
    return [result[number] for number in sorted(result)]


def drawing() -> str:
    """The picture as SVG."""
    below = rooms_below()
    lines_down = {room: _nearest(room, below) for room in below}
    rows = floors(below)[::-1]
    place: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        for column, room in enumerate(sorted(row, key=lambda room: _middle(room, place, lines_down))):
            place[room] = (WIDTH * (column + 0.5) / len(row), MARGIN + number * (HEIGHT + GAP) + HEIGHT / 2)
    tall = 2 * MARGIN + len(rows) * (HEIGHT + GAP) - GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall}" font-family="monospace" font-size="12">',
        f'<rect width="{WIDTH}" height="{tall}" fill="white"/>',
    ]
    for room in sorted(below):
        for other in sorted(lines_down[room]):
            (x, y), (to_x, to_y) = place[room], place[other]
            bend = (to_y - y) / 2
            curve = f"M{x:.0f} {y:.0f} C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y:.0f}"
            lines.append(f'<path d="{curve}" stroke="#9ab" fill="none"/>')
    for room, (x, y) in sorted(place.items()):
        width = 8 * len(_label(room)) + 14
        color = "#f3e2c7" if room in SEAM else "#e6eef5" if room.startswith("_") else "#d5ecd4"
        lines.append(
            f'<rect x="{x - width / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{width}" height="{HEIGHT}" rx="4" '
            f'fill="{color}" stroke="#567"/>'
        )
        lines.append(f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle">{_label(room)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _middle(room: str, place: dict[str, tuple[float, float]], lines_down: dict[str, set[str]]) -> float:
    """The mean place across of the rooms above whose lines lead to one."""
    above = [x for other, (x, _) in place.items() if room in lines_down[other]]
    return sum(above) / len(above) if above else WIDTH


def _nearest(room: str, below: dict[str, set[str]]) -> set[str]:
    """Rooms under one that no other room under it leads to."""
    return {other for other in below[room] if not any(other in _all_below(near, below) for near in below[room])}


def _all_below(room: str, below: dict[str, set[str]]) -> set[str]:
    return below[room].union(*(_all_below(other, below) for other in below[room]))


def _label(room: str) -> str:
    return f"{room}/" if (PACKAGE / room).is_dir() else room


if __name__ == "__main__":
    (HERE / "house.svg").write_text(drawing(), encoding="utf-8")
