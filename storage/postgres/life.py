"""The life of the orders in Postgres: changing where they stand, and what the shop sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from storage.base import MOST_LINES
from storage.errors import OrderNotFound, StorageUnavailable
from storage.order_rules import REPEATED_WITHIN, cancellation, changed
from storage.postgres.connections import CONFIRMED, DURABLE, Connections
from storage.postgres.events import number_if_possible
from storage.postgres.orders import CONFIRMED_ORDER, get_order
from storage.records import (
    OPEN_STATUSES,
    Actor,
    Cursor,
    OpenOrders,
    Order,
    OrderChange,
    OrderEvent,
    OrderStatus,
    ShopOrders,
)
from storage.rows import (
    EVENT_COLUMNS,
    EVENT_WIDTH,
    JOINED_COLUMNS,
    JOINED_EVENT_COLUMNS,
    LINE_COLUMNS,
    ORDER_COLUMNS,
    read_events,
    read_orders,
    within_bounds,
)

ATTEMPTS = 5
"""How often a change is tried on an order that others change at the same time."""

ARGUMENTS = (
    "id uuid", "of_user text", "expected integer", "event text", "sources text[]",
    "targets text[]", "since timestamptz[]", "at timestamptz", "ready_in bigint",
    "cancelled_by text", "reason text", "note text", "staff_user text", "staff_key text",
    "may_repeat boolean", "keeps_use boolean",
)  # fmt: skip


def _with_arguments(statement: str) -> str:
    """The statement with a parameter, and its type, for each {name} of ARGUMENTS."""
    parameters = {}
    for number, argument in enumerate(ARGUMENTS, start=1):
        name, type_ = argument.split()
        parameters[name] = f"${number}::{type_}"
    return statement.format(**parameters)


STOOD_SINCE = "coalesce(changed_at, created_at)"
MOMENT = "greatest({at}, changed_at, created_at)"
STEP = "array_position({sources}, status)"
TARGET = f"({{targets}})[{STEP}]"
READY_IN = "{ready_in} * interval '1 microsecond'"
CANCELS = f"{TARGET} = 'cancelled'"

LEADS = f"""
    {STEP} IS NOT NULL AND coalesce({STOOD_SINCE} >= ({{since}})[{STEP}], true)
"""
"""order_rules.changed: whether the change starts where the order stands."""

REPEATS = f"""
    {{may_repeat}} AND last_event = {{event}} AND coalesce(cancelled_by, 'shop') = 'shop'
    AND CASE
        WHEN {TARGET} = status
        THEN coalesce(ready_at = {STOOD_SINCE} + coalesce({READY_IN}, interval '0'), false)
            AND {MOMENT} - {STOOD_SINCE} < interval '{REPEATED_WITHIN.seconds} seconds'
        ELSE status = ANY ({{targets}})
    END
