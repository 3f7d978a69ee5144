"""The connections to one Postgres, out of a pool that also works behind a transaction pooler.

Behind PgBouncer two transactions of one connection may run in two sessions. So nothing here that
outlives a transaction is relied on: no session lock, no SET. Statements are kept prepared until one
is not found again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import asyncpg

from storage.errors import StorageUnavailable
from storage.postgres.connect import (
    CACHED_STATEMENTS,
    CONNECT_SECONDS,
    Connection,
    Connector,
    NamingConnection,
    RawConnection,
)
from storage.postgres.errors import (
    ConnectionSpent,
    Hopeless,
    ReadOnly,
    StatementLost,
    StatementOutdated,
    Undone,
    driver_errors,
)
from storage.postgres.kept import Kept
from storage.postgres.notices import Listener

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

Isolation = Literal["read_committed", "repeatable_read"]

RELEASE_SECONDS = 1.0
"""How long a statement that was given up may take to end before its connection is closed."""

FOLLOW_SECONDS = 1.0
"""How often a server that takes writes is looked for when ours does not."""

READ_ONLY_VALUE = "current_setting('transaction_read_only') = 'on'"
READ_ONLY = f"SELECT {READ_ONLY_VALUE}"
"""Whether the server takes no writes: a standby says so, too."""

_DURABLE_VALUE = """set_config(
        'synchronous_commit',
        coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'),
        true
    )"""

DURABLE = f"(SELECT {_DURABLE_VALUE}) AS durable"
"""Has this transaction be on disk before it is acknowledged, where the default is that it may not
be: what else may stand there waits for that, too."""


def confirmed_where(condition: str) -> str:
    """As DURABLE, and where a standby must have each commit and the condition holds, has even a
    transaction that only reads be acknowledged when the standby has all that it read.

    What was given up while it waited for the standby is stored and can be read all the same, and is
    lost if the standby takes the lead: so who repeats it must wait, too. The record that is written
    for that means nothing to anybody.
    """
    return f"""(
    SELECT {_DURABLE_VALUE}, CASE
        WHEN {condition}
            AND current_setting('synchronous_standby_names') <> '' AND NOT pg_is_in_recovery()
        THEN pg_logical_emit_message(true, 'orderfood', '')
    END
) AS confirmed"""


CONFIRMED = confirmed_where("true")

GIVEN_UP = (TimeoutError, asyncio.CancelledError, GeneratorExit)
"""What ends a block while the server may still be at work on its statement."""


class Connections:
    """A pool of connections to one database, and a listener beside it."""

    def __init__(
        self, url: str, pool_size: int, wait_seconds: float, url_file: Path | None = None
    ) -> None:
        self._connector = Connector(url, url_file)
        self._pool_size = pool_size
        self._wait_seconds = wait_seconds
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._retry_until: float | None = None
        self._states_isolation = False
        self._cached_statements = 0 if self._connector.is_pooled else CACHED_STATEMENTS
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed_at = float("-inf")
        self._kept = Kept(self._give_back)
        self._expired = 0
        self.listener = Listener(self._connector)

    @property
    def are_open(self) -> bool:
        """Whether the pool is open."""
        return self._pool is not None

    async def open(self) -> None:
        """Opens the pool; retries while the server is just starting. Raises StorageUnavailable."""
        self._retry_until = asyncio.get_running_loop().time() + self._wait_seconds
        await self.retry_while_starting(self._open_pool, StorageUnavailable)

    def stop_retrying(self) -> None:
        """Ends the time of retries: the storage has answered for the first time."""
        self._retry_until = None

    async def retry_while_starting(
        self, step: Callable[[], Awaitable[Result]], expected: type[StorageUnavailable]
    ) -> Result:
        """The result of ``step``, which is retried with exponential backoff after an ``expected``
        error: until the storage has answered for the first time the server may be just starting.
        Raises the last error when ``wait_seconds`` are over, or at once when it is Hopeless."""
        pause = 0.1
        while True:
            try:
                return await step()
            except expected as error:
                now, until = asyncio.get_running_loop().time(), self._retry_until
                if isinstance(error, Hopeless) or until is None or now + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _open_pool(self) -> None:
        connect: Any = self._connect  # its type is not asyncpg's, which is overloaded
        pool: asyncpg.Pool[asyncpg.Record] = asyncpg.create_pool(
            min_size=0,
            max_size=self._pool_size,
            connect=connect,
            reset=_leave_as_it_is,
        )
        with driver_errors():
            self._pool = await pool
        try:
            await self._note_settings()
        except BaseException:
            self._pool = None
            pool.terminate()
            raise

    async def _connect(self, *_: object, **options: Any) -> RawConnection:
        options["statement_cache_size"] = self._cached_statements
        options["connection_class"] = NamingConnection
        return await self._connector.connect(**options)

    async def _note_settings(self) -> None:
        """A database or a role may have another isolation level by default: one that would refuse
        orders for what others store at the same time. Then each transaction states its own, which
        costs two round trips; without, it costs none."""
        rows = await self.fetch("SELECT current_setting('default_transaction_isolation')")
        self._states_isolation = rows[0][0] != "read committed"

    async def close(self) -> None:
        """Closes every connection; a second call does nothing."""
        await self.listener.close()
        self._kept.empty()
        pool, self._pool = self._pool, None
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=RELEASE_SECONDS)
        if pool is None:
            return
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await pool.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()

    def count(self) -> tuple[int, int]:
        """How many connections are in use, and how many there may be."""
        pool = self._pool
        in_use = pool.get_size() - pool.get_idle_size() - self._kept.count if pool else 0
        return (in_use, self._pool_size)

    @asynccontextmanager
    async def acquired(self, *, keep: bool = False) -> AsyncIterator[Connection]:
        """A connection out of the pool; the driver's errors in the block come out translated. With
        ``keep`` it is one that is kept beside the pool for a while, where the pool has another.

        A connection whose statement was cancelled is returned in the background: when the server
        has ended the statement, or else it is closed. An error by which the server goes, is gone
        or has become read-only discards the idle connections, too.
        """
        pool = self._pool
        if pool is None:
            raise StorageUnavailable("the storage is closed")
        keep = keep and self._pool_size > 1
        expired = self._expired
        try:
            with driver_errors():
                connection = self._kept.take() if keep else None
                connection = connection or await pool.acquire(timeout=CONNECT_SECONDS)
                try:
                    yield connection
                except GIVEN_UP:
                    await self._let_go(pool, connection)
                    raise
                except BaseException:
                    await pool.release(connection)
                    raise
                if keep and expired == self._expired and pool is self._pool:
                    self._kept.put(connection)
                else:
                    await pool.release(connection)
        except ConnectionSpent:
            await self._expire(pool)
            raise
        except ReadOnly:
            self.look_elsewhere()
            raise
        except StatementLost:
            await self._keep_no_statement()
            raise

    async def _keep_no_statement(self) -> None:
        """Replaces the connections by some that keep no statement prepared, for good."""
        if self._cached_statements and self._pool is not None:
            self._cached_statements = 0
            await self._expire(self._pool)
            logger.warning(
                "prepared statements do not last: there is a transaction pooler before Postgres;"
                " from now on none is kept, as with pgbouncer=true in the storage's URL"
            )

    async def _let_go(self, pool: asyncpg.Pool[asyncpg.Record], connection: Connection) -> None:
        await self._expire(pool)  # so that this one is closed rather than rolled back
        self._beside(_release(pool, connection))

    async def _expire(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        """Has each connection be closed once it is in nobody's use."""
        self._expired += 1
        await pool.expire_connections()
        self._kept.empty()

    def _give_back(self, connection: Connection) -> None:
        if self._pool is not None:
            self._beside(_release(self._pool, connection))

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a task in the background; close awaits it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def look_elsewhere(self) -> None:
        """Has a new connection be tried, at most once a second: a primary that was made read-only
        keeps its connections, while new ones reach the server that has taken its place."""
        now = asyncio.get_running_loop().time()
        if self._pool is not None and now - self._followed_at >= FOLLOW_SECONDS:
            self._followed_at = now
            self._beside(self._follow(self._pool))

    async def _follow(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        """Throws the pool's connections away when a new one can write. As long as none can they are
        kept: they still read, and a URL that wants a primary may reach none."""
        with suppress(Exception):
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._connector.connect()
                try:
                    read_only = await connection.fetchval(READ_ONLY)
                finally:
                    connection.terminate()
            if not read_only:
                await self._expire(pool)
                await self.listener.close()

    @asynccontextmanager
    async def for_statement(self, *, keep: bool = False) -> AsyncIterator[Connection]:
        """As acquired, for statements that each are a transaction; in one of its own where the
        database's default for such would be another isolation level than read committed."""
        async with self.acquired(keep=keep) as connection:
            if not self._states_isolation:
                yield connection
                return
            async with transaction(connection, "read_committed"):
                yield connection

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement that is a transaction."""

        async def fetch() -> list[asyncpg.Record]:
            async with self.for_statement() as connection:
                return await connection.fetch(statement, *arguments)

        return await self.retry_transaction(fetch)

    async def retry_transaction(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """The result of ``step``, one transaction, which is retried up to five times with backoff
        and jitter when the server rolled it back for another one (deadlock, serialization), or had
        not begun it for want of a statement. After a serialization failure transactions state their
        isolation level."""
        for pause in (0.0, 0.01, 0.05, 0.1, 0.2):
            try:
                return await step()
            except Undone as error:
                if isinstance(error.__cause__, asyncpg.SerializationError):
                    self._states_isolation = True
                elif isinstance(error, StatementOutdated) and pause:
                    await self._keep_no_statement()
            await asyncio.sleep(pause * random.random())  # noqa: S311
        return await step()

    @asynccontextmanager
    async def exclusive(self, lock: int, seconds: float) -> AsyncIterator[Connection]:
        """A transaction that excludes all others of the same lock, on every replica. ``seconds`` is
        how long the server lets a statement run or wait, whatever becomes of this process."""
        async with (
            self.acquired() as connection,
            transaction(connection, "read_committed"),
        ):
            # within a transaction what is prepared stays there, also behind a transaction pooler
            await connection.reload_schema_state()
            await _set_timeouts(connection, seconds)
            await connection.fetch("SELECT pg_advisory_xact_lock($1)", lock, timeout=seconds)
            yield connection


@asynccontextmanager
async def transaction(
    connection: Connection, isolation: Isolation, *, readonly: bool = False
) -> AsyncIterator[None]:
    """As the driver's own, but that nothing is asked of a server that does not answer: who lets go
    of the connection ends its transaction, too."""
    begun = connection.transaction(isolation=isolation, readonly=readonly)
    await begun.start()
    try:
        yield
    except GIVEN_UP:
        raise
    except BaseException:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await begun.rollback()  # there may be no connection any more
        raise
    await begun.commit()


async def _release(pool: asyncpg.Pool[asyncpg.Record], connection: Connection) -> None:
    with suppress(Exception):
        await pool.release(connection, timeout=RELEASE_SECONDS)


async def _set_timeouts(connection: Connection, seconds: float) -> None:
    """How long the server lets this transaction be, whatever a role or a database has by default:
    another value there may be meant for people, or for orders."""
    await connection.fetch(
        "SELECT set_config(name, $1, true) FROM pg_settings WHERE name IN"
        " ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',"
        " 'transaction_timeout')",
        str(int(seconds * 1000)),
    )


async def _leave_as_it_is(connection: object) -> None:
    """Instead of the driver's reset, which costs a round trip: nothing here changes a session."""
