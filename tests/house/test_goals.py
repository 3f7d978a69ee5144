"""House rules that can be counted: nothing is too large to be read, and the map is true."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

from rig.map import PACKAGES, drawn_map, house_map
from rig.processes import ROOT

MOST_LINES = 500
MOST_LINES_OF_A_CLASS = 250
MOST_FLAT_MODULES = 8
MEDIAN_LINES, NINTH_DECILE_LINES = 5, 14

KNOWN = {"orderfood/observe/metrics.py: Metrics"}
"""What is larger, and should not be: nothing is added here."""


def modules(*folders: str) -> Iterator[tuple[str, str]]:
    """Each module's path and text."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def test_the_map_is_true() -> None:
    assert drawn_map((ROOT / "CONTRIBUTING.md").read_text()) == house_map(), "make map draws it"


def test_every_room_says_what_it_is_in_a_line() -> None:
    for line in house_map().splitlines():
        assert len(line) <= 118, line
        name, _, meaning = line.partition("  ")
        if name.endswith((".py", "/")):
            assert meaning.strip().endswith("."), line


def test_no_file_is_too_long() -> None:
    everything = (*PACKAGES, "rig", "tests", "benchmarks", "chart")
    long = {path for path, text in modules(*everything) if text.count("\n") > MOST_LINES}
    assert long <= KNOWN


def test_no_class_is_too_long() -> None:
    long = {
        f"{path}: {node.name}"
        for path, text in modules(*PACKAGES)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef) and lines_of(node) > MOST_LINES_OF_A_CLASS
    }
    assert long <= KNOWN


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
