"""Locks by idempotency key: one request at a time under each, within a process.

Between processes the storage makes the second one wait; here the wait is cheap and fair, and its
timeout is another error than that of a store that does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from orderfood.shop.deadlines import counted
from orderfood.shop.refusals import StillInProgress

WAIT_SECONDS = 5.0
"""How long a request waits for another one under its key."""


class KeyLocks:
    """Locks by name that exist only while somebody holds them or waits for them."""

    def __init__(self, wait_seconds: float = WAIT_SECONDS) -> None:
        self._wait_seconds = wait_seconds
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, name: Hashable) -> AsyncIterator[None]:
        """Holds the lock of that name. Raises StillInProgress when it does not become free."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        await self._acquire(lock)
        try:
            yield
        finally:
            lock.release()

    async def _acquire(self, lock: asyncio.Lock) -> None:
        try:
            with counted():
                async with asyncio.timeout(self._wait_seconds):
                    await lock.acquire()
        except TimeoutError:
            message = "the first request under this Idempotency-Key is still in progress"
            raise StillInProgress("in_progress", message) from None
