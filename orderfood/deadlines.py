"""One deadline for many calls, all of which may take equally long.

A timer for each, as asyncio.timeout has it, is made and taken back thousands of times a second,
and hardly one ever rings. But calls with one limit run out in the order in which they began: one
timer, for the oldest of them, is enough.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import TypeVar

from storage.errors import StorageUnavailable

T = TypeVar("T")


class _Call:
    """One that is under way, and the task that waits for it."""

    __slots__ = ("cancelling", "deadline", "expired", "task")

    def __init__(self, task: asyncio.Task[object], deadline: float) -> None:
        self.task: asyncio.Task[object] | None = task
        self.deadline = deadline
        self.cancelling = task.cancelling()
        self.expired = False

    def take_back(self) -> bool:
        """Takes the cancellation of a call that has run out back, once; whether there was one, and
        nobody else's with it."""
        if not self.expired or self.task is None:
            return False
        self.expired = False
        return self.task.uncancel() <= self.cancelling


class Deadlines:
    """Bounds calls to so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: deque[_Call] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def bound(self, name: str, awaitable: Awaitable[T]) -> T:
        """The result of what is awaited. Raises StorageUnavailable when it takes too long: it is
        cancelled then, as asyncio.timeout would."""
        call = self._begin()
        try:
            return await awaitable
        except asyncio.CancelledError as error:
            if call.take_back():
                raise StorageUnavailable(f"{name} took over {self._seconds} s") from error
            raise
        finally:
            call.take_back()
            call.task = None

    def _begin(self) -> _Call:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        while self._calls and self._calls[0].task is None:
            self._calls.popleft()
        call = _Call(task, loop.time() + self._seconds)
        self._calls.append(call)
        if self._timer is None:
            self._timer = loop.call_at(call.deadline, self._ring)
        return call

    def _ring(self) -> None:
        """Ends what is over time, and sets the timer for the oldest of the rest."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._calls and (self._calls[0].task is None or self._calls[0].deadline <= now):
            call = self._calls.popleft()
            if call.task is not None:
                call.expired = True
                call.task.cancel()
        if self._calls:
            self._timer = loop.call_at(self._calls[0].deadline, self._ring)
