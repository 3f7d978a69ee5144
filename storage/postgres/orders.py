"""Placing orders in Postgres, and what their customers read: each function is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any
from uuid import UUID

from storage.errors import OrderNotFound, StorageError
from storage.order_rules import (
    NewOrder,
    as_placed,
    check_fingerprint,
    key_conflict,
    numbered,
    used_up,
)
from storage.postgres.connect import Connection
from storage.postgres.connections import CONFIRMED, Connections
from storage.records import Cursor, IdempotencyKey, Order
from storage.rows import JOINED_COLUMNS, read_orders, write_lines

OF_ORDERS: dict[str, Callable[[NewOrder], Any]] = {
    "order_ids": attrgetter("order.id"),
    "order_users": attrgetter("order.user_id"),
    "order_subtotals": attrgetter("order.subtotal"),
    "order_discounts": attrgetter("order.discounts"),
    "order_totals": attrgetter("order.total"),
    "order_times": attrgetter("order.created_at"),
    "order_codes": attrgetter("order.coupon_code"),
    "use_limits": attrgetter("limits.max_uses"),
    "user_use_limits": attrgetter("limits.max_uses_per_user"),
    "order_keys": lambda new: new.key and new.key.key,
    "order_fingerprints": lambda new: new.key and new.key.fingerprint,
    "key_expiries": lambda new: new.key and new.key.expires_at,
    "pickup_names": lambda new: new.order.pickup and new.order.pickup.name,
    "pickup_notes": lambda new: new.order.pickup and new.order.pickup.note,
}
"""The arguments of add_orders that have an element for each order."""

OF_LINES = (
    "line_orders",
    "line_positions",
    "line_products",
    "line_names",
    "line_prices",
    "line_categories",
    "line_quantities",
    "line_details",
)
"""Those that have one for each line: the position of its order, and what write_lines yields."""

ADD_ORDERS = "SELECT outcome, first_order, number FROM {}, add_orders({})".format(
    CONFIRMED,
    ", ".join(f"{name} => ${number}" for number, name in enumerate((*OF_ORDERS, *OF_LINES), 1)),
)

ORDERS_BY_ID = (
    f"SELECT {JOINED_COLUMNS} FROM orders AS o"
    " LEFT JOIN order_lines AS l ON l.order_id = o.id"
    " WHERE o.id = ANY ($1::uuid[]) ORDER BY o.id, l.position"
)

CONFIRMED_ORDER = ORDERS_BY_ID.replace(" WHERE", f" CROSS JOIN {CONFIRMED} WHERE")

DELETE_EXPIRED_KEYS = """
DELETE FROM idempotency_keys WHERE (user_id, key) IN (
    SELECT user_id, key FROM idempotency_keys WHERE expires_at <= now()
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
) RETURNING 1
"""


async def add_orders(
    connections: Connections, batch: list[NewOrder]
) -> Sequence[Order | StorageError]:
    """Stores a batch in one statement; what each order gets, in order."""
    return await connections.retry_transaction(lambda: _add_orders(connections, batch))


async def _add_orders(
    connections: Connections, batch: list[NewOrder]
) -> Sequence[Order | StorageError]:
    async with connections.for_statement(keep=True) as connection:
        rows = await connection.fetch(ADD_ORDERS, *_arguments(batch))
        replayed = [first for outcome, first, _ in rows if outcome == "replayed"]
        firsts = await _orders_by_id(connection, replayed) if replayed else {}
    return [
        _outcome(new, outcome, firsts.get(first), number)
        for new, (outcome, first, number) in zip(batch, rows, strict=True)
    ]


def _arguments(batch: list[NewOrder]) -> Iterator[Sequence[Any] | None]:
    """The arguments of ADD_ORDERS."""
    for value_of in OF_ORDERS.values():
        yield _column([value_of(new) for new in batch])
    lines = [
        (number, *line)
        for number, new in enumerate(batch, start=1)
        for line in write_lines(new.order)
    ]
    yield from map(_column, zip(*lines, strict=True)) if lines else [()] * len(OF_LINES)


def _column(values: Sequence[Any]) -> Sequence[Any] | None:
    """The values, or None instead of nothing but None, which means the same to add_orders: half of
    the columns are so for most orders, and the driver looks at each element."""
    is_empty = values[0] is None and values.count(None) == len(values)
    return None if is_empty else values


def _outcome(new: NewOrder, outcome: str, first: Order | None, number: int) -> Order | StorageError:
    if outcome == "stored":
        return numbered(new.order, number)
    if outcome == "replayed" and first is not None:
        return as_placed(first)
    if outcome == "used up":
        return used_up(new.order.coupon_code)
    return key_conflict()


async def find_order_by_key(
    connections: Connections, user_id: str, key: IdempotencyKey
) -> Order | None:
    """The first order under an unexpired key, as it was placed."""
    rows = await connections.fetch(
        f"SELECT {JOINED_COLUMNS}, k.fingerprint FROM {CONFIRMED}, idempotency_keys AS k"
        " JOIN orders AS o ON o.id = k.order_id"
        " LEFT JOIN order_lines AS l ON l.order_id = o.id"
        " WHERE k.user_id = $1 AND k.key = $2 AND k.expires_at > now()"
        " ORDER BY l.position",
        user_id,
        key.key,
    )
    if not rows:
        return None
    check_fingerprint(key, rows[0][-1])
    return as_placed(read_orders(row[:-1] for row in map(tuple, rows))[0])


async def get_order(
    connections: Connections,
    user_id: str | None,
    order_id: UUID,
    statement: str = ORDERS_BY_ID,
) -> Order:
    """The order, of this user or of any. Raises OrderNotFound."""
    rows = await connections.fetch(statement, [order_id])
    order = read_orders(rows)[0] if rows else None
    if order is None or user_id not in (None, order.user_id):
        raise OrderNotFound(f"there is no order {order_id}, or not of this user")
    return order


async def list_orders(
    connections: Connections, user_id: str, limit: int, after: Cursor | None
) -> list[Order]:
    """A page of the user's orders, newest first."""
    behind, parameters = "", [user_id, limit]
    if after is not None:
        behind = "AND (created_at, id) < ($3, $4)"
        parameters += [after.created_at, after.id]
    rows = await connections.fetch(
        f"SELECT {JOINED_COLUMNS} FROM (SELECT * FROM orders WHERE user_id = $1 {behind}"
        " ORDER BY created_at DESC, id DESC LIMIT $2) AS o"
        " LEFT JOIN order_lines AS l ON l.order_id = o.id"
        " ORDER BY o.created_at DESC, o.id DESC, l.position",
        *parameters,
    )
    return read_orders(rows)


async def delete_expired_keys(connections: Connections, limit: int) -> int:
    """Deletes up to ``limit`` expired keys; returns how many it deleted."""
    return len(await connections.fetch(DELETE_EXPIRED_KEYS, limit))


async def coupon_uses(connections: Connections, code: str, user_id: str) -> tuple[int, int]:
    """How often a coupon was used, in all and by a user."""
    rows = await connections.fetch(
        "SELECT coalesce((SELECT uses FROM coupon_uses WHERE code = $1), 0),"
        " coalesce((SELECT uses FROM coupon_user_uses WHERE code = $1 AND user_id = $2), 0)",
        code,
        user_id,
    )
    return rows[0][0], rows[0][1]


async def _orders_by_id(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Order]:
    rows = await connection.fetch(ORDERS_BY_ID, ids)
    return {order.id: order for order in read_orders(rows)}
