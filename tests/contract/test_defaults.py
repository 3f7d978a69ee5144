"""Whatever a database or a role has for defaults, orders are stored and loads are done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

import storage.postgres.connect
from rig.postgres import execute
from storage import Storage, open_storage
from storage.errors import CouponUsedUp, OrderConflict
from storage.postgres import connections
from storage.records import CouponLimits, Order, Pause
from tests.contract.database import (
    Database,
    act,
    cancel,
    new_catalogue,
    new_key,
    new_order,
    read_all_events,
)

PROCESSES = 4


async def set_default(url: str, setting: str) -> None:
    await execute(url, f"ALTER DATABASE {urlsplit(url).path[1:]} SET {setting}")


@asynccontextmanager
async def several(url: str) -> AsyncIterator[list[Storage]]:
    """As many storages as there would be processes, opened at once."""
    async with AsyncExitStack() as stack:
        storages = [open_storage(url) for _ in range(PROCESSES)]
        yield [await stack.enter_async_context(storage) for storage in storages]


ISOLATION = "default_transaction_isolation"


@pytest.mark.parametrize(
    "setting",
    [
        f"{ISOLATION} = 'serializable'",
        f"{ISOLATION} = 'repeatable read'",
        f"{ISOLATION} = 'read uncommitted'",
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_isolation_level_refuses_no_order(
    postgres_url: str, setting: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set while nobody is connected, and while all are and open more connections later."""
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 60)  # four hundred wait
    async with Database(postgres_url).open():
        pass
    if when == "before":
        await set_default(postgres_url, setting)
    async with several(postgres_url) as storages:
        if when == "after":
            await set_default(postgres_url, setting)
            for storage in storages:
                storage._database._states_isolation = False  # type: ignore[attr-defined]
        limits = CouponLimits(max_uses=150)

        async def order(number: int) -> bool:
            storage, key = storages[number % PROCESSES], new_key(f"{number // 2}")
            try:
                await storage.add_order(new_order(coupon_code="SAVE10"), key=key, limits=limits)
            except CouponUsedUp:
                return False
            await storage.list_orders("demo", limit=3)
            await storage.find_order_by_key("demo", key)
            return True

        accepted = await asyncio.gather(*(order(number) for number in range(400)))
        uses, _ = await storages[0].get_coupon_uses("SAVE10", "demo")
        stored = await storages[0].list_orders("demo", limit=1000)
        assert uses == len(stored) == 150
        assert accepted.count(True) == 300  # each key twice: one of the two is a replay
        contested, accepted_orders = stored[:80], 0
        for number, one in enumerate(contested):
            cook, customer = storages[number % PROCESSES], storages[(number + 1) % PROCESSES]
            accepted_orders += await cook_wins(cook, customer, one)
        uses = 150 - len(contested) + accepted_orders
        assert await storages[0].get_coupon_uses("SAVE10", "demo") == (uses, uses)
        assert len(await read_all_events(storages[1])) == 150 + len(contested)


async def cook_wins(cook: Storage, customer: Storage, order: Order) -> bool:
    """Whether an order was accepted of which one at once accepts it and one cancels it."""
    outcomes = await asyncio.gather(
        act(cook, order.id, "accept"),
        cancel(customer, order.user_id, order.id),
        return_exceptions=True,
    )
    (lost,) = [one for one in outcomes if isinstance(one, BaseException)]
    assert isinstance(lost, OrderConflict)
    return lost is outcomes[1]


@pytest.mark.parametrize(
    "setting",
    [
        "statement_timeout = '1s'",
        "lock_timeout = '1s'",
        "idle_in_transaction_session_timeout = '1s'",
        "default_transaction_deferrable = on",
        f"{ISOLATION} = 'serializable'",
        "search_path = public, pg_temp",
        "standard_conforming_strings = off",
    ],
)
async def test_a_load_and_a_migration_are_as_patient_as_ever(
    postgres_url: str, setting: str
) -> None:
    await set_default(postgres_url, setting)

    def codes() -> Iterator[str]:
        for number in range(3):
            time.sleep(1.1)  # as a folder that is read slowly
            yield f"CODE{number:04}"

    async with Database(postgres_url).open() as storage:
        other = await asyncpg.connect(postgres_url)
        await other.execute("BEGIN; SET LOCAL lock_timeout = 0; LOCK TABLE coupons")
        loading = asyncio.create_task(
            storage.replace_catalogue(new_catalogue(), codes=codes(), sample_orders=[new_order()])
        )
        await asyncio.sleep(1.5)
        await other.close()
        report = await loading
        assert report.changes["coupon_codes"].added == 3
        assert (await storage.read_catalogue()).catalogue == new_catalogue()
        await storage.add_order(new_order(), key=new_key())


async def test_a_load_is_more_patient_than_an_order(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its statements may take long: it may write hundreds of thousands of rows."""
    async with Database(postgres_url).open():
        pass
    monkeypatch.setattr(storage.postgres.connect, "COMMAND_SECONDS", 1)
    async with open_storage(postgres_url) as store:
        for table in ("products", "users", "coupons", "api_keys"):
            await execute(
                postgres_url,
                f"CREATE FUNCTION slow_{table}() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN PERFORM pg_sleep(1.3); RETURN NULL; END $$;"
                f" CREATE TRIGGER slow AFTER INSERT OR DELETE ON {table}"
                f" FOR EACH STATEMENT EXECUTE FUNCTION slow_{table}()",
            )
        await store.replace_catalogue(new_catalogue())
        await store.replace_catalogue(new_catalogue(7))
        assert (await store.read_catalogue()).catalogue == new_catalogue(7)


async def test_a_deadlock_is_tried_again(postgres_url: str) -> None:
    """Somebody holds what an order needs and waits for what it holds: one of the two is undone."""
    async with Database(postgres_url).open() as storage:
        await execute(postgres_url, "INSERT INTO coupon_uses VALUES ('A', 0), ('B', 0)")
        other = await asyncpg.connect(postgres_url)
        await other.execute("SET deadlock_timeout = '10s'")
        async with other.transaction():
            await other.execute("UPDATE coupon_uses SET uses = uses WHERE code = 'B'")
            orders = [
                asyncio.create_task(storage.add_order(new_order(coupon_code=code)))
                for code in ("A", "B")
            ]
            await asyncio.sleep(0.3)
            await other.execute("UPDATE coupon_uses SET uses = uses WHERE code = 'A'")
        await other.close()
        await asyncio.gather(*orders)


async def test_orders_are_on_disk_whatever_the_default(postgres_url: str) -> None:
    await set_default(postgres_url, "synchronous_commit = off")
    async with Database(postgres_url).open() as storage:
        order, other = [await storage.add_order(new_order()) for _ in range(2)]
        log = await asyncpg.connect(postgres_url)

        async def is_flushed(write: Coroutine[Any, Any, object]) -> bool:
            begins = await log.fetchval("SELECT pg_current_wal_insert_lsn()")
            await write
            flushed = await log.fetchval("SELECT pg_current_wal_flush_lsn() > $1::pg_lsn", begins)
            return bool(flushed)

        assert await is_flushed(storage.add_order(new_order(), key=new_key()))
        assert await is_flushed(storage.number_events())
        assert await is_flushed(act(storage, order.id, "accept"))
        assert await is_flushed(cancel(storage, "demo", other.id))
        assert await is_flushed(storage.set_sold_out(1, None))
        assert await is_flushed(storage.set_available(1))
        assert await is_flushed(storage.set_pause(Pause()))
        await log.close()
