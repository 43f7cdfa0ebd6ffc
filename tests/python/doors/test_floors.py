"""The house: a file knows only the floors under it, type-only imports and those in functions counted."""

from __future__ import annotations

from collections import defaultdict

import pytest

import house

# From the ground up. Rooms of one floor know nothing of each other; files of one room may know each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("_base", house.GENERATED),
    ("_numpy", "_core"),
    ("_plan",),
    ("activations", "data", "errors", "initializers", "metrics", "ops", "optimizers", "schedules"),
    ("graph.core",),
    ("graph.operations",),
    ("graph.transforms",),
    ("graph.losses", "graph.compile", "graph.draw"),
    ("graph.training",),
    ("graph",),
    ("losses",),
    ("layers",),
    ("_model_core",),
    ("callbacks",),
    ("_rows", "_files", "_exchange"),
    ("_inspect",),
    ("plot",),
    ("_training",),
    ("models",),
    ("sklearn", "_cli"),
    ("",),
)
WITHIN_ONE_FLOOR = {("optimizers", "schedules")}  # words that take each other


MODULES, IMPORTS = house.modules(), house.imports()


def floor(module: str) -> tuple[int, str]:
    """The number of the floor, and the room on it."""
    rooms = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    room = "" if module == "__main__" else module
    while room not in rooms:
        assert room, f"expected a room for {module!r} in FLOORS, got none"
        room = room.rpartition(".")[0]
    assert room or module in ("", "__main__"), f"expected a room for {module!r} in FLOORS, got none"
    return rooms[room], room


def test_a_file_imports_only_floors_under_its_own() -> None:
    wrong = []
    for name, other in sorted(IMPORTS):
        (own, room), (theirs, other_room) = floor(name), floor(other)
        if not (theirs < own or room == other_room or (name, other) in WITHIN_ONE_FLOOR):
            wrong.append(f"{name} imports {other}")
    assert not wrong


def test_no_files_import_each_other_in_a_circle() -> None:
    below = defaultdict(set)
    for name, other in IMPORTS:
        below[name].add(other)
    left = set(MODULES)
    while left:  # take away those that import nothing that is left
        free = {name for name in left if not below[name] & left}
        assert free, f"expected no circle, got one among {sorted(left)}"
        left -= free


def test_every_floor_has_a_room_that_is_there() -> None:
    for rooms in FLOORS:
        for room in rooms:
            assert any(f"{name}.".startswith(f"{room}.") or not room for name in MODULES) or room == house.GENERATED, (
                room
            )


@pytest.mark.parametrize("side", ["_core", "_numpy"])
def test_only_the_backend_imports_the_other_side_of_the_seam(side: str) -> None:
    importers = {name for name, other in IMPORTS if f"{other}.".startswith(f"{side}.")}
    assert {name for name in importers if not name.startswith(side)} == {"_plan.backend"}
