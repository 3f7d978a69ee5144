"""What an archive takes out of a database that several programs share."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from storage import Storage
from storage.records import ArchivedOrder, Cursor
from storage.sql import SQLStorage
from tests.contract.database import (
    NOW,
    Database,
    act,
    add,
    execute_sql,
    new_order,
    read_all_events,
)

LATER = NOW + timedelta(days=1)
BEGIN = Cursor(NOW - timedelta(days=1), UUID(int=0))


async def read_ended(storage: Storage, limit: int = 100) -> list[ArchivedOrder]:
    assert isinstance(storage, SQLStorage)
    return await storage.read_ended(LATER, LATER, BEGIN, limit)


async def delete(storage: Storage, *archived: ArchivedOrder) -> int:
    assert isinstance(storage, SQLStorage)
    return await storage.delete_archived(archived)


async def add_completed(storage: Storage, **changes: Any) -> UUID:
    order = await add(storage, new_order(**changes))
    await act(storage, order.id, "accept", at=order.created_at)
    await act(storage, order.id, "complete", at=order.created_at)
    return order.id


async def test_only_what_is_kept_as_it_stands_is_deleted(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        await add_completed(storage)
        if storage.backend == "postgresql":  # an event that has no number keeps its order
            assert await delete(storage, *await read_ended(storage)) == 0
        assert len(await read_all_events(storage)) == 3
        (kept,) = await read_ended(storage)
        assert [event.type for event in kept.events] == ["placed", "accepted", "completed"]
        for other in (
            replace(kept, order=replace(kept.order, total=1)),
            replace(kept, order=replace(kept.order, lines=kept.order.lines[:1])),
            replace(kept, events=kept.events[:2]),
        ):
            assert await delete(storage, other) == 0
            assert await read_ended(storage) == [kept]
        await storage.delete_events(LATER, 2)
        assert await delete(storage, kept, kept) == 1
        assert await read_ended(storage) == []
        assert await delete(storage, kept) == 0


async def test_pages_go_by_time_and_hold_what_has_ended(shared_database: Database) -> None:
    async with shared_database.open() as storage:
        assert isinstance(storage, SQLStorage)
        times = [NOW, NOW, NOW + timedelta(hours=1), LATER]
        ids = [await add_completed(storage, created_at=time) for time in times]
        await add(storage)
        assert await storage.find_ended(NOW) is None
        assert await storage.find_ended(LATER) == NOW
        assert await storage.find_ended(LATER, times[2]) == times[2]
        found = [one.order.id for one in await read_ended(storage)]
        assert found == [*sorted(ids[:2]), ids[2]]
        assert [one.order.id for one in await read_ended(storage, 2)] == found[:2]


async def test_a_reader_of_what_is_gone_begins_anew(shared_database: Database) -> None:
    """Events of other orders before and behind are kept: the log has a hole, and says so."""
    async with shared_database.open() as storage:
        waiting = await add(storage)
        await add_completed(storage, created_at=NOW + timedelta(minutes=1))
        await add(storage, new_order(created_at=NOW + timedelta(minutes=2)))
        assert [event.seq for event in await read_all_events(storage)] == [1, 2, 3, 4, 5]
        assert await delete(storage, *await read_ended(storage)) == 1
        page = await storage.read_events(1, 100)
        assert (page.first, page.last) == (5, 5)
        assert not page.follows(3)
        assert page.follows(4)
        assert [event.seq for event in (await storage.read_events(4, 100)).events] == [5]
        assert len((await storage.get_order_history(waiting.id))[1]) == 1


async def test_an_event_whose_order_is_just_gone_is_left_out(postgres_url: str) -> None:
    """An archive may take it between the two statements of a reader."""
    async with Database(postgres_url).open() as storage:
        gone, kept = await add(storage), await add(storage)
        await storage.number_events()
        await execute_sql(postgres_url, f"DELETE FROM orders WHERE id = '{gone.id}'")
        page = await storage.read_events(0, 100)
        assert [event.order.id for event in page.events] == [kept.id]
        assert page.position == 2
