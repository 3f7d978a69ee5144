"""A storage in one SQLite file, in WAL mode: readers go on while the one writer commits."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, cast
from urllib.parse import unquote
from uuid import UUID

import aiosqlite

from storage.base import MIGRATION_TIMEOUT, Approve, Storage, Watch
from storage.batches import Batcher, together_or_alone
from storage.errors import (
    CouponUsedUp,
    IdempotencyConflict,
    InvalidStorageURL,
    MigrationChanged,
    MigrationFailed,
    MigrationTimeout,
    OrderExists,
    OrderNotCancellable,
    OrderNotFound,
    SchemaOutdated,
    StorageError,
    StorageUnavailable,
    ValueRejected,
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
from storage.records import (
    ApiKey,
    AppliedMigration,
    Catalogue,
    Change,
    CouponLimits,
    FoundCoupon,
    IdempotencyKey,
    LoadReport,
    Losses,
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
    NewOrder,
    Row,
    as_placed,
    check_fingerprint,
    read_coupon,
    read_orders,
    read_product,
    write_coupon,
    write_details,
)
from storage.sqlite.statements import split

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

WITH_LINES = (
    " LEFT JOIN order_lines AS l ON l.order_number = o.number"
    " LEFT JOIN order_line_details AS d"
    " ON d.order_number = l.order_number AND d.position = l.position"
)

ORDER_LOCK_SECONDS = 5.0
"""How long an order waits for another process that writes; a caller would not wait longer."""

ROOM = 65_536
"""Bytes that must find room before a disk that was full counts as having some again."""

CHECK_LOCK_SECONDS = 1.0
"""How long the question waits whether an order could be stored."""

LOAD_LOCK_SECONDS = 60.0
"""How long a load waits for its turn."""

MOST_LOG = 16 * 1024 * 1024
"""Bytes that are kept of the -wal once its content is in the database: a load or a long reader
makes it larger for as long as they last."""

_POLL_SECONDS = 0.01
_STATEMENT_ERRORS = (
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_AUTH,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SQLiteStorage(Storage):
    """One SQLite file, a writer for orders and a reader beside it, each on a thread of its own.

    Several processes may share the file. Loads and migrations open connections of their own: what
    they prepare must not hold up an order, and a migration can be interrupted.
    """

    backend = "sqlite"

    def __init__(self, url: str, *, wait_seconds: float = 30.0) -> None:
        self._path = _path_of(url)
        self._wait_seconds = wait_seconds
        self._connections = AsyncExitStack()
        self._opened_files: dict[Path, tuple[int, int]] = {}
        self._was_full = False
        """Whether the last order found no room: less than one has may still be there."""
        self._writer: _Connection | None = None
        self._reader: _Connection | None = None
        self._new_batcher()

    def _new_batcher(self) -> None:
        self._orders: Batcher[NewOrder, Order] = Batcher(
            self._add_orders, around=lambda: self.around_commit
        )

    async def connect(self) -> None:
        if self._writer is not None:
            return
        _check_place(self._path)
        self._new_batcher()
        async with AsyncExitStack() as stack:
            stack.callback(self._forget_connections)
            self._writer = await stack.enter_async_context(
                _opened(self._path, _open_writer, self._wait_seconds)
            )
            await self._write(_check_writable, self._wait_seconds)
            self._reader = await stack.enter_async_context(_opened(self._path, _open_reader))
            self._opened_files = {one: _identity(one) for one in _files_of(self._path)}
            self._connections = stack.pop_all()

    async def close(self) -> None:
        await self._orders.close()
        self._forget_connections()
        await self._connections.aclose()

    def _forget_connections(self) -> None:
        self._writer = self._reader = None

    def connections(self) -> tuple[int, int]:
        pair = (self._writer, self._reader)
        return (sum(one is not None and one.busy > 0 for one in pair), len(pair))

    async def _write(
        self,
        function: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        return await _run(self._writer, function, *args, **kwargs)

    async def _read(
        self,
        function: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        return await _run(self._reader, function, *args, **kwargs)

    @asynccontextmanager
    async def _extra_connection(self, wait_seconds: float) -> AsyncIterator[_Connection]:
        if self._writer is None:
            raise StorageUnavailable("the storage is closed")
        async with _opened(self._path, _open_writer, wait_seconds) as connection:
            yield connection

    # --- schema ---

    async def list_migrations(self) -> list[AppliedMigration]:
        return await self._read(_list_migrations)

    async def apply_migration(
        self, migration: Migration, timeout: float = MIGRATION_TIMEOUT
    ) -> bool:
        async with self._extra_connection(timeout) as connection:
            return await _run(connection, _apply_migration, migration, timeout)

    async def get_schema_version(self) -> int:
        applied = await self.list_migrations()
        return applied[-1].version if applied else 0

    # --- catalogue ---

    async def get_catalogue_version(self) -> int:
        self._check_identity()
        return await self._read(_catalogue_version)

    def _check_identity(self) -> None:
        """A file that was removed or replaced still takes orders, which nobody finds again: the
        newest of them are in the one whose name ends in -wal."""
        for path, opened in self._opened_files.items():
            try:
                found = _identity(path)
            except OSError as error:
                raise StorageUnavailable(f"{path} is gone") from error
            if found != opened:
                raise StorageUnavailable(f"{path} was replaced: start this program again")

    async def read_catalogue(self, *, coupons: bool = True) -> VersionedCatalogue:
        if self._reader is None:
            raise StorageUnavailable("the storage is closed")
        async with _opened(self._path, _open_reader) as connection:
            return await _in_steps(connection, lambda db: _read_catalogue(db, coupons))

    async def find_coupon(self, code: str) -> FoundCoupon:
        return await self._read(_find_coupon, code)

    async def get_coupon_uses(self, code: str, user_id: str) -> tuple[int, int]:
        return await self._read(_coupon_uses, code, user_id)

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
        wanted, reader, watch = normalized(catalogue), CodeReader(codes), watch or unwatched
        async with self._extra_connection(LOAD_LOCK_SECONDS) as connection:
            watch("coupons", None)
            await _run(connection, _create_stage)
            try:
                while chunk := await asyncio.to_thread(reader.next_chunk):
                    await _run(connection, _stage, chunk)
            except CodesFailed as failed:
                raise failed.error from failed.error.__cause__
            load = _Load(wanted, sample_orders, watch, approve or unapproved)
            return await _run(connection, _replace_catalogue, load, dry_run)

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
        async def store(part: list[NewOrder]) -> Sequence[Order | StorageError]:
            try:
                stored = await self._write(_add_orders, part)
            except StorageUnavailable as error:
                self._was_full |= _obstacle_of(error.__cause__, self._path) is Obstacle.FULL
                raise
            self._was_full = False
            return stored

        return await together_or_alone(store, batch)

    async def find_obstacle(self) -> Obstacle | None:
        self._check_identity()
        try:
            await self._write(_store_nothing)
            if self._was_full:
                await self._write(_store_an_expired_key)
        except StorageUnavailable as error:
            obstacle = _obstacle_of(error.__cause__, self._path)
            if obstacle is None:
                raise
            return obstacle
        return None

    async def find_order_by_key(self, user_id: str, key: IdempotencyKey) -> Order | None:
        return await self._read(_find_order_by_key, user_id, key, _now())

    async def get_order(self, user_id: str, order_id: UUID) -> Order:
        return await self._read(_get_order, user_id, order_id)

    async def list_orders(
        self, user_id: str, *, limit: int, after: Page | None = None
    ) -> list[Order]:
        return await self._read(_list_orders, user_id, limit, after)

    async def cancel_order(self, user_id: str, order_id: UUID) -> Order:
        return await self._write(_cancel_order, user_id, order_id)

    async def delete_expired_keys(self, limit: int = 1000) -> int:
        return await self._write(_delete_expired_keys, limit)


# --- where the file is ---


def _path_of(url: str) -> Path:
    _, _, rest = url.partition("://")
    path = unquote(rest)[1:]
    if not rest.startswith("/") or "?" in rest or "#" in rest:
        raise InvalidStorageURL(
            "an SQLite URL is sqlite:///path, or sqlite:////path from the root, and nothing else"
        )
    if not path or path.endswith("/") or path == ":memory:" or "\0" in path:
        raise InvalidStorageURL("an SQLite URL names a file: sqlite:///path")
    return Path(path)


def _check_place(path: Path) -> None:
    """Says what SQLite would not, or only after it has left read-only files beside the database.

    Only asks: opening and closing the file would drop the locks of this process's connections.
    """
    if path.is_dir():
        raise StorageUnavailable(f"{path} is a folder, not a database")
    if not path.parent.is_dir():
        raise StorageUnavailable(f"the folder {path.parent} of the database does not exist")
    as_we_are = os.access in os.supports_effective_ids
    if path.exists() and not os.access(path, os.W_OK, effective_ids=as_we_are):
        raise StorageUnavailable(f"{path} is read-only for this user")


# --- connections and errors ---


class _Connection(aiosqlite.Connection):
    """An aiosqlite connection that can run a whole function on its thread: a transaction is one hop
    instead of one for each statement, and the write lock never waits for the event loop."""

    busy = 0
    stopped: asyncio.Future[Any] | None = None

    def stop(self) -> asyncio.Future[Any] | None:
        """As in aiosqlite, which awaits what this returns except when opening has failed."""
        self.stopped = super().stop()
        return self.stopped

    async def run(
        self,
        function: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        execute = cast(Callable[..., Awaitable[Result]], self._execute)
        self.busy += 1
        try:
            return await execute(function, self._conn, *args, **kwargs)
        finally:
            self.busy -= 1


@asynccontextmanager
async def _opened(
    path: Path, opener: Callable[..., sqlite3.Connection], *args: Any
) -> AsyncIterator[_Connection]:
    connection = _Connection(lambda: opener(path, *args), iter_chunk_size=64)
    try:
        with _driver_errors():
            await connection
        yield connection
    finally:
        with suppress(sqlite3.Error):
            await connection.close()
        if connection.stopped:
            await connection.stopped


async def _run(
    connection: _Connection | None,
    function: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    if connection is None:
        raise StorageUnavailable("the storage is closed")
    with _driver_errors():
        return await connection.run(function, *args, **kwargs)


async def _in_steps(
    connection: _Connection,
    begin: Callable[[sqlite3.Connection], Generator[None, None, Result]],
) -> Result:
    """What ``begin`` returns in the end; at each of its pauses the event loop gets its turn."""
    steps: list[Generator[None, None, Result]] = []
    results: list[Result] = []

    def step(db: sqlite3.Connection) -> bool:
        if not steps:
            steps.append(begin(db))
        try:
            next(steps[0])
        except StopIteration as ended:
            results.append(ended.value)
        return not results

    while await _run(connection, step):
        pass
    return results[0]


@contextmanager
def _driver_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, OSError) as error:
        raise _translated(error) from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise ValueRejected(f"SQLite cannot store a value: {error}") from error


def _translated(error: Exception) -> StorageError:
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_ERROR" and str(error).startswith(("no such table", "no such column")):
        return SchemaOutdated("the schema is older than the code needs: run database-migration")
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError):
        return ValueRejected(f"SQLite refuses a value: {error}")
    if code == "SQLITE_NOTADB":
        return StorageUnavailable("the file is not an SQLite database")
    return StorageUnavailable(f"SQLite: {error}")


def _create_private(path: Path) -> None:
    """Orders are nobody else's business. SQLite gives the files beside it the same permissions."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _open_writer(path: Path, wait_seconds: float) -> sqlite3.Connection:
    _create_private(path)
    db = sqlite3.connect(path, timeout=_POLL_SECONDS, isolation_level=None, cached_statements=256)
    try:
        _patiently(lambda: db.execute("PRAGMA journal_mode = WAL"), wait_seconds)
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {MOST_LOG}")
        db.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        db.close()
        raise
    return db


