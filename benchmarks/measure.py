"""One measurement: a scenario on a service, its cost, and whether the orders are really there."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.load import CONNECTIONS, JUDGED_SECONDS, Load, WrongAnswer
from benchmarks.processes import cpu_seconds, forget_peak, peak_memory
from benchmarks.services import Service, Stage

SETTLE_SECONDS = 0.1
IDLE_CPU = 0.025
"""A service that takes no more of the processor meanwhile, in seconds, has nothing left to do."""

MOST_WAITS = 50

STORING = ("new", "coupon", "mix")
"""The scenarios in which every order is a new one."""


@dataclass(frozen=True)
class Sample:
    """What one run has shown."""

    load: Load
    service_cpu: float
    """Seconds."""
    database_cpu: float | None
    peak_memory: int

    @property
    def service_us(self) -> float:
        return self.service_cpu / self.load.requests * 1e6

    @property
    def database_us(self) -> float | None:
        if self.database_cpu is None:
            return None
        return self.database_cpu / self.load.requests * 1e6

    @property
    def whole_us(self) -> float:
        """Service and database."""
        return self.service_us + (self.database_us or 0.0)


def measure(
    stage: Stage,
    service: Service,
    scenario: str,
    seconds: float,
    connections: int = CONNECTIONS,
) -> Sample:
    """Judged first, then timed: wrk at judging would take the processor from a fast service more
    than from a slow one. Raises WrongAnswer."""
    where = f"{service.name}, {scenario}"
    stored = orders_in(service)
    judged = service.target.run(scenario, JUDGED_SECONDS, connections).check(f"{where}, judged")
    stored = check_growth(service, scenario, judged, stored)
    if service.database is not None:
        stage.checkpoint()
    forget_peak(service.pid)
    cpu, database = cpu_seconds(service.pid), database_seconds(service)
    load = service.target.run(scenario, seconds, connections, judge=False)
    spent = cpu_seconds(service.pid) - cpu
    database_spent = database_seconds(service) - database if service.database else None
    peak = peak_memory(service.pid)
    load.check(where, judged)
    check_growth(service, scenario, load, stored)
    return Sample(load, spent, database_spent, peak)


def database_seconds(service: Service) -> float:
    return cpu_seconds(service.database) if service.database else 0.0


def orders_in(service: Service) -> int:
    return service.count_orders() if service.count_orders else 0


def settle(service: Service) -> int:
    """The orders, once all that was in flight when wrk ended is done: the next run must neither
    wait for it nor find its orders."""
    stored = orders_in(service)
    for _ in range(MOST_WAITS):
        cpu = cpu_seconds(service.pid)
        time.sleep(SETTLE_SECONDS)
        idle = cpu_seconds(service.pid) - cpu < IDLE_CPU
        before, stored = stored, orders_in(service)
        if idle and stored == before:
            break
    return stored


def check_growth(service: Service, scenario: str, load: Load, before: int) -> int:
    """The table has grown by the orders that were placed. How many there are now."""
    now = settle(service)
    least, most = load.placed if scenario in STORING else (0, 0)
    if service.count_orders is not None and not least <= now - before <= most:
        raise WrongAnswer(
            f"{service.name}, {scenario}: the orders have grown by {now - before},"
            f" and {least} to {most} were placed"
        )
    return now
