"""A store that is away, full or read-only is StorageUnavailable, and comes back by itself."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

import storage.postgres.connect
import storage.postgres.notices
from rig.ports import free_port
from rig.postgres import PASSWORD, NamedServer, StartedServer, execute
from storage import Storage, open_storage
from storage.batches import Batcher
from storage.errors import InvalidStorageURL, StorageBusy, StorageError, StorageUnavailable
from storage.records import Catalogue
from storage.sqlite.storage import SQLiteStorage
from tests.contract.database import Database, cancel, new_catalogue, new_key, new_order

NOBODY = 65534


async def every_call_fails(storage: Storage) -> None:
    for call in (
        storage.add_order(new_order(), key=new_key()),
        storage.get_order("demo", new_order().id),
        storage.list_orders("demo", limit=1),
        storage.find_order_by_key("demo", new_key()),
        cancel(storage, "demo", new_order().id),
        storage.delete_expired_keys(),
        storage.get_versions(),
        storage.read_catalogue(),
        storage.find_coupon("HAPPYHRS"),
        storage.replace_catalogue(Catalogue()),
        storage.list_migrations(),
    ):
        with pytest.raises(StorageUnavailable) as caught:
            await call
        assert PASSWORD not in str(caught.value)


# --- Postgres ---


async def test_a_server_that_is_away_is_unavailable_until_it_returns(
    own_server: StartedServer,
) -> None:
    async with Database(own_server.create_database()).open() as storage:
        order = await storage.add_order(new_order())
        await asyncio.to_thread(own_server.stop)
        await every_call_fails(storage)
        await asyncio.to_thread(own_server.start)
        assert await storage.get_order("demo", order.id) == order
        await storage.add_order(new_order(), key=new_key())
        await storage.replace_catalogue(new_catalogue())


async def test_a_restart_between_two_calls_goes_unnoticed(own_server: StartedServer) -> None:
    async with Database(own_server.create_database()).open() as storage:
        for end in (own_server.stop, own_server.kill):
            await asyncio.gather(*(storage.list_orders("demo", limit=1) for _ in range(20)))
            await asyncio.to_thread(end)
            await asyncio.to_thread(own_server.start)
            await asyncio.gather(*(storage.list_orders("demo", limit=1) for _ in range(20)))
            await storage.add_order(new_order())


async def test_a_server_that_dies_under_orders(own_server: StartedServer) -> None:
    """Every caller gets an answer, and a retry under its key stores each order once."""
    keys = [new_key(f"{number}") for number in range(300)]
    async with Database(own_server.create_database()).open() as storage:

        async def store(number: int) -> None:
            await asyncio.sleep(number / 1000)
            deadline = time.monotonic() + 60
            while True:
                try:
                    await storage.add_order(new_order(), key=keys[number])
                except StorageUnavailable:
                    assert time.monotonic() < deadline, "the storage did not recover"
                    await asyncio.sleep(0.05)
                else:
                    return

        def crash() -> None:
            own_server.kill()
            own_server.start()

        await asyncio.gather(asyncio.to_thread(crash), *map(store, range(len(keys))))
        assert len(await storage.list_orders("demo", limit=1000)) == len(keys)


async def test_connect_waits_for_a_server_that_starts_late(own_server: StartedServer) -> None:
    url = own_server.create_database()
    own_server.stop()
    starting = threading.Timer(1.0, own_server.start)
    starting.start()
    try:
        async with open_storage(url, wait_seconds=60) as storage:
            assert await storage.list_migrations() == []
    finally:
        await asyncio.to_thread(starting.join)


async def test_connect_gives_up_on_a_server_that_is_not_there() -> None:
    url = f"postgresql://me:{PASSWORD.replace('/', '%2F')}@127.0.0.1:{free_port()}/db"
    with pytest.raises(StorageUnavailable) as caught:
        await open_storage(url, wait_seconds=0.2).connect()
    assert PASSWORD not in str(caught.value)


async def test_connect_gives_up_on_a_host_that_is_unknown() -> None:
    with pytest.raises(StorageUnavailable):
        await open_storage("postgresql://me@nowhere.invalid/db", wait_seconds=0).connect()


@pytest.mark.parametrize("wrong", ["password", "database"])
async def test_what_waiting_cannot_mend_fails_at_once(postgres_url: str, wrong: str) -> None:
    parts = urlsplit(postgres_url)
    url = {
        "password": parts._replace(
            netloc=f"{parts.username}:wrong-secret@{parts.hostname}:{parts.port}"
        ).geturl(),
        "database": parts._replace(path="/not_there").geturl(),
    }[wrong]
    storage = open_storage(url, wait_seconds=3600)
    async with asyncio.timeout(60):
        with pytest.raises(StorageUnavailable, match=r"password|not_there") as caught:
            await storage.connect()
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, asyncpg.PostgresError)


async def test_a_database_that_is_read_only(
    postgres_server: NamedServer, postgres_url: str
) -> None:
    name = urlsplit(postgres_url).path[1:]
    alter = f"ALTER DATABASE {name} SET default_transaction_read_only"
    async with Database(postgres_url).open() as storage:
        order = await storage.add_order(new_order())
    await execute(postgres_server.url, f"{alter} = on")
    async with open_storage(postgres_url) as storage:
        for call in (
            storage.add_order(new_order()),
            cancel(storage, "demo", order.id),
            storage.replace_catalogue(new_catalogue()),
        ):
            with pytest.raises(StorageUnavailable):
                await call
        assert await storage.get_order("demo", order.id) == order


async def test_a_statement_that_hangs_is_unavailable(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Database(postgres_url).open() as store:
        await store.add_order(new_order())
    other = await asyncpg.connect(postgres_url)
    with monkeypatch.context() as patched:
        patched.setattr(storage.postgres.connect, "COMMAND_SECONDS", 1.0)
        async with open_storage(postgres_url) as store, other.transaction():
            await other.execute("LOCK TABLE orders")
            with pytest.raises(StorageUnavailable):
                await store.add_order(new_order())
    await other.close()
    async with open_storage(postgres_url) as store:
        await store.add_order(new_order())


async def test_more_callers_than_connections(postgres_url: str) -> None:
    async with Database(postgres_url).open() as store:
        order = await store.add_order(new_order())
    async with open_storage(postgres_url, pool_size=2) as store:
        found = await asyncio.gather(*(store.get_order("demo", order.id) for _ in range(50)))
        assert found == [order] * 50
        assert store.connections() == (0, 2)


async def test_a_notice_comes_after_the_server_was_away(
    own_server: StartedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.postgres.notices.Listener, "RETRY_SECONDS", 0.05)
    async with Database(own_server.create_database()).open() as store:
        waiting = asyncio.create_task(store.wait_for_notice())
        await asyncio.sleep(0.1)
        await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(own_server.start)
        async with asyncio.timeout(60):
            price = 0
            while not waiting.done():
                price += 1
                await store.replace_catalogue(new_catalogue(price))
                await asyncio.sleep(0.05)
        await waiting


# --- SQLite ---


async def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="missing"):
        await open_storage(f"sqlite:///{tmp_path}/missing/orderfood.db").connect()


async def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="folder"):
        await open_storage(f"sqlite:///{tmp_path}").connect()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no database at all\n" * 100)
    with pytest.raises(StorageUnavailable, match="not an SQLite database"):
        await open_storage(f"sqlite:///{tmp_path}/notes.db", wait_seconds=3600).connect()
    assert (tmp_path / "notes.db").read_text().startswith("no database")


@contextmanager
def readable_by_us() -> Iterator[Path]:
    """A folder, while we are somebody whom file permissions bind: root may write everywhere."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(folder, NOBODY, NOBODY)
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        yield folder
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
        shutil.rmtree(folder)


