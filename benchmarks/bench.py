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
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.costs import (
    CONNECTIONS,
    TooFewFiles,
    allow_files,
    measure_alone,
    measure_connections,
    measure_unstored,
    measure_workers,
    start_workers,
)
from benchmarks.disturbances import REFRESHED, measure_feeds, measure_refreshes
from benchmarks.extras import PAUSE, measure_starts, mix_beside_loads, reads_beside_orders
from benchmarks.go_build import NoGo, build_go_service, go_version
from benchmarks.interpreters import (
    Interpreter,
    NoInterpreter,
    find_another,
    this_interpreter,
    with_environment,
)
from benchmarks.load import SCENARIOS, WrongAnswer
from benchmarks.measure import measure
from benchmarks.results import MEMORY, POSTGRES, SQLITE, Results
from benchmarks.services import (
    BACKENDS,
    Service,
    Stage,
    open_stage,
    start_fastapi,
    start_go,
    start_order_food,
    start_order_food_by,
    start_responder,
    start_stock,
)

OTHERS = ("also", "responder", "stock", "go", "fastapi")
"""Also is order-food by another interpreter."""

EXTRAS = ("beside", "starts", "loads", "alone", "connections", "workers", "refresh", "feeds")
WARM_SECONDS = 1.0


def start_services(
    stage: Stage, names: Sequence[str], also: Interpreter | None, results: Results
) -> list[Service]:
    services = [start_order_food(stage, name) for name in BACKENDS if name in names]
    if also is not None:
        results.programs.append(str(also))
        databases = [name for name in ("sqlite", "postgres") if name in names]
        services += [start_order_food_by(stage, name, also) for name in databases]
    if "responder" in names:
        services.append(start_responder(stage))
    if "stock" in names:
        services.append(start_stock(stage))
    if "go" in names:
        services += start_go_if_there_is_one(stage, results)
    if "fastapi" in names:
        services += [start_fastapi(stage, observed=True), start_fastapi(stage, observed=False)]
    return services


def start_go_if_there_is_one(stage: Stage, results: Results) -> list[Service]:
    try:
        program = build_go_service()
    except NoGo as missing:
        say(str(missing))
        results.left_out.append(str(missing))
        return []
    results.programs.append(f"Go {go_version(program)}")
    return [start_go(stage, program)]


def run_rounds(
    stage: Stage, services: Sequence[Service], results: Results, options: argparse.Namespace
) -> None:
    for service in services:
        warm = "mix" if "mix" in service.scenarios else "list"
        service.target.run(warm, WARM_SECONDS).check(f"{service.name}, warming up")
    for number in range(1, options.rounds + 1):
        for scenario in options.only:
            for service in services:
                if scenario in service.scenarios:
                    sample = measure(stage, service, scenario, options.seconds)
                    results.add(scenario, service.name, sample)
                    rate = f"{sample.load.per_second:,.0f} requests/s"
                    say(f"round {number}: {scenario}, {service.name}: {rate}")


def run_extras(
    stage: Stage, services: Sequence[Service], results: Results, options: argparse.Namespace
) -> None:
    ours = [service for service in services if service.name in (MEMORY, SQLITE, POSTGRES)]
    stored = [service for service in ours if service.name != MEMORY]
    runs: dict[str, Callable[[], None]] = {
        "beside": lambda: run_beside(ours, results, options),
        "starts": lambda: run_starts(stage, ours, results, options),
        "loads": lambda: run_loads(stage, stored, results, options),
        "alone": lambda: run_alone(stage, ours, results, options),
        "connections": lambda: run_connections(stage, stored, results, options),
        "workers": lambda: run_workers(stage, results, options),
        "refresh": lambda: run_refreshes(stage, results, options),
        "feeds": lambda: run_feeds(stage, results),
    }
    for name in options.extras:
        say(f"extras: {name}")
        runs[name]()


def run_beside(services: Sequence[Service], results: Results, options: argparse.Namespace) -> None:
    for service in services:
        results.busy[service.name] = reads_beside_orders(
            service, options.seconds, options.rounds, PAUSE
        )
        results.saturated[service.name] = reads_beside_orders(
            service, options.seconds, options.rounds, 0
        )


