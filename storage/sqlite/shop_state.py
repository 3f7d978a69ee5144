"""What the shop says of itself, in an SQLite file."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from storage.records import Pause, ShopState, Versions
from storage.sqlite.connections import ORDER_LOCK_SECONDS, reading, writing
from storage.sqlite.times import from_time, to_time


def versions(db: sqlite3.Connection) -> Versions:
    """The versions of the catalogue and of the shop's state."""
    row = db.execute("SELECT c.version, s.version FROM catalogue AS c, shop_state AS s").fetchone()
    return Versions(*row)


def read_shop_state(db: sqlite3.Connection) -> ShopState:
    """As Storage.read_shop_state."""
    with reading(db):
        version, paused, until, message = db.execute(
            "SELECT version, paused, paused_until, message FROM shop_state"
        ).fetchone()
        rows = db.execute("SELECT product_id, until FROM sold_out ORDER BY product_id")
        sold_out = {product_id: to_time(end) for product_id, end in rows}
    return ShopState(version, sold_out, Pause(to_time(until), message) if paused else None)


def set_sold_out(db: sqlite3.Connection, product_id: int, until: datetime | None) -> None:
    """Marks a product as sold out."""
    with writing(db, ORDER_LOCK_SECONDS):
        marked = db.execute(
            "INSERT INTO sold_out (product_id, until) VALUES (?, ?) ON CONFLICT (product_id)"
            " DO UPDATE SET until = excluded.until WHERE until IS NOT excluded.until",
            (product_id, from_time(until)),
        )
        _count(db, marked)


def set_available(db: sqlite3.Connection, product_id: int) -> None:
    """Takes that mark away."""
    with writing(db, ORDER_LOCK_SECONDS):
        _count(db, db.execute("DELETE FROM sold_out WHERE product_id = ?", (product_id,)))


def set_pause(db: sqlite3.Connection, pause: Pause | None) -> None:
    """Pauses the shop, or resumes it."""
    until, message = (None, None) if pause is None else (from_time(pause.until), pause.message)
    state = (pause is not None, until, message)
    with writing(db, ORDER_LOCK_SECONDS):
        said = db.execute(
            "UPDATE shop_state SET paused = ?, paused_until = ?, message = ?"
            " WHERE (paused, paused_until, message) IS NOT (?, ?, ?)",
            (*state, *state),
        )
        _count(db, said)


def _count(db: sqlite3.Connection, change: sqlite3.Cursor) -> None:
    """Raises the version when something was changed."""
    if change.rowcount:
        db.execute("UPDATE shop_state SET version = version + 1")
