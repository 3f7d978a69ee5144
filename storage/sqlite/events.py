"""The event log in an SQLite file. There is one writer at a time, so that numbers become visible in
their order."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from uuid import UUID

from storage.records import Actor, EventPage, Order, OrderEvent
from storage.rows import EVENT_COLUMNS, JOINED_EVENT_COLUMNS, read_events, write_event
from storage.sqlite.connections import ORDER_LOCK_SECONDS, reading, value, writing
from storage.sqlite.times import from_time, to_time

WITH_LINES = " LEFT JOIN order_lines AS l ON l.order_number = o.number"

SEARCHED = 10_000
"""How many numbers one reading of a user's events looks through: most are others'."""


_NUMBER_OF = "(SELECT number FROM orders WHERE id = {})"
"""The order's row, by which its events know it: every order writes to the log, so it is small."""

_APPEND = (
    f"INSERT INTO order_events ({EVENT_COLUMNS.replace('order_id', 'order_number')})"
    f" VALUES ({_NUMBER_OF.format('?')}, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_APPEND_PLACED = (
    "INSERT INTO order_events (order_number, version, user_id, type, status, at)"
    " SELECT number, version, user_id, last_event, status, created_at"
    " FROM orders WHERE number >= ? ORDER BY number"
)


def append(db: sqlite3.Connection, order: Order, by: Actor) -> None:
    """Appends the last event of an order."""
    db.execute(_APPEND, write_event(order, by, str, from_time))


def append_placed(db: sqlite3.Connection, first: int) -> None:
    """Appends the first events of new orders, from this row on. One statement that takes what
    stands there costs a quarter of one for each order."""
    db.execute(_APPEND_PLACED, (first,))


def position(db: sqlite3.Connection) -> int:
    """The greatest number that was given."""
    return value(db, "SELECT seq FROM sqlite_sequence WHERE name = 'order_events'") or 0


def _archived(db: sqlite3.Connection) -> int:
    """The greatest number up to which not all events are kept, for an archive has some."""
    return value(db, "SELECT archived FROM event_log") or 0


def read_page(
    db: sqlite3.Connection,
    after: int | None,
    limit: int,
    user_id: str | None,
    order_id: UUID | None,
) -> EventPage:
    """As Storage.read_events."""
    with reading(db):
        last = position(db)
        first = max(value(db, "SELECT min(seq) FROM order_events") or last + 1, _archived(db) + 1)
        if after is None:
            return EventPage((), last, first, last)
        after = max(after, first - 1)
        end = last
        if user_id is not None and order_id is None:
            end = min(last, after + SEARCHED)
        found = _read(db, after, end, limit + 1, user_id, order_id)
    if len(found) > limit:
        found = found[:limit]
        end = found[-1].seq
    return EventPage(tuple(found), end, first, last)


def _read(
    db: sqlite3.Connection,
    after: int,
    end: int,
    limit: int,
    user_id: str | None,
    order_id: UUID | None,
) -> list[OrderEvent]:
    """Events from behind ``after`` up to ``end``. Those of one order are found by its id: the plus
    keeps SQLite from looking through the numbers."""
    place, filters = "seq", ""
    if order_id is not None:
        place, filters = "+seq", f"AND order_number = {_NUMBER_OF.format(':order_id')}"
    if user_id is not None:
        filters += " AND +user_id = :user_id"
    return _events_where(
        db,
        f"{place} > :after AND {place} <= :end {filters} ORDER BY seq LIMIT :limit",
        {
            "after": after,
            "end": end,
            "limit": limit,
            "user_id": user_id,
            "order_id": order_id and str(order_id),
        },
    )


def _events_where(
    db: sqlite3.Connection, condition: str, parameters: dict[str, object]
) -> list[OrderEvent]:
    some = f"SELECT *, NULL AS order_id FROM order_events WHERE {condition}"
    rows = db.execute(
        f"SELECT {JOINED_EVENT_COLUMNS} FROM ({some}) AS e"
        f" JOIN orders AS o ON o.number = e.order_number{WITH_LINES} ORDER BY e.seq, l.position",
        parameters,
    )
    return read_events(rows, to_uuid=UUID, to_time=to_time)


def events_of_order(db: sqlite3.Connection, order_id: UUID) -> tuple[OrderEvent, ...]:
    """Those that are kept, oldest first."""
    condition = f"order_number = {_NUMBER_OF.format(':order_id')}"
    return tuple(_events_where(db, condition, {"order_id": str(order_id)}))


def delete_events(db: sqlite3.Connection, before: datetime, limit: int) -> int:
    """Deletes up to ``limit`` events from the log's beginning, as long as they are old."""
    with writing(db, ORDER_LOCK_SECONDS):
        deleted = db.execute(
            "DELETE FROM order_events WHERE seq <= coalesce("
            f"(SELECT min(seq) - 1 FROM ({_OLDEST}) WHERE at >= :before),"
            f" (SELECT max(seq) FROM ({_OLDEST})))",
            {"before": from_time(before), "limit": limit},
        )
        return deleted.rowcount


_OLDEST = "SELECT seq, at FROM order_events ORDER BY seq LIMIT :limit"
