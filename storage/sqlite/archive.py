"""Taking old orders out of an SQLite file, once they are kept elsewhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from storage.order_rules import is_archived_in
from storage.records import ENDED_STATUSES, ArchivedOrder, Cursor
from storage.rows import JOINED_EVENT_COLUMNS, Row, read_archived
from storage.sqlite.connections import ORDER_LOCK_SECONDS, reading, value, writing
from storage.sqlite.events import WITH_LINES
from storage.sqlite.times import from_time, to_time

_ENDED = "status = ? AND created_at < ? AND coalesce(changed_at, created_at) < ?"

_WITH_EVENTS = (
    " LEFT JOIN (SELECT *, NULL AS order_id FROM order_events) AS e"
    f" ON e.order_number = o.number{WITH_LINES}"
)


def find_ended(db: sqlite3.Connection, before: datetime, since: datetime | None) -> datetime | None:
    """As SQLStorage.find_ended."""
    end, begin = from_time(before), from_time(since) or 0
    oldest = [
        value(
            db,
            f"SELECT created_at FROM orders WHERE {_ENDED} AND created_at >= ?"
            " ORDER BY created_at LIMIT 1",
            (str(status), end, end, begin),
        )
        for status in ENDED_STATUSES
    ]
    return to_time(min((time for time in oldest if time is not None), default=None))


def read_ended(
    db: sqlite3.Connection, before: datetime, until: datetime, after: Cursor, limit: int
) -> list[ArchivedOrder]:
    """As SQLStorage.read_ended. SQLite merges what it finds for each status by the index."""
    part = f"SELECT * FROM orders WHERE {_ENDED} AND (created_at, id) > (?, ?)"
    page = " UNION ALL ".join([part] * len(ENDED_STATUSES))
    bounds = (from_time(until), from_time(before), from_time(after.created_at), str(after.id))
    parameters = [each for status in ENDED_STATUSES for each in (str(status), *bounds)]
    with reading(db):
        return _archived(
            db.execute(
                f"SELECT {JOINED_EVENT_COLUMNS}"
                f" FROM ({page} ORDER BY created_at, id LIMIT ?) AS o{_WITH_EVENTS}"
                " ORDER BY o.created_at, o.id, e.version, l.position",
                (*parameters, limit),
            )
        )


def _archived(rows: Iterable[Row]) -> list[ArchivedOrder]:
    return read_archived(rows, to_uuid=UUID, to_time=to_time)


def delete_archived(db: sqlite3.Connection, archived: Sequence[ArchivedOrder]) -> int:
    """As SQLStorage.delete_archived."""
    with writing(db, ORDER_LOCK_SECONDS):
        return sum(_delete_if_same(db, one) for one in archived)


def _delete_if_same(db: sqlite3.Connection, archived: ArchivedOrder) -> bool:
    if not any(is_archived_in(stored, archived) for stored in _find(db, archived)):
        return False
    number = value(db, "SELECT number FROM orders WHERE id = ?", (str(archived.order.id),))
    db.execute(
        "UPDATE event_log SET archived = max(archived, coalesce("
        "(SELECT max(seq) FROM order_events WHERE order_number = ?), 0))",
        (number,),
    )
    for table, column in (
        ("order_events", "order_number"),
        ("order_lines", "order_number"),
        ("orders", "number"),
    ):
        db.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))
    return True


def _find(db: sqlite3.Connection, archived: ArchivedOrder) -> list[ArchivedOrder]:
    return _archived(
        db.execute(
            f"SELECT {JOINED_EVENT_COLUMNS} FROM orders AS o{_WITH_EVENTS} WHERE o.id = ?"
            " ORDER BY e.version, l.position",
            (str(archived.order.id),),
        )
    )
