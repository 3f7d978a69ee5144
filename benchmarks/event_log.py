"""What the log of events costs a service that stores orders: orders/s with it and without.

    python -m benchmarks.event_log [--processes N ...] [--seconds N] [--rounds N]

One real Postgres with fsync on, and order-food on two databases of it in turns, as one process and
as four. Without is the same schema, but that add_orders writes no event and deals no number and no
index knows the status. CPU is that of service and database for each order. The medians of all
rounds count.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from benchmarks.measure import Sample, measure
from benchmarks.services import Service, Stage, open_stage, order_food_on, storage_url
from rig.processes import prepare


async def take_log_out(url: str) -> None:
    connection = await asyncpg.connect(url)
    function = await connection.fetchval("SELECT pg_get_functiondef('add_orders'::regproc)")
    without, events = re.subn(r"INSERT INTO unnumbered_events.*?;", "", function, flags=re.DOTALL)
    without, numbers = re.subn(r"nextval\('pickup_numbers'\)", "1", without)
    if (events, numbers) != (1, 1):
        raise SystemExit("add_orders is another function than this knows")
    await connection.execute(without)
    await connection.execute("DROP INDEX orders_by_status")
    await connection.close()


def start(stage: Stage, log: bool, processes: int) -> Service:
    url = storage_url(stage, "postgres")
    prepare(url)
    if not log:
        asyncio.run(take_log_out(url))
    name = f"order-food, {processes} processes, {'with' if log else 'without'}"
    return order_food_on(stage, name, url, WORKERS=processes)


def run(stage: Stage, options: argparse.Namespace) -> None:
    for processes in options.processes:
        services = {log: start(stage, log, processes) for log in (False, True)}
        samples: dict[bool, list[Sample]] = {False: [], True: []}
        for number in range(options.rounds):
            for log in (False, True) if number % 2 else (True, False):
                samples[log].append(measure(stage, services[log], "new", options.seconds))
                rate = samples[log][-1].load.per_second
                print(f"{services[log].name}: {rate:,.0f} orders/s", file=sys.stderr, flush=True)
        print(row(processes, samples[False], samples[True]), flush=True)


def row(processes: int, without: Sequence[Sample], log: Sequence[Sample]) -> str:
    rates = [statistics.median(s.load.per_second for s in some) for some in (without, log)]
    costs = [
        statistics.median(s.service_us + (s.database_us or 0) for s in some)
        for some in (without, log)
    ]
    cells = [str(processes), *(f"{rate:,.0f}" for rate in rates), f"{rates[1] / rates[0]:.3f}"]
    cells += [*(f"{cost:.0f}" for cost in costs), f"{costs[1] / costs[0]:.3f}"]
    return f"| {' | '.join(cells)} |"


HEAD = """\
| processes | orders/s without | with | ratio | CPU without, µs | with, µs | ratio |
| --- | --- | --- | --- | --- | --- | --- |"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="orderfood-bench-") as folder,
        open_stage(Path(folder), postgres=True) as stage,
    ):
        print(HEAD)
        run(stage, options)


if __name__ == "__main__":
    main()
