"""The orders in an SQLite file: each function is one transaction, or a part of one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from uuid import UUID

from storage.errors import (
    CouponUsedUp,
    IdempotencyConflict,
    OrderExists,
    OrderNotCancellable,
    OrderNotFound,
    StorageError,
)
from storage.order_rules import NO_LIMITS, NewOrder, as_placed, check_fingerprint, check_uses
from storage.records import Cursor, IdempotencyKey, Order
from storage.rows import (
    JOINED_COLUMNS,
    LINE_COLUMNS,
    ORDER_COLUMNS,
    Row,
    read_orders,
    write_lines,
    write_order,
)
from storage.sqlite.connections import ORDER_LOCK_SECONDS, value, writing
from storage.sqlite.times import current_time, from_time, moment

WITH_LINES = " LEFT JOIN order_lines AS l ON l.order_number = o.number"


def add_orders(db: sqlite3.Connection, batch: list[NewOrder]) -> list[Order | StorageError]:
    """Stores a batch in one transaction; what each order gets, in order."""
    with writing(db, ORDER_LOCK_SECONDS):
        now = current_time()
        return [_outcome(db, new, now) for new in batch]


def _outcome(db: sqlite3.Connection, new: NewOrder, now: int) -> Order | StorageError:
    try:
        return _add_order(db, new, now)
    except (CouponUsedUp, IdempotencyConflict, OrderExists) as refused:
        return refused


def _add_order(db: sqlite3.Connection, new: NewOrder, now: int) -> Order:
    """Every refusal comes before the first write, so that there is nothing to take back."""
    order, key, limits = new
    if key and (first := find_order_by_key(db, order.user_id, key, now)):
        return first
    if order.coupon_code is not None and limits != NO_LIMITS:
        uses = coupon_uses(db, order.coupon_code, order.user_id)
        check_uses(order.coupon_code, limits, *uses)
    insert_order(db, order, counted=order.coupon_code is not None)
    if order.coupon_code is not None:
        _count_use(db, order.coupon_code, order.user_id)
    if key:
        db.execute(
            "INSERT OR REPLACE INTO idempotency_keys (user_id, key, fingerprint, expires_at,"
            " order_id) VALUES (?, ?, ?, ?, ?)",
            (
                order.user_id,
                key.key,
                key.fingerprint,
                from_time(key.expires_at),
                str(order.id),
            ),
        )
    return order


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


def insert_order(db: sqlite3.Connection, order: Order, *, counted: bool) -> None:
    """Inserts an order and its lines; ``counted`` when it holds a use of its coupon."""
    try:
        number = db.execute(
            f"INSERT INTO orders ({ORDER_COLUMNS}, counted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*write_order(order, str, from_time), counted),
        ).lastrowid
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE":
            raise OrderExists(f"an order {order.id} is stored already") from error
        raise
    db.executemany(
        f"INSERT INTO order_lines (order_number, position, {LINE_COLUMNS})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        ((number, *line) for line in write_lines(order)),
    )


def get_order(db: sqlite3.Connection, user_id: str, order_id: UUID) -> Order:
    """The user's own order. Raises OrderNotFound."""
    rows = db.execute(
        f"SELECT {JOINED_COLUMNS} FROM orders AS o"
        f"{WITH_LINES} WHERE o.id = ? AND o.user_id = ? ORDER BY l.position",
        (str(order_id), user_id),
    )
    for order in _orders_of(rows):
        return order
    raise OrderNotFound(f"the user has no order {order_id}")


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
    return _orders_of(rows)


def _orders_of(rows: Iterable[Row]) -> list[Order]:
    return read_orders(rows, to_uuid=UUID, to_time=moment)


def cancel_order(db: sqlite3.Connection, user_id: str, order_id: UUID) -> Order:
    """Cancels a placed order and gives back the use of its coupon."""
    with writing(db, ORDER_LOCK_SECONDS):
        cancelled = db.execute(
            "UPDATE orders SET status = 'cancelled', version = version + 1"
            " WHERE id = ? AND user_id = ? AND status = 'placed'",
            (str(order_id), user_id),
        )
        order = get_order(db, user_id, order_id)
        if cancelled.rowcount == 0:
            raise OrderNotCancellable(f"the order {order_id} is cancelled already")
        if value(db, "SELECT counted FROM orders WHERE id = ?", (str(order_id),)):
            _give_back_use(db, order)
        return order


def _give_back_use(db: sqlite3.Connection, order: Order) -> None:
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
