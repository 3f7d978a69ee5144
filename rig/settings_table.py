"""Writes the settings into the table of docs/configuration.md: `python -m rig.settings_table`."""

from __future__ import annotations

from pathlib import Path

from orderfood.settings import describe_settings

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- settings -->\n", "<!-- /settings -->"


def settings_table() -> str:
    """All settings as a Markdown table."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    rows += [f"| {s.name} | {s.default} | {s.meaning} |" for s in describe_settings()]
    return "\n".join(rows) + "\n"


def documented_table(readme: str) -> str:
    """What stands between the marks."""
    return readme.partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(text.replace(documented_table(text), settings_table()))