def _open_reader(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=ORDER_LOCK_SECONDS, isolation_level=None)
    try:
        db.execute("PRAGMA query_only = ON")
    except BaseException:
        db.close()
        raise
    return db


# --- transactions ---


def _patiently(step: Callable[[], Result], seconds: float) -> Result:
    """Tries until the file is not locked. SQLite's own busy handler waits ever longer between its
    looks, so that a busy neighbour would starve us: it has _POLL_SECONDS, the rest is this loop."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise


def _begin(db: sqlite3.Connection, wait_seconds: float) -> None:
    # A deferred BEGIN that turns into a write would fail at once, however long the timeout.
    _patiently(lambda: db.execute("BEGIN IMMEDIATE"), wait_seconds)


@contextmanager
def _writing(db: sqlite3.Connection, wait_seconds: float) -> Iterator[None]:
    """One write transaction; it commits unless something is raised."""
    _begin(db, wait_seconds)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        _roll_back(db)
        raise


@contextmanager
def _rehearsing(db: sqlite3.Connection, wait_seconds: float) -> Iterator[None]:
    """A write transaction of which nothing stays."""
    _begin(db, wait_seconds)
    try:
        yield
    finally:
        _roll_back(db)


def _check_writable(db: sqlite3.Connection, wait_seconds: float) -> None:
    """A read-only file opens without complaint, and even begins a write."""
    with _rehearsing(db, wait_seconds):
        db.execute("PRAGMA user_version = 0")


def _store_nothing(db: sqlite3.Connection) -> None:
    """A commit that changes nothing: what is rolled back never meets the disk."""
    with _writing(db, CHECK_LOCK_SECONDS):
        db.execute("UPDATE catalogue SET version = version")


def _store_an_expired_key(db: sqlite3.Connection) -> None:
    """And deletes it: as much as a few orders need, of what would be deleted anyway."""
    with _writing(db, CHECK_LOCK_SECONDS):
        db.execute(
            "INSERT OR REPLACE INTO idempotency_keys (user_id, key, fingerprint, expires_at,"
            " order_id) VALUES ('', '', ?, 0, '')",
            ("x" * ROOM,),
        )
    with _writing(db, CHECK_LOCK_SECONDS):
        db.execute("DELETE FROM idempotency_keys WHERE user_id = '' AND key = ''")


def _obstacle_of(error: BaseException | None, path: Path) -> Obstacle | None:
    """What a write met. A file or a folder that has become read-only, and a quota, are nothing but
    failed writes to SQLite."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_READONLY:
            return Obstacle.READ_ONLY
        case sqlite3.SQLITE_FULL:
            return Obstacle.FULL
        case sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return Obstacle.NOT_PERMITTED
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN:
            return Obstacle.FULL if os.access(path, os.W_OK) else Obstacle.READ_ONLY
    return None


