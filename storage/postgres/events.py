"""The log of what changed orders, in Postgres: events are numbered when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from uuid import UUID

import asyncpg

from storage.errors import StorageUnavailable
from storage.postgres.connections import DURABLE, Connections, confirmed_where
from storage.postgres.orders import ORDERS_BY_ID
from storage.records import EventPage, OrderEvent
from storage.rows import EVENT_COLUMNS, Row
from storage.rows import read_events as events_of_rows

PORTION = 5000
"""How many events one transaction numbers: other readers wait for it."""

MOST_PORTIONS = 4
"""How many portions a reader numbers before it reads."""

LOOKED_THROUGH = 10_000
"""How many events of all users are looked through at once for those of one."""

NUMBER_EVENTS = f"SELECT number_events($1) FROM {DURABLE}"
"""Durable, so that no number that was seen is given again after a crash."""

# The numbers that were given, those that are kept and the page are one consistent view. One event
# more than asked for tells whether the page is the last. Who is told something new is told what the
# standby has, too: other events would have these numbers on a leader that knows none of them.
READ_EVENTS = f"""
WITH bounds AS (
    SELECT last, first, least(last, greatest(coalesce($1, last), first - 1)) AS start
    FROM (
        SELECT
            last,
            greatest(archived, coalesce((SELECT min(seq) - 1 FROM order_events), last)) + 1 AS first
        FROM event_log
    ) AS log
), page AS (
    SELECT seq, {EVENT_COLUMNS} FROM order_events
    WHERE seq > (SELECT start FROM bounds)
    {{where}}
    LIMIT $2 + 1
)
SELECT bounds.*, page.*
FROM bounds
CROSS JOIN LATERAL {confirmed_where("bounds.last IS DISTINCT FROM $1")}
LEFT JOIN page ON true
ORDER BY page.seq
"""
BOUNDS_WIDTH = 3

OF_ALL = READ_EVENTS.format(where="ORDER BY seq")
OF_USER = READ_EVENTS.format(
    where=f"AND seq <= (SELECT start FROM bounds) + {LOOKED_THROUGH} AND user_id = $3 ORDER BY seq"
)
OF_ORDER = READ_EVENTS.format(
    where="AND order_id = $3 AND ($4::text IS NULL OR user_id = $4) ORDER BY version"
)
"""By the key of order and version: within an order numbers follow versions."""

DELETE_EVENTS = """
WITH oldest AS (
    SELECT seq, at FROM order_events ORDER BY seq LIMIT $2
)
DELETE FROM order_events
WHERE seq >= (SELECT min(seq) FROM oldest)
    AND seq < (SELECT coalesce(min(seq) FILTER (WHERE at >= $1), max(seq) + 1) FROM oldest)
RETURNING 1
"""


async def number_events(connections: Connections) -> int:
    """Numbers what is committed, in portions, and returns how many. What has a number keeps it when
    this is cut off, and what has none gets it the next time."""
    numbered = 0
    for _ in range(MOST_PORTIONS):
        rows = await connections.fetch(NUMBER_EVENTS, PORTION)
        numbered += rows[0][0]
        if rows[0][0] < PORTION:
            break
    return numbered


CANNOT_NUMBER = (
    asyncpg.DiskFullError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""What keeps events from being numbered while reads work."""


async def number_if_possible(connections: Connections) -> bool:
    """As number_events. False when that is not possible: then readers get what has a number."""
    try:
        await number_events(connections)
    except StorageUnavailable as error:
        if not isinstance(error.__cause__, CANNOT_NUMBER):
            raise
        return False
    return True


async def read_events(
    connections: Connections,
    after: int | None,
    limit: int,
    user_id: str | None,
    order_id: UUID | None,
) -> EventPage:
    """A part of the log, behind ``after``."""
    await number_if_possible(connections)
    page, is_whole = await _read_page(connections, after, limit, user_id, order_id)
    if not is_whole:  # since then the log begins behind them
        page, _ = await _read_page(connections, after, limit, user_id, order_id)
    return page


async def _read_page(
    connections: Connections,
    after: int | None,
    limit: int,
    user_id: str | None,
    order_id: UUID | None,
) -> tuple[EventPage, bool]:
    """A part of the log, and whether all of its events are there: an archive may take their orders
    between the two statements."""
    statement: str = OF_ALL
    of: tuple[object, ...] = ()
    if order_id is not None:
        statement, of = OF_ORDER, (order_id, user_id)
    elif user_id is not None:
        statement, of = OF_USER, (user_id,)
    rows = await connections.fetch(statement, after, limit, *of)
    last, first, start = rows[0][:BOUNDS_WIDTH]
    found = [row[BOUNDS_WIDTH:] for row in rows if row[BOUNDS_WIDTH] is not None]
    if len(found) > limit:
        position = found[limit - 1][SEQ] if limit else start
    else:
        position = min(last, start + LOOKED_THROUGH) if statement is OF_USER else last
    events = await _with_orders(connections, found[:limit])
    return EventPage(events, position, first, last), len(events) == len(found[:limit])


SEQ, ORDER_ID = 0, 1
"""Where an event's row has them."""


async def _with_orders(connections: Connections, found: Sequence[Row]) -> tuple[OrderEvent, ...]:
    """The events of rows. Their orders are read apart: what was bought never changes, and it is
    read once for all events of an order; where an order stood then is in the event. Without those
    whose orders are gone."""
    if not found:
        return ()
    rows = await connections.fetch(ORDERS_BY_ID, list({event[ORDER_ID] for event in found}))
    lines = {order_id: tuple(of_one) for order_id, of_one in groupby(rows, key=itemgetter(0))}
    return tuple(
        events_of_rows(
            (*event, *line) for event in found for line in lines.get(event[ORDER_ID], ())
        )
    )


async def delete_events(connections: Connections, before: datetime, limit: int) -> int:
    """Deletes the log's beginning; returns how many events that were."""
    return len(await connections.fetch(DELETE_EVENTS, before, limit))
