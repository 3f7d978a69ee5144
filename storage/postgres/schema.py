"""The schema of a Postgres database: what was applied to it, and applying more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg

from storage.errors import MigrationChanged, MigrationFailed, MigrationTimeout, StorageError
from storage.postgres.connect import Connection
from storage.postgres.connections import Connections
from storage.postgres.errors import ConnectionSpent, Interrupted, TimedOut, statement_errors
from storage.records import AppliedMigration, Migration

logger = logging.getLogger(__name__)

MIGRATION_LOCK = 7_305_801_001

LOCK_TIMEOUT = 2.0
"""Seconds that a migration waits for a lock on a table, and that others wait for one of a migration
that does not state how long it runs. Whoever comes for the table of a lock that is waited for waits
behind it, and an order waits for no more than five."""

WATCH_SECONDS = 0.25
"""Seconds between two looks for who waits."""

WAITING = f"""
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE NOT granted AND locktype <> 'advisory' AND $1 = ANY (pg_blocking_pids(pid))
        AND waitstart < clock_timestamp() - interval '{LOCK_TIMEOUT} s'
)
"""
"""Whether anybody has waited for too long for a session. Other migrations wait elsewhere."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 8.0
"""Seconds between two tries to get the locks: long enough for what has waited."""


async def list_migrations(connections: Connections) -> list[AppliedMigration]:
    """What was applied, in order."""
    listed = await connections.retry_while_starting(
        lambda: connections.retry_transaction(lambda: _list_migrations(connections)), Interrupted
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
                lambda: _retry_while_locked(
                    lambda: connections.retry_transaction(
                        lambda: _apply(connections, migration, timeout)
                    ),
                    migration,
                    timeout,
                ),
                ConnectionSpent,
            )
            connections.stop_retrying()
            return applied
    except TimeoutError as error:
        raise MigrationTimeout(
            f"{migration.name} was not done after {timeout:g} s; nothing of it stays"
        ) from error
    except TimedOut as error:
        if isinstance(error.__cause__, _GaveWay):
            raise MigrationTimeout(
                f"{migration.name} kept others waiting for more than {LOCK_TIMEOUT:g} s; nothing of"
                " it stays; database-migration --statement-timeout lets it finish"
            ) from error
        limit = min(timeout, migration.seconds)
        raise MigrationTimeout(
            f"{migration.name} ran for more than {limit:g} s; nothing of it stays;"
            " database-migration --statement-timeout gives it longer"
        ) from error


async def _retry_while_locked(
    step: Callable[[], Awaitable[bool]], migration: Migration, timeout: float
) -> bool:
    """The result of ``step``, which is retried, with pauses that grow, when it has not got a lock
    in time: what comes for the same table in a pause goes on. Raises MigrationTimeout when
    ``timeout`` seconds would be over."""
    clock = asyncio.get_running_loop().time
    began, pause = clock(), FIRST_PAUSE
    while True:
        try:
            return await step()
        except TimedOut as error:
            if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise
            if clock() + pause + LOCK_TIMEOUT > began + timeout:
                raise MigrationTimeout(
                    f"{migration.name} got no lock within {clock() - began:.0f} s, as other"
                    " transactions hold what it changes; nothing of it stays"
                ) from error
        logger.warning(
            "%s got no lock within %g s: it tries again in %g s",
            migration.name,
            LOCK_TIMEOUT,
            pause,
        )
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _apply(connections: Connections, migration: Migration, timeout: float) -> bool:
    limit = min(timeout, migration.seconds)
    async with connections.exclusive(MIGRATION_LOCK, timeout) as connection:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY,"
            " name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL)"
        )
        if await _is_applied(connection, migration):
            return False
        with statement_errors(migration):
            await connection.fetch(
                "SELECT set_config('lock_timeout', $1, true),"
                " set_config('statement_timeout', $2, true)",
                str(int(LOCK_TIMEOUT * 1000)),
                str(int(limit * 1000)),
            )
            async with _giving_way(connections, connection, migration):
                await connection.execute(migration.sql, timeout=limit)
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


class _GaveWay(TimeoutError):
    """Others have waited for too long."""


@asynccontextmanager
async def _giving_way(
    connections: Connections, connection: Connection, migration: Migration
) -> AsyncIterator[None]:
    """Cancels the block when others have waited too long for its connection, unless the migration
    states how long it runs. Raises _GaveWay."""
    if migration.statement_timeout is not None:
        yield
        return
    session = await connection.fetchval("SELECT pg_backend_pid()")
    try:
        async with asyncio.timeout(None) as patience:
            watch = asyncio.create_task(_watch(connections, session, patience))
            try:
                yield
            finally:
                watch.cancel()
    except TimeoutError as error:
        raise (_GaveWay() if patience.expired() else error) from None


async def _watch(connections: Connections, session: int, patience: asyncio.Timeout) -> None:
    """Ends the patience once others have waited too long. Where one cannot look (a pool of one
    connection, a server before Postgres 14) they wait for as long as the migration may run."""
    with suppress(StorageError):
        while not (await connections.fetch(WAITING, session))[0][0]:  # noqa: ASYNC110 - it is the server who knows
            await asyncio.sleep(WATCH_SECONDS)
        patience.reschedule(asyncio.get_running_loop().time())


async def _is_applied(connection: Connection, migration: Migration) -> bool:
    checksum = await connection.fetchval(
        "SELECT checksum FROM schema_migrations WHERE version = $1", migration.version
    )
    if checksum not in (None, migration.checksum):
        raise MigrationChanged(f"{migration.name} was changed after it was applied")
    return checksum is not None
