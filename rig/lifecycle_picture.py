"""Draws the life of an order into docs/kitchen.md, from the table of its steps:
`python -m rig.lifecycle_picture`."""

from __future__ import annotations

from pathlib import Path

from orderfood.shop.lifecycle import CUSTOMER, STEPS, Step

PAGE = Path(__file__).parent.parent / "docs/kitchen.md"
BEGIN, END = "<!-- life -->\n", "<!-- /life -->"


def lifecycle_picture() -> str:
    """All steps as a state diagram that GitHub draws."""
    arrows = [
        f"    {source} --> {target}: {', '.join(sorted(said))}"
        for (source, target), said in _said()
    ]
    begin = ["```mermaid", "stateDiagram-v2", "    [*] --> placed: POST /api/order"]
    return "\n".join([*begin, *arrows, "```"]) + "\n"


def _said() -> list[tuple[tuple[str, str], list[str]]]:
    """What stands at each arrow: the steps between the same two."""
    said: dict[tuple[str, str], list[str]] = {}
    for step in STEPS:
        said.setdefault((step.source, step.target), []).append(_label(step))
    return list(said.items())


def _label(step: Step) -> str:
    by = " by the customer" if step.by == CUSTOMER else ""
    minutes = step.within.total_seconds() / 60 if step.within else 0
    return f"{step.action}{by}" + (f" within {minutes:.0f} minutes" if minutes else "")


def documented_picture(page: str) -> str:
    """What stands between the marks."""
    return page.partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text()
    drawn = f"{BEGIN}{lifecycle_picture()}{END}"
    PAGE.write_text(text.replace(f"{BEGIN}{documented_picture(text)}{END}", drawn))
