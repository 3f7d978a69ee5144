"""One request at a time for each idempotency key, within a process.

Between processes the storage itself makes the second one wait; here the wait is cheap and fair,
and it has an end that can be told apart from a store that does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from orderfood.shop.deadlines import counted
from orderfood.shop.errors import StillInProgress

WAIT_SECONDS = 5.0
"""How long a request waits for another one under its key."""


class KeyLocks:
    """Locks by name that exist only while somebody holds them or waits for them."""

    def __init__(self, wait_seconds: float = WAIT_SECONDS) -> None:
        self._wait_seconds = wait_seconds
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, name: Hashable) -> AsyncIterator[None]:
        """Holds the lock of that name. Raises StillInProgress when it does not become free."""
        lock, users = self._locks.get(name) or (asyncio.Lock(), 0)
        self._locks[name] = (lock, users + 1)
        try:
            await self._acquire(lock)
            try:
                yield
            finally:
                lock.release()
        finally:
            self._leave(name)

    async def _acquire(self, lock: asyncio.Lock) -> None:
        try:
            with counted():
                async with asyncio.timeout(self._wait_seconds):
                    await lock.acquire()
        except TimeoutError:
            message = "the first request under this Idempotency-Key is still in progress"
            raise StillInProgress("in_progress", message) from None

    def _leave(self, name: Hashable) -> None:
        lock, users = self._locks[name]
        if users == 1:
            del self._locks[name]
        else:
            self._locks[name] = (lock, users - 1)