def run_starts(
    stage: Stage, services: Sequence[Service], results: Results, options: argparse.Namespace
) -> None:
    for service in services:
        results.starts[service.name] = measure_starts(stage, service.url, options.rounds + 2)


def run_loads(
    stage: Stage, services: Sequence[Service], results: Results, options: argparse.Namespace
) -> None:
    for service in services:
        results.loads[service.name] = mix_beside_loads(
            stage, service, options.seconds * 2, options.rounds
        )


def run_alone(
    stage: Stage, services: Sequence[Service], results: Results, options: argparse.Namespace
) -> None:
    for _ in range(options.rounds):
        for service in services:
            of_one = measure_unstored if service.name == MEMORY else measure_alone
            of_one(stage, service, options.seconds, results.costs)


def run_connections(
    stage: Stage, services: Sequence[Service], results: Results, options: argparse.Namespace
) -> None:
    for number in range(options.rounds):
        order = CONNECTIONS[:: -1 if number % 2 else 1]
        for service in services:
            measure_connections(stage, service, options.seconds, results.costs, order)


def run_workers(stage: Stage, results: Results, options: argparse.Namespace) -> None:
    if stage.postgres is None:
        return
    services = start_workers(stage)
    for _ in range(options.rounds):
        measure_workers(stage, services, options.seconds, results.costs)


def run_refreshes(stage: Stage, results: Results, options: argparse.Namespace) -> None:
    for backend in REFRESHED:
        if backend in options.services:
            results.disturbances.append(measure_refreshes(stage, backend, options.rounds))


def run_feeds(stage: Stage, results: Results) -> None:
    results.disturbances += measure_feeds(stage)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def bench(options: argparse.Namespace, folder: Path) -> Results:
    results = Results()
    python = with_environment(options.python) if options.python else this_interpreter()
    results.programs.append(str(python))
    also = another_interpreter(options, python, results)
    try:
        allow_files()
    except TooFewFiles as few:
        say(str(few))
        results.left_out.append(str(few))
        options.extras = [name for name in options.extras if name != "connections"]
    needs_postgres = bool({"postgres", "go", "fastapi"} & set(options.services))
    with open_stage(folder, postgres=needs_postgres, python=python.program) as stage:
        services = start_services(stage, options.services, also, results)
        run_rounds(stage, services, results, options)
        run_extras(stage, services, results, options)
    return results


def another_interpreter(
    options: argparse.Namespace, chosen: Interpreter, results: Results
) -> Interpreter | None:
    """The one that is named, or else found; None if there is none beside the chosen one."""
    program = options.also_python or find_another(chosen)
    if program is None or "also" not in options.services:
        return None
    try:
        found = with_environment(program)
    except NoInterpreter as missing:
        say(str(missing))
        results.left_out.append(str(missing))
        return None
    return found if found.build != chosen.build else None


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run, at least 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=SCENARIOS, default=list(SCENARIOS))
    every = [*BACKENDS, *OTHERS]
    parser.add_argument("--services", nargs="+", choices=every, default=every)
    parser.add_argument("--extras", nargs="*", choices=EXTRAS, default=list(EXTRAS))
    parser.add_argument("--no-extras", dest="extras", action="store_const", const=[])
    parser.add_argument("--python", help="runs what is written in Python, instead of this one")
    parser.add_argument("--also-python", help="runs order-food once more; else the distribution's")
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
    complete = len(options.only) == len(SCENARIOS) and len(options.extras) == len(EXTRAS)
    complete = complete and len(options.services) == len(BACKENDS) + len(OTHERS)
    command = " ".join(["make bench", *_shown_options()])
    with tempfile.TemporaryDirectory(prefix="orderfood-bench-") as folder:
        try:
            results = bench(options, Path(folder))
        except NoInterpreter as missing:
            say(str(missing))
            return 2
        except WrongAnswer as wrong:
            say(f"the run is worth nothing: {wrong}")
            return 1
    print(report.as_text(results, command))
    if complete and options.write:
        report.write(results, command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
