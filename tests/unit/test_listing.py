"""A page of one's own orders is bounded by its lines, too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orderfood.shop.catalogue import CatalogueCache
from orderfood.shop.order_ids import new_order_id
from orderfood.shop.orders import PORTION, Shop, list_orders
from storage import MOST_LINES
from storage.memory.storage import MemoryStorage
from storage.records import Order, OrderLine, Product, User

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


async def test_a_page_of_many_lines_ends_early_and_the_next_goes_on() -> None:
    storage = MemoryStorage("memory://")
    lines = tuple(OrderLine(Product(n, "Waffle", 100, "Waffle"), 1) for n in range(1, 101))
    moments = [NOW + timedelta(seconds=n) for n in range(100)]
    placed = [
        await storage.add_order(Order(new_order_id(at), "demo", lines, 10_000, 0, 10_000, at))
        for at in moments
    ]
    shop, user = Shop(storage, CatalogueCache(storage)), User("demo", "Demo")
    page, after = await list_orders(shop, user, 100, None)
    assert len(page) * 100 <= MOST_LINES + PORTION * 100
    seen = page
    while after is not None:
        page, after = await list_orders(shop, user, 100, after)
        seen += page
    assert seen == placed[::-1]
