"""Orders of all users, as the shop sees them, and what is blanked of them."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from storage import MOST_LINES, Storage
from storage.records import (
    Cancellation,
    Cursor,
    OpenOrders,
    Order,
    OrderLine,
    Pickup,
    ShopOrders,
)
from tests.contract.database import (
    COOK,
    NOW,
    Database,
    act,
    add,
    cancel,
    new_key,
    new_order,
    read_all_events,
)

MINUTE = timedelta(minutes=1)
OPEN = ("placed", "accepted", "ready")
ALL = (*OPEN, "completed", "cancelled")

WAYS: dict[str, tuple[str, ...]] = {
    "placed": (),
    "accepted": ("accept",),
    "ready": ("accept", "ready"),
    "completed": ("accept", "complete"),
    "cancelled": ("cancel",),
}


async def brought(storage: Storage, order: Order, status: str) -> Order:
    """A new order that is brought to a status."""
    order = await add(storage, order)
    for action in WAYS[status]:
        order, _ = await act(storage, order.id, action, COOK, order.created_at)
    assert order.status == status
    return order


async def pages_of(
    storage: Storage, statuses: Sequence[str], oldest_first: bool, size: int
) -> AsyncIterator[ShopOrders]:
    after: Cursor | None = None
    while True:
        page = await storage.list_shop_orders(
            statuses, oldest_first=oldest_first, limit=size, after=after
        )
        yield page
        if len(page.orders) < size:
            return
        after = Cursor(page.orders[-1].created_at, page.orders[-1].id)


@pytest.mark.parametrize("oldest_first", [True, False])
async def test_orders_are_listed_by_time_and_id(database: Database, oldest_first: bool) -> None:
    async with database.open() as storage:
        orders = [
            await brought(
                storage,
                new_order(
                    f"user {n % 3}",
                    # some at one moment, so that their ids decide
                    created_at=NOW + timedelta(microseconds=n * 7 % 10 // 2),
                    id=uuid.UUID(int=n * 2**120 + 5),
                ),
                list(WAYS)[n % 5],
            )
            for n in (3, 17, 1, 4, 19, 9, 2, 6, 11, 0, 14, 8, 5, 7, 10, 12, 13, 15, 16, 18)
        ]
        orders.sort(key=lambda one: (one.created_at, one.id), reverse=not oldest_first)
        for statuses in [OPEN, ALL, ("completed",), ("ready", "placed"), ("unknown",), ()]:
            wanted = [order for order in orders if order.status in statuses]
            for size in (1, 2, 5, 100):
                pages = [page async for page in pages_of(storage, statuses, oldest_first, size)]
                assert [order for page in pages for order in page.orders] == wanted
        last = (await storage.read_events(None, 1)).position
        assert {page.position async for page in pages_of(storage, OPEN, oldest_first, 3)} == {last}


async def test_a_status_that_is_named_twice_lists_an_order_once(database: Database) -> None:
    async with database.open() as storage:
        order = await add(storage)
        page = await storage.list_shop_orders(["placed", "placed"], oldest_first=True, limit=5)
        assert page.orders == (order,)


async def test_following_from_a_listing_misses_nothing(database: Database) -> None:
    """While others write: every event up to the position is in the listing's orders, and those
    behind it go on right where its orders stand."""
    async with database.open_two() as (one, two):
        writing = asyncio.gather(*(live(peer, n) for n, peer in enumerate([one, two] * 6)))
        listings: list[ShopOrders] = []
        while not writing.done():
            peer = [one, two][len(listings) % 2]
            listings.append(await peer.list_shop_orders(ALL, oldest_first=True, limit=1000))
            await asyncio.sleep(0)
        await writing
        events = await read_all_events(one)
        assert len(events) == 12 * 5 * 4
        assert [event.seq for event in events] == sorted({event.seq for event in events})
        seen = {len(page.orders) for page in listings}
        assert len(seen) > 2
        for page in listings:
            listed = {order.id: order.version for order in page.orders}
            for event in events:
                version = listed.get(event.order.id, 0)
                if event.seq <= page.position:
                    assert event.order.version <= version
                elif event.order.version > version:
                    assert event.order.version == version + 1
                    listed[event.order.id] = version + 1
            assert listed == {event.order.id: 4 for event in events}


async def live(storage: Storage, number: int) -> None:
    for _ in range(5):
        order = await storage.add_order(new_order(f"user {number}"))
        for action in ("accept", "ready", "complete"):
            await asyncio.sleep(0)
            await act(storage, order.id, action)


async def test_open_orders_are_counted(database: Database) -> None:
    async with database.open() as storage:
        assert await storage.count_open_orders() == OpenOrders(dict.fromkeys(OPEN, 0), None)
        wanted: Counter[str] = Counter()
        for n, status in enumerate(["accepted", *list(WAYS) * 2, "ready", "completed"]):
            await brought(storage, new_order(created_at=NOW + n * MINUTE), status)
            wanted[status] += status in OPEN
        counts = {status: wanted[status] for status in OPEN}
        assert await storage.count_open_orders() == OpenOrders(counts, NOW + MINUTE)
        assert counts == {"placed": 2, "accepted": 3, "ready": 3}


async def test_personal_data_is_blanked_of_orders_that_ended(database: Database) -> None:
    anna = Pickup("Anna", "no nuts")
    async with database.open() as storage:
        kept: list[Order] = []
        blanked: list[Order] = []
        for minutes in (0, 1, 2, 3):
            for status in ALL:
                order = new_order(pickup=anna, created_at=NOW + minutes * MINUTE)
                order = await brought(storage, order, status)
                ended_before = status in ("completed", "cancelled") and minutes < 2
                (blanked if ended_before else kept).append(order)
        assert await storage.blank_personal_data(NOW + 2 * MINUTE, 3) == 3
        assert await storage.blank_personal_data(NOW + 2 * MINUTE, 3) == 1
        assert await storage.blank_personal_data(NOW + 2 * MINUTE, 3) == 0
        for order in kept:
            assert await storage.get_order("demo", order.id) == order
        for order in blanked:
            assert await storage.get_order("demo", order.id) == replace(order, pickup=None)
        for event in await read_all_events(storage):
            is_kept = event.order.id in {order.id for order in kept}
            assert event.order.pickup == (anna if is_kept else None)


async def test_nothing_tells_any_more_what_was_blanked(database: Database) -> None:
    later = NOW + timedelta(days=30)
    async with database.open() as storage:
        placed = new_order(pickup=Pickup(None, "no nuts"), coupon_code="TEN")
        order = await add(storage, placed, key=new_key())
        await act(storage, order.id, "cancel", at=NOW, reason="sold_out", note="for Anna")
        second = await add(storage, new_order("guest"))
        await act(storage, second.id, "cancel", at=NOW, reason="other", note="for Ben")
        third = await add(storage, new_order(pickup=Pickup("Cem")))
        await cancel(storage, "demo", third.id)  # now, and not at NOW
        assert await storage.blank_personal_data(later, 100) == 2
        blank = replace(order, pickup=None)
        assert await storage.add_order(new_order(), key=new_key()) == blank
        cancelled, events = await storage.get_order_history(order.id)
        assert cancelled.cancellation == Cancellation("shop", "sold_out")
        assert [event.order for event in events] == [blank, cancelled]
        assert await storage.get_order("demo", order.id) == cancelled
        for event in await read_all_events(storage):
            if event.order.id != third.id:
                assert event.order.pickup is None
                assert event.order.cancellation is None or event.order.cancellation.note is None
            else:
                assert event.order.pickup == Pickup("Cem")


@pytest.mark.parametrize("oldest_first", [True, False])
async def test_a_page_of_many_lines_ends_early(database: Database, oldest_first: bool) -> None:
    product = new_order().lines[0].product
    lines = tuple(OrderLine(replace(product, id=n), 1) for n in range(1, 101))
    async with database.open() as storage:
        orders = [
            await add(storage, new_order(lines=lines, created_at=NOW + timedelta(seconds=n)))
            for n in range(60)
        ]
        found: list[Order] = []
        after, more = None, True
        while more:
            page = await storage.list_shop_orders(
                OPEN, oldest_first=oldest_first, limit=100, after=after
            )
            assert 1 <= sum(len(order.lines) for order in page.orders) <= MOST_LINES
            found += page.orders
            after, more = Cursor(found[-1].created_at, found[-1].id), page.more
        assert found == (orders if oldest_first else orders[::-1])
        few = await storage.list_shop_orders(OPEN, oldest_first=oldest_first, limit=25)
        assert (len(few.orders), few.more) == (25, False)


async def test_open_orders_of_one_user_are_counted(database: Database) -> None:
    async with database.open() as storage:
        for n, status in enumerate([*WAYS, *WAYS]):
            await brought(storage, new_order(("one", "two")[n % 2], created_at=NOW), status)
        await storage.add_order(new_order("two"))
        listed = [await storage.list_orders(user, limit=100) for user in ("one", "two", "three")]
        expected = [sum(str(order.status) in OPEN for order in orders) for orders in listed]
        counts = [await storage.count_open_orders_of(user) for user in ("one", "two", "three")]
        assert counts == expected
        assert counts[2] == 0 < counts[0] < len(listed[0])
