"""What an order costs alone, among many connections, and over two processes."""

from __future__ import annotations

import resource
import statistics
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field

from benchmarks.measure import Sample, measure
from benchmarks.one_order import BareDriver, run_bare_driver
from benchmarks.services import Service, Stage, order_food_on, storage_url
from rig.processes import prepare

CONNECTIONS = (16, 64, 256, 1000)
WORKERS = (1, 2)
SPARE_FILES = 200
"""What a process has open beside its connections, at most."""


class TooFewFiles(Exception):
    """The system lets no process open as many as the most connections need."""


@dataclass(frozen=True)
class Costs:
    """By service; in order of rounds."""

    alone: dict[str, list[tuple[Sample, BareDriver]]] = field(default_factory=dict)
    """Over one connection, and the same statements on the bare driver."""
    unstored: dict[str, list[Sample]] = field(default_factory=dict)
    """Over one connection, of order-food in memory: what is left without a driver."""
    connections: dict[str, dict[int, list[Sample]]] = field(default_factory=dict)
    workers: dict[int, list[Sample]] = field(default_factory=dict)
    """Orders on Postgres, by the number of worker processes."""


def allow_files() -> None:
    """Lets this process, and so all that it starts, open enough. Raises TooFewFiles."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(CONNECTIONS) + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise TooFewFiles(
            f"orders over many connections were left out: a process may open {hard} files here,"
            f" and {wanted} are needed"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def measure_alone(stage: Stage, service: Service, seconds: float, costs: Costs) -> None:
    """A round of orders one at a time: the service, and the bare driver on the same database before
    and after, so that a disk which becomes slower or faster meanwhile is slower for both."""

    def bare_driver() -> BareDriver:
        return run_bare_driver(service.url, seconds / 2, service.database, stage.python)

    before = bare_driver()
    sample = measure(stage, service, "new", seconds, connections=1)
    bare = mean(before, bare_driver())
    costs.alone.setdefault(service.name, []).append((sample, bare))


def measure_unstored(stage: Stage, service: Service, seconds: float, costs: Costs) -> None:
    """A round of orders one at a time of a service that stores nothing."""
    sample = measure(stage, service, "new", seconds, connections=1)
    costs.unstored.setdefault(service.name, []).append(sample)


def mean(one: BareDriver, other: BareDriver) -> BareDriver:
    """Of each figure."""
    pairs = zip(astuple(one), astuple(other), strict=True)
    return BareDriver(*(statistics.fmean(pair) for pair in pairs))


def measure_connections(
    stage: Stage, service: Service, seconds: float, costs: Costs, numbers: Sequence[int]
) -> None:
    """A round of new orders over so many connections each."""
    found = costs.connections.setdefault(service.name, {})
    for number in numbers:
        sample = measure(stage, service, "new", seconds, connections=number)
        found.setdefault(number, []).append(sample)


def start_workers(stage: Stage) -> dict[int, Service]:
    """One service on Postgres for each number of workers, each in a database of its own."""
    services = {}
    for number in WORKERS:
        url = storage_url(stage, "postgres")
        prepare(url)
        name = f"order-food, postgres, WORKERS={number}"
        services[number] = order_food_on(stage, name, url, WORKERS=number)
    return services


def measure_workers(
    stage: Stage, services: dict[int, Service], seconds: float, costs: Costs
) -> None:
    """A round of each."""
    for number, service in services.items():
        sample = measure(stage, service, "new", seconds)
        costs.workers.setdefault(number, []).append(sample)


def reckoned_rate(sample: Sample, workers: int, cores: int = 2) -> float:
    """The orders per second that the processor's time is enough for, where those who order are on
    another machine: a worker has one core at most, and all workers share the machine's cores with
    the database."""
    of_workers = workers / sample.service_us
    of_machine = cores / (sample.service_us + (sample.database_us or 0.0))
    return 1e6 * min(of_workers, of_machine)
