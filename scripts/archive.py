"""Moves old orders out of the database into compressed files, one for each day.

python -m scripts.archive --before 2025-01-01 --to archive

Orders that were placed and have ended before that day (UTC) go, with their lines and those of their
events that are kept. A day's file is written, is on disk and has been read back before an order
of it is deleted, and only one that is still what the file says. What it was cut off from, at
whatever moment, the next run goes on with: docs/decisions/0070-archive.md.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from uuid import UUID

from orderfood.observe.logs import say
from orderfood.program import Program, run_program
from orderfood.settings import Settings, SettingsError
from orderfood.shop.orders import KEY_LIFETIME
from orderfood.store import require_schema, storage_of
from scripts.day_files import ArchiveFailed, DayFile, locked
from scripts.load import give_way
from storage.records import ArchivedOrder, Cursor
from storage.sql import SQLStorage

logger = logging.getLogger("archive")

PORTION = 100
"""Orders that are read or deleted at once: on SQLite other orders wait for as long."""

PAUSE_FACTOR = 2.0
"""The pause after a portion was deleted, as a multiple of the time that it took."""

ATTEMPTS = 3
"""How often a day is written anew because its orders have changed since: names are blanked."""

DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_LAST_ID = UUID(int=2**128 - 1)


async def archive(settings: Settings, arguments: argparse.Namespace) -> None:
    """Archives what is old. Raises SettingsError, ArchiveFailed and StorageError; then what is not
    in the archive is in the database."""
    storage = storage_of(settings)
    if not isinstance(storage, SQLStorage):
        say(logger, "memory:// keeps nothing that could be archived")
        return
    before = start_of(arguments.before)
    check(before, datetime.now(UTC), settings.personal_data_days)
    with locked(arguments.to):
        async with storage:
            await require_schema(storage)
            await settle(storage, settings.personal_data_days)
            count = await archive_days(storage, arguments.to, before)
    say(logger, f"archived {count} orders" if count else "nothing to do", orders=count)


def check(before: datetime, now: datetime, personal_data_days: int) -> None:
    """Raises SettingsError for a day that is too young: a key must not lead to an order that has
    gone, nor a name outlive PERSONAL_DATA_DAYS in an archive."""
    latest = (now - max(KEY_LIFETIME, timedelta(days=personal_data_days))).date()
    if before.date() > latest:
        raise SettingsError(
            f"--before is {before.date()} and may be {latest} at the latest: an Idempotency-Key is"
            f" kept for a day, names and notes for PERSONAL_DATA_DAYS, which is"
            f" {personal_data_days}"
        )


async def settle(storage: SQLStorage, personal_data_days: int) -> None:
    """Does what a server's background is perhaps behind with: numbers events, blanks names."""
    while await storage.number_events():
        pass
    due = datetime.now(UTC) - timedelta(days=personal_data_days)
    while personal_data_days and await storage.blank_personal_data(due, PORTION):
        pass


async def archive_days(storage: SQLStorage, folder: Path, before: datetime) -> int:
    """Archives day by day, oldest first; returns how many orders that were."""
    total, since = 0, None
    while (found := await storage.find_ended(before, since)) is not None:
        day = found.date()
        count = await archive_day(storage, DayFile(folder, day), day, before)
        say(logger, f"{day}: archived {count} orders", day=day.isoformat(), orders=count)
        total, since = total + count, start_of(day) + DAY
    return total


async def archive_day(storage: SQLStorage, file: DayFile, day: date, before: datetime) -> int:
    """Archives one day; returns how many orders that were. Raises ArchiveFailed when they change
    all the time."""
    start, count = start_of(day), 0
    for _ in range(ATTEMPTS):
        await write_day(file, read_day(storage, start, before))
        count += await delete_day(storage, file)
        left = await storage.find_ended(before, start)
        if left is None or left >= start + DAY:
            return count
    raise ArchiveFailed(f"orders of {day} were changed while they were archived: run it again")


async def read_day(
    storage: SQLStorage, start: datetime, before: datetime
) -> AsyncIterator[ArchivedOrder]:
    """The orders of a day that are to be archived, by time and id."""
    after = Cursor(start - _MICROSECOND, _LAST_ID)
    while page := await storage.read_ended(before, start + DAY, after, PORTION):
        for one in page:
            yield one
        after = place_of(page[-1])


async def write_day(file: DayFile, stored: AsyncIterator[ArchivedOrder]) -> None:
    """Writes a day's file: what it holds already, and what is stored, each order once."""
    kept = file.read()
    with file.writing() as write:
        held = next(kept, None)
        async for one in stored:
            while held is not None and is_before(held, one):
                write(held)
                held = next(kept, None)
            if held is not None and held.order.id == one.order.id:
                one, held = together(one, held), next(kept, None)
            write(one)
        while held is not None:
            write(held)
            held = next(kept, None)


def place_of(archived: ArchivedOrder) -> Cursor:
    """Where an order stands in a day's file."""
    return Cursor(archived.order.created_at, archived.order.id)


def is_before(one: ArchivedOrder, other: ArchivedOrder) -> bool:
    """Whether one order comes before another one in a day's file."""
    mine, theirs = place_of(one), place_of(other)
    return (mine.created_at, mine.id) < (theirs.created_at, theirs.id)


def together(stored: ArchivedOrder, held: ArchivedOrder) -> ArchivedOrder:
    """The order as it is stored, with the events of both: the log may have lost its since."""
    events = sorted({*held.events, *stored.events}, key=lambda event: event.version)
    return ArchivedOrder(stored.order, tuple(events))


async def delete_day(storage: SQLStorage, file: DayFile) -> int:
    """Deletes from the database what a day's file is found to hold; returns how many orders."""
    count = 0
    for portion in portions(file.read()):
        began = time.monotonic()
        count += await storage.delete_archived(portion)
        await asyncio.sleep(PAUSE_FACTOR * (time.monotonic() - began))
    return count


def portions(orders: Iterable[ArchivedOrder]) -> Iterator[list[ArchivedOrder]]:
    """The orders in lists of up to PORTION."""
    remaining = iter(orders)
    while portion := list(islice(remaining, PORTION)):
        yield portion


def start_of(day: date) -> datetime:
    """The first moment of a day, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def parse_day(text: str) -> date:
    """``2025-01-01``."""
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2025-01-01")


def parse_folder(text: str) -> Path:
    """A path. An empty text, as from a variable that is not set, is none: not the current one."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty, and is to name a folder")
    return Path(text)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--before",
        required=True,
        type=parse_day,
        metavar="DATE",
        help="archive the orders that were placed, and have ended, before this day (UTC)",
    )
    parser.add_argument(
        "--to",
        type=parse_folder,
        default=Path("archive"),
        metavar="FOLDER",
        help="where the files go, which is made where it is missing (default: archive)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The script."""
    give_way()
    program = Program(
        "archive",
        "Moves old orders out of the database into compressed files, one for each day.",
        archive,
        _add_arguments,
        expected_errors=(ArchiveFailed,),
    )
    return run_program(program, argv)


if __name__ == "__main__":
    sys.exit(main())
