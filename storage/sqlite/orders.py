"""The orders in an SQLite file: each function is one transaction, or a part of one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from storage.errors import (
    CouponUsedUp,
    IdempotencyConflict,
    OrderExists,
    OrderNotFound,
    StorageError,
)
from storage.order_rules import (
    LAST_NUMBER,
    NO_LIMITS,
    NewOrder,
    as_placed,
    check_fingerprint,
    check_uses,
    numbered,
)
from storage.records import Cursor, IdempotencyKey, Order
from storage.rows import (
    JOINED_COLUMNS,
    LINE_COLUMNS,
    NEW_ORDER_COLUMNS,
    STATE_COLUMNS,
    Row,
    read_orders,
    write_lines,
    write_new_order,
    write_state,
)
from storage.sqlite.connections import ORDER_LOCK_SECONDS, value, writing
from storage.sqlite.events import WITH_LINES, append_placed
from storage.sqlite.times import current_time, from_time, to_time

_INSERT_ORDER = (
    f"INSERT INTO orders (number, counted, {NEW_ORDER_COLUMNS})"
    f" VALUES (?, ?, ?{', ?' * NEW_ORDER_COLUMNS.count(',')})"
)

_INSERT_LINE = (
    f"INSERT INTO order_lines (order_number, position, {LINE_COLUMNS})"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

_INSERT_KEY = (
    "INSERT OR REPLACE INTO idempotency_keys (user_id, key, fingerprint, expires_at, order_id)"
    " VALUES (?, ?, ?, ?, ?)"
)

_SET_STATE = (
    f"UPDATE orders SET ({STATE_COLUMNS}) = (?{', ?' * STATE_COLUMNS.count(',')}) WHERE id = ?"
)


def add_orders(db: sqlite3.Connection, batch: list[NewOrder]) -> list[Order | StorageError]:
    """Stores a batch in one transaction; what each order gets, in order."""
    with writing(db, ORDER_LOCK_SECONDS):
        store = _Store(db)
        outcomes = [store.outcome(new) for new in batch]
        store.finish()
        return outcomes


class _Store:
    """A transaction that stores new orders. What none of them reads is written once for all."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._now = current_time()
        self._number: int = value(db, "SELECT last FROM order_numbers")
        self._stored: list[Order] = []
        self._keys: list[tuple[Any, ...]] = []

    def outcome(self, new: NewOrder) -> Order | StorageError:
        """What an order gets."""
        try:
            return self._add(new)
        except (CouponUsedUp, IdempotencyConflict) as refused:
            return refused

    def _add(self, new: NewOrder) -> Order:
        """Every refusal comes before the first write, so that there is nothing to take back."""
        db, (order, key, limits) = self._db, new
        if key and (first := find_order_by_key(db, order.user_id, key, self._now)):
            return first
        if order.coupon_code is not None:
            if limits != NO_LIMITS:
                uses = coupon_uses(db, order.coupon_code, order.user_id)
                check_uses(order.coupon_code, limits, *uses)
            _count_use(db, order.coupon_code, order.user_id)
        if key:
            self._keys.append(_key_row(order, key))
        self._number = self._number % LAST_NUMBER + 1
        order = numbered(order, self._number)
        self._stored.append(order)
        return order

    def finish(self) -> None:
        """Writes the orders, their events, and the number that was dealt last. Raises OrderExists
        when one of them is stored already."""
        if self._stored:
            append_placed(self._db, insert_orders(self._db, self._stored))
            self._db.execute("UPDATE order_numbers SET last = ?", (self._number,))
            self._db.executemany(_INSERT_KEY, self._keys)


def _key_row(order: Order, key: IdempotencyKey) -> tuple[Any, ...]:
    return order.user_id, key.key, key.fingerprint, from_time(key.expires_at), str(order.id)


def find_order_by_key(
    db: sqlite3.Connection, user_id: str, key: IdempotencyKey, now: int
) -> Order | None:
    """The first order under a key that is unexpired at ``now``, as it was placed."""
    row = db.execute(
        "SELECT fingerprint, order_id FROM idempotency_keys"
        " WHERE user_id = ? AND key = ? AND expires_at > ?",
        (user_id, key.key, now),
    ).fetchone()
    if row is None:
        return None
    fingerprint, order_id = row
    check_fingerprint(key, fingerprint)
    return as_placed(get_order(db, user_id, UUID(order_id)))


