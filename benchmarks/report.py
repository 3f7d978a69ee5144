"""The results as tables and as a plot, and their places in docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from benchmarks.costs import Costs
from benchmarks.goals import goals, times_text
from benchmarks.load import CONNECTIONS
from benchmarks.measure import Sample
from benchmarks.results import Results, beside_rows
from benchmarks.services import FASTAPI, GO, RESPONDER, STOCK
from rig.processes import ROOT

DOCUMENT = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "benchmarks.svg"
BEGIN, END = "<!-- results -->\n", "<!-- /results -->"

NAMES = {
    "list": "the menu",
    "one": "one product",
    "304": "the menu, unchanged (304)",
    "new": "a new order",
    "replay": "an order replayed by its Idempotency-Key",
    "coupon": "a new order with a coupon",
    "mix": "90 % reads, 10 % orders",
}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_text(results: Results, command: str) -> str:
    """All tables, as Markdown."""
    parts = [f"`{command}`, on {', '.join([machine(), *results.programs])}:\n"]
    parts += [f"{one}.\n" for one in results.left_out]
    for scenario in results.scenarios():
        parts.append(f"**{NAMES[scenario]}**\n\n{scenario_table(results, scenario)}")
    rows = beside_rows(results)
    if rows:
        header = ("service", "what", "p99 ms alone", "p99 ms beside", "with loads elsewhere")
        parts.append(f"**Latency beside other work**\n\n{table(header, rows)}")
    parts.append(costs_tables(results))
    parts.append(goals_table(results))
    return "\n".join(part for part in parts if part)


def machine() -> str:
    """What the figures were made on; no more of it than matters."""
    return f"{os.cpu_count()} cores, Linux {platform.machine()}"


def costs_tables(results: Results) -> str:
    """An order alone, over many connections, and over workers; and what is disturbed."""
    costs = results.costs
    alone = ("who", "p50 µs", "p99 µs", "CPU µs", "database µs")
    many = ("service", "connections", "orders/s", "p99 ms", "CPU µs", "database µs")
    beside = ("beside", "p99 ms alone", "p99 ms beside", "with the load elsewhere", "ratio")
    tables = (
        ("One order at a time", alone, [*alone_rows(costs)]),
        ("An order among many connections, and by workers", many, [*connection_rows(costs)]),
        ("Requests at a fixed rate beside other work", beside, [*disturbed_rows(results)]),
    )
    return "\n".join(
        f"**{name}**\n\n{table(header, rows)}" for name, header, rows in tables if rows
    )


def disturbed_rows(results: Results) -> Iterator[tuple[str, ...]]:
    for one in results.disturbances:
        control = "" if one.control_ms is None else f"{one.control_ms:.1f}"
        figures = (f"{one.alone_ms:.1f}", f"{one.beside_ms:.1f}", control, f"{one.ratio:.1f} ×")
        yield one.what, *figures


def alone_rows(costs: Costs) -> Iterator[tuple[str, ...]]:
    for service, unstored in costs.unstored.items():
        yield _alone_row(service, unstored)
    for service, rounds in costs.alone.items():
        samples, bares = zip(*rounds, strict=True)
        yield _alone_row(service, samples)
        yield (
            "the bare driver on the same database",
            *_medians((one.p50_us, one.p99_us, one.cpu_us) for one in bares),
            *_medians((one.database_us,) for one in bares),
        )


def _alone_row(service: str, samples: Sequence[Sample]) -> tuple[str, ...]:
    figures = ((one.load.p50_us, one.load.p99_us, one.service_us) for one in samples)
    return service, *_medians(figures), _database(samples)


def connection_rows(costs: Costs) -> Iterator[tuple[str, ...]]:
    for service, found in costs.connections.items():
        for number, samples in found.items():
            yield _order_row(service, number, samples)
    for number, samples in costs.workers.items():
        yield _order_row(f"order-food, postgres, WORKERS={number}", CONNECTIONS, samples)


def _order_row(service: str, connections: int, samples: Sequence[Sample]) -> tuple[str, ...]:
    rate = statistics.median(one.load.per_second for one in samples)
    p99 = statistics.median(one.load.p99_us for one in samples) / 1000
    cpu = statistics.median(one.service_us for one in samples)
    figures = (f"{connections:,}", f"{rate:,.0f}", f"{p99:.1f}", f"{cpu:.0f}")
    return (service, *figures, _database(samples))


def _database(samples: Sequence[Sample]) -> str:
    found = [one.database_us for one in samples if one.database_us is not None]
    return f"{statistics.median(found):.0f}" if found else "–"


def _medians(rows: Iterable[tuple[float, ...]]) -> Iterator[str]:
    for column in zip(*rows, strict=True):
        yield f"{statistics.median(column):.0f}"


def goals_table(results: Results) -> str:
    found = goals(results)
    if not found:
        return ""
    rows = [(goal.what, goal.wanted, goal.measured, "yes" if goal.met else "no") for goal in found]
    return f"**Goals**\n\n{table(('what', 'goal', 'measured', 'met'), rows)}"


HEADER = (
    "service", "requests/s", "p50 ms", "p99 ms", "CPU µs", "database µs", "peak MB", "ratio",
)  # fmt: skip


def scenario_table(results: Results, scenario: str) -> str:
    """The medians of the rounds. A ratio says how many times the requests of another service."""
    services = results.services(scenario)
    return table(HEADER, [_row(results, scenario, name, services) for name in services])


def _row(results: Results, scenario: str, name: str, services: Sequence[str]) -> list[str]:
    samples = results.samples[scenario, name]
    rate = results.median(scenario, name, lambda s: s.load.per_second) or 0
    p50 = results.median(scenario, name, lambda s: s.load.p50_us) or 0
    p99 = results.median(scenario, name, lambda s: s.load.p99_us) or 0
    cpu = results.median(scenario, name, lambda s: s.service_us) or 0
    peak = max(sample.peak_memory for sample in samples) / 2**20
    figures = [f"{rate:,.0f}", f"{p50 / 1000:.1f}", f"{p99 / 1000:.1f}", f"{cpu:.0f}"]
    return [
        name,
        *figures,
        _database(samples),
        f"{peak:.0f}",
        _ratios(results, scenario, name, services),
    ]


def _ratios(results: Results, scenario: str, name: str, services: Sequence[str]) -> str:
    """Of order-food alone: what the others are to each other is not the question."""
    if not name.startswith("order-food"):
        return ""
    others = [other for other in (RESPONDER, STOCK, GO, FASTAPI) if other in services]
    return ", ".join(
        f"{times_text(results.speedup(scenario, name, other) or 0)} {other}" for other in others
    )


def write(results: Results, command: str) -> None:
    """The tables between their marks, and the plot beside them."""
    document = DOCUMENT.read_text()
    before, _, rest = document.partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}{as_text(results, command)}{END}{after}")
    PLOT.write_text(plot(results))


# --- the plot ---

WIDTH, LABEL, BAR = 840, 270, 16
COLOURS = {
    "order-food": "#2a78d6",
    RESPONDER: "#6b7280",
    STOCK: "#8a6d1d",
    GO: "#12866b",
    FASTAPI: "#b4488f",
}
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.head{font-weight:600}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}}"
)


def plot(results: Results) -> str:
    """Requests per second as bars, a group for each scenario, each on a scale of its own: the
    fastest fills the width."""
    y, shapes = 10, []
    for scenario in results.scenarios():
        y += 18
        shapes.append(f'<text class="head" x="0" y="{y}">{escape(NAMES[scenario])}</text>')
        y += 8
        shapes += _bars(results, scenario, y)
        y += (BAR + 4) * len(results.services(scenario)) + 8
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img"'
        f' aria-label="Requests per second of each service in each scenario">\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _bars(results: Results, scenario: str, top: int) -> list[str]:
    services = results.services(scenario)
    rates = [results.median(scenario, name, lambda s: s.load.per_second) or 0 for name in services]
    scale = (WIDTH - LABEL - 80) / max(rates)
    shapes = []
    for number, (name, rate) in enumerate(zip(services, rates, strict=True)):
        y = top + number * (BAR + 4)
        colour = COLOURS.get(name) or COLOURS[name.partition(",")[0]]
        length = max(1.0, rate * scale)
        shapes.append(f'<text x="8" y="{y + 12}">{escape(name)}</text>')
        shapes.append(
            f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>'
        )
        shapes.append(f'<text x="{LABEL + length + 6:.1f}" y="{y + 12}">{rate:,.0f}</text>')
    return shapes


def read_document(path: Path = DOCUMENT) -> str:
    return path.read_text()