"""
"""order_rules.is_repeat."""

# Whether the order is changed, and to what, is said of its row alone: so it holds of the row as it
# is when those that came before have committed. Nothing may write coupon_user_uses without the lock
# of the code's row in coupon_uses, so "mine" reads what "total" returns.
CHANGE_ORDER = _with_arguments(f"""
WITH o AS (
    UPDATE orders SET
        status = {TARGET},
        version = version + 1,
        ready_at = CASE WHEN {{ready_in}} IS NULL THEN ready_at ELSE {MOMENT} + {READY_IN} END,
        cancelled_by = CASE WHEN {CANCELS} THEN {{cancelled_by}} END,
        cancel_reason = CASE WHEN {CANCELS} THEN {{reason}} END,
        cancel_note = CASE WHEN {CANCELS} THEN {{note}} END,
        last_event = {{event}},
        changed_at = {MOMENT}
    FROM {DURABLE}
    WHERE id = {{id}}
        AND ({{of_user}} IS NULL OR user_id = {{of_user}})
        AND ({{expected}} IS NULL OR version = {{expected}})
        AND {LEADS}
        AND NOT ({REPEATS})
    RETURNING orders.*
), logged AS (
    INSERT INTO unnumbered_events ({EVENT_COLUMNS})
    SELECT
        id, version, user_id, last_event, status, ready_at, cancel_reason, {{staff_user}},
        {{staff_key}}, changed_at
    FROM o
), total AS (
    UPDATE coupon_uses AS stored SET uses = stored.uses - 1 FROM o
    WHERE o.counted AND o.status = 'cancelled' AND NOT {{keeps_use}}
        AND stored.code = o.coupon_code
    RETURNING stored.code, o.user_id
), mine AS (
    UPDATE coupon_user_uses AS stored SET uses = stored.uses - 1
    FROM total WHERE stored.code = total.code AND stored.user_id = total.user_id
)
SELECT {JOINED_COLUMNS} FROM o
LEFT JOIN order_lines AS l ON l.order_id = o.id ORDER BY l.position
""")

# Of each status as many as the page holds, from its end of the index.
LIST_ORDERS = f"""
SELECT last, {ORDER_COLUMNS}
FROM {CONFIRMED}, (SELECT last FROM event_log) AS log
LEFT JOIN (
    SELECT of_status.*
    FROM unnest($1::text[]) AS wanted (status), LATERAL (
        SELECT * FROM orders WHERE orders.status = wanted.status {{behind}}
        ORDER BY {{order}} LIMIT $2
    ) AS of_status
    ORDER BY {{order}} LIMIT $2
) AS o ON true
ORDER BY {{order}}
"""

LINES = f"""
SELECT order_id, {LINE_COLUMNS}
FROM unnest($1::uuid[]) WITH ORDINALITY AS listed (id, place)
JOIN order_lines ON order_id = listed.id
ORDER BY place, position LIMIT {MOST_LINES + 1}
"""
"""They never change, and so may be read apart."""
NO_LINES = [(None,) * (1 + len(LINE_COLUMNS.split(",")))]

HISTORY = f"""
SELECT {JOINED_EVENT_COLUMNS}
FROM orders AS o
LEFT JOIN (
    SELECT seq, {EVENT_COLUMNS} FROM order_events
    UNION ALL SELECT NULL, {EVENT_COLUMNS} FROM unnumbered_events
) AS e ON e.order_id = o.id
LEFT JOIN order_lines AS l ON l.order_id = o.id
WHERE o.id = $1
ORDER BY e.version, l.position
"""

COUNT_ORDERS = """
SELECT status, count(*), min(created_at) FROM orders WHERE status = ANY ($1) GROUP BY status
"""

COUNT_ORDERS_OF_USER = """
SELECT count(*) FROM orders WHERE user_id = $1 AND status = ANY ($2)
"""

BLANK_PERSONAL_DATA = """
UPDATE orders SET pickup_name = NULL, pickup_note = NULL, cancel_note = NULL
WHERE id IN (
    SELECT id FROM orders
    WHERE status IN ('completed', 'cancelled') AND coalesce(changed_at, created_at) < $1
        AND (pickup_name IS NOT NULL OR pickup_note IS NOT NULL OR cancel_note IS NOT NULL)
    ORDER BY coalesce(changed_at, created_at) LIMIT $2 FOR UPDATE SKIP LOCKED
) RETURNING 1
"""


async def change_order(
    connections: Connections,
    order_id: UUID,
    change: OrderChange,
    by: Actor,
    at: datetime,
    expected: int | None,
    user_id: str | None,
) -> tuple[Order, bool]:
    """The order and whether it was changed. When the statement changes nothing the rules say why
    of the order as it stands then; where they allow it after all, somebody else was faster."""
    arguments = (order_id, user_id, expected, *_of_change(change, by, at, expected))
    for _ in range(ATTEMPTS):
        rows = await connections.fetch(CHANGE_ORDER, *arguments)
        if rows:
            return read_orders(rows)[0], True
        order = await get_order(connections, user_id, order_id, CONFIRMED_ORDER)
        if changed(order, change, by, at, expected) is None:
            return order, False
    raise StorageUnavailable("the order is being changed all the time")


def _of_change(change: OrderChange, by: Actor, at: datetime, expected: int | None) -> list[Any]:
    """The values of ARGUMENTS from event on."""
    cancelled = cancellation(by, change)
    return [
        change.event,
        list(change.targets),
        list(change.targets.values()),
        [change.not_before.get(source) for source in change.targets],
        at,
        None if change.ready_in is None else change.ready_in // timedelta(microseconds=1),
        cancelled.by,
        cancelled.reason,
        cancelled.note,
        None if by.key is None else by.user,
        by.key,
        by.key is not None and expected is None,
        change.keeps_use,
    ]


async def list_shop_orders(
    connections: Connections,
    statuses: Sequence[str],
    oldest_first: bool,
    limit: int,
    after: Cursor | None,
) -> ShopOrders:
    """A page of the orders of all users, and the log's last number, out of one statement."""
    await number_if_possible(connections)
    direction, behind = ("", ">") if oldest_first else (" DESC", "<")
    cursor = (after.created_at, after.id) if after else ()
    statement = LIST_ORDERS.format(
        behind=f"AND (created_at, id) {behind} ($3, $4)" if after else "",
        order=f"created_at{direction}, id{direction}",
    )
    rows = await connections.fetch(statement, list(dict.fromkeys(statuses)), limit, *cursor)
    found = [row[1:] for row in rows if row[1] is not None]
    lines = await connections.fetch(LINES, [order[0] for order in found]) if found else []
    if len(lines) > MOST_LINES:  # those of the orders that follow are not among them
        ids = [order[0] for order in found]
        found = found[: ids.index(lines[-1][0]) + 1]
    of_order = {order_id: list(of_one) for order_id, of_one in groupby(lines, key=itemgetter(0))}
    joined = ((*order, *line[1:]) for order in found for line in of_order.get(order[0], NO_LINES))
    return within_bounds(read_orders(joined), len(lines), rows[0][0])