def _count_use(db: sqlite3.Connection, code: str, user_id: str) -> None:
    db.execute(
        "INSERT INTO coupon_uses (code, uses) VALUES (?, 1)"
        " ON CONFLICT (code) DO UPDATE SET uses = uses + 1",
        (code,),
    )
    db.execute(
        "INSERT INTO coupon_user_uses (code, user_id, uses) VALUES (?, ?, 1)"
        " ON CONFLICT (code, user_id) DO UPDATE SET uses = uses + 1",
        (code, user_id),
    )


def insert_orders(db: sqlite3.Connection, orders: list[Order], *, samples: bool = False) -> int:
    """Inserts orders and their lines, and returns the number of the first row; samples hold no use
    of their coupons. Raises OrderExists."""
    first: int = value(db, "SELECT coalesce(max(number), 0) + 1 FROM orders")
    rows = (
        (
            number,
            order.coupon_code is not None and not samples,
            *write_new_order(order, str, from_time),
        )
        for number, order in enumerate(orders, first)
    )
    try:
        db.executemany(_INSERT_ORDER, rows)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE":
            raise OrderExists("an order of that id is stored already") from error
        raise
    lines = (
        (number, *line) for number, order in enumerate(orders, first) for line in write_lines(order)
    )
    db.executemany(_INSERT_LINE, lines)
    return first


def set_state(db: sqlite3.Connection, order: Order) -> None:
    """Writes where an order stands."""
    db.execute(_SET_STATE, (*write_state(order, from_time), str(order.id)))


def get_order(db: sqlite3.Connection, user_id: str | None, order_id: UUID) -> Order:
    """The order, of this user or of any. Raises OrderNotFound."""
    rows = db.execute(
        f"SELECT {JOINED_COLUMNS} FROM orders AS o{WITH_LINES} WHERE o.id = ? ORDER BY l.position",
        (str(order_id),),
    )
    for order in orders_of(rows):
        if user_id in (None, order.user_id):
            return order
    raise OrderNotFound(f"there is no order {order_id}, or not of this user")


def list_orders(
    db: sqlite3.Connection, user_id: str, limit: int, after: Cursor | None
) -> list[Order]:
    """A page of the user's orders, newest first."""
    behind = ""
    parameters = {"user_id": user_id, "limit": limit}
    if after is not None:
        behind = "AND (created_at, id) < (:created_at, :id)"
        parameters |= {"created_at": from_time(after.created_at), "id": str(after.id)}
    rows = db.execute(
        f"SELECT {JOINED_COLUMNS} FROM (SELECT * FROM orders WHERE user_id = :user_id {behind}"
        " ORDER BY created_at DESC, id DESC LIMIT :limit) AS o"
        f"{WITH_LINES} ORDER BY o.created_at DESC, o.id DESC, l.position",
        parameters,
    )
    return orders_of(rows)


def orders_of(rows: Iterable[Row]) -> list[Order]:
    """The orders of rows of JOINED_COLUMNS."""
    return read_orders(rows, to_uuid=UUID, to_time=to_time)


def give_back_use(db: sqlite3.Connection, order: Order) -> None:
    """Gives back the use that an order holds of its coupon, if it holds one."""
    held = db.execute("UPDATE orders SET counted = 0 WHERE id = ? AND counted", (str(order.id),))
    if held.rowcount == 0:
        return
    db.execute("UPDATE coupon_uses SET uses = uses - 1 WHERE code = ?", (order.coupon_code,))
    db.execute(
        "UPDATE coupon_user_uses SET uses = uses - 1 WHERE code = ? AND user_id = ?",
        (order.coupon_code, order.user_id),
    )


def delete_expired_keys(db: sqlite3.Connection, limit: int) -> int:
    """Deletes up to ``limit`` expired keys; returns how many it deleted."""
    with writing(db, ORDER_LOCK_SECONDS):
        deleted = db.execute(
            "DELETE FROM idempotency_keys WHERE (user_id, key) IN (SELECT user_id, key"
            " FROM idempotency_keys WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
            (current_time(), limit),
        )
        return deleted.rowcount


def coupon_uses(db: sqlite3.Connection, code: str, user_id: str) -> tuple[int, int]:
    """How often a coupon was used, in all and by a user."""
    total = value(db, "SELECT uses FROM coupon_uses WHERE code = ?", (code,))
    by_user = value(
        db, "SELECT uses FROM coupon_user_uses WHERE code = ? AND user_id = ?", (code, user_id)
    )
    return total or 0, by_user or 0
