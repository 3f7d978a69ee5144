"""Deadlines: how long a request waits for the store, over all its calls.

A timer for each call, as asyncio.timeout has it, is made and taken back thousands of times a
second, and hardly one ever rings. One timer, for the call that runs out first, is enough; a timer
for each costs an order in memory 4 % (docs/decisions/0053-own-mechanisms.md).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import count
from typing import TypeVar

from storage.errors import StorageUnavailable

T = TypeVar("T")


CALL_SECONDS = 5.0
"""How long a request waits for the store, over all its calls, before it is answered with 503."""

TURNS = 8
"""Turns of the event loop between a deadline and the end of its calls. A process that was stopped,
or got no processor, finds deadlines that have passed meanwhile before it reads the answers that
have come meanwhile."""


class _Spent:
    """The seconds that one request has waited for the store."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0


_spent: ContextVar[_Spent | None] = ContextVar("spent", default=None)


def begin_request() -> None:
    """Starts a request in this task: its calls share one limit from here on."""
    _spent.set(_Spent())


def leave_request() -> None:
    """Leaves the request: each call of this task has the whole limit, for it serves others, too."""
    _spent.set(None)


@contextmanager
def counted() -> Iterator[None]:
    """Adds the time of the block to what the request has waited, without a deadline for it."""
    spent, clock = _spent.get(), asyncio.get_running_loop().time
    began = clock()
    try:
        yield
    finally:
        if spent is not None:
            spent.seconds += clock() - began


class _Call:
    """A call under way, and the task that awaits it."""

    __slots__ = ("cancelling", "expired", "task")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.task: asyncio.Task[object] | None = task
        self.cancelling = task.cancelling()
        self.expired = False

    def take_back(self) -> bool:
        """Withdraws the cancellation of an expired call, once. Returns whether the task was
        cancelled by the deadline alone."""
        if not self.expired or self.task is None:
            return False
        self.expired = False
        return self.task.uncancel() <= self.cancelling


class Deadlines:
    """Bounds calls to ``seconds``: the calls of one request together, any other call by itself."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: list[tuple[float, int, _Call]] = []
        self._number = count()
        self._timer: asyncio.Handle | None = None
        self._rings_at = math.inf
        """When the timer does: uvloop's own does not tell where that is now, or has been."""

    async def bound(self, name: str, awaitable: Awaitable[T]) -> T:
        """Awaits a call and returns its result. Raises StorageUnavailable when it exceeds the
        deadline; it is cancelled then, as by asyncio.timeout."""
        spent, clock = _spent.get(), asyncio.get_running_loop().time
        began = clock()
        call = self._begin(began + self._seconds - (spent.seconds if spent is not None else 0.0))
        try:
            return await awaitable
        except asyncio.CancelledError as error:
            if call.take_back():
                raise StorageUnavailable(f"{name} took over {self._seconds} s") from error
            raise
        finally:
            call.take_back()
            call.task = None
            if spent is not None:
                spent.seconds += clock() - began

    def _begin(self, deadline: float) -> _Call:
        task = asyncio.current_task()
        assert task is not None
        while self._calls and self._calls[0][2].task is None:
            heappop(self._calls)
        call = _Call(task)
        heappush(self._calls, (deadline, next(self._number), call))
        if deadline < self._rings_at:
            self._set_timer(deadline)
        return call

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._ring)
        self._rings_at = deadline

    def _ring(self) -> None:
        self._timer, self._rings_at = None, math.inf
        self._expire(TURNS)

    def _expire(self, turns: int) -> None:
        """After so many turns cancels the calls that have expired, and sets the timer for the next
        one."""
        if turns:
            asyncio.get_running_loop().call_soon(self._expire, turns - 1)
            return
        now = asyncio.get_running_loop().time()
        while self._calls and (self._calls[0][2].task is None or self._calls[0][0] <= now):
            call = heappop(self._calls)[2]
            if call.task is not None:
                call.expired = True
                call.task.cancel()
        if self._calls:
            self._set_timer(self._calls[0][0])
