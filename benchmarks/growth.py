"""What grows with the number of orders: each figure with many of them beside the same with few.

    python -m benchmarks.growth [--orders N] [--base N] [--backends …] [--rounds N] [--output FILE]

Fills 10 million orders on Postgres and 2 million on SQLite by SQL, with their lines and events, in
a temporary folder; measures what a user, the kitchen and an operator wait for, in turns with a
database of 10,000; and writes the table into docs/scaling.md. Ends with 1 when a figure other than
dump, restore and bytes has more than doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

from benchmarks.growth_figures import PROGRAMS, REQUESTS, Figure, Site
from benchmarks.growth_fill import fill
from benchmarks.processes import peak_memory
from migrations import read_migrations
from rig.postgres import StartedServer, find_binaries, unprivileged_user
from rig.processes import ROOT, prepare
from storage import SCHEMA_VERSION, open_storage
from storage.records import Cursor, Migration
from storage.sqlite.times import moment

USUAL = {"postgres": 10_000_000, "sqlite": 2_000_000}
BYTES_NEEDED = 2_500
"""Of the disk, for each order: the database twice, its log and a dump."""

MOST_GROWTH = 2.0
MARKS = "<!-- growth -->", "<!-- /growth -->"
PLACES = 1000
EXPAND = Migration(
    SCHEMA_VERSION + 1, "0000_growth", "ALTER TABLE orders ADD COLUMN gift_note text;", "0" * 64
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure of both databases; ``bounded`` is whether it may not double."""

    name: str
    unit: str
    few: float
    many: float
    bounded: bool = True

    @property
    def ratio(self) -> float:
        return self.many / self.few


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


# --- databases ---


class Database:
    """One that holds so many orders. ``folder`` is where the backend keeps files."""

    def __init__(self, url: str, orders: int, folder: Path) -> None:
        self.url, self.orders, self.folder = url, orders, folder

    def fill(self) -> Site:
        prepare(self.url)
        fill(self.url, self.orders, lambda line: say(f"{self.url.partition(':')[0]}: {line}"))
        return Site(self.url, self.orders, self.places(), self.old_event())

    def places(self) -> list[Cursor]:
        raise NotImplementedError

    def old_event(self) -> int:
        raise NotImplementedError

    def size(self) -> float:
        raise NotImplementedError

    def dump(self) -> None:
        raise NotImplementedError

    def restore(self) -> None:
        raise NotImplementedError


OLD_EVENT = "SELECT min(seq) + count(*) / 30 FROM order_events"
"""About a day from the oldest: that one is deleted at any moment."""

OF_CUSTOMER = """
SELECT created_at, id FROM orders WHERE user_id = 'demo' AND status <> 'placed'
ORDER BY created_at LIMIT {} OFFSET 30
"""


