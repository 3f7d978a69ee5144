"""One answer for all who ask at about the same time, so that asking often costs little."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """What ``make`` returns, made anew at most ``times`` in any second, and never twice at once."""

    def __init__(self, times: int) -> None:
        self._made: asyncio.Task[T] | None = None
        self._again_at = deque([0.0] * times, maxlen=times)
        """From when on there may be one more, for each of the last times."""

    async def get(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Raises what ``make`` has raised."""
        now = asyncio.get_running_loop().time()
        if self._made is None or (self._made.done() and now >= self._again_at[0]):
            self._again_at.append(now + 1.0)
            self._made = asyncio.create_task(make())
        return await asyncio.shield(self._made)
