"""Taking old orders out of Postgres, once they are kept elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from storage.order_rules import is_archived_in
from storage.postgres.connect import Connection
from storage.postgres.connections import Connections, transaction
from storage.records import ENDED_STATUSES, ArchivedOrder, Cursor
from storage.rows import JOINED_EVENT_COLUMNS, read_archived

ENDED = "coalesce(changed_at, created_at) < $2"

FIND_ENDED = f"""
SELECT min(oldest.created_at)
FROM unnest($1::text[]) AS wanted (status), LATERAL (
    SELECT created_at FROM orders
    WHERE orders.status = wanted.status AND created_at < $2 AND {ENDED}
        AND ($3::timestamptz IS NULL OR created_at >= $3)
    ORDER BY created_at LIMIT 1
) AS oldest
"""

WITH_EVENTS = (
    " LEFT JOIN order_events AS e ON e.order_id = o.id"
    " LEFT JOIN order_lines AS l ON l.order_id = o.id"
)

# Of each status as many as the page holds, by its index.
READ_ENDED = f"""
SELECT {JOINED_EVENT_COLUMNS}
FROM (
    SELECT of_status.*
    FROM unnest($1::text[]) AS wanted (status), LATERAL (
        SELECT * FROM orders
        WHERE orders.status = wanted.status AND {ENDED} AND created_at < $3
            AND (created_at, id) > ($4, $5)
        ORDER BY created_at, id LIMIT $6
    ) AS of_status
    ORDER BY created_at, id LIMIT $6
) AS o{WITH_EVENTS}
ORDER BY o.created_at, o.id, e.version, l.position
"""

# An event that has no number yet would come into the log without its order.
LOCK_ORDERS = """
SELECT id FROM orders AS o
WHERE id = ANY ($1::uuid[])
    AND NOT EXISTS (SELECT FROM unnumbered_events AS e WHERE e.order_id = o.id)
ORDER BY id FOR UPDATE
"""
READ_LOCKED = f"""
SELECT {JOINED_EVENT_COLUMNS} FROM orders AS o{WITH_EVENTS}
WHERE o.id = ANY ($1::uuid[]) ORDER BY o.id, e.version, l.position
"""

DELETE = """
WITH events AS (
    DELETE FROM order_events WHERE order_id = ANY ($1::uuid[]) RETURNING seq
), lines AS (
    DELETE FROM order_lines WHERE order_id = ANY ($1::uuid[])
), stored AS (
    DELETE FROM orders WHERE id = ANY ($1::uuid[])
)
UPDATE event_log SET archived = newest.seq
FROM (SELECT max(seq) AS seq FROM events) AS newest
WHERE newest.seq > archived
"""


async def find_ended(
    connections: Connections, before: datetime, since: datetime | None
) -> datetime | None:
    """As SQLStorage.find_ended."""
    rows = await connections.fetch(FIND_ENDED, list(map(str, ENDED_STATUSES)), before, since)
    found: datetime | None = rows[0][0]
    return found


async def read_ended(
    connections: Connections, before: datetime, until: datetime, after: Cursor, limit: int
) -> list[ArchivedOrder]:
    """As SQLStorage.read_ended."""
    statuses = list(map(str, ENDED_STATUSES))
    rows = await connections.fetch(
        READ_ENDED, statuses, before, until, after.created_at, after.id, limit
    )
    return read_archived(rows)


async def delete_archived(connections: Connections, archived: Sequence[ArchivedOrder]) -> int:
    """As SQLStorage.delete_archived."""
    return await connections.retry_transaction(lambda: _delete(connections, archived))


async def _delete(connections: Connections, archived: Sequence[ArchivedOrder]) -> int:
    kept = {one.order.id: one for one in archived}
    async with (
        connections.acquired() as connection,
        transaction(connection, "read_committed"),
    ):
        same = [
            stored.order.id
            for stored in await _lock(connection, list(kept))
            if is_archived_in(stored, kept[stored.order.id])
        ]
        if same:
            await connection.execute(DELETE, same)
    return len(same)


async def _lock(connection: Connection, ids: Sequence[object]) -> list[ArchivedOrder]:
    rows = await connection.fetch(LOCK_ORDERS, ids)
    return read_archived(await connection.fetch(READ_LOCKED, [row[0] for row in rows]))
