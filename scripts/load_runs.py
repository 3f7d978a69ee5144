"""What becomes of the runs of database-load: kept in the storage, shown by its ``status``."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

from orderfood.observe.logs import say
from orderfood.settings import Settings
from orderfood.settings.secrets import hide_passwords
from orderfood.store import require_schema, storage_of
from storage import Storage
from storage.errors import StorageError
from storage.records import LoadRun

logger = logging.getLogger("database-load")

SHOWN = 20
"""Runs that ``status`` shows."""

MOST_MESSAGE = 1000
"""Characters of a reason that are kept."""

RECORD_SECONDS = 5.0
"""How long a run that has failed tries to say so in the storage."""


def new_run(settings: Settings) -> LoadRun:
    """A run that begins now."""
    return LoadRun(uuid4(), settings.pod_name or socket.gethostname(), datetime.now(UTC))


async def record(storage: Storage, run: LoadRun) -> None:
    """Keeps the run, or with its end what has become of it. That a storage does not take it is no
    reason not to load: its role may have no rights on this table."""
    try:
        await storage.record_load_run(run)
    except StorageError as error:
        logger.warning("this run is not recorded: %s", error)


def loaded(run: LoadRun) -> LoadRun:
    """The run, at its good end."""
    return dataclasses.replace(run, ended_at=datetime.now(UTC), outcome="loaded")


async def record_failure(settings: Settings, run: LoadRun, reason: Exception) -> None:
    """Keeps why the run has failed, over a connection of its own; where the storage itself is the
    reason, the log alone has it."""
    text = " ".join(hide_passwords(str(reason), MOST_MESSAGE).split())
    text = text.encode(errors="backslashreplace").decode()  # a path may hold what no database takes
    failed = dataclasses.replace(run, ended_at=datetime.now(UTC), outcome="failed", message=text)
    at_once = dataclasses.replace(settings, storage_wait_seconds=0)
    with suppress(StorageError, TimeoutError):
        async with asyncio.timeout(RECORD_SECONDS), storage_of(at_once) as storage:
            await storage.record_load_run(failed)


async def show_runs(settings: Settings) -> None:
    """A line for each of the last runs, newest first. Raises SettingsError and StorageError."""
    storage = storage_of(settings)
    if storage.backend == "memory":
        say(logger, "memory:// is loaded by order-food itself: there are no runs")
        return
    async with storage:
        await require_schema(storage)
        runs = await storage.list_load_runs(SHOWN)
    for run in runs:
        say(logger, describe(run), run=str(run.id), outcome=run.outcome or "running")
    if not runs:
        say(logger, "no run is recorded")


def describe(run: LoadRun) -> str:
    """A run as one line."""
    line = f"{run.began_at.isoformat(timespec='seconds')} on {run.host}: "
    if run.ended_at is None:
        return f"{line}has not ended: it runs, or was killed"
    seconds = (run.ended_at - run.began_at).total_seconds()
    return f"{line}{run.outcome} after {seconds:.1f} s{f': {run.message}' if run.message else ''}"
