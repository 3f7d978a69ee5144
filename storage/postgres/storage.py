"""A storage in Postgres, through a pool of asyncpg that also works behind a transaction pooler.

Behind PgBouncer two transactions of one connection may run in two sessions. So nothing here
outlives a transaction: no named statement, no session lock, no SET. Only notices need a session,
and they merely make a probe sooner.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar
from uuid import UUID

import asyncpg

from storage.base import MIGRATION_TIMEOUT, Approve, Storage, Watch
from storage.batches import Batcher, together_or_alone
from storage.errors import (
    CouponUsedUp,
    IdempotencyConflict,
    MigrationChanged,
    MigrationFailed,
    MigrationTimeout,
    OrderNotCancellable,
    OrderNotFound,
    StorageError,
    StorageUnavailable,
)
from storage.loads import (
    CatalogueDifference,
    CodeReader,
    CodesFailed,
    Difference,
    compare,
    losses,
    normalized,
    unapproved,
    unwatched,
)
from storage.postgres.connect import CONNECT_SECONDS, Connector
from storage.postgres.errors import (
    ConnectionSpent,
    Hopeless,
    Interrupted,
    ReadOnly,
    TimedOut,
    Undone,
    driver_errors,
    statement_errors,
)
from storage.postgres.notices import CHANNEL, Listener
from storage.records import (
    ApiKey,
    AppliedMigration,
    Catalogue,
    Change,
    Coupon,
    CouponLimits,
    FoundCoupon,
    IdempotencyKey,
    LoadReport,
    Migration,
    Obstacle,
    Order,
    Page,
    Product,
    User,
    VersionedCatalogue,
)
from storage.rows import (
    COUPON_COLUMNS,
    JOINED_COLUMNS,
    NO_LIMITS,
    ORDER_COLUMNS,
    NewOrder,
    as_placed,
    check_fingerprint,
    read_coupon,
    read_orders,
    read_product,
    write_coupon,
    write_details,
)

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

Result = TypeVar("Result")

Isolation = Literal["read_committed", "repeatable_read"]

RELEASE_SECONDS = 1.0
"""How long a statement that was given up may take to end before its connection is closed."""

FOLLOW_SECONDS = 1.0
"""How often a server that takes writes is looked for when ours does not."""

LOAD_SECONDS = 600.0
"""How long a statement of a load may take: it may compare millions of codes."""

MIGRATION_LOCK = 7_305_801_001
LOAD_LOCK = 7_305_801_002

DURABLE = """(
    SELECT set_config(
        'synchronous_commit',
        coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'),
        true
    )
) AS durable"""
"""Has this transaction be on disk before it is acknowledged, where the default is that it may not
be: what else may stand there waits for that, too."""

ADD_ORDERS = "SELECT outcome, first_order FROM {}, add_orders({})".format(
    DURABLE, ", ".join(f"${number}" for number in range(1, 21))
)

NAMED_COLUMNS = ", ".join(f"named.{column}" for column in COUPON_COLUMNS.split(", "))

ORDERS_BY_ID = (
    f"SELECT {JOINED_COLUMNS} FROM orders AS o"
    " LEFT JOIN order_lines AS l ON l.order_id = o.id"
    " WHERE o.id = ANY ($1::uuid[]) ORDER BY o.id, l.position"
)

# Nothing may write coupon_user_uses without the lock of the code's row in coupon_uses, so "mine"
# reads what "total" returns.
CANCEL_ORDER = f"""
WITH o AS (
    UPDATE orders SET status = 'cancelled', version = version + 1 FROM {DURABLE}
    WHERE id = $1 AND user_id = $2 AND status = 'placed' RETURNING orders.*
), total AS (
    UPDATE coupon_uses AS stored SET uses = stored.uses - 1
    FROM o WHERE o.counted AND stored.code = o.coupon_code RETURNING stored.code
), mine AS (
    UPDATE coupon_user_uses AS stored SET uses = stored.uses - 1
    FROM total WHERE stored.code = total.code AND stored.user_id = $2
)
SELECT {JOINED_COLUMNS} FROM o
LEFT JOIN order_lines AS l ON l.order_id = o.id ORDER BY l.position
"""

FIND_COUPON = f"""
SELECT catalogue.version, file.code AS file_code, {NAMED_COLUMNS}
FROM catalogue
LEFT JOIN coupons AS named ON lower(named.code) = lower($1 COLLATE "C") AND named.code <> ''
LEFT JOIN LATERAL (
    SELECT code FROM coupon_codes WHERE lower(code) = lower($1 COLLATE "C") ORDER BY code LIMIT 1
) AS file ON named.code IS NULL
"""

DELETE_EXPIRED_KEYS = """
DELETE FROM idempotency_keys WHERE (user_id, key) IN (
    SELECT user_id, key FROM idempotency_keys WHERE expires_at <= now()
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
) RETURNING 1
"""


class PostgresStorage(Storage):
    """One Postgres database, shared by any number of processes."""

    backend = "postgresql"

    def __init__(self, url: str, *, pool_size: int = 10, wait_seconds: float = 30.0) -> None:
        self._connector = Connector(url)
        self._pool_size = pool_size
        self._wait_seconds = wait_seconds
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._patient_until: float | None = None
        self._states_isolation = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed_at = float("-inf")
        self._listener = Listener(self._connector)
        self._new_batcher()

    def _new_batcher(self) -> None:
        self._orders: Batcher[NewOrder, Order] = Batcher(
            self._add_orders, around=lambda: self.around_commit
        )

    async def connect(self) -> None:
        if self._pool is not None:
            return
        self._patient_until = asyncio.get_running_loop().time() + self._wait_seconds
        pool = await self._patiently(self._new_pool, StorageUnavailable)
        self._new_batcher()
        self._pool = pool

    async def _patiently(
        self, step: Callable[[], Awaitable[Result]], expected: type[StorageUnavailable]
    ) -> Result:
        """What ``step`` returns, as soon as there is a server that lets it: until the storage has
        answered for the first time it may be one that is just starting, and ``expected`` of it
        means to try again for as long as a start waits."""
        pause = 0.1
        while True:
            try:
                return await step()
            except expected as error:
                now, until = asyncio.get_running_loop().time(), self._patient_until
                if isinstance(error, Hopeless) or until is None or now + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _new_pool(self) -> asyncpg.Pool[asyncpg.Record]:
        connect: Any = self._connector.connect  # its type is not asyncpg's, which is overloaded
        pool: asyncpg.Pool[asyncpg.Record] = asyncpg.create_pool(
            min_size=0,
            max_size=self._pool_size,
            connect=connect,
            reset=_leave_as_it_is,
        )
        with driver_errors():
            await pool
            try:
                await self._note_settings(pool)
            except BaseException:
                pool.terminate()
                raise
        return pool

    async def _note_settings(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        """A database or a role may have another isolation level by default: one that would refuse
        orders for what others store at the same time. Then each transaction states its own, which
        costs two round trips; without, it costs none."""
        default = await pool.fetchval("SELECT current_setting('default_transaction_isolation')")
        self._states_isolation = default != "read committed"

    async def close(self) -> None:
        await self._orders.close()
        await self._listener.close()
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

    def connections(self) -> tuple[int, int]:
        pool = self._pool
        return (pool.get_size() - pool.get_idle_size() if pool else 0, self._pool_size)

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        """A connection out of the pool; the driver's errors in the block come out translated.

        Nobody waits for one whose statement was given up: it goes back when the server has let go
        of it, or is closed. Whatever says that the server goes, is gone or has become read-only
        says so of the connections that lie idle, too.
        """
        pool = self._pool
        if pool is None:
            raise StorageUnavailable("the storage is closed")
        try:
            with driver_errors():
                connection = await pool.acquire(timeout=CONNECT_SECONDS)
                try:
                    yield connection
                except GIVEN_UP:
                    self._let_go(pool, connection)
                    raise
                except BaseException:
                    await pool.release(connection)
                    raise
                await pool.release(connection)
        except ConnectionSpent:
            renew(pool)
            raise
        except ReadOnly:
            self._look_elsewhere()
            raise

    def _let_go(self, pool: asyncpg.Pool[asyncpg.Record], connection: Connection) -> None:
        renew(pool)  # so that this one is closed rather than rolled back
        self._beside(_release(pool, connection))

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs something that nobody waits for, but close."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look_elsewhere(self) -> None:
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
                renew(pool)
                await self._listener.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """As _acquired, for statements that each are a transaction; in one of its own where the
        database's default for such would be another isolation level than read committed."""
        async with self._acquired() as connection:
            if not self._states_isolation:
                yield connection
                return
            async with transaction(connection, "read_committed"):
                yield connection

    async def _fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement that is a transaction."""

        async def fetch() -> list[asyncpg.Record]:
            async with self._connection() as connection:
                return await connection.fetch(statement, *arguments)

        return await self._again(fetch)

    async def _again(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """What ``step``, one transaction, returns; tried a few times when the server undid it for
        the sake of another one, and with the isolation level stated from then on."""
        for pause in (0.0, 0.01, 0.05, 0.1, 0.2):
            try:
                return await step()
            except Undone as error:
                if isinstance(error.__cause__, asyncpg.SerializationError):
                    self._states_isolation = True
            await asyncio.sleep(pause * random.random())  # noqa: S311
        return await step()

    @asynccontextmanager
    async def _transaction(self, lock: int, seconds: float) -> AsyncIterator[Connection]:
        """A transaction that excludes all others of the same lock, on every replica. ``seconds`` is
        how long the server lets a statement run or wait, whatever becomes of this process."""
        async with (
            self._acquired() as connection,
            transaction(connection, "read_committed"),
        ):
            await _set_timeouts(connection, seconds)
            await connection.fetch("SELECT pg_advisory_xact_lock($1)", lock, timeout=seconds)
            yield connection

    # --- schema ---

    async def list_migrations(self) -> list[AppliedMigration]:
        listed = await self._patiently(self._list_migrations, Interrupted)
        self._patient_until = None
        return listed

    async def _list_migrations(self) -> list[AppliedMigration]:
        async with self._acquired() as connection:
            try:
                rows = await connection.fetch(
                    "SELECT version, name, checksum, applied_at"
                    " FROM schema_migrations ORDER BY version"
                )
            except asyncpg.UndefinedTableError:
                return []
        return [AppliedMigration(*row) for row in rows]

    async def apply_migration(
        self, migration: Migration, timeout: float = MIGRATION_TIMEOUT
    ) -> bool:
        try:
            async with asyncio.timeout(timeout):
                applied = await self._patiently(
                    lambda: self._again(lambda: self._apply_migration(migration, timeout)),
                    ConnectionSpent,
                )
                self._patient_until = None
                return applied
        except (TimeoutError, TimedOut) as error:
            raise MigrationTimeout(
                f"{migration.name} ran or waited for more than {timeout:g} s"
            ) from error

    async def _apply_migration(self, migration: Migration, timeout: float) -> bool:
        async with self._transaction(MIGRATION_LOCK, timeout) as connection:
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

    async def get_schema_version(self) -> int:
        applied = await self.list_migrations()
        return applied[-1].version if applied else 0

    # --- catalogue ---

    async def get_catalogue_version(self) -> int:
        rows = await self._fetch(f"SELECT version, {READ_ONLY_VALUE} FROM catalogue")
        version, read_only = rows[0] if rows else (0, False)
        if read_only:
            self._look_elsewhere()
        return int(version)

    async def read_catalogue(self, *, coupons: bool = True) -> VersionedCatalogue:
        async with (
            self._acquired() as connection,
            transaction(connection, "repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow("SELECT version, loaded_at FROM catalogue")
            version, loaded_at = row or (0, None)
            catalogue = await _stored_catalogue(connection, coupons)
            return VersionedCatalogue(version, loaded_at, catalogue)

    async def find_coupon(self, code: str) -> FoundCoupon:
        rows = await self._fetch(FIND_COUPON, code)
        version, file_code, *coupon = rows[0]
        return FoundCoupon(version, read_coupon(coupon) if coupon[0] else None, file_code)

    async def get_coupon_uses(self, code: str, user_id: str) -> tuple[int, int]:
        rows = await self._fetch(
            "SELECT coalesce((SELECT uses FROM coupon_uses WHERE code = $1), 0),"
            " coalesce((SELECT uses FROM coupon_user_uses WHERE code = $1 AND user_id = $2), 0)",
            code,
            user_id,
        )
        return rows[0][0], rows[0][1]

    async def replace_catalogue(
        self,
        catalogue: Catalogue,
        *,
        codes: Iterable[str] = (),
        sample_orders: Sequence[Order] = (),
        dry_run: bool = False,
        watch: Watch | None = None,
        approve: Approve | None = None,
    ) -> LoadReport:
        load = _Load(
            normalized(catalogue),
            CodeReader(codes),
            sample_orders,
            watch or unwatched,
            approve or unapproved,
        )
        report: list[LoadReport] = []
        try:
            async with self._transaction(LOAD_LOCK, LOAD_SECONDS) as connection:
                report.append(await _replace_catalogue(connection, load, dry_run))
                if dry_run:
                    raise _Rehearsed
        except CodesFailed as failed:
            raise failed.error from failed.error.__cause__
        except _Rehearsed:
            pass
        return report[0]

    async def wait_for_notice(self) -> None:
        await self._listener.wait()

    # --- orders ---

    async def add_order(
        self,
        order: Order,
        *,
        key: IdempotencyKey | None = None,
        limits: CouponLimits | None = None,
    ) -> Order:
        return await self._orders.submit(NewOrder(order, key, limits or NO_LIMITS))

    async def _add_orders(self, batch: list[NewOrder]) -> Sequence[Order | StorageError]:
        """Stores a batch in one statement, and those that share a key with another one after it."""
        outcomes: dict[int, Order | StorageError] = {}
        waiting = dict(enumerate(batch))
        while waiting:
            leaders = _first_of_each_key(waiting)
            results = await together_or_alone(self._store, list(leaders.values()))
            outcomes.update(zip(leaders, results, strict=True))
            for position in leaders:
                del waiting[position]
            followers = _follow(waiting, leaders, outcomes)
            outcomes.update(followers)
            for position in followers:
                del waiting[position]
        return [outcomes[position] for position in range(len(batch))]

    async def _store(self, batch: list[NewOrder]) -> list[Order | StorageError]:
        """Stores orders in one step; no user may have a key twice among them."""
        return await self._again(lambda: self._store_once(batch))

    async def _store_once(self, batch: list[NewOrder]) -> list[Order | StorageError]:
        async with self._connection() as connection:
            rows = await connection.fetch(ADD_ORDERS, *_columns(batch))
            replayed = [first for outcome, first in rows if outcome == "replayed"]
            firsts = await _orders_by_id(connection, replayed) if replayed else {}
        return [
            _outcome(new, outcome, firsts.get(first))
            for new, (outcome, first) in zip(batch, rows, strict=True)
        ]

    async def find_obstacle(self) -> Obstacle | None:
        try:
            return await self._again(self._find_obstacle)
        except StorageUnavailable as error:
            if isinstance(error.__cause__, asyncpg.DiskFullError):
                return Obstacle.FULL
            if isinstance(error.__cause__, asyncpg.ConfigurationLimitExceededError):
                return None  # the role may have no temporary file of that size: nothing is known
            raise

    async def _find_obstacle(self) -> Obstacle | None:
        async with (
            self._acquired() as connection,
            transaction(connection, "read_committed"),
        ):
            row = await connection.fetchrow(MAY_STORE)
            read_only, permitted = row[:2] if row else (False, True)
            if read_only:
                self._look_elsewhere()
                return Obstacle.READ_ONLY
            if permitted is False:  # NULL: the schema is older than the code
                return Obstacle.NOT_PERMITTED
            await connection.fetch(SPILL)
        return None

    async def find_order_by_key(self, user_id: str, key: IdempotencyKey) -> Order | None:
        rows = await self._fetch(
            f"SELECT {JOINED_COLUMNS}, k.fingerprint FROM idempotency_keys AS k"
            " JOIN orders AS o ON o.id = k.order_id"
            " LEFT JOIN order_lines AS l ON l.order_id = o.id"
            " WHERE k.user_id = $1 AND k.key = $2 AND k.expires_at > now()"
            " ORDER BY l.position",
            user_id,
            key.key,
        )
        if not rows:
            return None
        check_fingerprint(key, rows[0][-1])
        return as_placed(read_orders(row[:-1] for row in map(tuple, rows))[0])

    async def get_order(self, user_id: str, order_id: UUID) -> Order:
        rows = await self._fetch(ORDERS_BY_ID, [order_id])
        order = read_orders(rows)[0] if rows else None
        if order is None or order.user_id != user_id:
            raise OrderNotFound(f"the user has no order {order_id}")
        return order

    async def list_orders(
        self, user_id: str, *, limit: int, after: Page | None = None
    ) -> list[Order]:
        behind, parameters = "", [user_id, limit]
        if after is not None:
            behind = "AND (created_at, id) < ($3, $4)"
            parameters += [after.created_at, after.id]
        rows = await self._fetch(
            f"SELECT {JOINED_COLUMNS} FROM (SELECT * FROM orders WHERE user_id = $1 {behind}"
            " ORDER BY created_at DESC, id DESC LIMIT $2) AS o"
            " LEFT JOIN order_lines AS l ON l.order_id = o.id"
            " ORDER BY o.created_at DESC, o.id DESC, l.position",
            *parameters,
        )
        return read_orders(rows)

    async def cancel_order(self, user_id: str, order_id: UUID) -> Order:
        rows = await self._fetch(CANCEL_ORDER, order_id, user_id)
        if not rows:
            await self.get_order(user_id, order_id)
            raise OrderNotCancellable(f"the order {order_id} is cancelled already")
        return read_orders(rows)[0]

    async def delete_expired_keys(self, limit: int = 1000) -> int:
        return len(await self._fetch(DELETE_EXPIRED_KEYS, limit))


# --- connections ---


READ_ONLY_VALUE = "current_setting('transaction_read_only') = 'on'"
READ_ONLY = f"SELECT {READ_ONLY_VALUE}"
"""Whether the server takes no writes: a standby says so, too."""


def renew(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Throws away the connections that lie idle, and those in use when they come back."""
    held: Any = pool
    held._generation += 1  # what expire_connections does, which wants to be awaited
    for holder in held._holders:
        if holder.is_idle():
            holder.terminate()


