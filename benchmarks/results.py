"""What the rounds have shown."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.costs import Costs
from benchmarks.disturbances import Disturbance
from benchmarks.extras import Beside, Start, median_p99
from benchmarks.load import Load
from benchmarks.measure import Sample

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
    costs: Costs = field(default_factory=Costs)
    disturbances: list[Disturbance] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    """The interpreter, and the versions of what else was measured."""
    left_out: list[str] = field(default_factory=list)
    """What this machine cannot run, and why."""

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
        return self._ratio(scenario, other, service, lambda sample: sample.whole_us)

    def peak(self, service: str) -> float:
        """The most megabytes in any scenario."""
        peaks = [
            sample.peak_memory
            for (_, name), samples in self.samples.items()
            if name == service
            for sample in samples
        ]
        return max(peaks, default=0) / 2**20


def beside_rows(results: Results) -> list[tuple[str, ...]]:
    """What was measured with something beside it: who, what, and the p99 in milliseconds alone,
    with it, and with the control."""
    kinds = (
        ("reads beside orders", results.busy),
        ("reads beside orders, without pauses", results.saturated),
        ("mixed load beside loads", results.loads),
    )
    return [
        (name, what, *map(_p99_text, (one.alone, one.beside, one.control)))
        for what, found in kinds
        for name, one in found.items()
    ]


def _p99_text(loads: list[Load] | None) -> str:
    return f"{median_p99(loads) / 1000:.1f}" if loads else ""
