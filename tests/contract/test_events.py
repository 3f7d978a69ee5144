"""The event log: whoever follows it misses nothing."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

from storage import Storage
from storage.records import OrderEvent
from tests.contract.database import (
    COOK,
    NOW,
    Database,
    act,
    add,
    cancel,
    execute_sql,
    new_order,
    read_all_events,
)

MINUTE = timedelta(minutes=1)


async def test_a_new_log_is_empty(database: Database) -> None:
    async with database.open() as storage:
        for after in (None, 0):
            page = await storage.read_events(after, 10)
            assert (page.events, page.position, page.first, page.last) == ((), 0, 1, 0)
        assert await storage.delete_events(NOW, 10) == 0


async def test_every_change_is_an_event_in_its_order(database: Database) -> None:
    async with database.open_two() as (one, two):
        first, second = await add(one), await add(two, new_order("guest"))
        accepted, _ = await act(two, first.id, "accept", at=NOW + MINUTE, ready_in=MINUTE)
        gone = await cancel(one, "guest", second.id)
        for storage in (one, two):
            events = await read_all_events(storage)
            assert [event.order for event in events] == [first, second, accepted, gone]
            assert [event.type for event in events] == ["placed", "placed", "accepted", "cancelled"]
            assert [event.by.user for event in events] == ["demo", "guest", COOK.user, "guest"]
            assert [event.by.key for event in events] == [None, None, COOK.key, None]
            assert [event.at for event in events] == [NOW, NOW, NOW + MINUTE, gone.changed_at]
            assert_ascending(events)


def assert_ascending(events: list[OrderEvent]) -> None:
    numbers = [event.seq for event in events]
    assert numbers == sorted(set(numbers))


async def test_pages_follow_each_other(database: Database) -> None:
    async with database.open() as storage:
        orders = [await add(storage, new_order(f"user {n % 2}")) for n in range(20)]
        for order in orders[::2]:
            await act(storage, order.id, "accept", ready_in=MINUTE)
        events = await read_all_events(storage)
        assert len(events) == 30
        for limit in (1, 7, 29, 30, 31):
            assert await read_all_events(storage, limit=limit) == events
            mine = await read_all_events(storage, limit=limit, user_id="user 1")
            assert mine == [event for event in events if event.order.user_id == "user 1"]
            of_one = await read_all_events(storage, limit=limit, order_id=orders[4].id)
            assert of_one == [event for event in events if event.order.id == orders[4].id]
            assert len(of_one) == 2
        page = await storage.read_events(events[9].seq, 10)
        assert list(page.events) == events[10:20]
        assert page.position == events[19].seq
        assert (page.first, page.last) == (events[0].seq, events[-1].seq)


async def test_what_nobody_did_has_no_events(database: Database) -> None:
    async with database.open() as storage:
        order = await add(storage)
        last = (await storage.read_events(None, 1)).last
        for filters in [
            {"user_id": "nobody"},
            {"order_id": uuid.uuid4()},
            {"user_id": "guest", "order_id": order.id},
        ]:
            page = await storage.read_events(0, 10, **filters)  # type: ignore[arg-type]
            assert (page.events, page.position) == ((), last)
        page = await storage.read_events(0, 10, user_id="demo", order_id=order.id)
        assert [event.order for event in page.events] == [order]


async def test_without_a_beginning_a_reader_learns_where_the_log_ends(database: Database) -> None:
    async with database.open_two() as (one, two):
        for _ in range(3):
            await add(one)
        page = await two.read_events(None, 10)
        assert page.events == ()
        assert page.position == page.last
        order = await add(one)
        (event,) = (await two.read_events(page.position, 10)).events
        assert event.order == order
        assert (await two.read_events(None, 10, user_id="demo")).position == event.seq


async def test_a_number_beyond_the_log_is_the_callers_to_see(database: Database) -> None:
    """As after a restored backup."""
    async with database.open() as storage:
        await add(storage)
        last = (await storage.read_events(None, 1)).last
        for after in (last + 1, last + 1000, 2**62):
            for filters in [{}, {"user_id": "demo"}]:
                page = await storage.read_events(after, 10, **filters)  # type: ignore[arg-type]
                assert page.events == ()
                assert page.last == last < after


async def test_a_users_events_are_found_among_many_of_others(database: Database) -> None:
    """However far apart: a page's position moves on although it holds nothing."""
    async with database.open() as storage:
        first = await add(storage, new_order("rare"))
        for _ in range(22):
            await asyncio.gather(*(storage.add_order(new_order()) for _ in range(500)))
        last = await add(storage, new_order("rare"))
        events = await read_all_events(storage, user_id="rare")
        assert [event.order for event in events] == [first, last]
        page = await storage.read_events(0, 10, order_id=last.id)
        assert [event.order for event in page.events] == [last]


