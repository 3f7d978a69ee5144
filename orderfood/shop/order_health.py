"""Health of the write path: whether orders can be stored while reads work."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from storage import Storage
from storage.errors import StorageError
from storage.records import Obstacle

logger = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
"""Seconds between two checks of the store, while no order is stored."""

RECHECK_SECONDS = 0.5
"""The least pause between two checks, however many orders fail."""


class OrderHealth:
    """Holds the obstacle that keeps orders from being stored: checked every CHECK_SECONDS, and
    sooner after an order has failed. A stored order proves that there is none."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._stored_at = float("-inf")
        self._recheck = asyncio.Event()
        self.obstacle: Obstacle | None = None
        """What keeps orders from being stored; None when nothing is known to."""

    def order_stored(self) -> None:
        """An order was stored."""
        self._stored_at = self._clock()
        if self.obstacle is not None:
            self._set_obstacle(None)

    def order_failed(self) -> None:
        """An order was not stored, for whatever reason the store has."""
        self._stored_at = float("-inf")
        self._recheck.set()

    async def check(self) -> None:
        """Asks the store, unless an order was stored within CHECK_SECONDS. When the store does not
        answer the state is kept: /ready reports that."""
        if self._clock() - self._stored_at < CHECK_SECONDS:
            return
        with suppress(StorageError):
            self._set_obstacle(await self._storage.find_obstacle())

    def _set_obstacle(self, obstacle: Obstacle | None) -> None:
        """Sets the obstacle, and logs when it begins and when it ends."""
        if obstacle is self.obstacle:
            return
        self.obstacle = obstacle
        if obstacle is None:
            logger.info("orders can be stored again")
        else:
            logger.warning("no order can be stored, while reads work: %s", MEANINGS[obstacle])

    async def run(self) -> None:
        """Checks until it is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._recheck.wait()
            self._recheck.clear()
            await self.check()
            await asyncio.sleep(RECHECK_SECONDS)


MEANINGS = {
    Obstacle.READ_ONLY: "the store is read-only",
    Obstacle.FULL: "the store is full",
    Obstacle.NOT_PERMITTED: "the database's role is not permitted to store orders",
}
