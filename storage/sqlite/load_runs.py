"""The last runs of database-load, in an SQLite file."""

from __future__ import annotations

import sqlite3
from uuid import UUID

from storage.records import KEPT_LOAD_RUNS, LoadRun
from storage.sqlite.connections import ORDER_LOCK_SECONDS, writing
from storage.sqlite.times import from_time, moment, to_time

COLUMNS = "id, host, began_at, ended_at, outcome, message"

RECORD = f"""
INSERT INTO load_runs ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE
SET ended_at = excluded.ended_at, outcome = excluded.outcome, message = excluded.message
"""

FORGET = f"""
DELETE FROM load_runs WHERE began_at < (
    SELECT began_at FROM load_runs ORDER BY began_at DESC LIMIT 1 OFFSET {KEPT_LOAD_RUNS - 1}
)
"""


def record_load_run(db: sqlite3.Connection, run: LoadRun) -> None:
    """As Storage.record_load_run."""
    began, ended = from_time(run.began_at), from_time(run.ended_at)
    with writing(db, ORDER_LOCK_SECONDS):
        db.execute(RECORD, (run.id.hex, run.host, began, ended, run.outcome, run.message))
        db.execute(FORGET)


def list_load_runs(db: sqlite3.Connection, limit: int) -> list[LoadRun]:
    """As Storage.list_load_runs."""
    listing = f"SELECT {COLUMNS} FROM load_runs ORDER BY began_at DESC, id LIMIT ?"
    return [
        LoadRun(UUID(id_), host, moment(began), to_time(ended), *rest)
        for id_, host, began, ended, *rest in db.execute(listing, (limit,))
    ]
