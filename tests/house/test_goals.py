"""House rules that can be counted: nothing is too large to be read, and the map is true."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

from rig.map import PACKAGES, drawn_map, package_map
from rig.processes import ROOT

MOST_LINES = 500
MOST_LINES_OF_A_CLASS = 250
MOST_LINES_OF_A_SCRIPT = 300
MOST_FLAT_MODULES = 8
MEDIAN_LINES, NINTH_DECILE_LINES = 5, 14


def modules(*folders: str) -> Iterator[tuple[str, str]]:
    """Each module's path and text."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def test_the_map_is_true() -> None:
    assert drawn_map((ROOT / "CONTRIBUTING.md").read_text()) == package_map(), "make map draws it"


def test_every_package_says_what_it_is_in_a_line() -> None:
    for line in package_map().splitlines():
        assert len(line) <= 118, line
        name, _, meaning = line.partition("  ")
        if name.endswith((".py", "/")):
            assert meaning.strip().endswith("."), line


def test_no_file_is_too_long() -> None:
    everything = (*PACKAGES, "rig", "tests", "benchmarks", "chaos", "chart")
    long = {path for path, text in modules(*everything) if text.count("\n") > MOST_LINES}
    assert long == set()


def test_no_script_of_a_page_is_too_long() -> None:
    scripts = Path(ROOT, "orderfood/web/static").rglob("*.js")
    long = {p.name for p in scripts if p.read_text().count("\n") > MOST_LINES_OF_A_SCRIPT}
    assert long == set()


def test_no_class_is_too_long() -> None:
    long = {
        f"{path}: {node.name}"
        for path, text in modules(*PACKAGES)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef) and lines_of(node) > MOST_LINES_OF_A_CLASS
    }
    assert long == set()


def lines_of(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_few_modules_lie_flat() -> None:
    flat = list(Path(ROOT, "orderfood").glob("*.py"))
    assert len(flat) <= MOST_FLAT_MODULES


def test_functions_are_short() -> None:
    lengths = sorted(
        lines_of_body(node)
        for _, text in modules(*PACKAGES)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert statistics.median(lengths) <= MEDIAN_LINES
    assert statistics.quantiles(lengths, n=10)[8] <= NINTH_DECILE_LINES


def lines_of_body(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    first, last = (body[0], body[-1]) if body else (None, None)
    return last.end_lineno - first.lineno + 1 if first and last and last.end_lineno else 0


PRIVATE = {
    ("orderfood/observe/jaeger.py", "_collector_http_client"),
    ("orderfood/observe/buffers.py", "_buckets"),
    ("orderfood/observe/buffers.py", "_sum"),
    ("orderfood/server/tornado_server.py", "_disconnect_on_finish"),
    ("orderfood/server/tornado_server.py", "_normalize_header"),
}
"""Private names of other libraries. Each has its reason beside it: nothing is added here."""

PUBLIC = {"_replace", "_exit"}
"""Names of the standard library that are documented."""


def test_private_names_of_others_are_used_in_four_places() -> None:
    trees = {path: ast.parse(text) for path, text in modules(*PACKAGES)}
    own = {name for tree in trees.values() for name in names_defined_in(tree)}
    used = {(path, name) for path, tree in trees.items() for name in private_names_in(tree)}
    assert {(path, name) for path, name in used if name not in own | PUBLIC} == PRIVATE


def names_defined_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def private_names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield str(name.value)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")
