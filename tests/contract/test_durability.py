"""What was acknowledged survives: kill -9 of the process, and of the database server."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from rig.postgres import StartedServer
from storage import Storage
from storage.errors import CouponUsedUp
from storage.order_rules import as_placed
from storage.records import CouponLimits, Order
from tests.contract.database import Database, new_catalogue, new_key, new_order, read_all_events

ENOUGH = 300


@asynccontextmanager
async def child(what: str, url: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.contract.child", what, url, stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def acknowledged_until(process: Process, strike: Callable[[], object]) -> dict[str, UUID]:
    """The order under each key that the child reported before, and while, ``strike`` struck."""
    assert process.stdout is not None
    orders: dict[str, UUID] = {}
    while line := await process.stdout.readline():
        if not line.endswith(b"\n"):
            break
        order_id, key = line.decode().rstrip("\n").split(" ", 1)
        orders[key] = UUID(order_id)
        if len(orders) == ENOUGH:
            await asyncio.to_thread(strike)
    assert len(orders) >= ENOUGH
    return orders


async def check_all_are_there(storage: Storage, orders: dict[str, UUID]) -> None:
    for key, order_id in orders.items():
        order = await storage.get_order("demo", order_id)
        assert order.id == order_id
        assert len(order.lines) == 2
        assert await storage.add_order(new_order(), key=new_key(key)) == as_placed(order)
    await check_events_are_those_of_the_orders(storage)
    count = await count_orders(storage)
    assert count >= len(orders)
    limits = CouponLimits(max_uses=count + 1)
    await storage.add_order(new_order(coupon_code="SAVE10"), limits=limits)
    try:
        await storage.add_order(new_order(coupon_code="SAVE10"), limits=limits)
    except CouponUsedUp:
        return
    raise AssertionError("a use of the coupon was lost")


async def check_events_are_those_of_the_orders(storage: Storage) -> None:
    """Both are written in one step: whatever was killed, an order has as many events as versions,
    and the last of them is the order as it stands."""
    of_order: dict[UUID, list[Order]] = defaultdict(list)
    for event in await read_all_events(storage, limit=500):
        of_order[event.order.id].append(event.order)
    stored = await storage.list_orders("demo", limit=1_000_000)
    assert {order.id for order in stored} == of_order.keys()
    for order in stored:
        events = of_order[order.id]
        assert [one.version for one in events] == list(range(1, order.version + 1))
        assert events[-1] == order
    assert {order.version for order in stored} == {1, 2}


async def count_orders(storage: Storage) -> int:
    return len(await storage.list_orders("demo", limit=1_000_000))


async def test_orders_survive_kill_9_of_the_process(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        async with child("orders", shared_database.url) as process:
            orders = await acknowledged_until(process, process.kill)
            await process.wait()
        assert process.returncode == -signal.SIGKILL
        await check_all_are_there(storage, orders)


async def test_orders_survive_kill_9_of_the_server(own_server: StartedServer) -> None:
    database = Database(own_server.create_database())
    async with database.open():
        pass
    async with child("orders", database.url) as process:
        orders = await acknowledged_until(process, own_server.kill)
    own_server.start()
    async with database.open() as storage:
        await check_all_are_there(storage, orders)


async def test_a_load_that_is_killed_leaves_the_old(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        await storage.replace_catalogue(new_catalogue(), codes=["A"])
        before = await storage.read_catalogue()
        async with child("load", shared_database.url) as process:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"staged\n"
            process.kill()
            await process.wait()
        assert await storage.read_catalogue() == before
        assert (await storage.find_coupon("A")).file_code == "A"
        assert (await storage.replace_catalogue(new_catalogue(price=8))).version == 2
