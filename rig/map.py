"""Draws the packages and their layers into CONTRIBUTING.md, from the imports: `python -m rig.map`.

A module that lies flat in orderfood/ counts as a package. A package stands in a layer above every
package that it imports; packages that import each other share a layer.
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
"""The package whose own modules count as packages."""
WIDTH = 110

Imports = Mapping[str, set[str]]
"""The packages that each package imports."""


def package_map() -> str:
    """The picture, as a block of text: the highest layer first."""
    packages = read_imports()
    layers = number_layers(packages)
    lines = []
    for layer in sorted(set(layers.values()), reverse=True):
        lines.append(f"── {layer} ".ljust(WIDTH, "─"))
        for package in sorted(package for package in packages if layers[package] == layer):
            lines += show_package(package)
    return "\n".join(["```text", *lines, "```", ""])


def read_imports() -> Imports:
    """All packages with what they import when they run; imports for types alone do not count."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    packages: dict[str, set[str]] = {
        package_of(module, graph.modules): set() for module in graph.modules
    }
    for module in graph.modules:
        package = packages[package_of(module, graph.modules)]
        imported = graph.find_modules_directly_imported_by(module)
        package |= {package_of(each, graph.modules) for each in imported}
    for name, imported in packages.items():
        imported.discard(name)
    return {name: packages[name] for name in packages if name != FLAT}


def package_of(module: str, modules: Iterable[str]) -> str:
    """The package that a module stands in."""
    package = module.rpartition(".")[0]
    is_package = any(each.startswith(f"{module}.") for each in modules)
    return module if is_package or package in ("", FLAT) else package


def number_layers(packages: Imports) -> dict[str, int]:
    """The layer of each package, from 1."""
    groups = {package: frozenset(cycle(package, packages)) for package in packages}
    above = {
        group: {groups[below] for package in group for below in packages[package]} - {group}
        for group in groups.values()
    }
    layers: dict[frozenset[str], int] = {}
    for group in TopologicalSorter(above).static_order():
        layers[group] = 1 + max((layers[below] for below in above[group]), default=0)
    return {package: layers[group] for package, group in groups.items()}


def cycle(package: str, packages: Imports) -> set[str]:
    """The package, and those that it reaches and is reached by."""
    return {package} | {
        other for other in reached(package, packages) if package in reached(other, packages)
    }


def reached(package: str, packages: Imports) -> set[str]:
    """What a package imports, and what that imports, and so on."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        new = packages[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def show_package(package: str) -> list[str]:
    """The package with what it is, and the modules in it below."""
    path = ROOT / package.replace(".", "/")
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
    PAGE.write_text(text.replace(f"{BEGIN}{drawn_map(text)}{END}", f"{BEGIN}{package_map()}{END}"))
