"""What is older than the ring: read from the storage for one follower, page by page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from orderfood.shop.deadlines import leave_request
from orderfood.shop.followers import Follower
from orderfood.shop.ring import Ring
from storage import Storage
from storage.errors import StorageError
from storage.records import OrderEvent

logger = logging.getLogger(__name__)

PAGE = 32
"""Events that are read at once."""

READERS = 4
"""Followers for whom that is done at the same time."""

RETRY_SECONDS = 0.5
"""Seconds until it is tried again, when the storage does not answer."""


class CatchUp:
    """Brings followers to where the ring begins, each as fast as its connection takes it."""

    def __init__(
        self,
        storage: Storage,
        ring: Ring,
        encode: Callable[[OrderEvent], bytes],
        serve: Callable[[Follower], None],
    ) -> None:
        self._storage = storage
        self._ring = ring
        self._encode = encode
        self._serve = serve
        self._readers = asyncio.Semaphore(READERS)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, follower: Follower) -> None:
        """Begins with a follower; it is served from the ring again behind that."""
        follower.catching_up = True
        task = asyncio.get_running_loop().create_task(self._work(follower))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Ends all of it."""
        for task in self._tasks:
            task.cancel()

    async def _work(self, follower: Follower) -> None:
        leave_request()
        try:
            while self._is_due(follower):
                async with self._readers:
                    await self._read_page(follower)
        except StorageError as error:
            logger.debug("a follower waits for older events: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            follower.catching_up = False
        self._serve(follower)

    def _is_due(self, follower: Follower) -> bool:
        if follower.sink is None or follower.position is None or follower.sink.is_blocked:
            return False
        return follower.position < self._ring.floor

    async def _read_page(self, follower: Follower) -> None:
        after = follower.position
        if after is None or follower.sink is None:
            return
        user_id, order_id = follower.audience
        page = await self._storage.read_events(after, PAGE, user_id=user_id, order_id=order_id)
        if follower.position != after:  # the log began anew meanwhile
            return
        if not page.follows(after):
            follower.position = None
            return
        for event in page.events:
            if follower.sink is None or follower.sink.is_blocked:
                return
            follower.position = event.seq
            follower.sink.push(self._encode(event))
        follower.position = page.position
