"""What the results say about the goals."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.costs import WORKERS, reckoned_rate
from benchmarks.disturbances import Disturbance
from benchmarks.measure import Sample
from benchmarks.results import POSTGRES, SQLITE, Results
from benchmarks.services import BARE, FASTAPI, GO, RESPONDER, STOCK


@dataclass(frozen=True)
class Goal:
    """What is wanted, and what was measured."""

    what: str
    wanted: str
    measured: str
    met: bool


def goals(results: Results) -> list[Goal]:
    return [goal for maker in GOALS if (goal := maker(results)) is not None]


def times_text(ratio: float) -> str:
    """Short, and not nothing where there is something."""
    return f"{ratio:.1f} ×" if ratio >= 1 else f"{ratio:.2f} ×"


@dataclass(frozen=True)
class Faster:
    """That a service does ``times`` as much in a scenario as another one."""

    what: str
    times: float
    scenario: str
    service: str
    other: str

    def __call__(self, results: Results) -> Goal | None:
        ratio = results.speedup(self.scenario, self.service, self.other)
        if ratio is None:
            return None
        cpu = results.cpu_ratio(self.scenario, self.service, self.other)
        measured = f"{times_text(ratio)} (processor time: {times_text(cpu or 0)})"
        if self.other == FASTAPI:
            bare = results.speedup(self.scenario, self.service, BARE)
            measured += "" if bare is None else f"; {times_text(bare)} the bare one"
        return Goal(self.what, f"{self.times:g} ×", measured, ratio >= self.times)


def _orders_p99(results: Results) -> Goal | None:
    ratio = results.p99_ratio("new", POSTGRES, FASTAPI)
    if ratio is None:
        return None
    return Goal(
        "p99 of orders on Postgres, against FastAPI's", "below 1 ×", f"{ratio:.2f} ×", ratio < 1
    )


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


def _one_order(results: Results, service: str, times: float) -> Goal | None:
    rounds = results.costs.alone.get(service)
    if not rounds:
        return None
    ratio = statistics.median(sample.load.p50_us / bare.p50_us for sample, bare in rounds)
    cpu = statistics.median(sample.whole_us / bare.whole_us for sample, bare in rounds)
    ours = statistics.median(sample.load.p50_us for sample, _ in rounds)
    theirs = statistics.median(bare.p50_us for _, bare in rounds)
    measured = (
        f"{times_text(ratio)}, {ours:.0f} of {theirs:.0f} µs (processor time: {times_text(cpu)})"
    )
    what = f"one order at a time, p50, {service}, against the same statements on the bare driver"
    return Goal(what, f"at most {times:g} ×", measured, ratio <= times)


def _one_order_sqlite(results: Results) -> Goal | None:
    return _one_order(results, SQLITE, 1.6)


def _one_order_postgres(results: Results) -> Goal | None:
    return _one_order(results, POSTGRES, 1.6)


def _disturbed(results: Results) -> Goal | None:
    """Loads, refreshes, feeds."""
    loads, others = results.loads, results.disturbances
    if not loads and not others:
        return None
    parts = [
        f"loads, {name}: {one.p99_ratio:.1f} × over {one.count}"
        f" ({one.control_ratio or 0:.1f} × with loads elsewhere)"
        for name, one in loads.items()
    ]
    parts += [_disturbance_text(one) for one in others]
    failed = sum(one.failed for one in loads.values()) + sum(one.failed for one in others)
    ratios = [*(one.p99_ratio for one in loads.values()), *(one.ratio for one in others)]
    what = "p99 of everything during a load, a refresh of 100,000 coupons, 1,000 feeds"
    measured = f"{'; '.join(parts)}; {failed} failed"
    met = failed == 0 and max(ratios) <= 2
    return Goal(what, "at most 2 × alone, no failed request", measured, met)


def _disturbance_text(one: Disturbance) -> str:
    text = f"{one.what}: {one.ratio:.1f} ×"
    if one.control_ms is not None:
        text += f" ({one.control_ms / one.alone_ms:.1f} × with the load elsewhere)"
    return text


def _growth(results: Results) -> Goal | None:
    found = results.costs.connections
    if not found:
        return None
    ratios, parts = [], []
    for service, by_number in found.items():
        costs = {number: median_cost(samples) for number, samples in by_number.items()}
        ratios.append(max(costs.values()) / min(costs.values()))
        shown = ", ".join(f"{cost:.0f}" for cost in costs.values())
        parts.append(f"{service}: {times_text(ratios[-1])} ({shown} µs)")
    numbers = ", ".join(f"{number:,}" for number in next(iter(found.values())))
    what = f"processor time of an order over {numbers} connections"
    return Goal(what, "at most 1.2 × its least", "; ".join(parts), max(ratios) <= 1.2)


def median_cost(samples: list[Sample]) -> float:
    return statistics.median(sample.whole_us for sample in samples)


def _workers(results: Results) -> Goal | None:
    found = results.costs.workers
    if not found:
        return None
    one, two = (found[number] for number in WORKERS)
    pairs = list(zip(one, two, strict=True))
    reckoned = statistics.median(reckoned_rate(b, 2) / reckoned_rate(a, 1) for a, b in pairs)
    seen = statistics.median(b.load.per_second / a.load.per_second for a, b in pairs)
    own = statistics.median(2 * a.service_us / b.service_us for a, b in pairs)
    measured = (
        f"{times_text(reckoned)} without wrk; {times_text(seen)} with wrk on the same cores;"
        f" {times_text(own)} with the database elsewhere, too"
    )
    seen_whole = all(sample.database_us is not None for sample in (*one, *two))
    if not seen_whole:
        measured += "; the database's processor time is not seen here, so that this says nothing"
    what = "orders on Postgres on two cores, WORKERS=2 against WORKERS=1"
    return Goal(what, "1.6 ×", measured, seen_whole and reckoned >= 1.6)


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
    Faster("list, against the Go service", 1.5, "list", POSTGRES, GO),
    Faster("list, against the bare responder", 0.33, "list", POSTGRES, RESPONDER),
    Faster("list, against stock Tornado", 8, "list", POSTGRES, STOCK),
    Faster("durable orders on Postgres, against the Go service", 3, "new", POSTGRES, GO),
    Faster("durable orders on Postgres, against FastAPI", 25, "new", POSTGRES, FASTAPI),
    Faster("durable orders on SQLite, against FastAPI", 25, "new", SQLITE, FASTAPI),
    _one_order_sqlite,
    _one_order_postgres,
    _disturbed,
    _growth,
    _workers,
    _orders_p99,
    _reads_beside_orders,
    _memory,
    _start,
)
