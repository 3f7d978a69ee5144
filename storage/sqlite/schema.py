"""The schema of an SQLite file: what was applied to it, and applying more."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator

from storage.errors import MigrationChanged, MigrationFailed, MigrationTimeout, StorageError
from storage.records import AppliedMigration, Migration
from storage.sqlite.connections import value, writing
from storage.sqlite.errors import translated
from storage.sqlite.times import current_time, moment

_STATEMENT_ERRORS = (
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_AUTH,
)


def list_migrations(db: sqlite3.Connection) -> list[AppliedMigration]:
    """What was applied, in order."""
    if value(db, "SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'") is None:
        return []
    rows = db.execute(
        "SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY version"
    )
    return [
        AppliedMigration(version, name, checksum, moment(applied_at))
        for version, name, checksum, applied_at in rows
    ]


def apply_migration(db: sqlite3.Connection, migration: Migration, timeout: float) -> bool:
    """Applies a migration with its record; False when it was applied already."""
    limit = min(timeout, migration.seconds)
    try:
        with writing(db, timeout):
            deadline = time.monotonic() + limit
            db.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY,"
                " name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)"
            )
            if _is_applied(db, migration):
                return False
            db.set_progress_handler(lambda: time.monotonic() > deadline, 1000)
            db.set_authorizer(_forbid_transactions)
            for statement in split(migration.sql):
                db.execute(statement)
            db.set_authorizer(None)
            db.execute(
                "INSERT INTO schema_migrations (version, name, checksum, applied_at)"
                " VALUES (?, ?, ?, ?)",
                (migration.version, migration.name, migration.checksum, current_time()),
            )
    except sqlite3.Error as error:
        raise _migration_error(migration, error, timeout, limit) from error
    return True


def _forbid_transactions(action: int, *_: object) -> int:
    """A COMMIT in a migration would leave half of it behind when the rest fails."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK


def _is_applied(db: sqlite3.Connection, migration: Migration) -> bool:
    checksum = value(
        db, "SELECT checksum FROM schema_migrations WHERE version = ?", (migration.version,)
    )
    if checksum not in (None, migration.checksum):
        raise MigrationChanged(f"{migration.name} was changed after it was applied")
    return checksum is not None


def _migration_error(
    migration: Migration, error: sqlite3.Error, timeout: float, limit: float
) -> StorageError:
    # What binds no statement has no code: an error of the driver's own.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_INTERRUPT:
        return MigrationTimeout(
            f"{migration.name} ran for more than {limit:g} s; nothing of it stays;"
            " database-migration --statement-timeout gives it longer"
        )
    if code == sqlite3.SQLITE_BUSY:
        return MigrationTimeout(
            f"{migration.name} got no lock within {timeout:g} s, as another program writes;"
            " nothing of it stays"
        )
    if code in _STATEMENT_ERRORS:
        return MigrationFailed(f"{migration.name} failed: {error}")
    return translated(error)


def split(script: str) -> Iterator[str]:
    """The statements of an SQLite script, each with the comments before it.

    A semicolon ends a statement unless it stands in a string, a comment or a trigger, which SQLite
    itself judges. What follows the last semicolon comes last, unless it is blank.

    >>> list(split("SELECT ';'; SELECT 2"))
    ["SELECT ';';", ' SELECT 2']
    """
    *pieces, rest = script.split(";")
    statement = ""
    for piece in pieces:
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    rest = statement + rest
    if rest.strip():
        yield rest
