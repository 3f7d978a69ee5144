"""One order at a time on the bare driver: what no service can be faster than.

    python -m benchmarks.one_order --url sqlite:////tmp/orders.db --seconds 2

Sends the statements that order-food's storage sends for an order, their text and like values, to
the same database from one loop: sqlite3 with the same pragmas, or asyncpg with its cache of
statements. The statements are taken down before, so that nothing of the storage's own is timed.
Prints a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast
from uuid import uuid4

import asyncpg
import uvloop

from benchmarks.menu import FIXTURES
from benchmarks.processes import cpu_seconds
from fixtures import read_fixtures
from rig.processes import ROOT, environment
from storage.order_rules import NO_LIMITS, NewOrder
from storage.postgres import orders as postgres_orders
from storage.postgres.connections import Connections
from storage.records import Order, OrderLine
from storage.sqlite import orders as sqlite_orders

A_SECOND = 5000
"""More orders than any machine stores one by one in a second."""

PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")


@dataclass(frozen=True)
class BareDriver:
    """What a run of it has shown."""

    orders: float
    p50_us: float
    p99_us: float
    cpu_us: float
    """Of the process that has the driver, for each order."""
    database_us: float
    """Of the database server, where there is one."""

    @property
    def whole_us(self) -> float:
        return self.cpu_us + self.database_us


def run_bare_driver(url: str, seconds: float, database: int | None, python: str) -> BareDriver:
    """In a process of its own, which has the processor's time for itself."""
    command = [python, "-m", "benchmarks.one_order", "--url", url, "--seconds", str(seconds)]
    if database is not None:
        command += ["--database", str(database)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the bare driver failed: {done.stderr}")
    return BareDriver(**json.loads(done.stdout))


def new_orders(count: int) -> Iterator[NewOrder]:
    """Such as the scenario of new orders has: two of one dish, one of another."""
    first, _, third = read_fixtures(FIXTURES).catalogue.products[:3]
    lines = (OrderLine(first, 2), OrderLine(third, 1))
    total = 2 * first.price + third.price
    for _ in range(count):
        order = Order(uuid4(), "demo", lines, total, 0, total, datetime.now(UTC))
        yield NewOrder(order, None, NO_LIMITS)


# --- SQLite ---


class Call(NamedTuple):
    """One call of the driver."""

    sql: str
    values: Any
    many: bool


class Recorder(sqlite3.Connection):
    """Takes down what it is asked."""

    calls: list[Call]

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        self.calls.append(Call(sql, values, False))
        return super().execute(sql, values)

    def executemany(self, sql: str, rows: Any, /) -> sqlite3.Cursor:
        self.calls.append(Call(sql, list(rows), True))
        return super().executemany(sql, self.calls[-1].values)


def recorded_on_sqlite(path: str, count: int) -> list[list[Call]]:
    """The calls of each order, as a copy of the database in memory gets them."""
    found = []
    with (
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(":memory:", isolation_level=None, factory=Recorder)) as copy,
    ):
        source.backup(copy)
        for new in new_orders(count):
            copy.calls = []
            sqlite_orders.add_orders(copy, [new])
            found.append(copy.calls)
    return found


def measure_sqlite(path: str, seconds: float) -> BareDriver:
    recorded = recorded_on_sqlite(path, int(seconds * A_SECOND))
    with closing(sqlite3.connect(path, isolation_level=None, cached_statements=256)) as db:
        for pragma in PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
        took, cpu, ends = [], time.process_time(), time.perf_counter() + seconds
        for calls in recorded:
            began = time.perf_counter()
            for sql, values, many in calls:
                if many:
                    db.executemany(sql, values)
                else:
                    db.execute(sql, values).fetchall()
            took.append(time.perf_counter() - began)
            if began > ends:
                break
        return figures(took, time.process_time() - cpu, 0.0)


# --- Postgres ---


class RecordingConnections:
    """Stands where the pool does, takes down the statement, and says that the order is stored."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Sequence[Any]]] = []

    @asynccontextmanager
    async def for_statement(self, *, keep: bool = False) -> AsyncIterator[RecordingConnections]:
        yield self

    async def retry_transaction(self, step: Callable[[], Awaitable[Any]]) -> Any:
        return await step()

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        self.calls.append((statement, values))
        return [("stored", None, 1)]


async def recorded_on_postgres(count: int) -> list[tuple[str, Sequence[Any]]]:
    recording = RecordingConnections()
    for new in new_orders(count):
        await postgres_orders.add_orders(cast(Connections, recording), [new])
    return recording.calls


async def measure_postgres(url: str, seconds: float, database: int | None) -> BareDriver:
    recorded = await recorded_on_postgres(int(seconds * A_SECOND))
    connection = await asyncpg.connect(url)
    try:
        statement, values = recorded.pop()
        await connection.fetch(statement, *values)  # prepares it, and compiles the function
        theirs = cpu_seconds(database) if database is not None else 0.0
        took, cpu, ends = [], time.process_time(), time.perf_counter() + seconds
        for statement, values in recorded:
            began = time.perf_counter()
            await connection.fetch(statement, *values)
            took.append(time.perf_counter() - began)
            if began > ends:
                break
        ours = time.process_time() - cpu
        theirs = cpu_seconds(database) - theirs if database is not None else 0.0
        return figures(took, ours, theirs)
    finally:
        await connection.close()


def figures(took: list[float], cpu: float, database: float) -> BareDriver:
    p99 = statistics.quantiles(took, n=100)[98]
    microseconds = (statistics.median(took), p99, cpu / len(took), database / len(took))
    return BareDriver(len(took), *(1e6 * one for one in microseconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", required=True, help="a database that is migrated and loaded")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--database", type=int, help="the process of the database server")
    options = parser.parse_args()
    if options.url.startswith("sqlite:"):
        shown = measure_sqlite(options.url.removeprefix("sqlite:///"), options.seconds)
    else:
        shown = uvloop.run(measure_postgres(options.url, options.seconds, options.database))
    print(json.dumps(asdict(shown)))


if __name__ == "__main__":
    main()
