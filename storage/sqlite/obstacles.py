"""Asking a file whether an order could be stored, without storing one."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from storage.records import Obstacle
from storage.sqlite.connections import writing

ROOM = 65_536
"""Bytes that must find room before a disk that was full counts as having some again."""

CHECK_LOCK_SECONDS = 1.0
"""How long the question waits whether an order could be stored."""


def store_nothing(db: sqlite3.Connection) -> None:
    """A commit that changes nothing: what is rolled back never meets the disk."""
    with writing(db, CHECK_LOCK_SECONDS):
        db.execute("UPDATE catalogue SET version = version")


def store_an_expired_key(db: sqlite3.Connection) -> None:
    """And deletes it: as much as a few orders need, of what would be deleted anyway."""
    with writing(db, CHECK_LOCK_SECONDS):
        db.execute(
            "INSERT OR REPLACE INTO idempotency_keys (user_id, key, fingerprint, expires_at,"
            " order_id) VALUES ('', '', ?, 0, '')",
            ("x" * ROOM,),
        )
    with writing(db, CHECK_LOCK_SECONDS):
        db.execute("DELETE FROM idempotency_keys WHERE user_id = '' AND key = ''")


def obstacle_of(error: BaseException | None, path: Path) -> Obstacle | None:
    """What a write met. A file or a folder that has become read-only, and a quota, are nothing but
    failed writes to SQLite."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_READONLY:
            return Obstacle.READ_ONLY
        case sqlite3.SQLITE_FULL:
            return Obstacle.FULL
        case sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return Obstacle.NOT_PERMITTED
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN:
            return Obstacle.FULL if os.access(path, os.W_OK) else Obstacle.READ_ONLY
    return None