class PostgresDatabase(Database):
    def __init__(self, server: StartedServer, orders: int, folder: Path) -> None:
        super().__init__(server.create_database(), orders, folder)
        self._server = server
        self._dump = folder / f"{orders}.dump"

    def places(self) -> list[Cursor]:
        rows = self._fetch(OF_CUSTOMER.format("ALL"))
        return [Cursor(row[0], row[1]) for row in rows[:: max(1, len(rows) // PLACES)]]

    def old_event(self) -> int:
        found: int = self._fetch(OLD_EVENT)[0][0]
        return found

    def size(self) -> float:
        found: int = self._fetch("SELECT pg_database_size(current_database())")[0][0]
        return found

    def dump(self) -> None:
        self._tool("pg_dump", self.url, "--format=custom", f"--file={self._dump}")

    def restore(self) -> None:
        restored = self._server.create_database()
        self._tool("pg_restore", restored, "--exit-on-error", "--no-owner", str(self._dump))
        self._server.drop_database(restored)
        self._dump.unlink()

    def _tool(self, name: str, url: str, *arguments: str) -> None:
        folder = find_binaries(unprivileged_user())
        command = [str(folder / name), f"--dbname={urlsplit(url).geturl()}", *arguments]
        subprocess.run(command, check=True)

    def _fetch(self, statement: str) -> list[asyncpg.Record]:
        async def fetch() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.url)
            try:
                return list(await connection.fetch(statement))
            finally:
                await connection.close()

        return asyncio.run(fetch())


class SQLiteDatabase(Database):
    def __init__(self, orders: int, folder: Path) -> None:
        self._path = folder / f"{orders}.db"
        self._dump = folder / f"{orders}.backup"
        super().__init__(f"sqlite:///{self._path}", orders, folder)

    def places(self) -> list[Cursor]:
        rows = self._fetch(OF_CUSTOMER.format("-1"))
        some = rows[:: max(1, len(rows) // PLACES)]
        return [Cursor(moment(created_at), UUID(id_)) for created_at, id_ in some]

    def old_event(self) -> int:
        found: int = self._fetch(OLD_EVENT)[0][0]
        return found

    def size(self) -> float:
        return self._path.stat().st_size

    def dump(self) -> None:
        self._copy(self._path, self._dump)

    def restore(self) -> None:
        """With a look at its pages, as whoever restores one would take."""
        restored = self._path.with_suffix(".restored")
        self._copy(self._dump, restored)
        with closing(sqlite3.connect(restored)) as db:
            assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        restored.unlink()
        self._dump.unlink()

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
            one.backup(other)

    def _fetch(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self._path)) as db:
            return db.execute(statement).fetchall()


# --- measuring ---


def measure(few: Database, many: Database, rounds: int) -> Iterator[Row]:
    """All figures of two databases, in turns."""
    sites = (few.fill(), many.fill())
    with sites[0].serving() as one, sites[1].serving() as other:
        yield from in_turns(sites, REQUESTS, rounds, "ms")
        peaks = [peak_memory(server.process.pid) / 2**20 for server in (one, other)]
        yield Row("order-food: peak memory", "MB", peaks[0], peaks[1])
    yield from in_turns(sites, PROGRAMS, rounds, "s")
    yield Row("dump", "s", timed(few.dump), timed(many.dump), bounded=False)
    yield Row("restore", "s", timed(few.restore), timed(many.restore), bounded=False)
    sizes = [database.size() / database.orders for database in (few, many)]
    yield Row("size for each order", "bytes", sizes[0], sizes[1], bounded=False)
    times = [timed(partial(asyncio.run, add_column(site.url))) for site in sites]
    yield Row("migration that adds a column", "s", times[0], times[1])


def in_turns(
    sites: tuple[Site, Site], figures: Sequence[Figure], rounds: int, unit: str
) -> Iterator[Row]:
    """The median of every figure. What else the machine does meanwhile is the same to both."""
    for wanted in figures:
        found: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for site, times in zip(sites, found, strict=True):
                times += [wanted.seconds(site) for _ in range(wanted.often)]
        few, many = (statistics.median(times) / UNITS[unit] for times in found)
        yield Row(wanted.name, unit, few, many)


UNITS = {"ms": 0.001, "s": 1.0}


def timed(step: Callable[[], object]) -> float:
    """How many seconds it takes."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


async def add_column(url: str) -> None:
    async with open_storage(url) as storage:
        assert len(read_migrations(storage.backend)) < EXPAND.version
        await storage.apply_migration(EXPAND)


# --- the table ---


def table(backend: str, few: int, many: int, rows: Sequence[Row]) -> str:
    head = f"| {backend} | {few:,} orders | {many:,} orders | ratio |\n| --- | --- | --- | --- |"
    return "\n".join([head, *map(text_of, rows)])


def text_of(row: Row) -> str:
    cells = (row.name, figure(row.few, row.unit), figure(row.many, row.unit), f"{row.ratio:.2f} ×")
    return f"| {' | '.join(cells)} |"


def figure(value: float, unit: str) -> str:
    """Three digits, or a whole number.

    >>> figure(1.2, "ms"), figure(0.0123, "s"), figure(12345.6, "bytes")
    ('1.20 ms', '0.0123 s', '12,346 bytes')
    """
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:#.3g} {unit}"


def machine() -> str:
    cores, memory = os.cpu_count(), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    command = [str(find_binaries(unprivileged_user()) / "postgres"), "--version"]
    postgres = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout
    return (
        f"{cores} cores and {memory / 2**30:.0f} GB, with Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, Postgres {postgres.split()[2]}"
    )


def write(file: Path, content: str) -> None:
    """Puts the content between the marks of a file. Raises ValueError without them."""
    text = file.read_text()
    before, first, rest = text.partition(MARKS[0])
    _, last, after = rest.partition(MARKS[1])
    if not (first and last):
        raise ValueError(f"{file} has no {MARKS[0]} … {MARKS[1]}")
    file.write_text(f"{before}{first}\n{content}\n{last}{after}")


# --- the program ---


@contextmanager
def databases(backend: str, counts: tuple[int, int], folder: Path) -> Iterator[list[Database]]:
    """One with few and one with many orders."""
    if backend == "sqlite":
        yield [SQLiteDatabase(count, folder) for count in counts]
        return
    server = StartedServer()
    try:
        yield [PostgresDatabase(server, count, folder) for count in counts]
    finally:
        server.close()


def check_room(orders: int, folder: Path) -> None:
    """Raises SystemExit where the disk could become full."""
    needed, free = orders * BYTES_NEEDED, shutil.disk_usage(folder).free
    if needed > free:
        raise SystemExit(
            f"{orders:,} orders need up to {needed / 2**30:.0f} GB in {folder}, where"
            f" {free / 2**30:.0f} GB are free: set TMPDIR, or take fewer with --orders"
        )


def run(backend: str, options: argparse.Namespace) -> list[Row]:
    orders = options.orders or USUAL[backend]
    with tempfile.TemporaryDirectory(prefix="orderfood-growth-") as name:
        folder = Path(name)
        check_room(orders, folder)
        with databases(backend, (options.base, orders), folder) as (few, many):
            rows = []
            for row in measure(few, many, options.rounds):
                say(text_of(row))
                rows.append(row)
            return rows


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--orders", type=int, help="many; default: 10 million, SQLite 2 million")
    parser.add_argument("--base", type=int, default=10_000, help="few; 5,000 at least")
    parser.add_argument("--backends", nargs="+", choices=list(USUAL), default=list(USUAL))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "scaling.md")
    return parser.parse_args()


def main() -> int:
    options = parse()
    tables, grown = [f"Measured on {machine()}."], []
    for backend in options.backends:
        rows = run(backend, options)
        tables.append(table(backend, options.base, options.orders or USUAL[backend], rows))
        grown += [f"{backend}: {r.name}" for r in rows if r.bounded and r.ratio > MOST_GROWTH]
    write(options.output, "\n\n".join(tables))
    print("\n\n".join(tables))
    for name in grown:
        say(f"more than {MOST_GROWTH:g} times: {name}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