@pytest.mark.usefixtures("sqlite_url")
async def test_a_file_that_is_read_only() -> None:
    with readable_by_us() as folder:
        url = f"sqlite:///{folder}/orderfood.db"
        async with Database(url).open() as store:
            await store.add_order(new_order())
        (folder / "orderfood.db").chmod(0o444)
        with pytest.raises(StorageUnavailable, match="read-only"):
            await open_storage(url).connect()
        (folder / "orderfood.db").chmod(0o644)
        async with Database(url).open() as store:
            await store.add_order(new_order())


@asynccontextmanager
async def full(store: SQLiteStorage) -> AsyncIterator[None]:
    """While the disk has no room: SQLite may not take one more page."""

    def limit(db: sqlite3.Connection, pages: int) -> None:
        db.execute(f"PRAGMA max_page_count = {pages}")

    await store._file.write(limit, 1)
    yield
    await store._file.write(limit, 2**30)


async def test_a_disk_that_is_full(sqlite_url: str) -> None:
    async with Database(sqlite_url).open() as store:
        assert isinstance(store, SQLiteStorage)
        before = [await store.add_order(new_order()) for _ in range(3)]
        async with full(store):
            results = await asyncio.gather(
                *(store.add_order(new_order(), key=new_key(f"{n}")) for n in range(500)),
                return_exceptions=True,
            )
            assert any(isinstance(result, StorageUnavailable) for result in results)
            assert all(type(r) is StorageUnavailable for r in results if isinstance(r, Exception))
            assert isinstance(await store.get_order("demo", before[0].id), type(before[0]))
        await asyncio.gather(
            *(store.add_order(new_order(), key=new_key(f"{n}")) for n in range(500))
        )
        assert len(await store.list_orders("demo", limit=1000)) == 503


