"""The bare driver stores what order-food would have stored."""

from __future__ import annotations

import sys

from benchmarks.one_order import run_bare_driver
from rig.processes import prepare
from storage import open_storage


async def test_the_bare_driver_stores_whole_orders(shared_url: str) -> None:
    prepare(shared_url)
    async with open_storage(shared_url) as storage:
        before = await storage.list_orders("demo", limit=100)
    shown = run_bare_driver(shared_url, 0.01, None, sys.executable)
    async with open_storage(shared_url) as storage:
        after = await storage.list_orders("demo", limit=100)
        page = await storage.read_events(None, limit=1)
    added = [order for order in after if order not in before]
    assert len(added) >= min(shown.orders, 50) > 0
    assert all(len(order.lines) == 2 and order.total == 3597 for order in added)
    assert all(order.number is not None and order.status == "placed" for order in added)
    assert page.last >= shown.orders
