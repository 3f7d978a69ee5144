"""Draws the rooms of the house into CONTRIBUTING.md, from the imports: `python -m rig.map`.

A room is a package, or a module that lies flat in orderfood/. It stands above every room that it
imports; rooms that import each other share a floor.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- map -->\n", "<!-- /map -->"
PACKAGES = ("orderfood", "storage", "migrations", "fixtures", "scripts")
FLAT = "orderfood"
"""The package whose own modules are rooms, too."""
WIDTH = 110

Rooms = Mapping[str, set[str]]
"""The rooms that each room imports."""


def house_map() -> str:
    """The picture, as a block of text: the highest floor first."""
    rooms = read_rooms()
    floors = number_floors(rooms)
    lines = []
    for floor in sorted(set(floors.values()), reverse=True):
        lines.append(f"── {floor} ".ljust(WIDTH, "─"))
        for room in sorted(room for room in rooms if floors[room] == floor):
            lines += show_room(room)
    return "\n".join(["```text", *lines, "```", ""])


def read_rooms() -> Rooms:
    """All rooms with what they import when they run; imports for types alone do not count."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    rooms: dict[str, set[str]] = {room_of(module, graph.modules): set() for module in graph.modules}
    for module in graph.modules:
        room = rooms[room_of(module, graph.modules)]
        imported = graph.find_modules_directly_imported_by(module)
        room |= {room_of(each, graph.modules) for each in imported}
    for name, imported in rooms.items():
        imported.discard(name)
    return {name: rooms[name] for name in rooms if name != FLAT}


def room_of(module: str, modules: Iterable[str]) -> str:
    """The room that a module stands in."""
    package = module.rpartition(".")[0]
    is_package = any(each.startswith(f"{module}.") for each in modules)
    return module if is_package or package in ("", FLAT) else package


def number_floors(rooms: Rooms) -> dict[str, int]:
    """The floor of each room, from 1."""
    groups = {room: frozenset(circle(room, rooms)) for room in rooms}
    above = {
        group: {groups[below] for room in group for below in rooms[room]} - {group}
        for group in groups.values()
    }
    floors: dict[frozenset[str], int] = {}
    for group in TopologicalSorter(above).static_order():
        floors[group] = 1 + max((floors[below] for below in above[group]), default=0)
    return {room: floors[group] for room, group in groups.items()}


def circle(room: str, rooms: Rooms) -> set[str]:
    """The room, and those that it reaches and is reached by."""
    return {room} | {other for other in reached(room, rooms) if room in reached(other, rooms)}


def reached(room: str, rooms: Rooms) -> set[str]:
    """What a room imports, and what that imports, and so on."""
    found: set[str] = set()
    waiting = [room]
    while waiting:
        new = rooms[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def show_room(room: str) -> list[str]:
    """The room with what it is, and the modules in it below."""
    path = ROOT / room.replace(".", "/")
    if not path.is_dir():
        return [f"{path.relative_to(ROOT)}.py".ljust(26) + first_line(path.with_suffix(".py"))]
    modules = sorted(each.stem for each in path.glob("*.py") if each.stem != "__init__")
    named = [f"{path.relative_to(ROOT)}/".ljust(26) + first_line(path / "__init__.py")]
    return named + wrapped(modules)


def wrapped(modules: Iterable[str]) -> list[str]:
    """Names in lines that are not too long."""
    lines = [""]
    for name in modules:
        longer = f"{lines[-1]} · {name}" if lines[-1] else name
        lines[-1:] = [longer] if len(longer) + 26 <= WIDTH else [lines[-1], name]
    return [f"{'':26}{line}" for line in lines if line]


def first_line(path: Path) -> str:
    """What a module says it is."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.partition("\n")[0]


def drawn_map(page: str) -> str:
    """What stands between the marks."""
    return page.partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(text.replace(f"{BEGIN}{drawn_map(text)}{END}", f"{BEGIN}{house_map()}{END}"))