@contextmanager
def no_file_may_grow(path: Path) -> Iterator[None]:
    """While the system refuses to make files longer, as a quota would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_file_that_cannot_grow(sqlite_url: str, tmp_path: Path) -> None:
    async with Database(sqlite_url).open() as store:
        await store.add_order(new_order())
        with no_file_may_grow(tmp_path / "orderfood.db-wal"):
            with pytest.raises(StorageUnavailable) as caught:
                await asyncio.gather(*(store.add_order(new_order()) for _ in range(500)))
            assert isinstance(caught.value.__cause__, sqlite3.Error)
        await store.add_order(new_order())


async def test_a_file_that_is_locked_for_long(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Database(sqlite_url).open() as store:
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        adding = asyncio.create_task(store.add_order(new_order()))
        await asyncio.sleep(0.2)
        assert not adding.done()
        other.execute("ROLLBACK")
        await adding
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("storage.sqlite.orders.ORDER_LOCK_SECONDS", 0.1)
        with pytest.raises(StorageUnavailable):
            await store.add_order(new_order())
        other.close()
        await store.add_order(new_order())


async def test_a_relative_path_and_odd_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with Database("sqlite:///a%20b%3F%25.db").open() as store:
        await store.add_order(new_order())
    assert (tmp_path / "a b?%.db").is_file()


# --- all ---


async def test_a_queue_that_is_full_refuses_at_once(
    shared_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Batcher.__init__,
        "__kwdefaults__",
        {**(Batcher.__init__.__kwdefaults__ or {}), "capacity": 20, "batch_size": 5},
    )
    async with shared_database.open() as store:
        results = await asyncio.gather(
            *(store.add_order(new_order()) for _ in range(50)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, StorageBusy)]
        stored = await store.list_orders("demo", limit=100)
        assert len(refused) == 30
        assert len(stored) == 20


async def test_a_storage_that_was_never_opened(shared_url: str) -> None:
    await every_call_fails(open_storage(shared_url))
    await open_storage(shared_url).close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://host/db",
        "memory",
        "memory://somewhere",
        "memory:///path",
        "sqlite://",
        "sqlite:///",
        "sqlite://path/of.db",
        "sqlite:///:memory:",
        "sqlite:///folder/",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a.db#part",
        "sqlite:a.db",
        "postgresql://me:secret@host:port/db",
        "postgresql://me:se@cret@host/db",
        "postgresql://me:se/cret@host/db",
        "postgresql://me:se#cret@host/db",
        "postgresql://me:se?cret@host/db",
        "postgresql://me:secret@host/db?sslmode=sometimes",
        "postgresql://me:secret@host/db?pool=5",
        "postgresql://me:secret@host/db?sslmode",
        "postgresql://me:secret@[::1/db",
    ],
)
def test_a_url_that_names_nothing(url: str) -> None:
    with pytest.raises(InvalidStorageURL) as caught:
        open_storage(url)
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert isinstance(caught.value, StorageError)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://host",
        "postgresql:///db",
        "postgresql://me@/db?host=/run/postgresql",
        "postgresql://me:se%2Fcret@one:1,two:2/db?target_session_attrs=read-write",
        "postgresql://me:secret@[::1]:5432/db?sslmode=verify-full&sslrootcert=/ca.pem",
        "postgresql://host/db?application_name=orderfood",
    ],
)
def test_a_url_that_names_a_server(url: str) -> None:
    assert open_storage(url).backend == "postgresql"