@contextmanager
def _reading(db: sqlite3.Connection) -> Iterator[None]:
    """One consistent view of the file for several queries; temporary tables may be written."""
    db.execute("BEGIN")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        _roll_back(db)
        raise


def _roll_back(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):  # a full disk has rolled back already
        db.execute("ROLLBACK")


# --- values ---


def _from_time(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _to_time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _now() -> int:
    return (datetime.now(UTC) - _EPOCH) // _MICROSECOND


def _orders_of(rows: Iterable[Row]) -> list[Order]:
    return read_orders(rows, to_uuid=UUID, to_time=_moment)


def _value(db: sqlite3.Connection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """The first column of the first row; None without one."""
    row = db.execute(sql, parameters).fetchone()
    return None if row is None else row[0]


def _files_of(path: Path) -> list[Path]:
    """The database and what lies beside it while it is open."""
    beside = [path.with_name(path.name + ending) for ending in ("-wal", "-shm")]
    return [path, *(one for one in beside if one.exists())]


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _coupon_uses(db: sqlite3.Connection, code: str, user_id: str) -> tuple[int, int]:
    total = _value(db, "SELECT uses FROM coupon_uses WHERE code = ?", (code,))
    by_user = _value(
        db, "SELECT uses FROM coupon_user_uses WHERE code = ? AND user_id = ?", (code, user_id)
    )
    return total or 0, by_user or 0


# --- schema ---


def _list_migrations(db: sqlite3.Connection) -> list[AppliedMigration]:
    if _value(db, "SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'") is None:
        return []
    rows = db.execute(
        "SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY version"
    )
    return [
        AppliedMigration(version, name, checksum, _moment(applied_at))
        for version, name, checksum, applied_at in rows
    ]


def _apply_migration(db: sqlite3.Connection, migration: Migration, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    try:
        with _writing(db, timeout):
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
                (migration.version, migration.name, migration.checksum, _now()),
            )
    except sqlite3.Error as error:
        raise _migration_error(migration, error, timeout) from error
    return True


def _forbid_transactions(action: int, *_: object) -> int:
    """A COMMIT in a migration would leave half of it behind when the rest fails."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK


def _is_applied(db: sqlite3.Connection, migration: Migration) -> bool:
    checksum = _value(
        db, "SELECT checksum FROM schema_migrations WHERE version = ?", (migration.version,)
    )
    if checksum not in (None, migration.checksum):
        raise MigrationChanged(f"{migration.name} was changed after it was applied")
    return checksum is not None


def _migration_error(migration: Migration, error: sqlite3.Error, timeout: float) -> StorageError:
    # What binds no statement has no code: an error of the driver's own.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY):
        return MigrationTimeout(f"{migration.name} ran or waited for more than {timeout:g} s")
    if code in _STATEMENT_ERRORS:
        return MigrationFailed(f"{migration.name} failed: {error}")
    return _translated(error)


# --- catalogue ---


def _catalogue_version(db: sqlite3.Connection) -> int:
    return int(_value(db, "SELECT version FROM catalogue"))


PORTION = 200
"""Rows that are made into records before the event loop gets its turn: what Python does on another
thread holds it up as well."""


def _read_catalogue(
    db: sqlite3.Connection, coupons: bool
) -> Generator[None, None, VersionedCatalogue]:
    with _reading(db):
        version, loaded_at = db.execute("SELECT version, loaded_at FROM catalogue").fetchone()
        catalogue = yield from _stored_catalogue(db, coupons)
        return VersionedCatalogue(version, _to_time(loaded_at), catalogue)


def _stored_catalogue(db: sqlite3.Connection, named: bool) -> Generator[None, None, Catalogue]:
    """The catalogue, with a pause after each portion."""
    rows = db.execute(
        "SELECT id, name, price, category, details FROM products"
        " LEFT JOIN product_details ON product_id = id ORDER BY id"
    )
    products = yield from _portions(rows, lambda row: read_product(*row))
    some = "" if named else "WHERE code = ''"
    coupons = yield from _portions(
        db.execute(f"SELECT {COUPON_COLUMNS} FROM coupons {some} ORDER BY code COLLATE BINARY"),
        lambda row: read_coupon(row, _to_time),
    )
    users = yield from _stored_users(db)
    return Catalogue(
        products=tuple(products),
        users=users,
        coupons=tuple(coupon for coupon in coupons if coupon.code),
        file_coupon=next((coupon for coupon in coupons if not coupon.code), None),
    )


def _stored_users(db: sqlite3.Connection) -> Generator[None, None, tuple[User, ...]]:
    keys: dict[str, list[ApiKey]] = {}
    rows = db.execute(
        "SELECT user_id, hash, scopes, expires_at FROM api_keys ORDER BY user_id, position"
    )
    for user_id, key in (yield from _portions(rows, lambda row: (row[0], _read_key(*row[1:])))):
        keys.setdefault(user_id, []).append(key)
    rows = db.execute("SELECT id, name FROM users ORDER BY id")
    users = yield from _portions(
        rows, lambda row: User(row[0], row[1], tuple(keys.get(row[0], ())))
    )
    return tuple(users)


def _portions(
    rows: sqlite3.Cursor, record: Callable[[Any], Result]
) -> Generator[None, None, list[Result]]:
    """The records of all rows, with a pause after each portion."""
    records: list[Result] = []
    while some := rows.fetchmany(PORTION):
        records += map(record, some)
        yield
    return records


def _at_once(steps: Generator[None, None, Result]) -> Result:
    """What comes of it, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: Result = ended.value
            return result


def _read_key(hash_: str, scopes: str, expires_at: int | None) -> ApiKey:
    return ApiKey(hash_, frozenset(json.loads(scopes)), _to_time(expires_at))


def _find_coupon(db: sqlite3.Connection, code: str) -> FoundCoupon:
    with _reading(db):
        version = _catalogue_version(db)
        row = db.execute(
            f"SELECT {COUPON_COLUMNS} FROM coupons WHERE code = ? AND code <> ''", (code,)
        ).fetchone()
        if row is not None:
            return FoundCoupon(version, read_coupon(row, _to_time))
        file_code = _value(
            db,
            "SELECT code FROM coupon_codes WHERE code = ? COLLATE NOCASE"
            " ORDER BY code COLLATE BINARY LIMIT 1",
            (code,),
        )
        return FoundCoupon(version, None, file_code)


def _create_stage(db: sqlite3.Connection) -> None:
    """Temporary tables lie in a file of their own: filling them locks out nobody."""
    for table in ("stage", "added", "removed"):
        db.execute(f"CREATE TEMP TABLE {table} (code TEXT PRIMARY KEY) WITHOUT ROWID")


def _stage(db: sqlite3.Connection, codes: list[str]) -> None:
    db.execute("BEGIN")
    db.executemany("INSERT INTO stage VALUES (?)", ((code,) for code in codes))
    db.execute("COMMIT")


class _Load(NamedTuple):
    wanted: Catalogue
    sample_orders: Sequence[Order]
    watch: Watch
    approve: Approve


class _Comparison(NamedTuple):
    """What differs from ``version``, and what of it would be lost."""

    version: int
    differs: CatalogueDifference
    codes: Change
    lost: Losses


def _replace_catalogue(db: sqlite3.Connection, load: _Load, dry_run: bool) -> LoadReport:
    transaction = _rehearsing if dry_run else _writing
    with _reading(db):
        found = _compare(db, load.wanted)
    with transaction(db, LOAD_LOCK_SECONDS):
        if _catalogue_version(db) != found.version:  # another load was faster
            found = _compare(db, load.wanted)
        changes = _swap_catalogue(db, load, found)
        version = _catalogue_version(db)
    if dry_run:
        version = _catalogue_version(db)
    return LoadReport(version, changes)


def _compare(db: sqlite3.Connection, wanted: Catalogue) -> _Comparison:
    """It takes long when the catalogue is large, so it is done before the write lock is taken, for
    which orders would wait."""
    version, codes = _compare_codes(db)
    stored = _at_once(_stored_catalogue(db, True))
    return _Comparison(version, compare(stored, wanted), codes, losses(stored, wanted, codes))


def _swap_catalogue(
    db: sqlite3.Connection, load: _Load, found: _Comparison
) -> Mapping[str, Change]:
    """Part by part, within a transaction. The coupons' has begun with the staging of the codes."""
    watch, differs, codes = load.watch, found.differs, found.codes
    load.approve(found.lost)
    _swap_codes(db)
    _write_coupons(db, differs, load.wanted)
    watch("coupons", differs.coupon_changes(codes))
    watch("products", None)
    _write_products(db, differs.products)
    watch("products", {"products": differs.products.change})
    watch("users", None)
    _write_users(db, differs.users)
    watch("users", {"users": differs.users.change})
    watch("orders", None)
    orders = _insert_samples(db, load.sample_orders)
    watch("orders", {"orders": orders})
    if not differs.empty or codes.added or codes.removed:
        db.execute("UPDATE catalogue SET version = version + 1, loaded_at = ?", (_now(),))
    return differs.changes(codes, orders)


def _compare_codes(db: sqlite3.Connection) -> tuple[int, Change]:
    """Finds what differs in the codes of the version that it returns."""
    version = _catalogue_version(db)
    db.execute("DELETE FROM added")
    db.execute("DELETE FROM removed")
    added = db.execute(
        "INSERT INTO added SELECT code FROM stage WHERE code NOT IN (SELECT code FROM coupon_codes)"
    ).rowcount
    removed = db.execute(
        "INSERT INTO removed SELECT code FROM coupon_codes"
        " WHERE code NOT IN (SELECT code FROM stage)"
    ).rowcount
    staged = _value(db, "SELECT count(*) FROM stage")
    return version, Change(added=added, removed=removed, unchanged=staged - added)


def _swap_codes(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM coupon_codes WHERE code IN (SELECT code FROM removed)")
    db.execute("INSERT INTO coupon_codes (code) SELECT code FROM added")


def _insert_samples(db: sqlite3.Connection, orders: Sequence[Order]) -> Change:
    missing = [
        order
        for order in orders
        if _value(db, "SELECT 1 FROM orders WHERE id = ?", (str(order.id),)) is None
    ]
    for order in missing:
        _insert_order(db, order, counted=False)
    return Change(added=len(missing), unchanged=len(orders) - len(missing))


def _write_products(db: sqlite3.Connection, products: Difference[Product]) -> None:
    db.executemany("DELETE FROM products WHERE id = ?", ((one.id,) for one in products.outdated))
    db.executemany(
        "INSERT INTO products (id, name, price, category) VALUES (?, ?, ?, ?)",
        ((one.id, one.name, one.price, one.category) for one in products.fresh),
    )
    db.executemany(
        "INSERT INTO product_details (product_id, details) VALUES (?, ?)",
        ((one.id, details) for one in products.fresh if (details := write_details(one))),
    )


def _write_users(db: sqlite3.Connection, users: Difference[User]) -> None:
    db.executemany("DELETE FROM users WHERE id = ?", ((one.id,) for one in users.outdated))
    _insert_users(db, users.fresh)


def _write_coupons(db: sqlite3.Connection, differs: CatalogueDifference, wanted: Catalogue) -> None:
    outdated = (one.code for one in differs.coupons.outdated)
    db.executemany("DELETE FROM coupons WHERE code = ?", ((code,) for code in outdated))
    coupons = list(differs.coupons.fresh)
    if differs.file_coupon_differs:
        db.execute("DELETE FROM coupons WHERE code = ''")
        coupons += [wanted.file_coupon] if wanted.file_coupon else []
    db.executemany(
        f"INSERT INTO coupons ({COUPON_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (write_coupon(coupon, _from_time) for coupon in coupons),
    )


def _insert_users(db: sqlite3.Connection, users: Iterable[User]) -> None:
    for user in users:
        db.execute("INSERT INTO users (id, name) VALUES (?, ?)", (user.id, user.name))
        db.executemany(
            "INSERT INTO api_keys (hash, user_id, position, scopes, expires_at)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                (
                    key.hash,
                    user.id,
                    position,
                    json.dumps(sorted(key.scopes)),
                    _from_time(key.expires_at),
                )
                for position, key in enumerate(user.keys)
            ),
        )


# --- orders ---


def _add_orders(db: sqlite3.Connection, batch: list[NewOrder]) -> list[Order | StorageError]:
    with _writing(db, ORDER_LOCK_SECONDS):
        now = _now()
        return [_outcome(db, new, now) for new in batch]


def _outcome(db: sqlite3.Connection, new: NewOrder, now: int) -> Order | StorageError:
    try:
        return _add_order(db, new, now)
    except (CouponUsedUp, IdempotencyConflict, OrderExists) as refused:
        return refused


def _add_order(db: sqlite3.Connection, new: NewOrder, now: int) -> Order:
    """Every refusal comes before the first write, so that there is nothing to take back."""
    order, key, limits = new
    if key and (first := _find_order_by_key(db, order.user_id, key, now)):
        return first
    if order.coupon_code is not None:
        _refuse_use_too_many(db, order.coupon_code, order.user_id, limits)
    _insert_order(db, order, counted=order.coupon_code is not None)
    if order.coupon_code is not None:
        _count_use(db, order.coupon_code, order.user_id)
    if key:
        db.execute(
            "INSERT OR REPLACE INTO idempotency_keys (user_id, key, fingerprint, expires_at,"
            " order_id) VALUES (?, ?, ?, ?, ?)",
            (
                order.user_id,
                key.key,
                key.fingerprint,
                _from_time(key.expires_at),
                str(order.id),
            ),
        )
    return order


def _find_order_by_key(
    db: sqlite3.Connection, user_id: str, key: IdempotencyKey, now: int
) -> Order | None:
    row = db.execute(
        "SELECT fingerprint, order_id FROM idempotency_keys"
        " WHERE user_id = ? AND key = ? AND expires_at > ?",
        (user_id, key.key, now),
    ).fetchone()
    if row is None:
        return None
    fingerprint, order_id = row
    check_fingerprint(key, fingerprint)
    return as_placed(_get_order(db, user_id, UUID(order_id)))


def _refuse_use_too_many(
    db: sqlite3.Connection, code: str, user_id: str, limits: CouponLimits
) -> None:
    if limits.max_uses is not None:
        uses = _value(db, "SELECT uses FROM coupon_uses WHERE code = ?", (code,))
        if (uses or 0) >= limits.max_uses:
            raise CouponUsedUp(f"no use of the coupon {code} is left")
    if limits.max_uses_per_user is not None:
        uses = _value(
            db,
            "SELECT uses FROM coupon_user_uses WHERE code = ? AND user_id = ?",
            (code, user_id),
        )
        if (uses or 0) >= limits.max_uses_per_user:
            raise CouponUsedUp(f"no use of the coupon {code} is left for this user")


def _count_use(db: sqlite3.Connection, code: str, user_id: str) -> None:
    db.execute(
        "INSERT INTO coupon_uses (code, uses) VALUES (?, 1)"
        " ON CONFLICT (code) DO UPDATE SET uses = uses + 1",
        (code,),
    )
    db.execute(
        "INSERT INTO coupon_user_uses (code, user_id, uses) VALUES (?, ?, 1)"
        " ON CONFLICT (code, user_id) DO UPDATE SET uses = uses + 1",
        (code, user_id),
    )


def _insert_order(db: sqlite3.Connection, order: Order, *, counted: bool) -> None:
    try:
        number = db.execute(
            "INSERT INTO orders (id, user_id, subtotal, discounts, total, created_at, coupon_code,"
            " counted, status, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                str(order.id),
                order.user_id,
                order.subtotal,
                order.discounts,
                order.total,
                _from_time(order.created_at),
                order.coupon_code,
                counted,
                order.status.value,
                order.version,
            ),
        ).lastrowid
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE":
            raise OrderExists(f"an order {order.id} is stored already") from error
        raise
    db.executemany(
        "INSERT INTO order_lines (order_number, position, product_id, name, price, category,"
        " quantity) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                number,
                position,
                line.product.id,
                line.product.name,
                line.product.price,
                line.product.category,
                line.quantity,
            )
            for position, line in enumerate(order.lines)
        ),
    )
    for position, line in enumerate(order.lines):
        if details := write_details(line.product):
            db.execute(
                "INSERT INTO order_line_details (order_number, position, details) VALUES (?, ?, ?)",
                (number, position, details),
            )


