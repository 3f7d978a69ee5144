"""What goes on beside the requests: the catalogue's probe, expired keys, garbage."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from orderfood.api.context import Context
from storage import Storage
from storage.errors import StorageError

CLEANUP_SECONDS = 60.0
"""How often expired idempotency keys are looked for."""

DELETE_BATCH = 25
"""How many of them are deleted at a time: each lies on a page of its own, and an order that comes
meanwhile waits for all of these."""

MIN_PAUSE_SECONDS = 0.02
"""The least pause between two batchs of them."""

PAUSE_FACTOR = 20.0
"""How often as long as a batch has taken the pause after it lasts at least: a database that is
busy, or slow, is left alone for longer."""


@asynccontextmanager
async def background(context: Context) -> AsyncIterator[None]:
    """What goes on beside the requests: probing the catalogue, deleting expired keys."""
    shop = context.shop
    if context.order_health is not None:
        await context.order_health.check()
    tasks = [
        asyncio.create_task(shop.catalogue.run(), name="catalogue"),
        asyncio.create_task(delete_expired_keys(shop.storage), name="expired keys"),
    ]
    if context.order_health is not None:
        tasks.append(asyncio.create_task(context.order_health.run(), name="orders"))
    if context.metrics is not None:
        tasks.append(asyncio.create_task(context.metrics.keep_sampling(), name="metrics"))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def delete_expired_keys(storage: Storage) -> None:
    """Deletes expired idempotency keys for ever, in batchs, so that no order waits for it."""
    clock = asyncio.get_running_loop().time
    while True:
        deleted, began = 0, clock()
        with suppress(StorageError):
            deleted = await storage.delete_expired_keys(DELETE_BATCH)
        pause = max(MIN_PAUSE_SECONDS, PAUSE_FACTOR * (clock() - began))
        await asyncio.sleep(CLEANUP_SECONDS if deleted < DELETE_BATCH else pause)


YOUNG_OBJECTS = 20_000
"""How many objects more than before there may be until Python looks for garbage among them.
Requests leave no cycles behind (tests/unit/test_garbage.py), and Python's own figure of 700 is soon
reached by those of a few orders in flight, which it would look through for nothing."""


def tune_garbage_collector() -> None:
    """Takes what there is now out of Python's garbage collection: modules, classes and the menu
    live as long as the process, and to look through them again and again costs orders between 3 and
    10 % of their time. What comes later is looked through less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
