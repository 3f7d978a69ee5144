from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from storage import Storage
from storage.errors import (
    OrderExists,
    OrderNotChangeable,
    OrderNotFound,
    StorageError,
    StorageUnavailable,
    ValueRejected,
)
from storage.records import (
    Cancellation,
    CouponLimits,
    Cursor,
    Order,
    OrderLine,
    OrderStatus,
    Product,
)
from tests.contract.database import (
    NOW,
    Database,
    add,
    as_new,
    cancel,
    new_catalogue,
    new_key,
    new_order,
)


async def test_an_order_reads_back_exactly(database: Database) -> None:
    order = new_order(
        user_id="ünïcode \U0001f355 \u2028",
        lines=(
            OrderLine(Product(2**63 - 1, "\u0001 \ufeff \uffff '\"\\", 2**53 + 1, ""), 1000),
            OrderLine(Product(1, "Zweite Zeile\r\n", 0, "\t"), 1),
            OrderLine(Product(1, "Zweite Zeile\r\n", 0, "\t"), 2),
        ),
        subtotal=2**62,
        discounts=1,
        total=2**62 - 1,
        coupon_code="SÄVE10",
        created_at=datetime(2031, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    )
    async with database.open() as storage:
        added = await add(storage, order)
        stored = await storage.get_order(order.user_id, order.id)
    assert stored == added
    assert stored.created_at.utcoffset() == timedelta(0)
    assert isinstance(stored.id, uuid.UUID)


async def test_an_order_is_its_users_alone(database: Database) -> None:
    async with database.open() as storage:
        order = await add(storage, new_order("demo"))
        for user_id, order_id in [("guest", order.id), ("demo", uuid.uuid4()), ("DEMO", order.id)]:
            with pytest.raises(OrderNotFound):
                await storage.get_order(user_id, order_id)
            with pytest.raises(OrderNotFound):
                await cancel(storage, user_id, order_id)
        assert await storage.list_orders("guest", limit=10) == []
        assert await storage.get_order("demo", order.id) == order


async def test_a_receipt_survives_loads(database: Database) -> None:
    async with database.open() as storage:
        await storage.replace_catalogue(new_catalogue())
        order = await add(storage, new_order(coupon_code="SAVE10"))
        await storage.replace_catalogue(new_catalogue(price=1))
        await storage.replace_catalogue(replace(new_catalogue(), products=(), users=(), coupons=()))
        assert await storage.get_order("demo", order.id) == order
        assert await storage.list_orders("demo", limit=1) == [order]


async def test_orders_are_listed_newest_first(database: Database) -> None:
    """By time, then by id; a page goes on right behind its last order."""
    same_time = [new_order(id=uuid.UUID(int=number)) for number in (3, 2**127 + 1, 7, 5)]
    earlier = new_order(created_at=NOW - timedelta(microseconds=1), id=uuid.UUID(int=2**128 - 1))
    later = new_order(created_at=NOW + timedelta(microseconds=1), id=uuid.UUID(int=1))
    expected = [later, *sorted(same_time, key=lambda order: order.id, reverse=True), earlier]
    async with database.open() as storage:
        for order in [earlier, *same_time, later, new_order("guest")]:
            await storage.add_order(order)
        listed = await storage.list_orders("demo", limit=100)
        assert list(map(as_new, listed)) == expected
        for size in (1, 2, 5, 6):
            pages = [page async for page in pages_of(storage, size)]
            assert [order for page in pages for order in page] == listed
            assert all(len(page) == size for page in pages[:-1])


async def pages_of(storage: Storage, size: int) -> AsyncIterator[list[Order]]:
    after: Cursor | None = None
    while page := await storage.list_orders("demo", limit=size, after=after):
        yield page
        after = Cursor(page[-1].created_at, page[-1].id)


async def test_pages_are_stable_while_orders_arrive(database: Database) -> None:
    old = [new_order(created_at=NOW + timedelta(seconds=number)) for number in range(30)]
    async with database.open() as storage:
        old = [await add(storage, order) for order in old]
        seen: list[Order] = []
        async for page in pages_of(storage, 4):
            seen += page
            await storage.add_order(new_order(created_at=NOW + timedelta(seconds=100 + len(seen))))
        assert seen == old[::-1]


async def test_cancelling_moves_where_an_order_stands_alone(database: Database) -> None:
    async with database.open() as storage:
        order = await add(storage)
        cancelled = await cancel(storage, "demo", order.id)
        assert cancelled == replace(
            order,
            status=OrderStatus.CANCELLED,
            version=2,
            cancellation=Cancellation("customer"),
            last_event="cancelled",
            changed_at=cancelled.changed_at,
        )
        assert cancelled.changed_at is not None
        assert await storage.get_order("demo", order.id) == cancelled
        assert await storage.list_orders("demo", limit=1) == [cancelled]
        with pytest.raises(OrderNotChangeable):
            await cancel(storage, "demo", order.id)
        assert await storage.get_order("demo", order.id) == cancelled


async def test_of_many_cancels_at_once_one_succeeds(database: Database) -> None:
    order = new_order(coupon_code="ONCE")
    once = CouponLimits(max_uses=1)
    async with database.open_two() as (one, two):
        await one.add_order(order, limits=once)
        results = await asyncio.gather(
            *(cancel(peer, "demo", order.id) for peer in [one, two] * 5),
            return_exceptions=True,
        )
        assert sum(isinstance(result, OrderNotChangeable) for result in results) == 9
        assert (await one.get_order("demo", order.id)).version == 2
        outcomes = await asyncio.gather(
            *(one.add_order(new_order(coupon_code="ONCE"), limits=once) for _ in range(5)),
            return_exceptions=True,
        )
        assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1


async def test_an_id_is_stored_once(database: Database) -> None:
    order = new_order(coupon_code="SAVE10")
    limits = CouponLimits(max_uses=2)
    async with database.open_two() as (one, two):
        results = await asyncio.gather(
            *(peer.add_order(order, limits=limits) for peer in (one, two, one)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, OrderExists) for result in results) == 2
        assert [as_new(one) for one in await one.list_orders("demo", limit=10)] == [order]
        await one.add_order(new_order(coupon_code="SAVE10"), limits=limits)


async def test_neighbours_fail_alone(database: Database) -> None:
    """Orders that come at once share a commit, and one that cannot be stored fails alone."""
    taken = new_order()
    good = [new_order(coupon_code="SAVE10") for _ in range(20)]
    bad = [replace(taken), new_order("\ud800"), new_order(total=2**63)]
    async with database.open() as storage:
        await storage.add_order(taken)
        if storage.backend == "memory":
            bad = bad[:1]  # it can hold whatever Python can
        orders = [*good[:10], *bad, *good[10:]]
        results = await asyncio.gather(
            *(storage.add_order(order) for order in orders), return_exceptions=True
        )
        failed = [result for result in results if isinstance(result, Exception)]
        assert [type(error) for error in failed] == [OrderExists, ValueRejected, ValueRejected][
            : len(bad)
        ]
        assert all(isinstance(error, StorageError) for error in failed)
        stored = await storage.list_orders("demo", limit=100)
        assert {order.id for order in stored} == {order.id for order in [taken, *good]}


async def test_a_large_batch_stores_all_but_its_last(database: Database) -> None:
    """What fails after much of its batch was written takes nothing with it and leaves nothing."""
    taken = new_order()
    good = [new_order(coupon_code=f"CODE {n % 3}") for n in range(150)]
    keys = [new_key(f"key {n}") if n % 2 else None for n in range(150)]
    async with database.open() as storage:
        taken = await add(storage, taken)
        results = await asyncio.gather(
            *(storage.add_order(order, key=key) for order, key in zip(good, keys, strict=True)),
            storage.add_order(replace(taken, coupon_code="CODE 0"), key=new_key("last")),
            return_exceptions=True,
        )
        assert isinstance(results[-1], OrderExists)
        stored = [order for order in results if isinstance(order, Order)]
        assert list(map(as_new, stored)) == good
        listed = await storage.list_orders("demo", limit=200)
        assert {order.id: order for order in listed} == {one.id: one for one in [taken, *stored]}
        for n in range(3):
            assert await storage.get_coupon_uses(f"CODE {n}", "demo") == (50, 50)
        assert await storage.find_order_by_key("demo", new_key("key 149")) == stored[149]
        assert await storage.find_order_by_key("demo", new_key("last")) is None


async def test_a_cancelled_caller_disturbs_nobody(database: Database) -> None:
    orders = [new_order() for _ in range(30)]
    async with database.open() as storage:
        tasks = [asyncio.create_task(storage.add_order(order)) for order in orders]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        kept = [order for order in results if isinstance(order, Order)]
        assert len(kept) >= 20
        stored = {order.id for order in await storage.list_orders("demo", limit=100)}
        assert {order.id for order in kept} <= stored


async def test_orders_survive_closing(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        order = await add(storage)
    async with shared_database.open() as storage:
        assert await storage.get_order("demo", order.id) == order


async def test_close_finishes_what_runs_and_refuses_the_rest(shared_database: Database) -> None:
    orders = [new_order() for _ in range(10)]
    async with shared_database.open() as storage:
        tasks = [asyncio.create_task(storage.add_order(order)) for order in orders]
        await asyncio.sleep(0)
        await storage.close()
        stored = await asyncio.gather(*tasks)
        assert list(map(as_new, stored)) == orders
        with pytest.raises(StorageUnavailable):
            await storage.add_order(new_order())
        with pytest.raises(StorageUnavailable):
            await storage.get_order("demo", orders[0].id)
        await storage.close()
        await storage.connect()
        assert await storage.get_order("demo", orders[0].id) == stored[0]


async def test_whoever_measures_is_told_of_each_commit(shared_database: Database) -> None:
    sizes: list[int] = []
    results: list[Order] = []

    @contextmanager
    def around(contexts: Sequence[Context]) -> Iterator[Callable[[Sequence[object]], None]]:
        yield lambda of: results.extend(one for one in of if isinstance(one, Order))
        sizes.append(len(contexts))

    orders = [new_order() for _ in range(25)]
    async with shared_database.open() as storage:
        storage.around_commit = around
        await asyncio.gather(*map(storage.add_order, orders))
    assert sum(sizes) == 25
    assert max(sizes) > 1
    assert list(map(as_new, results)) == orders