async def get_order_history(
    connections: Connections, order_id: UUID
) -> tuple[Order, tuple[OrderEvent, ...]]:
    """An order and its events; when one came in between, both are read again."""
    for _ in range(ATTEMPTS):
        possible = await number_if_possible(connections)
        rows = await connections.fetch(HISTORY, order_id)
        if not rows:
            raise OrderNotFound(f"there is no order {order_id}")
        numbered = [row for row in rows if row[0] is not None]
        if not possible or len(numbered) == len(rows) or rows[0][1] is None:
            break
    of_one_event = (row for row in rows if row[2] == rows[0][2])
    order = read_orders(row[EVENT_WIDTH:] for row in of_one_event)[0]
    return order, tuple(read_events(numbered))


async def count_open_orders(connections: Connections) -> OpenOrders:
    """How many orders wait, by status."""
    rows = await connections.fetch(COUNT_ORDERS, OPEN_STATUSES)
    counts = {**dict.fromkeys(map(str, OPEN_STATUSES), 0), **{row[0]: row[1] for row in rows}}
    oldest = [row[2] for row in rows if row[0] == OrderStatus.PLACED]
    return OpenOrders(counts, oldest[0] if oldest else None)


async def count_open_orders_of(connections: Connections, user_id: str) -> int:
    """How many orders of the user wait."""
    rows = await connections.fetch(COUNT_ORDERS_OF_USER, user_id, OPEN_STATUSES)
    count: int = rows[0][0]
    return count


async def blank_personal_data(connections: Connections, before: datetime, limit: int) -> int:
    """Blanks what is personal in ended orders; returns how many orders that were."""
    return len(await connections.fetch(BLANK_PERSONAL_DATA, before, limit))
