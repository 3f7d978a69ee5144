"""One timer for many calls, and what each of them may rely on."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from orderfood.shop.deadlines import Deadlines, begin_request, counted, leave_request
from storage.errors import OrderNotFound, StorageUnavailable


async def never() -> None:
    await asyncio.Event().wait()


async def after(seconds: float, result: str = "done") -> str:
    await asyncio.sleep(seconds)
    return result


async def test_what_is_in_time_is_passed_on() -> None:
    deadlines = Deadlines(5)
    assert await deadlines.bound("find", after(0, "found")) == "found"
    with pytest.raises(OrderNotFound):
        await deadlines.bound("get", failing())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_who_has_no_time_left_is_refused_alone(run: Callable[[Awaitable[None]], None]) -> None:
    async def beside_each_other() -> None:
        deadlines, begins = Deadlines(0.05), asyncio.Event()

        async def late() -> None:
            begin_request()
            with counted():
                await asyncio.sleep(0.06)
            begins.set()
            with pytest.raises(StorageUnavailable):
                await deadlines.bound("late", never())

        async def in_time() -> None:
            await begins.wait()
            assert await deadlines.bound("in time", after(0, "found")) == "found"

        await asyncio.gather(late(), in_time())

    run(beside_each_other())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_answer_that_came_while_the_process_stood_still_counts(
    run: Callable[[Awaitable[None]], None],
) -> None:
    async def stalled() -> None:
        here, there = socket.socketpair()
        with there:
            reader, writer = await asyncio.open_connection(sock=here)
            reading = asyncio.create_task(Deadlines(0.05).bound("read", reader.readexactly(2)))
            await asyncio.sleep(0)
            there.sendall(b"ok")
            time.sleep(0.1)  # noqa: ASYNC251
            assert await reading == b"ok"
            writer.close()
            await writer.wait_closed()

    run(stalled())


async def failing() -> None:
    raise OrderNotFound("none")


async def test_what_takes_too_long_is_cancelled_and_says_so() -> None:
    cancelled = asyncio.Event()

    async def slow() -> None:
        try:
            await never()
        finally:
            cancelled.set()

    with pytest.raises(StorageUnavailable, match=r"get took over 0\.05 s"):
        await Deadlines(0.05).bound("get", slow())
    assert cancelled.is_set()
    await asyncio.sleep(0)  # the task itself is not cancelled: it goes on
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_each_call_has_its_own_time() -> None:
    deadlines = Deadlines(0.2)
    first = asyncio.create_task(deadlines.bound("first", never()))
    await asyncio.sleep(0.15)
    second = asyncio.create_task(deadlines.bound("second", after(0.12)))
    third = asyncio.create_task(deadlines.bound("third", never()))
    assert await second == "done"  # after the timer has rung for the first
    for task in (first, third):
        with pytest.raises(StorageUnavailable):
            await task


async def test_a_call_after_a_pause_is_bounded_too() -> None:
    deadlines = Deadlines(0.05)
    await deadlines.bound("early", after(0))
    await asyncio.sleep(0.1)
    with pytest.raises(StorageUnavailable):
        await deadlines.bound("late", never())


async def test_whoever_cancels_the_task_sees_it_cancelled() -> None:
    task = asyncio.create_task(Deadlines(5).bound("get", never()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_deadline_is_not_lost() -> None:
    deadlines = Deadlines(0.01)
    task = asyncio.create_task(deadlines.bound("get", never()))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    time.sleep(0.02)  # both timers are due in one turn of the loop  # noqa: ASYNC251
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_became_another_error_is_taken_back() -> None:
    async def translating() -> None:
        try:
            await never()
        except asyncio.CancelledError:
            raise OrderNotFound("of its own") from None

    with pytest.raises(OrderNotFound):
        await Deadlines(0.01).bound("get", translating())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_bound_around_a_bound_ends_the_inner_one() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await Deadlines(5).bound("get", never())


async def test_what_has_ended_is_forgotten() -> None:
    deadlines = Deadlines(60)
    for _ in range(1000):
        await deadlines.bound("get", after(0))
    assert len(deadlines._calls) <= 1


async def test_a_timeout_of_the_call_itself_is_its_own() -> None:
    async def driver() -> None:
        raise TimeoutError("the driver's")

    with pytest.raises(TimeoutError, match="the driver's"):
        await Deadlines(5).bound("get", driver())


async def test_the_calls_of_a_request_share_one_limit() -> None:
    deadlines = Deadlines(1.0)

    async def request(*seconds: float) -> None:
        begin_request()
        for number, each in enumerate(seconds):
            await deadlines.bound(f"call {number}", after(each))

    await asyncio.gather(*(request(0.1, 0.1) for _ in range(3)))
    with pytest.raises(StorageUnavailable, match=r"call [01] took"):  # each alone is in time
        await asyncio.create_task(request(0.9, 0.9))
    with pytest.raises(StorageUnavailable, match="call 1"):
        await asyncio.create_task(request(0.1, 60))


async def test_what_waits_for_a_lock_counts() -> None:
    deadlines = Deadlines(1.0)

    async def request() -> None:
        begin_request()
        with counted():
            await asyncio.sleep(0.9)
        await deadlines.bound("call", after(0.9))

    with pytest.raises(StorageUnavailable):
        await asyncio.create_task(request())


async def test_what_serves_all_requests_has_the_whole_limit() -> None:
    deadlines = Deadlines(0.3)

    async def shared() -> None:
        leave_request()
        for _ in range(3):
            await deadlines.bound("probe", after(0.15))

    async def request() -> None:
        begin_request()
        await asyncio.create_task(shared())

    await asyncio.create_task(request())


async def test_a_call_with_less_time_ends_before_one_with_more() -> None:
    deadlines = Deadlines(0.4)
    whole = asyncio.create_task(deadlines.bound("whole", after(0.3)))
    await asyncio.sleep(0)

    async def rest() -> None:
        begin_request()
        with counted():
            await asyncio.sleep(0.1)
        with counted():
            await asyncio.sleep(0.1)
        await deadlines.bound("rest", never())

    hurried = asyncio.create_task(rest())
    done, _ = await asyncio.wait({whole, hurried}, return_when=asyncio.FIRST_EXCEPTION)
    assert await whole == "done"
    with pytest.raises(StorageUnavailable, match="rest"):
        await hurried
    assert done