def _get_order(db: sqlite3.Connection, user_id: str, order_id: UUID) -> Order:
    rows = db.execute(
        f"SELECT {JOINED_COLUMNS} FROM orders AS o"
        f"{WITH_LINES} WHERE o.id = ? AND o.user_id = ? ORDER BY l.position",
        (str(order_id), user_id),
    )
    for order in _orders_of(rows):
        return order
    raise OrderNotFound(f"the user has no order {order_id}")


def _list_orders(
    db: sqlite3.Connection, user_id: str, limit: int, after: Page | None
) -> list[Order]:
    behind = ""
    parameters = {"user_id": user_id, "limit": limit}
    if after is not None:
        behind = "AND (created_at, id) < (:created_at, :id)"
        parameters |= {"created_at": _from_time(after.created_at), "id": str(after.id)}
    rows = db.execute(
        f"SELECT {JOINED_COLUMNS} FROM (SELECT * FROM orders WHERE user_id = :user_id {behind}"
        " ORDER BY created_at DESC, id DESC LIMIT :limit) AS o"
        f"{WITH_LINES} ORDER BY o.created_at DESC, o.id DESC, l.position",
        parameters,
    )
    return _orders_of(rows)


def _cancel_order(db: sqlite3.Connection, user_id: str, order_id: UUID) -> Order:
    with _writing(db, ORDER_LOCK_SECONDS):
        cancelled = db.execute(
            "UPDATE orders SET status = 'cancelled', version = version + 1"
            " WHERE id = ? AND user_id = ? AND status = 'placed'",
            (str(order_id), user_id),
        )
        order = _get_order(db, user_id, order_id)
        if cancelled.rowcount == 0:
            raise OrderNotCancellable(f"the order {order_id} is cancelled already")
        if _value(db, "SELECT counted FROM orders WHERE id = ?", (str(order_id),)):
            _give_back_use(db, order)
        return order


def _give_back_use(db: sqlite3.Connection, order: Order) -> None:
    db.execute("UPDATE coupon_uses SET uses = uses - 1 WHERE code = ?", (order.coupon_code,))
    db.execute(
        "UPDATE coupon_user_uses SET uses = uses - 1 WHERE code = ? AND user_id = ?",
        (order.coupon_code, order.user_id),
    )


def _delete_expired_keys(db: sqlite3.Connection, limit: int) -> int:
    with _writing(db, ORDER_LOCK_SECONDS):
        deleted = db.execute(
            "DELETE FROM idempotency_keys WHERE (user_id, key) IN (SELECT user_id, key"
            " FROM idempotency_keys WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
            (_now(), limit),
        )
        return deleted.rowcount
