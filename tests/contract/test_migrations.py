from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from migrations import read_migrations
from storage import SCHEMA_VERSION, Storage, open_storage
from storage.errors import MigrationChanged, MigrationFailed, MigrationTimeout, SchemaOutdated
from storage.postgres.schema import MIGRATION_LOCK
from storage.records import Catalogue, CouponLimits, Migration
from tests.contract.database import Database, new_catalogue, new_key, new_order

NEXT = SCHEMA_VERSION + 1

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n;"


def new_migration(sql: str, version: int = NEXT) -> Migration:
    checksum = hashlib.sha256(sql.encode()).hexdigest()
    return Migration(version, f"{version:04}_test", sql, checksum)


async def test_the_migrations_apply_in_order_and_once(shared_url: str) -> None:
    async with open_storage(shared_url) as storage:
        assert await storage.list_migrations() == []
        assert await storage.get_schema_version() == 0
        migrations = read_migrations(storage.backend)
        for migration in migrations:
            assert await storage.apply_migration(migration) is True
            assert await storage.get_schema_version() == migration.version
        before = await storage.list_migrations()
        for migration in migrations:
            assert await storage.apply_migration(migration) is False
        assert await storage.list_migrations() == before
    assert [(one.version, one.name, one.checksum) for one in before] == [
        (one.version, one.name, one.checksum) for one in migrations
    ]
    assert before[-1].version == SCHEMA_VERSION
    assert all(one.applied_at.utcoffset() is not None for one in before)


async def test_memory_is_always_current() -> None:
    async with open_storage("memory://") as storage:
        assert await storage.get_schema_version() == SCHEMA_VERSION
        assert await storage.apply_migration(new_migration("anything")) is False
        assert await storage.list_migrations() == []


async def test_three_at_once_apply_each_migration_once(shared_url: str) -> None:
    async with AsyncExitStack() as stack:
        storages = [await stack.enter_async_context(open_storage(shared_url)) for _ in range(3)]

        async def migrate(storage: Storage) -> list[bool]:
            return [await storage.apply_migration(one) for one in read_migrations(storage.backend)]

        results = await asyncio.gather(*map(migrate, storages))
        assert [sum(column) for column in zip(*results, strict=True)] == [1] * SCHEMA_VERSION
        await storages[0].add_order(new_order(), key=new_key())


async def test_three_open_a_new_database_at_once(shared_url: str) -> None:
    async def start() -> None:
        async with Database(shared_url).open() as storage:
            await storage.add_order(new_order())

    await asyncio.gather(*(start() for _ in range(3)))


