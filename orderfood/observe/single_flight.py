"""Single flight: concurrent callers share one call, whose rate is limited, too."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Shares the result of ``make`` among its callers: at most one call at a time, and at most
    ``times`` calls in any second. In between callers get the last result."""

    def __init__(self, times: int) -> None:
        self._made: asyncio.Task[T] | None = None
        self._again_at = deque([0.0] * times, maxlen=times)
        """For each of the last ``times`` calls, the loop time from which it no longer counts."""

    async def get(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a new call, of the one under way, or of the last one. Raises what that has
        raised."""
        now = asyncio.get_running_loop().time()
        if self._made is None or (self._made.done() and now >= self._again_at[0]):
            self._again_at.append(now + 1.0)
            self._made = asyncio.create_task(make())
        return await asyncio.shield(self._made)
