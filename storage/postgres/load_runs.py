"""The last runs of database-load, in Postgres."""

from __future__ import annotations

from storage.postgres.connections import Connections
from storage.records import KEPT_LOAD_RUNS, LoadRun

COLUMNS = "id, host, began_at, ended_at, outcome, message"

RECORD = f"""
INSERT INTO load_runs ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE
SET (ended_at, outcome, message) = (excluded.ended_at, excluded.outcome, excluded.message)
"""

FORGET = f"""
DELETE FROM load_runs WHERE began_at < (
    SELECT began_at FROM load_runs ORDER BY began_at DESC OFFSET {KEPT_LOAD_RUNS - 1} LIMIT 1
)
"""

LIST = f"SELECT {COLUMNS} FROM load_runs ORDER BY began_at DESC, id LIMIT $1"


async def record_load_run(connections: Connections, run: LoadRun) -> None:
    """As Storage.record_load_run."""
    values = (run.id, run.host, run.began_at, run.ended_at, run.outcome, run.message)
    await connections.fetch(RECORD, *values)
    await connections.fetch(FORGET)


async def list_load_runs(connections: Connections, limit: int) -> list[LoadRun]:
    """As Storage.list_load_runs."""
    return [LoadRun(*row) for row in await connections.fetch(LIST, limit)]
