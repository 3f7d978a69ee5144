"""What the rounds have shown, and what that says about the goals."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.extras import Beside, Start, median_p99
from benchmarks.load import Load
from benchmarks.measure import Sample
from benchmarks.services import BARE, FASTAPI, STOCK

MEMORY, SQLITE, POSTGRES = (f"order-food, {name}" for name in ("memory", "sqlite", "postgres"))


@dataclass
class Results:
    """All samples of one run of the benchmark, by scenario and service, in order of rounds."""

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    starts: dict[str, list[Start]] = field(default_factory=dict)
    busy: dict[str, Beside] = field(default_factory=dict)
    """Reads beside orders, with pauses between requests, by service."""
    saturated: dict[str, Beside] = field(default_factory=dict)
    """The same without pauses."""
    loads: dict[str, Beside] = field(default_factory=dict)

    def add(self, scenario: str, service: str, sample: Sample) -> None:
        self.samples.setdefault((scenario, service), []).append(sample)

    def services(self, scenario: str) -> list[str]:
        return [service for one, service in self.samples if one == scenario]

    def scenarios(self) -> list[str]:
        return list(dict.fromkeys(scenario for scenario, _ in self.samples))

    def median(
        self, scenario: str, service: str, figure: Callable[[Sample], float]
    ) -> float | None:
        samples = self.samples.get((scenario, service))
        return statistics.median(map(figure, samples)) if samples else None

    def speedup(self, scenario: str, service: str, other: str) -> float | None:
        """How many times the requests of the other one: the median of the rounds, each of which
        holds the two against each other within seconds."""
        return self._ratio(scenario, service, other, lambda sample: sample.load.per_second)

    def _ratio(
        self, scenario: str, service: str, other: str, figure: Callable[[Sample], float]
    ) -> float | None:
        ours, theirs = self.samples.get((scenario, service)), self.samples.get((scenario, other))
        if not ours or not theirs:
            return None
        pairs = zip(ours, theirs, strict=False)
        return statistics.median(figure(one) / figure(two) for one, two in pairs)

    def p99_ratio(self, scenario: str, service: str, other: str) -> float | None:
        return self._ratio(scenario, service, other, lambda sample: sample.load.p99_us)

    def cpu_ratio(self, scenario: str, service: str, other: str) -> float | None:
        """How many times the other one's processor time a request takes, database included."""
        return self._ratio(scenario, other, service, whole_cpu)

    def peak(self, service: str) -> float:
        """The most megabytes in any scenario."""
        peaks = [
            sample.peak_memory
            for (_, name), samples in self.samples.items()
            if name == service
            for sample in samples
        ]
        return max(peaks, default=0) / 2**20


def whole_cpu(sample: Sample) -> float:
    return sample.service_us + (sample.database_us or 0.0)


@dataclass(frozen=True)
class Goal:
    """One line of the issue's table, and what was measured."""

    what: str
    wanted: str
    measured: str
    met: bool


def goals(results: Results) -> list[Goal]:
    return [goal for maker in GOALS if (goal := maker(results)) is not None]


def _faster(
    results: Results, what: str, times: float, scenario: str, service: str, other: str
) -> Goal | None:
    ratio = results.speedup(scenario, service, other)
    if ratio is None:
        return None
    cpu = results.cpu_ratio(scenario, service, other)
    measured = f"{ratio:.1f} × (processor time: {cpu:.1f} ×)"
    bare = results.speedup(scenario, service, BARE) if other == FASTAPI else None
    if bare is not None:
        measured += f"; {bare:.1f} × the bare one"
    return Goal(what, f"{times:g} ×", measured, ratio >= times)


def _list_stock(results: Results) -> Goal | None:
    what = "list, against stock Tornado"
    return _faster(results, what, 4, "list", POSTGRES, STOCK)


def _list_fastapi(results: Results) -> Goal | None:
    return _faster(results, "list, against FastAPI", 20, "list", POSTGRES, FASTAPI)


def _orders_postgres(results: Results) -> Goal | None:
    what = "durable orders on Postgres, against FastAPI"
    return _faster(results, what, 15, "new", POSTGRES, FASTAPI)


def _orders_p99(results: Results) -> Goal | None:
    ratio = results.p99_ratio("new", POSTGRES, FASTAPI)
    if ratio is None:
        return None
    return Goal("their p99, against FastAPI's", "below 1 ×", f"{ratio:.2f} ×", ratio < 1)


def _orders_sqlite(results: Results) -> Goal | None:
    what = "durable orders on SQLite, against FastAPI"
    return _faster(results, what, 10, "new", SQLITE, FASTAPI)


def _reads_beside_orders(results: Results) -> Goal | None:
    if POSTGRES not in results.busy:
        return None
    busy, full = results.busy, results.saturated
    ratio = max(beside.p99_ratio for beside in busy.values())
    measured = "; ".join(
        f"{name}: {busy[name].p99_ratio:.1f} × ({full[name].p99_ratio:.1f} × at the limit)"
        for name in busy
    )
    return Goal("read p99 while orders commit", "at most 2 ×", measured, ratio <= 2)


def _memory(results: Results) -> Goal | None:
    ours, theirs = results.peak(POSTGRES), results.peak(FASTAPI)
    if not ours or not theirs:
        return None
    measured = f"{ours:.0f} MB of {theirs:.0f} MB ({ours / theirs:.2f} ×)"
    return Goal("memory under load, against FastAPI's", "at most 1 ×", measured, ours <= theirs)


def _loads(results: Results) -> Goal | None:
    if not results.loads:
        return None
    measured = "; ".join(
        f"{name}: {one.failed} failed, p99 {one.p99_ratio:.1f} × over {one.count} loads"
        f" ({one.control_ratio or 0:.1f} × with loads elsewhere)"
        for name, one in results.loads.items()
    )
    met = all(one.failed == 0 and one.p99_ratio <= 2 for one in results.loads.values())
    return Goal("a load while serving", "no failed request, p99 at most 2 ×", measured, met)


def _start(results: Results) -> Goal | None:
    if not results.starts:
        return None
    elapsed = {
        name: statistics.median(start.elapsed for start in starts)
        for name, starts in results.starts.items()
    }
    cpu = max(statistics.median(one.cpu for one in starts) for starts in results.starts.values())
    measured = "; ".join(f"{name}: {seconds:.2f} s" for name, seconds in elapsed.items())
    measured += f"; at most {cpu:.2f} s of the processor"
    what = "start until it answers"
    return Goal(what, "at most 1 s", measured, max(elapsed.values()) <= 1)


GOALS: tuple[Callable[[Results], Goal | None], ...] = (
    _list_stock,
    _list_fastapi,
    _orders_postgres,
    _orders_p99,
    _orders_sqlite,
    _reads_beside_orders,
    _memory,
    _loads,
    _start,
)


def beside_rows(results: Results) -> list[tuple[str, ...]]:
    """What was measured with something beside it: who, what, and the p99 in milliseconds alone,
    with it, and with the control."""
    kinds = (
        ("reads, then with orders", results.busy),
        ("the same at the limit", results.saturated),
        ("mixed load, then with loads", results.loads),
    )
    return [
        (name, what, *map(_p99_text, (one.alone, one.beside, one.control)))
        for what, found in kinds
        for name, one in found.items()
    ]


def _p99_text(loads: list[Load] | None) -> str:
    return f"{median_p99(loads) / 1000:.1f}" if loads else ""
