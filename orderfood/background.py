"""Background tasks: catalogue probe, clean-up of what has expired, health, sampling."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from orderfood.api.context import Context
from orderfood.settings import Settings
from storage import Storage
from storage.errors import StorageError

CLEANUP_SECONDS = 60.0
"""Seconds between two looks for what has expired."""

NUMBERING_SECONDS = 5.0
"""Seconds between two looks for events that nobody has read."""

DELETE_BATCH = 25
"""Rows that are deleted or blanked in one batch: each may lie on a page of its own, and an order
that comes meanwhile waits for the whole batch."""

MIN_PAUSE_SECONDS = 0.02
"""The least pause between two batches, in seconds."""

PAUSE_FACTOR = 20.0
"""The least pause after a batch, as a multiple of the time that the batch took: a database that is
busy, or slow, gets longer pauses, up to CLEANUP_SECONDS."""


@asynccontextmanager
async def background(context: Context) -> AsyncIterator[None]:
    """Runs the background tasks as long as the block: the catalogue's probe, the clean-up of what
    has expired, the numbering of events, the feed, the check of order health, the sampling of
    metrics, the count of open orders."""
    shop = context.shop
    if context.order_health is not None:
        await context.order_health.check()
    tasks = [
        asyncio.create_task(shop.catalogue.run(), name="catalogue"),
        *(
            asyncio.create_task(clean_up(batch), name=name)
            for name, batch in clean_ups(shop.storage, context.settings).items()
        ),
        asyncio.create_task(number_events(shop.storage), name="event numbers"),
    ]
    if context.feed is not None:
        tasks.append(asyncio.create_task(context.feed.run(), name="feed"))
    if context.order_health is not None:
        tasks.append(asyncio.create_task(context.order_health.run(), name="orders"))
    if context.metrics is not None:
        counting = context.metrics.kitchen.keep_counting(shop.storage)
        tasks.append(asyncio.create_task(context.metrics.keep_sampling(), name="metrics"))
        tasks.append(asyncio.create_task(counting, name="open orders"))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


CleanUp = Callable[[], Awaitable[int]]
"""Cleans up one batch of up to DELETE_BATCH; returns how many there were."""


def clean_ups(storage: Storage, settings: Settings) -> dict[str, CleanUp]:
    """What is to be cleaned up, by name."""
    found: dict[str, CleanUp] = {"expired keys": lambda: storage.delete_expired_keys(DELETE_BATCH)}
    if settings.personal_data_days:
        days = timedelta(days=settings.personal_data_days)
        found["personal data"] = lambda: storage.blank_personal_data(_before(days), DELETE_BATCH)
    if settings.event_days:
        kept = timedelta(days=settings.event_days)
        found["old events"] = lambda: storage.delete_events(_before(kept), DELETE_BATCH)
    return found


def _before(age: timedelta) -> datetime:
    return datetime.now(UTC) - age


async def clean_up(batch: CleanUp) -> None:
    """Cleans up until it is cancelled, in batches with pauses between them, so that no order waits
    for long. After an error of the storage it goes on a minute later."""
    clock = asyncio.get_running_loop().time
    while True:
        done, began = 0, clock()
        with suppress(StorageError):
            done = await batch()
        pause = CLEANUP_SECONDS
        if done >= DELETE_BATCH:
            pause = min(pause, max(MIN_PAUSE_SECONDS, PAUSE_FACTOR * (clock() - began)))
        await asyncio.sleep(pause)


async def number_events(storage: Storage) -> None:
    """Numbers events until it is cancelled, where readers do so: the first one finds few."""
    while True:
        with suppress(StorageError):
            await storage.number_events()
        await asyncio.sleep(NUMBERING_SECONDS)


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
