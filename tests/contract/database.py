"""Databases to test on, and records to put into them."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from migrations import read_migrations
from orderfood.shop.lifecycle import CUSTOMER, SHOP, Action, order_change
from rig.postgres import execute
from storage import Storage, open_storage
from storage.order_rules import LAST_NUMBER
from storage.postgres.connections import Connections
from storage.records import (
    Actor,
    ApiKey,
    Catalogue,
    Coupon,
    CouponKind,
    IdempotencyKey,
    Order,
    OrderEvent,
    OrderLine,
    Product,
    User,
)


@asynccontextmanager
async def open_connections(url: str, pool_size: int) -> AsyncIterator[Connections]:
    """The connections to a Postgres, without a storage around them."""
    connections = Connections(url, pool_size, 5)
    await connections.open()
    try:
        yield connections
    finally:
        await connections.close()


NOW = datetime(2025, 6, 1, 12, 30, 15, 123457, tzinfo=UTC)


@dataclass(frozen=True)
class Database:
    """A database of its own for one test."""

    url: str

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Storage]:
        """A storage on this database, with its schema."""
        async with open_storage(self.url, wait_seconds=30) as storage:
            for migration in read_migrations(storage.backend):
                await storage.apply_migration(migration)
            yield storage

    @asynccontextmanager
    async def open_two(self) -> AsyncIterator[tuple[Storage, Storage]]:
        """Two storages on one database, as two processes would have; memory:// can only be one."""
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(self.open())
            if one.backend == "memory":
                yield one, one
            else:
                yield one, await stack.enter_async_context(self.open())


def new_order(user_id: str = "demo", **changes: Any) -> Order:
    """An order of two lines that nothing else is equal to."""
    waffle = Product(1, "Chicken Waffle", 1299, "Waffle", "Crisp 🧇", "/1.jpg", ("gluten",))
    salad = Product(5, "Caesar Salad", 899, "Salad")
    values = {
        "id": uuid.uuid4(),
        "user_id": user_id,
        "lines": (OrderLine(waffle, 2), OrderLine(salad, 1)),
        "subtotal": 3497,
        "discounts": 0,
        "total": 3497,
        "created_at": NOW,
    }
    return Order(**{**values, **changes})


def new_key(
    key: str = "key", fingerprint: str = "request", seconds: float = 3600
) -> IdempotencyKey:
    """A key that expires in so many seconds; a negative number has expired."""
    return IdempotencyKey(key, fingerprint, datetime.now(UTC) + timedelta(seconds=seconds))


def new_catalogue(price: int = 1299) -> Catalogue:
    """A small catalogue that uses every member of every record; all prices are equal."""
    return Catalogue(
        products=(
            Product(
                1,
                "Chicken Waffle",
                price,
                "Waffle",
                "With 'gravy', \"crisp\" \\ hot",
                "/static/1.jpg",
                ("gluten", "eggs"),
            ),
            Product(2, "Crème brûlée 🍮", price, "Dessert", allergens=()),
            Product(10, "'; DROP TABLE products; --", price, 'a "quoted" category'),
        ),
        users=(
            User(
                "demo", "Demo", (new_api_key("b", {"create_order", "read_order"}), new_api_key("a"))
            ),
            User("guest", "Guest", (new_api_key("c", {"read_order"}, NOW),)),
            User("keyless", "Keyless"),
        ),
        coupons=(
            Coupon("BUYGETONE", CouponKind.CHEAPEST_FREE, min_items=2),
            Coupon(
                "SAVE10",
                CouponKind.PERCENT,
                1000,
                1,
                2,
                3,
                NOW,
                NOW + timedelta(microseconds=1),
                4,
                5,
            ),
            Coupon("five", CouponKind.AMOUNT, 500),
        ),
        file_coupon=Coupon("", CouponKind.PERCENT, 1000),
    )


def new_api_key(
    letter: str, scopes: set[str] | None = None, expires_at: datetime | None = None
) -> ApiKey:
    return ApiKey(f"sha256:{letter * 64}", frozenset(scopes or ()), expires_at)


async def add(storage: Storage, order: Order | None = None, **more: Any) -> Order:
    """Stores a new order, and returns it as it was stored: it differs by its number alone."""
    order = order or new_order()
    stored = await storage.add_order(order, **more)
    assert stored == replace(order, number=stored.number)
    assert stored.number in range(1, LAST_NUMBER + 1)
    return stored


def as_new(order: Order) -> Order:
    """A stored order as it was before it had its number."""
    return replace(order, number=None)


async def cancel(storage: Storage, user_id: str, order_id: UUID) -> Order:
    """Cancels an order as its customer does."""
    now = datetime.now(UTC)
    order, _ = await act(storage, order_id, "cancel", Actor(user_id), now)
    return order


COOK = Actor("kitchen", "0badc0de")


async def act(
    storage: Storage,
    order_id: UUID,
    action: str,
    by: Actor = COOK,
    at: datetime | None = None,
    *,
    expected_version: int | None = None,
    **more: Any,
) -> tuple[Order, bool]:
    """Does to an order what its customer or staff may; without a time, now."""
    at = at or datetime.now(UTC)
    return await storage.change_order(
        order_id,
        order_change(Action(action, CUSTOMER if by.key is None else SHOP, **more), at),
        by,
        at,
        expected_version=expected_version,
        user_id=by.user if by.key is None else None,
    )


async def read_all_events(
    storage: Storage, after: int = 0, limit: int = 100, **filters: Any
) -> list[OrderEvent]:
    """All events behind a number, page by page."""
    events: list[OrderEvent] = []
    while True:
        page = await storage.read_events(after, limit, **filters)
        events += page.events
        if page.position <= after:
            return events
        after = page.position


async def execute_sql(url: str, statement: str) -> None:
    """What another program does to a database that is not memory://."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db, db:
            db.execute(statement)
    else:
        await execute(url, statement)