async def test_a_changed_file_is_refused(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        await storage.apply_migration(new_migration("CREATE TABLE a (i integer);"))
        with pytest.raises(MigrationChanged, match=f"{NEXT:04}_test"):
            await storage.apply_migration(new_migration("CREATE TABLE b (i integer);"))
        await storage.apply_migration(
            new_migration("CREATE TABLE b (i integer);", version=NEXT + 1)
        )


async def test_a_failing_statement_leaves_nothing(shared_database: Database) -> None:
    table = "CREATE TABLE a (i integer PRIMARY KEY); INSERT INTO a VALUES (1);"
    async with shared_database.open() as storage:
        for wrong in (
            "SELECT * FROM nowhere;",
            "INSERT INTO a VALUES (1);",
            "CREATE TABLE",
            "INSERT INTO a VALUES (2); nonsense;",
        ):
            with pytest.raises(MigrationFailed, match=f"{NEXT:04}_test") as caught:
                await storage.apply_migration(new_migration(f"{table} {wrong}"))
            assert caught.value.__cause__ is not None
            assert await storage.get_schema_version() == SCHEMA_VERSION
        assert await storage.apply_migration(new_migration(table)) is True


async def test_a_migration_that_runs_too_long_leaves_nothing(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        with pytest.raises(MigrationTimeout, match=f"{NEXT:04}_test"):
            await storage.apply_migration(
                new_migration(f"CREATE TABLE a (i integer); {ENDLESS}"), timeout=0.3
            )
        assert await storage.get_schema_version() == SCHEMA_VERSION
        assert await storage.apply_migration(new_migration("CREATE TABLE a (i integer);")) is True


async def test_a_migration_that_waits_too_long_leaves_nothing(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        async with locked(shared_database.url):
            with pytest.raises(MigrationTimeout):
                await storage.apply_migration(
                    new_migration("CREATE TABLE a (i integer);"), timeout=0.3
                )
        assert await storage.apply_migration(new_migration("CREATE TABLE a (i integer);")) is True


@asynccontextmanager
async def locked(url: str) -> AsyncIterator[None]:
    """While another program migrates."""
    if url.startswith("sqlite"):
        db = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        yield
        db.close()
    else:
        connection = await asyncpg.connect(url)
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            yield
        await connection.close()


async def test_a_migration_may_hold_semicolons_anywhere(shared_database: Database) -> None:
    script = """
        -- a comment; with a semicolon
        CREATE TABLE a (t text DEFAULT ';'); /* another;
        one */ INSERT INTO a VALUES ('it''s; here');
        INSERT INTO a SELECT t FROM a -- no semicolon at the end
    """
    async with shared_database.open() as storage:
        assert await storage.apply_migration(new_migration(script)) is True


async def test_a_migration_cannot_commit_half_of_itself(sqlite_url: str) -> None:
    async with Database(sqlite_url).open() as storage:
        with pytest.raises(MigrationFailed):
            await storage.apply_migration(
                new_migration("CREATE TABLE a (i integer); COMMIT; nonsense;")
            )
        assert await storage.apply_migration(new_migration("CREATE TABLE a (i integer);")) is True


async def test_a_migration_that_ends_its_transaction_is_not_recorded(postgres_url: str) -> None:
    async with Database(postgres_url).open() as storage:
        with pytest.raises(MigrationFailed):
            await storage.apply_migration(new_migration("COMMIT;"))
        assert await storage.get_schema_version() == SCHEMA_VERSION


async def test_a_newer_schema_is_tolerated(shared_database: Database) -> None:
    """During a rolling update the old code runs on the new schema, in which any table may have a
    column more."""
    async with shared_database.open() as storage:
        tables = ["schema_migrations", *tables_of(storage.backend)]
        assert len(tables) > 10
        sql = "".join(f"ALTER TABLE {table} ADD COLUMN more integer;\n" for table in tables)
        await storage.apply_migration(new_migration(sql))
    async with open_storage(shared_database.url) as storage:
        assert await storage.get_schema_version() == NEXT
        later = new_migration("CREATE TABLE later (i integer);", NEXT + 1)
        assert await storage.apply_migration(later) is True
        await storage.replace_catalogue(new_catalogue(), codes=["HAPPYHRS"])
        wanted = new_order(coupon_code="TEN")
        order = await storage.add_order(wanted, key=new_key(), limits=CouponLimits(5, 2))
        assert await storage.get_order("demo", order.id) == order
        assert await storage.find_order_by_key("demo", new_key()) == order
        assert await storage.get_coupon_uses("TEN", "demo") == (1, 1)
        assert (await storage.read_catalogue()).catalogue.products == new_catalogue().products
        await storage.replace_catalogue(
            new_catalogue(price=100), codes=["HAPPYHRT"], sample_orders=[new_order()]
        )
        await storage.cancel_order("demo", order.id)
        await storage.add_order(new_order(), key=new_key("spent", seconds=-1))
        assert await storage.delete_expired_keys() == 1


def tables_of(backend: str) -> list[str]:
    sql = "\n".join(migration.sql for migration in read_migrations(backend))
    return re.findall(r"^CREATE TABLE (\w+)", sql, re.MULTILINE)


async def test_a_schema_that_is_missing_is_named(shared_url: str) -> None:
    async with open_storage(shared_url) as storage:
        for call in (
            storage.get_catalogue_version(),
            storage.read_catalogue(),
            storage.replace_catalogue(Catalogue()),
            storage.add_order(new_order()),
            storage.list_orders("demo", limit=1),
            storage.find_coupon("HAPPYHRS"),
            storage.delete_expired_keys(),
        ):
            with pytest.raises(SchemaOutdated, match="database-migration"):
                await call


async def test_a_newer_add_orders_may_take_more_in_another_order(postgres_url: str) -> None:
    """During a rolling update the old code calls the new function by the names it knows."""
    (function,) = [one for one in read_migrations("postgresql") if one.name.endswith("_add_orders")]
    ids, users, last = "order_ids uuid[],", "order_users text[],", "line_details text[]\n"
    assert all(function.sql.count(each) == 1 for each in (ids, users, last))
    newer = function.sql.replace(ids, "").replace(users, f"{users} {ids}")
    newer = newer.replace(last, f"{last}, more integer[] DEFAULT '{{}}'\n")
    async with Database(postgres_url).open() as storage:
        await storage.apply_migration(new_migration(f"DROP FUNCTION add_orders; {newer}"))
        order = new_order(coupon_code="TEN")
        assert await storage.add_order(order, key=new_key(), limits=CouponLimits(5, 2)) == order
        assert await storage.get_order("demo", order.id) == order
        assert await storage.get_coupon_uses("TEN", "demo") == (1, 1)
