"""Measures order-food beside what its user would else have, with all that a user has on.

    python -m benchmarks.bench                           what docs/benchmarks.md shows
    python -m benchmarks.bench --only list new           some scenarios, and no document is written

Real processes on this machine, one at a time under load, in turns: each round asks every service
for a scenario before the next scenario comes, so that whatever else the machine does meets all of
them. Before each run that is timed comes a short one in which every answer is judged. Ends with 1
when an answer is wrong, a socket fails, or orders are missing.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.extras import PAUSE, measure_starts, mix_beside_loads, reads_beside_orders
from benchmarks.load import SCENARIOS, WrongAnswer
from benchmarks.measure import measure
from benchmarks.results import Results
from benchmarks.services import (
    BACKENDS,
    Service,
    Stage,
    open_stage,
    start_fastapi,
    start_order_food,
    start_stock,
)

OTHERS = ("stock", "fastapi")
WARM_SECONDS = 1.0


def start_services(stage: Stage, names: Sequence[str]) -> list[Service]:
    services = [start_order_food(stage, name) for name in BACKENDS if name in names]
    if "stock" in names:
        services.append(start_stock(stage))
    if "fastapi" in names:
        services += [start_fastapi(stage, observed=True), start_fastapi(stage, observed=False)]
    return services


def run_rounds(
    stage: Stage, services: Sequence[Service], scenarios: Sequence[str], options: argparse.Namespace
) -> Results:
    results = Results()
    for service in services:
        warm = "mix" if "mix" in service.scenarios else "list"
        service.target.run(warm, WARM_SECONDS).check(f"{service.name}, warming up")
    for number in range(1, options.rounds + 1):
        for scenario in scenarios:
            for service in services:
                if scenario in service.scenarios:
                    sample = measure(stage, service, scenario, options.seconds)
                    results.add(scenario, service.name, sample)
                    rate = f"{sample.load.per_second:,.0f} requests/s"
                    say(f"round {number}: {scenario}, {service.name}: {rate}")
    return results


def run_extras(
    stage: Stage, services: Sequence[Service], results: Results, options: argparse.Namespace
) -> None:
    for service in services:
        if not service.name.startswith("order-food"):
            continue
        results.busy[service.name] = reads_beside_orders(
            service, options.seconds, options.rounds, PAUSE
        )
        results.saturated[service.name] = reads_beside_orders(
            service, options.seconds, options.rounds, 0
        )
        say(f"reads beside orders, {service.name}")
        results.starts[service.name] = measure_starts(stage, service.url, options.rounds + 2)
        say(f"starts, {service.name}")
        if service.url != "memory://":
            results.loads[service.name] = mix_beside_loads(
                stage, service, options.seconds * 2, options.rounds
            )
            say(f"mixed load beside loads, {service.name}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def bench(options: argparse.Namespace, folder: Path) -> Results:
    needs_postgres = bool({"postgres", "fastapi"} & set(options.services))
    with open_stage(folder, postgres=needs_postgres) as stage:
        services = start_services(stage, options.services)
        results = run_rounds(stage, services, options.only, options)
        if options.extras:
            run_extras(stage, services, results, options)
    return results


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run, at least 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    every = [*BACKENDS, *OTHERS]
    parser.add_argument("--services", nargs="+", choices=every, default=every)
    parser.add_argument("--no-extras", dest="extras", action="store_false", help="wrk alone")
    parser.add_argument("--no-write", dest="write", action="store_false", help="only print")
    return parser.parse_args(arguments)


def _shown_options() -> list[str]:
    given = shlex.join(sys.argv[1:])
    return [f'OPTIONS="{given}"'] if given else []


def main() -> int:
    options = parse_options()
    if shutil.which("wrk") is None:
        say("the program wrk is not installed: apt-get install wrk")
        return 2
    complete = len(options.only) == len(SCENARIOS) and options.extras
    complete = complete and len(options.services) == len(BACKENDS) + len(OTHERS)
    command = " ".join(["make bench", *_shown_options()])
    with tempfile.TemporaryDirectory(prefix="orderfood-bench-") as folder:
        try:
            results = bench(options, Path(folder))
        except WrongAnswer as wrong:
            say(f"the run is worth nothing: {wrong}")
            return 1
    print(report.as_text(results, command))
    if complete and options.write:
        report.write(results, command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
