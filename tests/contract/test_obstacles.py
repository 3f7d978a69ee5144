"""What keeps orders from being stored while reads work is found out without an order, and ends."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rig.postgres import NamedServer, StartedServer, execute
from storage import Storage, open_storage
from storage.errors import StorageUnavailable
from storage.records import Obstacle
from storage.sqlite.storage import SQLiteStorage
from tests.contract.database import Database, new_key, new_order
from tests.contract.test_errors import no_file_may_grow


async def obstructed(storage: Storage, obstacle: Obstacle) -> None:
    """Nothing but orders is in the way of it."""
    assert await storage.find_obstacle() is obstacle
    assert (await storage.read_catalogue()).version >= 0
    with pytest.raises(StorageUnavailable):
        await storage.add_order(new_order(), key=new_key("another"))


async def free(storage: Storage) -> None:
    assert await storage.find_obstacle() is None
    await storage.add_order(new_order())


async def test_there_is_none(database: Database) -> None:
    async with database.open() as storage:
        await free(storage)
        stored = await storage.list_orders("demo", limit=10)
        for _ in range(3):
            assert await storage.find_obstacle() is None
        assert await storage.list_orders("demo", limit=10) == stored
        assert (await storage.get_versions()).catalogue == 0


@pytest.mark.parametrize(
    "taken",
    [
        "INSERT ON orders",
        "INSERT ON order_lines",
        "INSERT ON unnumbered_events",
        "INSERT ON idempotency_keys",
        "EXECUTE ON ALL FUNCTIONS IN SCHEMA public",
    ],
)
async def test_a_role_that_may_not(
    postgres_server: NamedServer, postgres_url: str, taken: str
) -> None:
    async with Database(postgres_url).open():
        pass
    role = f"reader_{os.getpid()}_{urlsplit(postgres_url).path[-6:]}"
    await execute(postgres_url, f"CREATE ROLE {role} LOGIN PASSWORD 'pass'")
    await execute(postgres_url, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    parts = urlsplit(postgres_url)
    url = parts._replace(netloc=f"{role}:pass@{parts.hostname}:{parts.port}").geturl()
    try:
        async with open_storage(url) as storage:
            await free(storage)
            public = ", PUBLIC" if "FUNCTION" in taken else ""
            await execute(postgres_url, f"REVOKE {taken} FROM {role}{public}")
            await obstructed(storage, Obstacle.NOT_PERMITTED)
            await execute(postgres_url, f"GRANT {taken} TO {role}")
            await free(storage)
    finally:
        await execute(postgres_url, f"DROP OWNED BY {role}")
        await execute(postgres_url, f"DROP ROLE {role}")


async def test_a_primary_that_becomes_read_only_and_comes_back(own_server: StartedServer) -> None:
    async with Database(own_server.create_database()).open() as storage:
        await free(storage)
        try:
            for setting, check in (("on", obstructed), ("off", None)):
                await execute(
                    own_server.url, f"ALTER SYSTEM SET default_transaction_read_only = {setting}"
                )
                await execute(own_server.url, "SELECT pg_reload_conf()")
                await execute(own_server.url, "SELECT pg_sleep(0.5)")
                await (check(storage, Obstacle.READ_ONLY) if check else free(storage))
        finally:
            await execute(own_server.url, "ALTER SYSTEM RESET default_transaction_read_only")
            await execute(own_server.url, "SELECT pg_reload_conf()")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m,mode=0777", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path: Path) -> None:
    """Leaves no room on a disk."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


async def test_a_disk_that_is_full_under_postgres(
    own_server: StartedServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("disk")
    for parent in (folder, *list(folder.parents)[:3]):
        parent.chmod(0o777)
    with small_disk(folder):
        (folder / "space").mkdir(mode=0o777)
        own_server.give(folder / "space")
        await execute(own_server.url, f"CREATE TABLESPACE small LOCATION '{folder / 'space'}'")
        await execute(own_server.url, "CREATE DATABASE small TABLESPACE small")
        url = urlsplit(own_server.url)._replace(path="/small").geturl()
        try:
            async with Database(url).open() as storage:
                await free(storage)
                fill(folder / "filling")
                assert await storage.find_obstacle() is Obstacle.FULL
                await store_until_it_fails(storage)
                await obstructed(storage, Obstacle.FULL)
                (folder / "filling").unlink()
                await free(storage)
        finally:
            await execute(own_server.url, "DROP DATABASE small WITH (FORCE)")
            await execute(own_server.url, "DROP TABLESPACE small")


async def store_until_it_fails(storage: Storage) -> None:
    """What a full disk has room for in its files is still stored."""
    with suppress(StorageUnavailable):
        for number in range(5000):
            await storage.add_order(new_order(), key=new_key(f"{number}"))
        pytest.fail("there is room for ever")


async def test_a_file_that_cannot_grow(sqlite_url: str, tmp_path: Path) -> None:
    async with Database(sqlite_url).open() as storage:
        await free(storage)
        with no_file_may_grow(tmp_path / "orderfood.db-wal"):
            await store_until_it_fails(storage)
            await obstructed(storage, Obstacle.FULL)
        await free(storage)


async def test_a_disk_that_is_full_under_sqlite(tmp_path: Path) -> None:
    with small_disk(tmp_path):
        async with Database(f"sqlite:///{tmp_path}/orderfood.db").open() as storage:
            await free(storage)
            fill(tmp_path / "filling")
            await store_until_it_fails(storage)
            await obstructed(storage, Obstacle.FULL)
            (tmp_path / "filling").unlink()
            await free(storage)


async def test_a_file_that_becomes_read_only(sqlite_url: str) -> None:
    def allow(db: sqlite3.Connection, allowed: bool) -> None:
        db.execute(f"PRAGMA query_only = {int(not allowed)}")

    async with Database(sqlite_url).open() as storage:
        assert isinstance(storage, SQLiteStorage)
        await storage._file.write(allow, False)
        await obstructed(storage, Obstacle.READ_ONLY)
        await storage._file.write(allow, True)
        await free(storage)


async def test_a_server_that_is_away_is_no_obstacle(own_server: StartedServer) -> None:
    async with Database(own_server.create_database()).open() as storage:
        own_server.stop()
        with pytest.raises(StorageUnavailable):
            await storage.find_obstacle()
