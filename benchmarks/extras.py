"""What no single run of wrk shows: the start, reads beside orders, loads while serving."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import JUDGED_SECONDS, Load
from benchmarks.measure import check_growth, orders_in
from benchmarks.menu import FIXTURES
from benchmarks.processes import cpu_seconds
from benchmarks.services import (
    Service,
    Stage,
    order_food,
    running,
    wait_until_it_answers,
)
from rig.ports import free_port
from rig.processes import prepare, run

READERS = 58
WRITERS = 6
"""Connections that read, and that order meanwhile."""

PAUSE = 50
"""Milliseconds between a connection's requests where a service is busy and not driven to its
limit, as most are most of the time. At the limit every wait is a wait for the processor."""


@dataclass(frozen=True)
class Beside:
    """Loads of wrk with something going on beside them, and without."""

    alone: list[Load]
    beside: list[Load]
    count: int = 0
    """How often the other thing was done."""
    control: list[Load] | None = None
    """With the same thing done to another service's data: what it takes of the processor alone."""

    @property
    def p99_ratio(self) -> float:
        """Of the medians of the rounds."""
        return median_p99(self.beside) / median_p99(self.alone)

    @property
    def control_ratio(self) -> float | None:
        """The same of the control."""
        return median_p99(self.control) / median_p99(self.alone) if self.control else None

    @property
    def failed(self) -> int:
        return sum(load.failed for load in self.beside)


def median_p99(loads: list[Load]) -> float:
    return statistics.median(load.p99_us for load in loads)


@dataclass(frozen=True)
class Start:
    """From the start of a process until it answers over HTTP, in seconds: by the clock, and of the
    processor, which does not grow when others want it, too."""

    elapsed: float
    cpu: float


def measure_starts(stage: Stage, url: str, times: int) -> list[Start]:
    starts = []
    for number in range(times):
        port = free_port()
        env = stage.observed(STORAGE_URL=url, PORT=port, DRAIN_SECONDS=0)
        log = stage.folder / f"start-{number}.log"
        began = time.perf_counter()
        with running(order_food(stage.python), env, log) as process:
            wait_until_it_answers(process, port, log)
            starts.append(Start(time.perf_counter() - began, cpu_seconds(process.pid)))
    return starts


def reads_beside_orders(service: Service, seconds: float, rounds: int, pause: int) -> Beside:
    """The menu read over some connections, alone and while others order. With pauses wrk has time
    to judge; without, it has not."""
    alone, beside = [], []
    for _ in range(rounds):
        if pause:
            reads = service.target.run("list", seconds, READERS, pause)
            alone.append(reads.check(f"{service.name}, reads"))
            beside.append(_judged_beside_orders(service, seconds, pause)[0])
        else:
            alone.append(service.target.timed("list", seconds, READERS))
            beside.append(_timed_beside_orders(service, seconds))
    return Beside(alone, beside)


def _judged_beside_orders(service: Service, seconds: float, pause: int) -> tuple[Load, Load]:
    """The reads and the orders."""
    target, before = service.target, orders_in(service)
    with target.running("new", seconds, WRITERS, pause) as running_orders:
        reads = target.run("list", seconds, READERS, pause)
        orders = running_orders.result().check(f"{service.name}, orders")
    check_growth(service, "new", orders, before)
    return reads.check(f"{service.name}, reads beside orders"), orders


def _timed_beside_orders(service: Service, seconds: float) -> Load:
    judged_reads, judged_orders = _judged_beside_orders(service, JUDGED_SECONDS, 0)
    target, before = service.target, orders_in(service)
    with target.running("new", seconds, WRITERS, judge=False) as running_orders:
        reads = target.run("list", seconds, READERS, judge=False)
        orders = running_orders.result().check(f"{service.name}, orders", judged_orders)
    check_growth(service, "new", orders, before)
    return reads.check(f"{service.name}, reads beside orders", judged_reads)


def mix_beside_loads(stage: Stage, service: Service, seconds: float, rounds: int) -> Beside:
    """Reads and orders, alone and while database-load changes the menu again and again. What is
    ordered keeps its price, so that every answer can still be judged, and with the pauses judging
    delays nothing. The control are loads of a file that no service reads: they take as much of the
    processor, and nothing else."""
    target, elsewhere = service.target, f"sqlite:///{stage.folder}/elsewhere.db"
    prepare(elsewhere)
    target.accept_menu(other_menu(stage.folder))
    alone, beside, control, count = [], [], [], 0
    for _ in range(rounds):
        alone.append(target.run("mix", seconds, pause=PAUSE))
        with loads_in_a_loop(stage, service.url) as loop:
            beside.append(target.run("mix", seconds, pause=PAUSE))
        count += loop.count
        with loads_in_a_loop(stage, elsewhere):
            control.append(target.run("mix", seconds, pause=PAUSE))
    return Beside(alone, beside, count, control)


class LoadLoop:
    """Runs database-load again and again, with two menus in turn."""

    def __init__(self, url: str, folders: list[Path], pause: float = 0.0) -> None:
        self.count = 0
        self.error: str | None = None
        self._url = url
        self._folders = folders
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set() and self.error is None:
            folder = self._folders[self.count % len(self._folders)]
            try:
                done = run("database-load", "--force", STORAGE_URL=self._url, FIXTURES_DIR=folder)
            except subprocess.TimeoutExpired:
                self.error = "database-load does not end"
                return
            if done.returncode:
                self.error = done.stdout + done.stderr
            self.count += 1
            self._stop.wait(self._pause)


@contextmanager
def loads_in_a_loop(stage: Stage, url: str, pause: float = 0.0) -> Iterator[LoadLoop]:
    """Raises RuntimeError in the end when a load has failed. The last menu is the first again."""
    other = other_menu(stage.folder)
    loop = LoadLoop(url, [other, FIXTURES], pause)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()
        run("database-load", "--force", STORAGE_URL=url)
    if loop.error:
        raise RuntimeError(f"database-load failed: {loop.error}")


def other_menu(folder: Path) -> Path:
    """The packaged fixtures with one dish more."""
    other = folder / "other-menu"
    if not other.exists():
        other.mkdir()
        for path in FIXTURES.glob("*.json"):
            shutil.copy(path, other)
        products = json.loads((other / "products.json").read_text())
        products.append({"id": "99", "name": "Soup", "price": 4.99, "category": "Soup"})
        (other / "products.json").write_text(json.dumps(products))
    return other
