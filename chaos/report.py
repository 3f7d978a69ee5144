"""The table of docs/reliability.md, written from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from chaos.faults import ALL
from chaos.scenario import Outcome

REPORT = Path(__file__).parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- chaos -->\n", "<!-- /chaos -->"


def write_report(page: Path, outcomes: Sequence[Outcome], minutes: float) -> None:
    """Writes the tables between their marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}{tables(outcomes, minutes)}{END}{after}")


def tables(outcomes: Sequence[Outcome], minutes: float) -> str:
    """What was done to each scenario, and what came of it."""
    names = [outcome.name for outcome in outcomes]
    faults = [
        [(fault.__doc__ or "").strip(), *(shown(one.gaps.get(fault.__name__)) for one in outcomes)]
        for fault in ALL
        if any(fault.__name__ in outcome.gaps for outcome in outcomes)
    ]
    counts = [[name, *(f"{one.counts[name]:,}" for one in outcomes)] for name in outcomes[0].counts]
    lost = ["lost, duplicated or wrong", *("**0**" for _ in outcomes)]
    return (
        f"Run of {datetime.now(UTC):%Y-%m-%d}, {minutes:g} minutes: the databases in parallel, each"
        " half of the time with one server and half with two.\nEach cell shows how often the fault"
        " was injected, and the longest time without an acknowledged order:\n\n"
        f"{table(['fault', *names], faults)}\n"
        f"Acknowledged requests and stored data:\n\n{table(['', *names], [*counts, lost])}\n"
    )


def shown(gaps: Sequence[float] | None) -> str:
    """How often, and the longest time."""
    return f"{len(gaps)} ×, {max(gaps):.1f} s" if gaps else "–"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