async def test_old_events_are_deleted_from_the_beginning(database: Database) -> None:
    async with database.open() as storage:
        # the fourth is old as well, but behind one that is not
        times = [NOW + n * MINUTE for n in (0, 1, 5, 0, 6)]
        orders = []
        for at in times:
            orders.append(await add(storage, new_order(created_at=at)))
            await storage.number_events()  # what waits for its number gets it by its time
        events = await read_all_events(storage)
        before = NOW + 5 * MINUTE
        for limit, deleted, left in [(1, 1, 4), (10, 1, 3), (10, 0, 3)]:
            assert await storage.delete_events(before, limit) == deleted
            assert await read_all_events(storage) == events[-left:]
            page = await storage.read_events(None, 1)
            assert (page.first, page.last) == (events[-left].seq, events[-1].seq)
        assert await storage.get_order_history(orders[0].id) == (orders[0], ())
        # whoever asks from before what is kept gets what is kept, and can see that it is not all
        page = await storage.read_events(0, 10, user_id="demo")
        assert list(page.events) == events[2:]
        assert page.first > 0 + 1


async def test_numbers_are_never_given_again(database: Database) -> None:
    async with database.open_two() as (one, two):
        for _ in range(3):
            await add(one)
        last = (await one.read_events(None, 1)).last
        assert await two.delete_events(NOW + MINUTE, 10) == 3
        for storage in (one, two):
            page = await storage.read_events(0, 10)
            assert (page.events, page.position) == ((), last)
            assert (page.first, page.last) == (last + 1, last)
        order = await add(two)
        (event,) = (await one.read_events(last, 10)).events
        assert event.seq > last
        assert event.order == order
        assert (await one.read_events(None, 1)).first == event.seq


async def test_the_log_survives_closing(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        order = await add(storage)
        await act(storage, order.id, "accept", ready_in=MINUTE)
        events = await read_all_events(storage)
        await storage.delete_events(NOW + MINUTE, 1)
    async with shared_database.open() as storage:
        assert await read_all_events(storage) == events[1:]


async def test_a_reader_beside_writers_misses_nothing(database: Database) -> None:
    """What it has read, in the order in which it read it, is the whole log."""
    async with database.open_two() as (one, two):
        writing = asyncio.gather(*(live(peer) for peer in [one, two] * 8))
        read: list[OrderEvent] = []
        after = 0
        while True:
            done = writing.done()
            page = await [one, two][len(read) % 2].read_events(after, 7)
            read += page.events
            after = page.position
            if done and not page.events:
                break
            await asyncio.sleep(0)
        await writing
        assert_ascending(read)
        assert read == await read_all_events(one)
        versions: dict[uuid.UUID, list[int]] = defaultdict(list)
        for event in read:
            versions[event.order.id].append(event.order.version)
        assert list(versions.values()) == [[1, 2, 3]] * (16 * 6)


async def live(storage: Storage) -> None:
    for _ in range(6):
        order = await storage.add_order(new_order())
        await asyncio.sleep(0)
        await act(storage, order.id, "accept")
        await asyncio.sleep(0)
        await act(storage, order.id, "cancel", reason="closing")


async def test_refused_changes_leave_no_event(database: Database) -> None:
    async with database.open() as storage:
        order = await add(storage)
        await cancel(storage, "demo", order.id)
        before = await read_all_events(storage)
        outcomes = await asyncio.gather(
            cancel(storage, "demo", order.id),
            act(storage, order.id, "accept"),
            storage.add_order(order),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, Exception) for outcome in outcomes)
        assert await read_all_events(storage) == before


BACKUPS = Path(__file__).parents[2] / "docs" / "scaling.md"


async def test_after_a_restore_the_log_is_forgotten_as_the_document_says(
    shared_database: Database,
) -> None:
    """Whatever new orders come: nobody takes them for those that were seen before."""
    async with shared_database.open() as storage:
        for _ in range(3):
            await add(storage)
        seen = (await storage.read_events(None, 1)).position
        backend = {"sqlite": "SQLite", "postgresql": "Postgres"}[storage.backend]
        found = re.search(rf"-- {backend}\n(.+?)\n```", BACKUPS.read_text(), re.DOTALL)
        assert found is not None
        for statement in found[1].strip().rstrip(";").split(";"):
            await execute_sql(shared_database.url, statement)
        for _ in range(5):
            await add(storage)
        page = await storage.read_events(seen, 10)
        assert not page.follows(seen)
        assert len((await storage.read_events(page.first - 1, 10)).events) == 5
