"""Writes the table of values into each chart's README.md, from the comments in its values.yaml.
`make schemas` runs it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

CHARTS = Path(__file__).parent.parent
NAMES = ("order-food", "database-load", "postgres")
BEGIN, END = "<!-- values -->\n", "<!-- /values -->\n"

KEY = re.compile(r"(?P<indent> *)(?P<name>[\w-]+):(?: +(?P<value>.+))?")


def rows(values: str) -> Iterator[tuple[str, str, str]]:
    """Each key that has a value or a comment: its path, its default, its meaning. A comment belongs
    to the key below it; a blank line ends it."""
    above: list[str] = []
    path: list[str] = []
    for line in values.splitlines():
        comment = line.lstrip().startswith("#")
        if comment:
            above.append(line.lstrip("# "))
        elif key := KEY.fullmatch(line):
            path = [*path[: len(key["indent"]) // 2], key["name"]]
            if key["value"] or above:
                yield ".".join(path), key["value"] or "", " ".join(above)
        if not comment:
            above = []


def table(chart: str) -> str:
    """The table of one chart."""
    lines = ["| value | default | meaning |", "| --- | --- | --- |"]
    for path, default, meaning in rows((CHARTS / chart / "values.yaml").read_text()):
        shown = f"`{default}`" if default else ""
        meaning = meaning[:1].lower() + meaning[1:] if meaning[1:2].islower() else meaning
        lines.append(f"| {path} | {shown} | {meaning} |".replace("  ", " "))
    return "\n".join(lines) + "\n"


def readme_text(chart: str) -> str:
    """The README of one chart, with its table as it should be."""
    head, _, rest = (CHARTS / chart / "README.md").read_text().partition(BEGIN)
    return head + BEGIN + table(chart) + END + rest.partition(END)[2]


def main() -> None:
    """Writes all of them."""
    for chart in NAMES:
        (CHARTS / chart / "README.md").write_text(readme_text(chart))
        sys.stdout.write(f"{chart}/README.md\n")


if __name__ == "__main__":
    main()
