from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, ContextVar
from typing import cast

import pytest

from storage.base import ReportOutcomes
from storage.batches import HALVES_ABOVE, Batcher, together_or_alone
from storage.errors import (
    CouponUsedUp,
    OrderConflict,
    StorageBusy,
    StorageError,
    StorageUnavailable,
    ValueRejected,
)
from storage.records import Order


class Recorder:
    """A store that doubles numbers, remembers its batches, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, batch: list[int]) -> Sequence[int | StorageError]:
        self.batches.append(batch)
        await self.open.wait()
        return [number * 2 if number >= 0 else CouponUsedUp(str(number)) for number in batch]


async def test_what_arrives_meanwhile_shares_the_next_batch() -> None:
    store = Recorder()
    store.open.clear()
    batcher = Batcher(store, batch_size=3)
    first = asyncio.create_task(batcher.submit(0))
    await asyncio.sleep(0.01)
    rest = [asyncio.create_task(batcher.submit(number)) for number in range(1, 6)]
    await asyncio.sleep(0)
    store.open.set()
    assert await asyncio.gather(first, *rest) == [0, 2, 4, 6, 8, 10]
    assert store.batches == [[0], [1, 2, 3], [4, 5]]


async def test_an_idle_batcher_starts_at_once() -> None:
    store = Recorder()
    batcher = Batcher(store)
    for number in range(3):
        assert await batcher.submit(number) == number * 2
    assert store.batches == [[0], [1], [2]]


async def sizes_of_batches(clients: int, *, halves: bool = False) -> list[int]:
    """Of the batches of so many clients that each send again when they have their answer, while one
    commit takes as long as an answer and the next request are under way."""
    sizes = []

    async def store(batch: list[int]) -> Sequence[int | StorageError]:
        sizes.append(len(batch))
        for _ in range(5):
            await asyncio.sleep(0)
        return batch

    async def client(batcher: Batcher[int, int], number: int) -> None:
        for _ in range(6):
            await batcher.submit(number)
            await asyncio.sleep(0)

    batcher = Batcher(store, halves=halves)
    first = asyncio.create_task(client(batcher, 0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.gather(first, *(client(batcher, number) for number in range(1, clients)))
    return sizes


@pytest.mark.parametrize("clients", [4, HALVES_ABOVE + 2])
async def test_all_clients_share_every_commit(clients: int) -> None:
    assert await sizes_of_batches(clients) == [1, *[clients] * 5, clients - 1]


async def test_two_halves_of_many_take_turns() -> None:
    assert set((await sizes_of_batches(HALVES_ABOVE, halves=True))[1:-1]) == {HALVES_ABOVE}
    half = HALVES_ABOVE // 2 + 1
    assert await sizes_of_batches(2 * half, halves=True) == [1, *[half] * 11, half - 1]


async def test_a_half_of_those_who_wait_leaves_nobody_behind() -> None:
    store = Recorder()
    batcher = Batcher(store, halves=True)
    many = range(3 * HALVES_ABOVE)
    assert await asyncio.gather(*map(batcher.submit, many)) == [2 * number for number in many]
    assert sorted(one for batch in store.batches for one in batch) == list(many)


async def test_an_item_fails_alone() -> None:
    batcher = Batcher(Recorder())
    one, minus, two = await asyncio.gather(*map(batcher.submit, (1, -1, 2)), return_exceptions=True)
    assert (one, two) == (2, 4)
    assert isinstance(minus, CouponUsedUp)


async def test_an_error_of_the_batch_is_everyones_own() -> None:
    async def fail(batch: list[int]) -> list[int]:
        raise StorageUnavailable("gone") from OSError("cable")

    batcher = Batcher(fail)
    one, two = await asyncio.gather(*map(batcher.submit, (1, 2)), return_exceptions=True)
    assert one is not two
    for error in (one, two):
        assert isinstance(error, StorageUnavailable)
        assert isinstance(error.__cause__, OSError)
    with pytest.raises(StorageUnavailable):
        await batcher.submit(3)


async def mistaken(batch: list[int]) -> list[int]:
    raise KeyError(batch[0])


async def cancelled(batch: list[int]) -> list[int]:
    raise asyncio.CancelledError


async def forgetful(batch: list[int]) -> list[int]:
    return batch[1:]


@pytest.mark.parametrize("store", [mistaken, cancelled, forgetful])
async def test_a_mistake_in_the_store_reaches_the_callers(
    store: Callable[[list[int]], Awaitable[list[int]]],
) -> None:
    batcher = Batcher(store, name_of=parity)
    async with asyncio.timeout(5):
        for _ in range(2):  # of one name: nothing of the first stays behind
            with pytest.raises(StorageError, match="storing a batch of orders failed"):
                await batcher.submit(1)


async def test_an_error_that_is_made_of_more_than_its_message_is_everyones_own_too() -> None:
    order = cast(Order, object())

    async def refuse(batch: list[int]) -> list[int]:
        raise OrderConflict("as it stands", order)

    async with asyncio.timeout(5):
        with pytest.raises(OrderConflict, match="as it stands") as caught:
            await Batcher(refuse).submit(1)
    assert caught.value.order is order


async def test_what_is_around_a_commit_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    def report(results: Sequence[object]) -> None:
        raise RuntimeError("reported too much")

    around = nullcontext(report)
    batcher = Batcher(Recorder(), around=lambda: lambda contexts: around)
    assert await batcher.submit(1) == 2
    assert "reported too much" in caplog.text


async def test_who_follows_an_equal_name_passes_nobody() -> None:
    store = Recorder()
    batcher = Batcher(store, name_of=parity, batch_size=2)
    numbers = [1, 11, 21, 31, 2, 4, 6, 8]
    assert await asyncio.gather(*map(batcher.submit, numbers)) == [2 * n for n in numbers]
    assert store.batches == [[1, 2], [4, 6], [8, 11], [21], [31]]


async def test_a_full_queue_refuses_at_once() -> None:
    store = Recorder()
    batcher = Batcher(store, capacity=2)
    store.open.clear()
    first = asyncio.create_task(batcher.submit(0))
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(batcher.submit(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(StorageBusy):
        await batcher.submit(3)
    store.open.set()
    assert await asyncio.gather(first, *waiting) == [0, 2, 4]


async def test_a_cancelled_caller_takes_nobody_along() -> None:
    store = Recorder()
    store.open.clear()
    batcher = Batcher(store)
    running = [asyncio.create_task(batcher.submit(number)) for number in (0, 1)]
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(batcher.submit(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    running[0].cancel()
    waiting[0].cancel()
    store.open.set()
    assert [await running[1], await waiting[1]] == [2, 6]
    assert store.batches == [[0, 1], [3]]


async def test_close_finishes_what_waits() -> None:
    batcher = Batcher(Recorder(), batch_size=1)
    waiting = [asyncio.create_task(batcher.submit(number)) for number in range(3)]
    await asyncio.sleep(0)
    await batcher.close()
    assert await asyncio.gather(*waiting) == [0, 2, 4]
    with pytest.raises(StorageUnavailable):
        await batcher.submit(4)
    await batcher.close()


async def test_around_is_told_the_contexts_of_the_callers() -> None:
    caller: ContextVar[int] = ContextVar("caller")
    seen: list[list[int]] = []
    told: list[Sequence[object]] = []

    def around(contexts: Sequence[Context]) -> AbstractContextManager[ReportOutcomes]:
        seen.append([context[caller] for context in contexts])
        return nullcontext(told.append)

    batcher = Batcher(Recorder(), around=lambda: around)

    async def call(number: int) -> None:
        caller.set(number)
        await batcher.submit(number)

    await asyncio.gather(*map(call, range(3)))
    assert seen == [[0, 1, 2]]
    assert told == [[0, 2, 4]]


async def test_a_value_that_is_rejected_takes_nobody_along() -> None:
    async def store(batch: list[int]) -> list[int]:
        if 13 in batch:
            raise ValueRejected("13")
        return batch

    one, thirteen, two = await together_or_alone(store, [1, 13, 2])
    assert (one, two) == (1, 2)
    assert isinstance(thirteen, ValueRejected)


async def test_a_store_that_goes_away_is_tried_once() -> None:
    calls = 0

    async def store(batch: list[int]) -> list[int]:
        nonlocal calls
        calls += 1
        raise StorageUnavailable("gone")

    results = await together_or_alone(store, [1, 2])
    assert [type(result) for result in results] == [StorageUnavailable] * 2
    assert calls == 1


def parity(number: int) -> int | None:
    """Even numbers have no name; odd ones share theirs with those that end like them."""
    return number % 10 if number % 2 else None


async def test_of_an_equal_name_each_waits_for_the_batch_of_the_one_before() -> None:
    store = Recorder()
    batcher = Batcher(store, name_of=parity)
    numbers = [1, 11, 2, 3, 21, 4, 13]
    assert await asyncio.gather(*map(batcher.submit, numbers)) == [2 * n for n in numbers]
    assert store.batches == [[1, 2, 3, 4], [11, 13], [21]]


async def test_a_name_is_held_while_its_batch_runs_and_not_longer() -> None:
    store = Recorder()
    store.open.clear()
    batcher = Batcher(store, name_of=parity)
    first = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0.01)
    rest = [asyncio.create_task(batcher.submit(number)) for number in (11, 2, 21)]
    await asyncio.sleep(0)
    store.open.set()
    assert await asyncio.gather(first, *rest) == [2, 22, 4, 42]
    assert store.batches == [[1], [2, 11], [21]]
    assert await batcher.submit(31) == 62
    assert batcher._behind == {}


async def test_those_behind_an_equal_name_count_and_may_leave() -> None:
    store = Recorder()
    store.open.clear()
    batcher = Batcher(store, name_of=parity, capacity=3)
    running = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(batcher.submit(number)) for number in (11, 21, 31)]
    await asyncio.sleep(0)
    with pytest.raises(StorageBusy):
        await batcher.submit(41)
    waiting[0].cancel()
    waiting[1].cancel()
    store.open.set()
    assert [await running, await waiting[2]] == [2, 62]
    assert store.batches == [[1], [31]]


async def test_close_finishes_those_behind_an_equal_name() -> None:
    batcher = Batcher(Recorder(), name_of=parity)
    waiting = [asyncio.create_task(batcher.submit(number)) for number in (1, 11, 21)]
    await asyncio.sleep(0)
    await batcher.close()
    assert await asyncio.gather(*waiting) == [2, 22, 42]


async def test_one_of_an_equal_name_that_fails_lets_the_next_be_tried() -> None:
    tried: list[list[int]] = []

    async def store(batch: list[int]) -> list[int]:
        tried.append(batch)
        if len(tried) == 1:
            raise StorageUnavailable("gone")
        return batch

    batcher = Batcher(store, name_of=parity)
    one, eleven = await asyncio.gather(*map(batcher.submit, (1, 11)), return_exceptions=True)
    assert isinstance(one, StorageUnavailable)
    assert (eleven, tried) == (11, [[1], [11]])
