"""Minutes of mixed load with the menu changing meanwhile: no error, and memory that does not grow.

    python -m benchmarks.soak --minutes 10

Serves from SQLite and Postgres at once, each under its own load: nine reads to one order, and a
load of the reference data every few seconds. Prints the resident memory every few seconds and ends
with 1 when an answer is wrong, a socket fails, an order is missing, a load fails, or memory grows.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.extras import loads_in_a_loop, other_menu
from benchmarks.load import WrongAnswer
from benchmarks.measure import check_growth, orders_in
from benchmarks.processes import resident_memory
from benchmarks.services import Service, Stage, open_stage, start_order_food

CONNECTIONS = 32
"""Of each service: both together have as many as the benchmark."""

PAUSE = 10
"""Milliseconds between a connection's requests: it is to run long, not to be fast."""

LOAD_PAUSE = 5.0
SAMPLES = 40
WARM_SHARE = 0.25
"""What the first part of the samples shows does not count: caches fill."""

GROWTH = 0.05
SLACK = 2 * 2**20
"""How much more memory the end may show than the time after warming up."""


def soak(stage: Stage, services: Sequence[Service], seconds: float) -> list[str]:
    """What went wrong."""
    samples: dict[str, list[int]] = {service.name: [] for service in services}
    before = {service.name: orders_in(service) for service in services}
    problems: list[str] = []
    with ExitStack() as exits:
        for service in services:
            service.target.accept_menu(other_menu(stage.folder))
            exits.enter_context(loads_in_a_loop(stage, service.url, LOAD_PAUSE))
        threads = [
            threading.Thread(target=_load, args=(service, seconds, before[service.name], problems))
            for service in services
        ]
        for thread in threads:
            thread.start()
        _watch(services, samples, seconds)
        for thread in threads:
            thread.join()
    return problems + [problem for one in samples.items() if (problem := judge(*one))]


def _load(service: Service, seconds: float, before: int, problems: list[str]) -> None:
    try:
        load = service.target.run("mix", seconds, CONNECTIONS, PAUSE).check(service.name)
        check_growth(service, "mix", load, before)
    except Exception as error:
        problems.append(f"{service.name}: {error}")
    else:
        figures = f"p50 {load.p50_us / 1000:.1f} ms, p99 {load.p99_us / 1000:.1f} ms"
        say(f"{service.name}: {load.requests} answers, {load.orders} orders, no error; {figures}")


def _watch(services: Sequence[Service], samples: dict[str, list[int]], seconds: float) -> None:
    began = time.monotonic()
    for number in range(1, SAMPLES + 1):
        time.sleep(max(0.0, began + seconds * number / SAMPLES - time.monotonic()))
        shown = []
        for service in services:
            resident = resident_memory(service.pid)
            samples[service.name].append(resident)
            shown.append(f"{service.name} {resident / 2**20:.1f} MB")
        say(f"{seconds * number / SAMPLES:5.0f} s: {'; '.join(shown)}")


def judge(name: str, samples: Sequence[int]) -> str | None:
    """What is wrong with these samples of resident memory: the median of their last quarter must
    not be above that of the quarter after warming up."""
    quarter = int(len(samples) * WARM_SHARE)
    early = statistics.median(samples[quarter : 2 * quarter])
    late = statistics.median(samples[-quarter:])
    say(f"{name}: {early / 2**20:.1f} MB after warming up, {late / 2**20:.1f} MB in the end")
    if late > early * (1 + GROWTH) + SLACK:
        return f"{name}: memory grows from {early / 2**20:.1f} to {late / 2**20:.1f} MB"
    return None


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--services", nargs="+", choices=("sqlite", "postgres"))
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        say("the program wrk is not installed: apt-get install wrk")
        return 2
    backends = options.services or ["sqlite", "postgres"]
    with (
        tempfile.TemporaryDirectory(prefix="orderfood-soak-") as folder,
        open_stage(Path(folder), postgres="postgres" in backends) as stage,
    ):
        try:
            services = [start_order_food(stage, backend) for backend in backends]
            problems = soak(stage, services, options.minutes * 60)
        except (WrongAnswer, RuntimeError) as error:
            problems = [str(error)]
    for problem in problems:
        say(f"failed: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
