"""Background tasks: catalogue probe, clean-up of expired keys, health, sampling."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from orderfood.api.context import Context
from storage import Storage
from storage.errors import StorageError

CLEANUP_SECONDS = 60.0
"""Seconds between two looks for expired idempotency keys."""

DELETE_BATCH = 25
"""Keys that are deleted in one batch: each lies on a page of its own, and an order that comes
meanwhile waits for the whole batch."""

MIN_PAUSE_SECONDS = 0.02
"""The least pause between two batches, in seconds."""

PAUSE_FACTOR = 20.0
"""The least pause after a batch, as a multiple of the time that the batch took: a database that is
busy, or slow, gets longer pauses."""


@asynccontextmanager
async def background(context: Context) -> AsyncIterator[None]:
    """Runs the background tasks as long as the block: the catalogue's probe, the deletion of
    expired keys, the check of order health, the sampling of metrics."""
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
    """Deletes expired idempotency keys until it is cancelled, in batches with pauses between them,
    so that no order waits for long. After an error of the storage it goes on a minute later."""
    clock = asyncio.get_running_loop().time
    while True:
        deleted, began = 0, clock()
        with suppress(StorageError):
            deleted = await storage.delete_expired_keys(DELETE_BATCH)
        pause = max(MIN_PAUSE_SECONDS, PAUSE_FACTOR * (clock() - began))
        await asyncio.sleep(CLEANUP_SECONDS if deleted < DELETE_BATCH else pause)


YOUNG_OBJECTS = 20_000
"""New objects after which Python collects the youngest generation.
Requests leave no cycles behind (tests/unit/test_garbage.py), and Python's own figure of 700 is soon
reached by those of a few orders in flight, which it would look through for nothing."""


def tune_garbage_collector() -> None:
    """Excludes all objects that exist now from garbage collection, and raises the threshold for
    later ones. Modules, classes and the menu live as long as the process; scanning them again and
    again costs orders between 3 and 10 % of their time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
