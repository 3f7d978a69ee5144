"""The life of orders in an SQLite file, once they are stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from storage.base import MOST_LINES
from storage.order_rules import changed
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
from storage.rows import JOINED_COLUMNS, within_bounds
from storage.sqlite import events
from storage.sqlite.connections import ORDER_LOCK_SECONDS, reading, writing
from storage.sqlite.orders import get_order, give_back_use, orders_of, set_state
from storage.sqlite.times import from_time, to_time


class Wish(NamedTuple):
    """What ``change_order`` was called with."""

    order_id: UUID
    change: OrderChange
    by: Actor
    at: datetime
    expected_version: int | None
    user_id: str | None


def change_order(db: sqlite3.Connection, wish: Wish) -> tuple[Order, bool]:
    """As Storage.change_order: nobody else writes between reading the order and changing it."""
    with writing(db, ORDER_LOCK_SECONDS):
        order = get_order(db, wish.user_id, wish.order_id)
        after = changed(order, wish.change, wish.by, wish.at, wish.expected_version)
        if after is None:
            return order, False
        set_state(db, after)
        events.append(db, after, wish.by)
        if after.status == OrderStatus.CANCELLED and not wish.change.keeps_use:
            give_back_use(db, after)
        return after, True


def blank_personal_data(db: sqlite3.Connection, before: datetime, limit: int) -> int:
    """As Storage.blank_personal_data. The conditions are those of the index, which SQLite would not
    take by itself."""
    with writing(db, ORDER_LOCK_SECONDS):
        blanked = db.execute(
            "UPDATE orders SET pickup_name = NULL, pickup_note = NULL, cancel_note = NULL"
            " WHERE number IN (SELECT number FROM orders INDEXED BY orders_to_blank"
            " WHERE status IN ('completed', 'cancelled') AND (pickup_name IS NOT NULL"
            " OR pickup_note IS NOT NULL OR cancel_note IS NOT NULL)"
            " AND coalesce(changed_at, created_at) < ?"
            " ORDER BY coalesce(changed_at, created_at) LIMIT ?)",
            (from_time(before), limit),
        )
        return blanked.rowcount


def list_shop_orders(
    db: sqlite3.Connection,
    statuses: Sequence[str],
    oldest_first: bool,
    limit: int,
    after: Cursor | None,
) -> ShopOrders:
    """As Storage.list_shop_orders. SQLite merges what it finds for each status by the index."""
    direction, behind = ("ASC", ">") if oldest_first else ("DESC", "<")
    parameters: list[object] = []
    parts = []
    for status in dict.fromkeys(statuses):
        part = "SELECT * FROM orders WHERE status = ?"
        parameters.append(str(status))
        if after is not None:
            part += f" AND (created_at, id) {behind} (?, ?)"
            parameters += [from_time(after.created_at), str(after.id)]
        parts.append(part)
    page = " UNION ALL ".join(parts) or "SELECT * FROM orders WHERE false"
    order = f"created_at {direction}, id {direction}"
    with reading(db):
        rows = db.execute(
            f"SELECT {JOINED_COLUMNS} FROM ({page} ORDER BY {order} LIMIT ?) AS o"
            f"{events.WITH_LINES} ORDER BY o.created_at {direction}, o.id {direction}, l.position"
            f" LIMIT {MOST_LINES + 1}",
            (*parameters, limit),
        ).fetchall()
        return within_bounds(orders_of(rows), len(rows), events.position(db))


def get_order_history(
    db: sqlite3.Connection, order_id: UUID
) -> tuple[Order, tuple[OrderEvent, ...]]:
    """As Storage.get_order_history."""
    with reading(db):
        return get_order(db, None, order_id), events.events_of_order(db, order_id)


def count_open_orders(db: sqlite3.Connection) -> OpenOrders:
    """As Storage.count_open_orders."""
    rows = db.execute(
        "SELECT status, count(*), min(created_at) FROM orders"
        f" WHERE status IN ({', '.join('?' * len(OPEN_STATUSES))}) GROUP BY status",
        list(map(str, OPEN_STATUSES)),
    ).fetchall()
    counts = {str(status): 0 for status in OPEN_STATUSES} | {row[0]: row[1] for row in rows}
    oldest = {row[0]: row[2] for row in rows}
    return OpenOrders(counts, to_time(oldest.get(OrderStatus.PLACED)))


def count_open_orders_of(db: sqlite3.Connection, user_id: str) -> int:
    """As Storage.count_open_orders_of."""
    count: int = db.execute(
        "SELECT count(*) FROM orders WHERE user_id = ?"
        f" AND status IN ({', '.join('?' * len(OPEN_STATUSES))})",
        (user_id, *map(str, OPEN_STATUSES)),
    ).fetchone()[0]
    return count