GIVEN_UP = (TimeoutError, asyncio.CancelledError, GeneratorExit)
"""What ends a block while the server may still be at work on its statement."""


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


MAY_STORE = f"""
SELECT
    {READ_ONLY_VALUE},
    (
        SELECT bool_and(has_any_column_privilege(needed.name, needed.privilege))
        FROM (VALUES
            ('orders', 'INSERT'),
            ('order_lines', 'INSERT'),
            ('idempotency_keys', 'INSERT'),
            ('coupon_uses', 'INSERT'),
            ('coupon_user_uses', 'INSERT')
        ) AS needed (name, privilege)
    ) AND (
        SELECT bool_and(has_function_privilege(oid, 'EXECUTE'))
        FROM pg_proc WHERE proname = 'add_orders' AND pg_function_is_visible(oid)
    ),
    set_config('work_mem', '64kB', true),
    set_config('temp_tablespaces', '', true)
"""
"""Whether this is no primary, and whether the role may store orders. Prepares for SPILL."""

SPILL = """
SELECT count(*) FROM (
    SELECT repeat(md5(n::text), 64) AS text FROM generate_series(1, 512) AS n ORDER BY text OFFSET 0
) AS sorted
"""
"""Sorts a megabyte in a temporary file beside the tables: it fails where they could not grow, in
two milliseconds, and leaves nothing that would have to be vacuumed."""


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


