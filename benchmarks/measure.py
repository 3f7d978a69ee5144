"""One measurement: a scenario on a service, its cost, and whether the orders are really there."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.load import CONNECTIONS, Load, WrongAnswer
from benchmarks.processes import cpu_seconds, forget_peak, peak_memory
from benchmarks.services import Service, Stage

SETTLE_SECONDS = 0.1
"""What is in flight when wrk ends is answered before anything is counted."""

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


def measure(stage: Stage, service: Service, scenario: str, seconds: float) -> Sample:
    """Raises WrongAnswer."""
    if service.database is not None:
        stage.checkpoint()
    stored = orders_in(service)
    forget_peak(service.pid)
    cpu, database = cpu_seconds(service.pid), database_seconds(service)
    load = service.target.run(scenario, seconds).check(f"{service.name}, {scenario}")
    spent = cpu_seconds(service.pid) - cpu
    database_spent = database_seconds(service) - database if service.database else None
    check_growth(service, scenario, load, stored)
    return Sample(load, spent, database_spent, peak_memory(service.pid))


def database_seconds(service: Service) -> float:
    return cpu_seconds(service.database) if service.database else 0.0


def orders_in(service: Service) -> int:
    return service.count_orders() if service.count_orders else 0


def check_growth(
    service: Service, scenario: str, load: Load, before: int, connections: int = CONNECTIONS
) -> None:
    """The table has grown by what wrk has counted, and by what it did not wait for: at most one
    order for each of its connections."""
    if service.count_orders is None:
        return
    least = load.orders if scenario in STORING else 0
    most = least + connections if scenario in STORING else 0
    time.sleep(SETTLE_SECONDS)
    grown = service.count_orders() - before
    if not least <= grown <= most:
        raise WrongAnswer(
            f"{service.name}, {scenario}: the orders have grown by {grown},"
            f" and {least} to {most} were placed"
        )
