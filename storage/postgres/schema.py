"""The schema of a Postgres database: what was applied to it, and applying more."""

from __future__ import annotations

import asyncio

import asyncpg

from storage.errors import MigrationChanged, MigrationFailed, MigrationTimeout
from storage.postgres.connections import Connection, Connections
from storage.postgres.errors import ConnectionSpent, Interrupted, TimedOut, statement_errors
from storage.records import AppliedMigration, Migration

MIGRATION_LOCK = 7_305_801_001


async def list_migrations(connections: Connections) -> list[AppliedMigration]:
    """What was applied, in order."""
    listed = await connections.retry_while_starting(
        lambda: _list_migrations(connections), Interrupted
    )
    connections.stop_retrying()
    return listed


async def _list_migrations(connections: Connections) -> list[AppliedMigration]:
    async with connections.acquired() as connection:
        try:
            rows = await connection.fetch(
                "SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY version"
            )
        except asyncpg.UndefinedTableError:
            return []
    return [AppliedMigration(*row) for row in rows]


async def apply_migration(connections: Connections, migration: Migration, timeout: float) -> bool:
    """Applies a migration with its record; False when it was applied already."""
    try:
        async with asyncio.timeout(timeout):
            applied = await connections.retry_while_starting(
                lambda: connections.retry_transaction(
                    lambda: _apply(connections, migration, timeout)
                ),
                ConnectionSpent,
            )
            connections.stop_retrying()
            return applied
    except (TimeoutError, TimedOut) as error:
        raise MigrationTimeout(
            f"{migration.name} ran or waited for more than {timeout:g} s"
        ) from error


async def _apply(connections: Connections, migration: Migration, timeout: float) -> bool:
    async with connections.exclusive(MIGRATION_LOCK, timeout) as connection:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY,"
            " name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL)"
        )
        if await _is_applied(connection, migration):
            return False
        with statement_errors(migration):
            await connection.execute(migration.sql, timeout=timeout)
        if not connection.is_in_transaction():
            raise MigrationFailed(f"{migration.name} ends the transaction that it runs in")
        await connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum, applied_at)"
            " VALUES ($1, $2, $3, clock_timestamp())",
            migration.version,
            migration.name,
            migration.checksum,
        )
    return True


async def _is_applied(connection: Connection, migration: Migration) -> bool:
    checksum = await connection.fetchval(
        "SELECT checksum FROM schema_migrations WHERE version = $1", migration.version
    )
    if checksum not in (None, migration.checksum):
        raise MigrationChanged(f"{migration.name} was changed after it was applied")
    return checksum is not None
