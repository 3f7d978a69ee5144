"""Group commit: what arrives while a commit runs is stored in the next one, as a batch."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import nullcontext
from contextvars import Context, copy_context
from typing import Generic, NamedTuple, TypeVar

from storage.base import AroundCommit
from storage.errors import OrderExists, StorageBusy, StorageError, StorageUnavailable, ValueRejected

logger = logging.getLogger(__name__)

BATCH_SIZE = 512
"""The most writes that share one commit: it bounds how long the first of them waits."""

CAPACITY = 10_000
"""The most writes that wait; one more is refused at once, before it costs anything."""

GATHER_TURNS = 4
"""The most turns of the event loop between two batches: in them those who were answered run, their
answers leave, and what their clients send next arrives. A turn without work takes microseconds."""

HALVES_ABOVE = 40
"""With more clients than this half of them, too, make a batch whose own cost is little for each."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Waiting(NamedTuple, Generic[Item, Result]):
    item: Item
    name: Hashable
    outcome: asyncio.Future[Result]
    context: Context


class Batcher(Generic[Item, Result]):
    """Hands what is submitted to ``run`` in batches, one batch at a time, first come first served.

    There is no timer: an idle batcher starts at once. Between two batches the event loop gets a few
    turns, in which those who were answered can send again, so that a batch is of all who send one
    thing after the other. With ``halves`` it is of half of them, if they are many: while one half
    is stored, the other is answered. That is worth it where ``run`` leaves this process alone.

    ``run`` answers each item with a result or with the error of that item alone; what it raises is
    the error of all. Of items that ``name_of`` gives an equal name, other than None, a batch holds
    one: each of the others waits until the one before it is done, and then for the next batch.
    ``around``, asked at each batch, gives what to enter around it; what that yields is called with
    the results, which stand whatever it raises.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[Sequence[Result | StorageError]]],
        *,
        name_of: Callable[[Item], Hashable] = lambda item: None,
        around: Callable[[], AroundCommit | None] = lambda: None,
        halves: bool = False,
        batch_size: int = BATCH_SIZE,
        capacity: int = CAPACITY,
    ) -> None:
        self._run = run
        self._name_of = name_of
        self._around = around
        self._halves = halves
        self._batch_size = batch_size
        self._capacity = capacity
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._behind: dict[Hashable, deque[_Waiting[Item, Result]]] = {}
        """By the name of one that waits or is being stored: those that wait for it."""
        self._number_behind = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, item: Item) -> Result:
        """The result of ``item``. Cancelling this leaves the rest of its batch alone."""
        if self._closed:
            raise StorageUnavailable("the storage is closed")
        if len(self._waiting) + self._number_behind >= self._capacity:
            raise StorageBusy("too many orders are waiting to be stored")
        outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._enqueue(_Waiting(item, self._name_of(item), outcome, copy_context()))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await outcome

    def _enqueue(self, waiting: _Waiting[Item, Result]) -> None:
        if waiting.name in self._behind:
            self._behind[waiting.name].append(waiting)
            self._number_behind += 1
            return
        if waiting.name is not None:
            self._behind[waiting.name] = deque()
        self._waiting.append(waiting)

    def _let_follow(self, done: _Waiting[Item, Result]) -> None:
        """Queues the next item of the same name, behind all that wait."""
        if done.name is None:
            return
        if behind := self._behind[done.name]:
            self._waiting.append(behind.popleft())
            self._number_behind -= 1
        else:
            del self._behind[done.name]

    async def close(self) -> None:
        """Refuses new items and returns when all queued ones are done."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _drain(self) -> None:
        clients = len(self._waiting)
        while self._waiting:
            size = min(self._size(clients), len(self._waiting))
            taken = [self._waiting.popleft() for _ in range(size)]
            if batch := [waiting for waiting in taken if not waiting.outcome.done()]:
                await self._settle(batch)
            for waiting in taken:
                self._let_follow(waiting)
            # Of those who were just answered none has run yet: who waits now is somebody else.
            clients = size + len(self._waiting)
            if clients > 1:
                await self._gather(self._size(clients))
                clients = max(clients, len(self._waiting))

    def _size(self, clients: int) -> int:
        """How many of so many clients make a batch."""
        if self._halves and clients > HALVES_ABOVE:
            clients = (clients + 1) // 2
        return min(clients, self._batch_size)

    async def _gather(self, size: int) -> None:
        """Returns when so many wait, or after GATHER_TURNS."""
        for _ in range(GATHER_TURNS):
            if len(self._waiting) >= size:
                return
            await asyncio.sleep(0)

    async def _settle(self, batch: list[_Waiting[Item, Result]]) -> None:
        for waiting, outcome in await self._outcomes(batch):
            _resolve(waiting.outcome, outcome)

    async def _outcomes(
        self, batch: list[_Waiting[Item, Result]]
    ) -> list[tuple[_Waiting[Item, Result], Result | StorageError]]:
        """What each gets. Nobody is left without, whatever is raised."""
        outcomes = None
        try:
            around = self._around()
            contexts = [waiting.context for waiting in batch]
            with around(contexts) if around else nullcontext(_ignore) as report:
                results = await self._run([waiting.item for waiting in batch])
                outcomes = [*zip(batch, results, strict=True)]
                report(results)
        except (Exception, asyncio.CancelledError) as error:
            if outcomes is None:
                return [(waiting, _own_error(error)) for waiting in batch]
            logger.exception("what is around a commit failed after it")
        return outcomes


def _ignore(results: Sequence[object]) -> None:
    """Does nothing with the results: nothing is entered around the commit."""


def _own_error(error: BaseException) -> StorageError:
    """An error of one waiter: raised in many tasks, one object would mix their tracebacks."""
    if isinstance(error, StorageError):
        own = type(error).__new__(type(error), *error.args)  # its __init__ may take others
        vars(own).update(vars(error))
        own.__cause__ = error.__cause__
    else:
        own = StorageError(f"storing a batch of orders failed: {error!r}")
        own.__cause__ = error
    return own


def _resolve(outcome: asyncio.Future[Result], result: Result | StorageError) -> None:
    if outcome.done():
        return
    if isinstance(result, StorageError):
        outcome.set_exception(result)
    else:
        outcome.set_result(result)


async def together_or_alone(
    run: Callable[[list[Item]], Awaitable[Sequence[Result | StorageError]]], batch: list[Item]
) -> Sequence[Result | StorageError]:
    """The results of a batch that ``run`` stores in one step. When one item makes the step fail for
    what it contains, each is run alone, so that only the culprit fails. Raises nothing of ours."""
    try:
        return await run(batch)
    except (ValueRejected, OrderExists) as error:
        if len(batch) == 1:
            return [error]
    except StorageError as error:
        return [_own_error(error) for _ in batch]
    return [(await together_or_alone(run, [item]))[0] for item in batch]
