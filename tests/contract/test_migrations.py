from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest

from migrations import read_migrations
from orderfood.shop.deadlines import CALL_SECONDS
from storage import SCHEMA_VERSION, Storage, open_storage
from storage.errors import (
    MigrationChanged,
    MigrationFailed,
    MigrationTimeout,
    OrderNotChangeable,
    SchemaOutdated,
)
from storage.postgres import schema
from storage.postgres.schema import MIGRATION_LOCK
from storage.records import Actor, Cancellation, Catalogue, CouponLimits, Migration, Order
from tests.contract.database import (
    NOW,
    Database,
    act,
    add,
    cancel,
    execute_sql,
    new_catalogue,
    new_key,
    new_order,
)

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


async def test_a_migration_has_the_time_that_it_states(shared_database: Database) -> None:
    slow = new_migration(f"CREATE TABLE a (i integer); {ENDLESS}")
    async with shared_database.open() as storage:
        with pytest.raises(MigrationTimeout, match=r"test ran for more than 0\.3 s"):
            await storage.apply_migration(replace(slow, statement_timeout=0.3))
        assert await storage.apply_migration(new_migration("CREATE TABLE a (i integer);")) is True


async def test_a_migration_gives_way_to_an_order_that_waits(postgres_url: str) -> None:
    slow = new_migration("ALTER TABLE orders ADD COLUMN more integer; SELECT pg_sleep(60);")
    async with Database(postgres_url).open_two() as (storage, other):
        migrating = asyncio.create_task(storage.apply_migration(slow))
        async with connected(postgres_url) as connection:
            while not await connection.fetchval(f"SELECT count(*) FROM pg_locks {ON_ORDERS}"):
                assert not migrating.done()
                await asyncio.sleep(0.01)
        async with asyncio.timeout(CALL_SECONDS):
            await add(other)
        with pytest.raises(MigrationTimeout, match="test kept others waiting for more than 2 s"):
            await migrating
        assert await storage.get_schema_version() == SCHEMA_VERSION


ON_ORDERS = "WHERE relation = 'orders'::regclass AND mode = 'AccessExclusiveLock' AND granted"


async def test_a_migration_that_gets_no_lock_says_so(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "FIRST_PAUSE", 30.0)  # there is no time for a second try
    wanted = new_migration("ALTER TABLE orders ADD COLUMN more integer;")
    async with Database(postgres_url).open() as storage, connected(postgres_url) as holder:
        async with holder.transaction():
            await holder.execute("SELECT FROM orders")
            with pytest.raises(MigrationTimeout, match=r"test got no lock within \d s, as other"):
                await storage.apply_migration(wanted, timeout=20)
        assert await storage.apply_migration(wanted) is True


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
        order = await add(
            storage, new_order(coupon_code="TEN"), key=new_key(), limits=CouponLimits(5, 2)
        )
        assert await storage.get_order("demo", order.id) == order
        assert await storage.find_order_by_key("demo", new_key()) == order
        assert await storage.get_coupon_uses("TEN", "demo") == (1, 1)
        assert (await storage.read_catalogue()).catalogue.products == new_catalogue().products
        await storage.replace_catalogue(
            new_catalogue(price=100), codes=["HAPPYHRT"], sample_orders=[new_order()]
        )
        await cancel(storage, "demo", order.id)
        await storage.add_order(new_order(), key=new_key("spent", seconds=-1))
        assert await storage.delete_expired_keys() == 1


def tables_of(backend: str) -> list[str]:
    sql = "\n".join(migration.sql for migration in read_migrations(backend))
    return re.findall(r"^CREATE TABLE (\w+)", sql, re.MULTILINE)


async def test_a_schema_of_before_the_log_is_named(shared_url: str) -> None:
    async with open_storage(shared_url) as storage:
        for migration in read_migrations(storage.backend)[:3]:
            await storage.apply_migration(migration)
        for call in (
            storage.add_order(new_order()),
            cancel(storage, "demo", uuid.uuid4()),
            storage.get_order("demo", uuid.uuid4()),
            storage.get_versions(),
            storage.read_shop_state(),
            storage.set_sold_out(1, None),
            storage.set_available(1),
            storage.set_pause(None),
            storage.list_shop_orders(["placed"], oldest_first=True, limit=1),
            storage.get_order_history(uuid.uuid4()),
            storage.read_events(None, 1),
            storage.delete_events(NOW, 1),
            storage.blank_personal_data(NOW, 1),
            storage.replace_catalogue(Catalogue(), sample_orders=[new_order()]),
        ):
            with pytest.raises(SchemaOutdated, match="database-migration"):
                await call


