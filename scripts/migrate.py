"""``database-migration``: brings the schema of the storage up to date."""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from migrations import read_migrations
from orderfood.observe.logs import say
from orderfood.observe.tracing import Attributes, current_span, span
from orderfood.program import Program, run_program
from orderfood.settings import Settings
from orderfood.store import storage_of
from storage import MIGRATION_TIMEOUT, Storage
from storage.errors import MigrationChanged
from storage.records import AppliedMigration, Migration

logger = logging.getLogger("database-migration")

LONGEST_SECONDS = 86_400


async def migrate(settings: Settings, arguments: argparse.Namespace) -> None:
    """Applies what is pending, or says what is. Raises SettingsError and StorageError."""
    with span(f"migration.{arguments.command or 'execute'}"):
        await _migrate(settings, arguments)


async def _migrate(settings: Settings, arguments: argparse.Namespace) -> None:
    storage = storage_of(settings)
    current_span().set_attribute("db.system.name", storage.backend)
    if storage.backend == "memory":
        say(logger, "memory:// has no schema: nothing to migrate")
        return
    migrations = read_migrations(storage.backend)
    async with storage:
        if arguments.command == "status":
            await show_status(storage, migrations)
        else:
            await apply_pending(storage, migrations, arguments.statement_timeout)


async def apply_pending(
    storage: Storage, migrations: Sequence[Migration], patience: float | None = None
) -> None:
    """Applies one after the other. Several programs may do so at once: the storage lets one of
    them apply a migration, and only that one prints its name. ``patience`` is how many seconds each
    may run, in place of what it states."""
    start = time.perf_counter()
    names = [m.name for m in migrations if await _apply(storage, m, patience)]
    current_span().set_attributes(
        {"migration.names": ", ".join(names), "migration.count": len(names)}
    )
    milliseconds = (time.perf_counter() - start) * 1000
    summary = f"applied {len(names)} in {milliseconds:.0f} ms"
    say(
        logger,
        summary if names else "nothing to do: the schema is up to date",
        duration_ms=round(milliseconds, 3),
        applied=names,
    )


async def _apply(storage: Storage, migration: Migration, patience: float | None) -> bool:
    attributes: Attributes = {
        "migration.name": migration.name,
        "migration.version": migration.version,
    }
    with span(span_name(migration), attributes) as current:
        if patience is not None:
            migration = replace(migration, statement_timeout=patience)
        applied = await storage.apply_migration(
            migration, timeout=MIGRATION_TIMEOUT + migration.seconds
        )
        current.set_attribute("migration.applied", applied)
    if applied:
        say(logger, f"applied {migration.name}", migration=migration.name)
    return applied


def span_name(migration: Migration) -> str:
    """What a migration's span is called: its name without the number, as one word.

    >>> span_name(Migration(1, "0001_create_tables", "", ""))
    'migration.createTables'
    """
    _, first, *others = migration.name.split("_")
    return f"migration.{first}{''.join(word.capitalize() for word in others)}"


async def show_status(storage: Storage, migrations: Sequence[Migration]) -> None:
    """A line for each migration, those included that a newer version of the code has applied.
    Raises MigrationChanged, after the lines, when one is not what was applied."""
    applied = {record.version: record for record in await storage.list_migrations()}
    known = {migration.version for migration in migrations}
    for migration in migrations:
        _show(migration.name, _state(migration, applied.get(migration.version)))
    for version in sorted(applied.keys() - known):
        _show(applied[version].name, "applied, unknown to this version")
    _refuse_changed(migrations, applied)


def _show(name: str, state: str) -> None:
    say(logger, f"{name}: {state}", migration=name, state=state)


def _state(migration: Migration, record: AppliedMigration | None) -> str:
    if record is None:
        return "pending"
    when = record.applied_at.isoformat(timespec="seconds")
    return f"{'applied' if _is_same(migration, record) else 'changed since it was applied'} {when}"


def _is_same(migration: Migration, record: AppliedMigration) -> bool:
    return (migration.name, migration.checksum) == (record.name, record.checksum)


def _refuse_changed(migrations: Sequence[Migration], applied: dict[int, AppliedMigration]) -> None:
    for migration in migrations:
        record = applied.get(migration.version)
        if record and not _is_same(migration, record):
            raise MigrationChanged(f"{migration.name} was changed after it was applied")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "command",
        nargs="?",
        choices=["status"],
        help="list what is applied and what is pending; without it, apply what is pending",
    )
    parser.add_argument(
        "--statement-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long each migration may run, from 1 to 86400, in place of the 10 or what it"
        " states; orders may fail meanwhile",
    )


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text, re.ASCII) or int(text) > LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 1 to 86400")
    return float(text)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    program = Program(
        "database-migration", "Brings the schema up to date.", migrate, _add_arguments
    )
    return run_program(program, argv)


if __name__ == "__main__":
    sys.exit(main())