class _Rehearsed(Exception):
    """Rolls a dry run back."""


async def _leave_as_it_is(connection: object) -> None:
    """Instead of the driver's reset, which costs a round trip: nothing here changes a session."""


# --- schema and catalogue ---


async def _is_applied(connection: Connection, migration: Migration) -> bool:
    checksum = await connection.fetchval(
        "SELECT checksum FROM schema_migrations WHERE version = $1", migration.version
    )
    if checksum not in (None, migration.checksum):
        raise MigrationChanged(f"{migration.name} was changed after it was applied")
    return checksum is not None


async def _catalogue_version(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT version FROM catalogue") or 0)


PORTION = 500
"""Rows that are read and made into records before others get their turn: about a millisecond."""

PORTION_SECONDS = 5.0
"""How long a portion may take before the server counts as gone."""


async def _portions(
    connection: Connection, columns: str, table: str, order: str
) -> AsyncIterator[list[asyncpg.Record]]:
    """All rows of a table, portion by portion, by its key ``order``. A cursor would need a named
    statement, which a transaction pooler may show to others."""
    last: tuple[Any, ...] = ()
    key = [name.strip() for name in order.split(",")]
    behind = ", ".join(f"${number}" for number in range(1, len(key) + 1))
    while True:
        where = f"WHERE ({order}) > ({behind})" if last else ""
        rows = await connection.fetch(
            f"SELECT {columns} FROM {table} {where} ORDER BY {order} LIMIT {PORTION}",
            *last,
            timeout=PORTION_SECONDS,
        )
        if rows:
            yield rows
        if len(rows) < PORTION:
            return
        last = tuple(rows[-1][name] for name in key)


async def _stored_catalogue(connection: Connection, named: bool = True) -> Catalogue:
    products: list[Product] = []
    async for rows in _portions(connection, "id, name, price, category, details", "products", "id"):
        products += (read_product(*row) for row in rows)
    coupons: list[Coupon] = []
    source = "coupons" if named else "(SELECT * FROM coupons WHERE code = '') AS of_files"
    async for rows in _portions(connection, COUPON_COLUMNS, source, "code"):
        coupons += (read_coupon(row) for row in rows)
    return Catalogue(
        products=tuple(products),
        users=await _stored_users(connection),
        coupons=tuple(coupon for coupon in coupons if coupon.code),
        file_coupon=next((coupon for coupon in coupons if not coupon.code), None),
    )


async def _stored_users(connection: Connection) -> tuple[User, ...]:
    keys: dict[str, list[ApiKey]] = {}
    columns = "user_id, hash, scopes, expires_at, position"
    async for rows in _portions(connection, columns, "api_keys", "user_id, position, hash"):
        for user_id, hash_, scopes, expires_at, _ in rows:
            keys.setdefault(user_id, []).append(ApiKey(hash_, frozenset(scopes), expires_at))
    users: list[User] = []
    async for rows in _portions(connection, "id, name", "users", "id"):
        users += (User(id_, name, tuple(keys.get(id_, ()))) for id_, name in rows)
    return tuple(users)


async def _stage(connection: Connection, codes: CodeReader) -> None:
    await connection.execute(
        'CREATE TEMP TABLE stage (code text COLLATE "C" NOT NULL) ON COMMIT DROP'
    )
    while chunk := await asyncio.to_thread(codes.next_chunk):
        await connection.fetch(
            "INSERT INTO stage SELECT unnest($1::text[])", chunk, timeout=LOAD_SECONDS
        )
    await connection.execute("ANALYZE stage", timeout=LOAD_SECONDS)


class _Load(NamedTuple):
    wanted: Catalogue
    codes: CodeReader
    sample_orders: Sequence[Order]
    watch: Watch
    approve: Approve


async def _replace_catalogue(connection: Connection, load: _Load, dry_run: bool) -> LoadReport:
    """Part by part, within a transaction."""
    before, watch = await _catalogue_version(connection), load.watch
    watch("coupons", None)
    await _stage(connection, load.codes)
    stored = await _stored_catalogue(connection)
    codes = await _swap_codes(connection)
    load.approve(losses(stored, load.wanted, codes))
    differs = compare(stored, load.wanted)
    await _write_coupons(connection, differs, load.wanted)
    watch("coupons", differs.coupon_changes(codes))
    watch("products", None)
    await _write_products(connection, differs.products)
    watch("products", {"products": differs.products.change})
    watch("users", None)
    await _write_users(connection, differs.users)
    watch("users", {"users": differs.users.change})
    watch("orders", None)
    orders = await _insert_samples(connection, load.sample_orders)
    watch("orders", {"orders": orders})
    if not differs.empty or codes.added or codes.removed:
        await _announce(connection)
    version = before if dry_run else await _catalogue_version(connection)
    return LoadReport(version, differs.changes(codes, orders))


async def _announce(connection: Connection) -> None:
    """A new version of the catalogue, as soon as this commits."""
    await connection.execute(
        "UPDATE catalogue SET version = version + 1, loaded_at = clock_timestamp()"
    )
    await connection.fetch("SELECT pg_notify($1, '')", CHANNEL)


async def _swap_codes(connection: Connection) -> Change:
    """Writes only what differs: the load of yesterday's codes touches no page."""
    kept = await connection.fetchval("SELECT count(*) FROM coupon_codes", timeout=LOAD_SECONDS)
    removed = await _count(
        connection,
        "DELETE FROM coupon_codes AS old"
        " WHERE NOT EXISTS (SELECT FROM stage WHERE stage.code = old.code) RETURNING 1",
    )
    added = await _count(
        connection,
        "INSERT INTO coupon_codes (code) SELECT code FROM stage AS new"
        " WHERE NOT EXISTS (SELECT FROM coupon_codes AS old WHERE old.code = new.code) RETURNING 1",
    )
    return Change(added=added, removed=removed, unchanged=kept - removed)


async def _count(connection: Connection, statement: str) -> int:
    return int(
        await connection.fetchval(
            f"WITH touched AS ({statement}) SELECT count(*) FROM touched", timeout=LOAD_SECONDS
        )
    )


async def _insert_samples(connection: Connection, orders: Sequence[Order]) -> Change:
    added = 0
    for order in orders:
        stored = await connection.fetchval(
            f"INSERT INTO orders ({ORDER_COLUMNS}, counted)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, false)"
            " ON CONFLICT DO NOTHING RETURNING 1",
            order.id,
            order.user_id,
            order.subtotal,
            order.discounts,
            order.total,
            order.created_at,
            order.coupon_code,
            order.status.value,
            order.version,
        )
        if stored:
            added += 1
            await _insert_lines(connection, order)
    return Change(added=added, unchanged=len(orders) - added)


async def _insert_lines(connection: Connection, order: Order) -> None:
    await connection.executemany(
        "INSERT INTO order_lines (order_id, position, product_id, name, price, category, quantity,"
        " details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        [(order.id, *line) for line in _lines_of(order)],
    )


async def _write_products(connection: Connection, products: Difference[Product]) -> None:
    outdated = [one.id for one in products.outdated]
    await connection.fetch(
        "DELETE FROM products WHERE id = ANY ($1)", outdated, timeout=LOAD_SECONDS
    )
    await connection.executemany(
        "INSERT INTO products (id, name, price, category, details) VALUES ($1, $2, $3, $4, $5)",
        [(one.id, one.name, one.price, one.category, write_details(one)) for one in products.fresh],
        timeout=LOAD_SECONDS,
    )


async def _write_users(connection: Connection, users: Difference[User]) -> None:
    outdated = [one.id for one in users.outdated]
    await connection.fetch("DELETE FROM users WHERE id = ANY ($1)", outdated, timeout=LOAD_SECONDS)
    await _insert_users(connection, users.fresh)


async def _write_coupons(
    connection: Connection, differs: CatalogueDifference, wanted: Catalogue
) -> None:
    outdated = [one.code for one in differs.coupons.outdated]
    fresh = list(differs.coupons.fresh)
    if differs.file_coupon_differs:
        outdated.append("")
        fresh += [wanted.file_coupon] if wanted.file_coupon else []
    await connection.fetch(
        "DELETE FROM coupons WHERE code = ANY ($1)", outdated, timeout=LOAD_SECONDS
    )
    await connection.executemany(
        f"INSERT INTO coupons ({COUPON_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        [write_coupon(coupon) for coupon in fresh],
        timeout=LOAD_SECONDS,
    )


async def _insert_users(connection: Connection, users: Sequence[User]) -> None:
    await connection.executemany(
        "INSERT INTO users (id, name) VALUES ($1, $2)",
        [(user.id, user.name) for user in users],
        timeout=LOAD_SECONDS,
    )
    await connection.executemany(
        "INSERT INTO api_keys (hash, user_id, position, scopes, expires_at)"
        " VALUES ($1, $2, $3, $4, $5)",
        [
            (key.hash, user.id, position, sorted(key.scopes), key.expires_at)
            for user in users
            for position, key in enumerate(user.keys)
        ],
        timeout=LOAD_SECONDS,
    )


# --- orders ---


def _first_of_each_key(waiting: dict[int, NewOrder]) -> dict[int, NewOrder]:
    """Every order without a key, and the first under each key of a user."""
    seen: set[tuple[str, str]] = set()
    leaders = {}
    for position, new in waiting.items():
        name = _key_name(new)
        if name is None or name not in seen:
            leaders[position] = new
        if name is not None:
            seen.add(name)
    return leaders


def _key_name(new: NewOrder) -> tuple[str, str] | None:
    return None if new.key is None else (new.order.user_id, new.key.key)


def _follow(
    waiting: dict[int, NewOrder],
    leaders: dict[int, NewOrder],
    outcomes: dict[int, Order | StorageError],
) -> dict[int, Order | StorageError]:
    """What an order under a key that was just stored or replayed gets, without asking again. One
    whose leader was refused is judged afresh, and so is one whose leader's key has expired."""
    firsts: dict[tuple[str, str] | None, tuple[IdempotencyKey, Order]] = {}
    for position, leader in leaders.items():
        outcome = outcomes[position]
        if leader.key and isinstance(outcome, Order) and leader.key.expires_at > datetime.now(UTC):
            firsts[_key_name(leader)] = (leader.key, outcome)
    return {
        position: _replay(new, *firsts[_key_name(new)])
        for position, new in waiting.items()
        if _key_name(new) in firsts
    }


def _replay(new: NewOrder, stored: IdempotencyKey, first: Order) -> Order | StorageError:
    if new.key is not None and new.key.fingerprint == stored.fingerprint:
        return as_placed(first)
    return IdempotencyConflict("the idempotency key was used with another request")


def _columns(batch: list[NewOrder]) -> list[list[Any]]:
    """The arguments of add_orders: a column of the orders each, then a column of the lines each."""
    orders = [_order_row(new) for new in batch]
    lines = [
        (number, *line)
        for number, new in enumerate(batch, start=1)
        for line in _lines_of(new.order)
    ]
    return [*_transposed(orders, 12), *_transposed(lines, 8)]


def _transposed(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _order_row(new: NewOrder) -> tuple[Any, ...]:
    order, key, limits = new
    return (
        order.id,
        order.user_id,
        order.subtotal,
        order.discounts,
        order.total,
        order.created_at,
        order.coupon_code,
        limits.max_uses,
        limits.max_uses_per_user,
        key and key.key,
        key and key.fingerprint,
        key and key.expires_at,
    )


def _lines_of(order: Order) -> Iterator[tuple[Any, ...]]:
    for position, line in enumerate(order.lines):
        product = line.product
        yield (
            position,
            product.id,
            product.name,
            product.price,
            product.category,
            line.quantity,
            write_details(product),
        )


def _outcome(new: NewOrder, outcome: str, first: Order | None) -> Order | StorageError:
    if outcome == "stored":
        return new.order
    if outcome == "replayed" and first is not None:
        return as_placed(first)
    if outcome == "used up":
        return CouponUsedUp(f"no use of the coupon {new.order.coupon_code} is left")
    return IdempotencyConflict("the idempotency key was used with another request")


async def _orders_by_id(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Order]:
    rows = await connection.fetch(ORDERS_BY_ID, ids)
    return {order.id: order for order in read_orders(rows)}