async def test_orders_of_before_the_log_go_on(shared_url: str) -> None:
    """They have no number and no events, and those that were cancelled were by their customers."""
    stored = {"placed": uuid.uuid4(), "cancelled": uuid.uuid4()}
    async with open_storage(shared_url) as storage:
        migrations = read_migrations(storage.backend)
        for migration in migrations[:3]:
            await storage.apply_migration(migration)
        time = "0" if storage.backend == "sqlite" else "to_timestamp(0)"
        for version, (status, order_id) in enumerate(stored.items(), start=1):
            await execute_sql(
                shared_url,
                "INSERT INTO orders (id, user_id, subtotal, discounts, total, created_at, counted,"
                f" status, version) VALUES ('{order_id}', 'demo', 1, 0, 1, {time}, false,"
                f" '{status}', {version})",
            )
        for migration in migrations[3:]:
            await storage.apply_migration(migration)
        created_at = datetime.fromtimestamp(0, UTC)
        placed = Order(stored["placed"], "demo", (), 1, 0, 1, created_at)
        cancelled = replace(
            placed,
            id=stored["cancelled"],
            status="cancelled",
            version=2,
            cancellation=Cancellation("customer"),
        )
        for order in (placed, cancelled):
            assert await storage.get_order_history(order.id) == (order, ())
        with pytest.raises(OrderNotChangeable):
            await act(storage, cancelled.id, "cancel")
        accepted, _ = await act(storage, placed.id, "accept")
        _, events = await storage.get_order_history(placed.id)
        assert [event.order for event in events] == [accepted]
        assert accepted.version == 2


async def test_a_schema_that_is_missing_is_named(shared_url: str) -> None:
    async with open_storage(shared_url) as storage:
        for call in (
            storage.get_versions(),
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
    newest = [one.sql for one in read_migrations("postgresql") if "FUNCTION add_orders" in one.sql]
    function = newest[-1][newest[-1].index("CREATE FUNCTION add_orders") :]
    ids, users = "order_ids uuid[],", "order_users text[],"
    last = "pickup_notes text[] DEFAULT NULL\n"
    assert all(function.count(each) == 1 for each in (ids, users, last))
    newer = function.replace(ids, "").replace(users, f"{users} {ids}")
    newer = newer.replace(last, f"{last}, more integer[] DEFAULT '{{}}'\n")
    async with Database(postgres_url).open() as storage:
        await storage.apply_migration(new_migration(f"DROP FUNCTION add_orders; {newer}"))
        order = new_order(coupon_code="TEN")
        order = await add(storage, order, key=new_key(), limits=CouponLimits(5, 2))
        assert await storage.get_order("demo", order.id) == order
        assert await storage.get_coupon_uses("TEN", "demo") == (1, 1)


ADD_ORDERS_OF_0_3 = """
SELECT outcome, first_order FROM add_orders(
    order_ids => $1, order_users => ARRAY['demo'], order_subtotals => ARRAY[100],
    order_discounts => ARRAY[0], order_totals => ARRAY[100], order_times => $2,
    order_codes => ARRAY['TEN'], use_limits => ARRAY[NULL::bigint],
    user_use_limits => ARRAY[NULL::bigint], order_keys => ARRAY['key'],
    order_fingerprints => ARRAY['request'], key_expiries => $3, line_orders => ARRAY[1],
    line_positions => ARRAY[0], line_products => ARRAY[1], line_names => ARRAY['Waffle'],
    line_prices => ARRAY[100], line_categories => ARRAY['Waffle'], line_quantities => ARRAY[1],
    line_details => ARRAY[NULL]
)
"""
"""As the version before the numbers and events stores an order, and cancels it."""
CANCEL_OF_0_3 = """
UPDATE orders SET status = 'cancelled', version = version + 1
WHERE id = $1 AND user_id = 'demo' AND status = 'placed'
"""


async def test_a_replica_of_the_version_before_leaves_no_hole_in_the_log(postgres_url: str) -> None:
    order, key = new_order(), new_key()
    async with Database(postgres_url).open() as storage, connected(postgres_url) as older:
        placed = (ADD_ORDERS_OF_0_3, [order.id], [order.created_at], [key.expires_at])
        assert [tuple(row) for row in await older.fetch(*placed)] == [("stored", order.id)]
        assert [tuple(row) for row in await older.fetch(*placed)] == [("replayed", order.id)]
        assert await older.execute(CANCEL_OF_0_3, order.id) == "UPDATE 1"
        stored, events = await storage.get_order_history(order.id)
        assert stored.number == 1
        assert stored.cancellation == Cancellation("customer")
        assert [(event.seq, event.type, event.order.version) for event in events] == [
            (1, "placed", 1),
            (2, "cancelled", 2),
        ]
        assert events[-1].order == stored
        assert events[-1].at == stored.changed_at
        assert events[-1].by == Actor("demo")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()
