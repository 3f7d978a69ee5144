"""The connections to one SQLite file, each on a thread of its own, and transactions on them."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from urllib.parse import unquote

import aiosqlite

from storage.errors import InvalidStorageURL, StorageUnavailable
from storage.sqlite.errors import driver_errors

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

ORDER_LOCK_SECONDS = 5.0
"""How long an order waits for another process that writes; a caller would not wait longer."""

LOAD_LOCK_SECONDS = 60.0
"""How long a load waits for its turn."""

MOST_LOG = 16 * 1024 * 1024
"""Bytes that are kept of the -wal once its content is in the database: a load or a long reader
makes it larger for as long as they last."""

_POLL_SECONDS = 0.01


def path_of(url: str) -> Path:
    """The file that a URL names. Raises InvalidStorageURL."""
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


class Database(sqlite3.Connection):
    """A connection of sqlite3 whose scripts are functions: aiosqlite has a method for each of
    sqlite3's own, which it calls on its thread, and none that calls a function there."""

    def executescript(self, script: Any, /) -> Any:
        """What a function of this connection returns."""
        return script(self)


class Connection(aiosqlite.Connection):
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
        """What a function of the connection returns."""
        results: list[Result] = []

        def script(db: sqlite3.Connection) -> None:
            results.append(function(db, *args, **kwargs))

        self.busy += 1
        try:
            await self.executescript(cast(Any, script))
        finally:
            self.busy -= 1
        return results[0]


class Connections:
    """A writer and a reader of one file, and others for a while."""

    def __init__(self, path: Path, wait_seconds: float) -> None:
        self.path = path
        self._wait_seconds = wait_seconds
        self._opened = AsyncExitStack()
        self._files: dict[Path, tuple[int, int]] = {}
        self._writer: Connection | None = None
        self._reader: Connection | None = None

    @property
    def are_open(self) -> bool:
        """Whether both are open."""
        return self._writer is not None

    async def open(self) -> None:
        """Opens both. Raises StorageUnavailable."""
        _check_place(self.path)
        async with AsyncExitStack() as stack:
            stack.callback(self._forget)
            self._writer = await stack.enter_async_context(
                opened(self.path, _open_writer, self._wait_seconds)
            )
            await self.write(_check_writable, self._wait_seconds)
            self._reader = await stack.enter_async_context(opened(self.path, _open_reader))
            self._files = {one: _identity(one) for one in _files_of(self.path)}
            self._opened = stack.pop_all()

    async def close(self) -> None:
        """Closes both; a second call does nothing."""
        self._forget()
        await self._opened.aclose()

    def _forget(self) -> None:
        self._writer = self._reader = None

    def count(self) -> tuple[int, int]:
        """How many are in use, and how many there are."""
        pair = (self._writer, self._reader)
        return (sum(one is not None and one.busy > 0 for one in pair), len(pair))

    def check_identity(self) -> None:
        """Raises StorageUnavailable when the file, or its -wal, was removed or replaced: it would
        still take orders, which would be lost."""
        for path, opened in self._files.items():
            try:
                found = _identity(path)
            except OSError as error:
                raise StorageUnavailable(f"{path} is gone") from error
            if found != opened:
                raise StorageUnavailable(f"{path} was replaced: start this program again")

    async def write(
        self,
        function: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """What a function returns that runs on the writer, in one hop."""
        return await run(self._writer, function, *args, **kwargs)

    async def read(
        self,
        function: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """As :meth:`write`, on the reader."""
        return await run(self._reader, function, *args, **kwargs)

    async def read_in_steps(
        self, begin: Callable[[sqlite3.Connection], Generator[None, None, Result]]
    ) -> Result:
        """What ``begin`` returns in the end, on a connection of its own; at each of its pauses the
        event loop gets its turn."""
        self._check_open()
        async with opened(self.path, _open_reader) as connection:
            return await _in_steps(connection, begin)

    @asynccontextmanager
    async def extra_writer(self, wait_seconds: float) -> AsyncIterator[Connection]:
        """Another writer, for what prepares its transaction for long."""
        self._check_open()
        async with opened(self.path, _open_writer, wait_seconds) as connection:
            yield connection

    def _check_open(self) -> None:
        if not self.are_open:
            raise StorageUnavailable("the storage is closed")


@asynccontextmanager
async def opened(
    path: Path, opener: Callable[..., sqlite3.Connection], *args: Any
) -> AsyncIterator[Connection]:
    """A connection that is closed, with its thread, at the end of the block."""
    connection = Connection(lambda: opener(path, *args), iter_chunk_size=64)
    try:
        with driver_errors():
            await connection
        yield connection
    finally:
        with suppress(sqlite3.Error):
            await connection.close()
        if connection.stopped:
            await connection.stopped


async def run(
    connection: Connection | None,
    function: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    """What a function returns that runs on the thread of a connection, in one hop."""
    if connection is None:
        raise StorageUnavailable("the storage is closed")
    with driver_errors():
        return await connection.run(function, *args, **kwargs)


async def _in_steps(
    connection: Connection,
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

    while await run(connection, step):
        pass
    return results[0]


def _create_private(path: Path) -> None:
    """Gives the file to its owner alone. SQLite gives the files beside it the same permissions."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _open_writer(path: Path, wait_seconds: float) -> sqlite3.Connection:
    _create_private(path)
    db = sqlite3.connect(
        path,
        timeout=_POLL_SECONDS,
        isolation_level=None,
        cached_statements=256,
        factory=Database,
    )
    try:
        _retry_while_locked(lambda: db.execute("PRAGMA journal_mode = WAL"), wait_seconds)
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {MOST_LOG}")
        db.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        db.close()
        raise
    return db


def _open_reader(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=ORDER_LOCK_SECONDS, isolation_level=None, factory=Database)
    try:
        db.execute("PRAGMA query_only = ON")
    except BaseException:
        db.close()
        raise
    return db


def _files_of(path: Path) -> list[Path]:
    """The database and what lies beside it while it is open."""
    beside = [path.with_name(path.name + ending) for ending in ("-wal", "-shm")]
    return [path, *(one for one in beside if one.exists())]


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _retry_while_locked(step: Callable[[], Result], seconds: float) -> Result:
    """The result of ``step``, retried for ``seconds`` while the file is locked. SQLite's own busy
    handler has a backoff by which a busy neighbour would starve us: it gets _POLL_SECONDS, the rest
    is this loop. Raises sqlite3.OperationalError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise


def _begin(db: sqlite3.Connection, wait_seconds: float) -> None:
    # A deferred BEGIN that turns into a write would fail at once, however long the timeout.
    _retry_while_locked(lambda: db.execute("BEGIN IMMEDIATE"), wait_seconds)


@contextmanager
def writing(db: sqlite3.Connection, wait_seconds: float) -> Iterator[None]:
    """One write transaction; it commits unless something is raised."""
    _begin(db, wait_seconds)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        _roll_back(db)
        raise


@contextmanager
def rehearsing(db: sqlite3.Connection, wait_seconds: float) -> Iterator[None]:
    """A write transaction of which nothing stays."""
    _begin(db, wait_seconds)
    try:
        yield
    finally:
        _roll_back(db)


def _check_writable(db: sqlite3.Connection, wait_seconds: float) -> None:
    """A read-only file opens without complaint, and even begins a write."""
    with rehearsing(db, wait_seconds):
        db.execute("PRAGMA user_version = 0")


@contextmanager
def reading(db: sqlite3.Connection) -> Iterator[None]:
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


def value(db: sqlite3.Connection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """The first column of the first row; None without one."""
    row = db.execute(sql, parameters).fetchone()
    return None if row is None else row[0]
