"""scripts.archive as a process: what is old leaves the database for files, and nothing is lost."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from orderfood.settings import SettingsError
from scripts.archive import check, parse_day
from scripts.day_files import locked
from storage import Storage, open_storage
from storage.errors import OrderNotFound
from storage.records import Actor, CouponLimits, Order, OrderStatus, Pickup
from tests.contract.database import act, add, cancel, new_catalogue, new_order, read_all_events
from tests.jobs.jobs import SOURCE, Finished, finish, refusal, run_job, run_well, start_job

OLD = datetime(2025, 6, 1, 23, 59, 59, 999999, tzinfo=UTC)
BEFORE = "2025-06-10"


def old(days: int = 0, **changes: Any) -> Order:
    return new_order(created_at=OLD + timedelta(days=days), **changes)


async def add_completed(storage: Storage, order: Order, **more: Any) -> Order:
    placed = await add(storage, order, **more)
    at = order.created_at + timedelta(minutes=10)
    await act(storage, placed.id, "accept", at=at)
    return (await act(storage, placed.id, "complete", at=at))[0]


async def add_samples(storage: Storage, count: int) -> list[Order]:
    """So many completed orders of one day, at once."""
    samples = [old(3, status=OrderStatus.COMPLETED) for _ in range(count)]
    await storage.replace_catalogue(new_catalogue(), sample_orders=samples)
    return samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the archive goes."""
    made = tmp_path / "archive"
    made.mkdir()
    return made


@pytest.fixture
def sqlite_migrated(sqlite_url: str) -> str:
    run_well("migrate", STORAGE_URL=sqlite_url)
    return sqlite_url


def archived(url: str, folder: Path) -> Finished:
    """A run to its end."""
    return run_job("archive", "--before", BEFORE, "--to", str(folder), STORAGE_URL=url)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lines_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The content of each day's file."""
    return {
        path.name.removeprefix("orders-").removesuffix(".jsonl.gz"): [
            json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()
        ]
        for path in sorted(folder.glob("*.jsonl.gz"))
    }


def ids_in(folder: Path) -> list[UUID]:
    return [UUID(line["order"]["id"]) for day in lines_of(folder).values() for line in day]


async def stored_of(storage: Storage, orders: Iterable[Order]) -> set[UUID]:
    """Which of these orders the database has."""
    stored = set()
    for order in orders:
        try:
            found = await storage.get_order(order.user_id, order.id)
        except OrderNotFound:
            continue
        assert found == replace(order, number=found.number)
        stored.add(order.id)
    return stored


async def test_what_has_ended_moves_and_what_is_open_stays(migrated: str, folder: Path) -> None:
    async with open_storage(migrated) as storage:
        await storage.replace_catalogue(new_catalogue())
        limits = CouponLimits(max_uses=2)
        named = old(coupon_code="TEN", pickup=Pickup("Ada", "no nuts"))
        completed = await add_completed(storage, named, limits=limits)
        cancelled = await add(storage, old())
        await act(storage, cancelled.id, "cancel", Actor("demo"), OLD + timedelta(minutes=1))
        next_day = await add_completed(storage, old(1))
        waiting = await add(storage, old())
        late = await add(storage, old())
        await cancel(storage, "demo", late.id)
        young = await add_completed(storage, old(9))
        assert len(await read_all_events(storage)) == 14
        before = await storage.get_coupon_uses("TEN", "demo")

        said = archived(migrated, folder).stdout.splitlines()
        assert said == [
            "2025-06-01: archived 2 orders",
            "2025-06-02: archived 1 orders",
            "archived 3 orders",
        ]
        days = lines_of(folder)
        assert {day: len(lines) for day, lines in days.items()} == {
            "2025-06-01": 2,
            "2025-06-02": 1,
        }
        assert set(ids_in(folder)) == {completed.id, cancelled.id, next_day.id}
        (line,) = [x for x in days["2025-06-01"] if x["order"]["id"] == str(completed.id)]
        assert [event["type"] for event in line["events"]] == ["placed", "accepted", "completed"]
        assert line["events"][2]["staff_user"] == "kitchen"
        assert len(line["order"]["lines"]) == 2
        assert "Ada" not in json.dumps(line)

        for gone in (completed, cancelled, next_day):
            with pytest.raises(OrderNotFound):
                await storage.get_order_history(gone.id)
        for kept, events in ((waiting, 1), (late, 2), (young, 3)):
            order, history = await storage.get_order_history(kept.id)
            assert len(order.lines) == 2
            assert len(history) == events
        assert await storage.get_coupon_uses("TEN", "demo") == before == (1, 1)
        assert not (await storage.read_events(0, 100)).follows(0)
        assert {event.order.id for event in await read_all_events(storage, 11)} >= {young.id}
        await add(storage)
        again = archived(migrated, folder).stdout.splitlines()
        assert again == ["nothing to do"]


KILLED = """
import os, signal, sys
from pathlib import Path
from scripts import archive
from storage.postgres.storage import PostgresStorage
from storage.sqlite.storage import SQLiteStorage

moment = sys.argv.pop(1)

def die(*arguments, **more):
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "before the rename":
    Path.replace = die
elif moment == "before the deleting":
    archive.delete_day = die
else:
    archive.PORTION = 7
    for kind in (PostgresStorage, SQLiteStorage):
        def delete(self, archived, of_kind=kind.delete_archived, calls=[]):
            calls.append(1)
            return die() if len(calls) == 4 else of_kind(self, archived)
        kind.delete_archived = delete
sys.exit(archive.main())
"""
"""The program, which is killed at a moment."""


def run_killed(moment: str, url: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, moment, "--before", BEFORE, "--to", str(folder)],
        env={"PYTHONPATH": str(SOURCE), "STORAGE_URL": url, "JAEGER_ENDPOINT": ""},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


async def test_killed_at_any_moment_it_loses_nothing(migrated: str, folder: Path) -> None:
    async with open_storage(migrated) as storage:
        orders = await add_samples(storage, 40)
        for moment, left in (
            ("before the rename", 40),
            ("before the deleting", 40),
            ("while it deletes", 40 - 3 * 7),
        ):
            run_killed(moment, migrated, folder)
            stored = await stored_of(storage, orders)
            assert len(stored) == left, moment
            assert stored | set(ids_in(folder)) == {order.id for order in orders}
        archived(migrated, folder).stdout.splitlines()
        assert await stored_of(storage, orders) == set()
        assert ids_in(folder) == sorted(order.id for order in orders)
        assert names_in(folder) == ["orders-2025-06-04.jsonl.gz"]


async def test_orders_go_on_meanwhile(migrated: str, folder: Path) -> None:
    async with open_storage(migrated) as storage:
        await add_samples(storage, 1500)
        job = start_job("archive", "--before", BEFORE, "--to", str(folder), STORAGE_URL=migrated)
        finished = asyncio.create_task(asyncio.to_thread(finish, job))
        while not finished.done():
            async with asyncio.timeout(5):
                await add(storage)
        assert (await finished).returncode == 0
        assert len(ids_in(folder)) == 1500


async def test_nothing_is_deleted_when_the_disk_is_full(sqlite_migrated: str, folder: Path) -> None:
    (folder / "orders-2025-06-04.jsonl.part").symlink_to("/dev/full")
    async with open_storage(sqlite_migrated) as storage:
        orders = await add_samples(storage, 3)
        done = archived(sqlite_migrated, folder)
        assert "orders-2025-06-04.jsonl.gz cannot be written: No space left" in refusal(done)
        assert len(await stored_of(storage, orders)) == 3
        assert names_in(folder) == []


SOUND = gzip.compress(b'{"order": {"id": 1}, "note": "Ada"}\n')


@pytest.mark.parametrize(
    "content",
    [SOUND, SOUND[:10] + b"\xff" + SOUND[11:], SOUND[:-9], b"Ada", b""],
    ids=["no order", "no deflate", "cut off", "no gzip", "empty"],
)
async def test_a_damaged_file_is_named_and_nothing_is_deleted(
    sqlite_migrated: str, folder: Path, content: bytes
) -> None:
    (folder / "orders-2025-06-04.jsonl.gz").write_bytes(content)
    async with open_storage(sqlite_migrated) as storage:
        orders = await add_samples(storage, 3)
        told = refusal(archived(sqlite_migrated, folder))
        assert "orders-2025-06-04.jsonl.gz cannot be read" in told
        assert "Ada" not in told
        assert len(await stored_of(storage, orders)) == 3


@pytest.mark.parametrize("text", ["", "yesterday", "2025-6-1", "20250601", "2025-02-30"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is no day such as 2025-01-01"):
        parse_day(text)


@pytest.mark.parametrize(("days", "latest"), [(0, 9), (1, 9), (7, 3)])
def test_a_day_that_is_too_young_is_refused(days: int, latest: int) -> None:
    now = datetime(2025, 6, 10, tzinfo=UTC)
    check(datetime(2025, 6, latest, tzinfo=UTC), now, days)
    with pytest.raises(SettingsError, match=f"may be 2025-06-{latest:02} at the latest"):
        check(datetime(2025, 6, latest + 1, tzinfo=UTC), now, days)


def test_a_folder_without_a_name_is_refused() -> None:
    done = run_job("archive", "--before", BEFORE, "--to", "", STORAGE_URL="memory://")
    assert done.returncode == 2
    assert "--to: it is empty" in done.stderr


def test_there_is_nothing_to_archive_in_memory() -> None:
    (line,) = run_well("archive", "--before", BEFORE, STORAGE_URL="memory://")
    assert "memory://" in line
    assert "may be" in refusal(run_job("archive", "--before", "9999-12-31"), 2)


def test_two_at_once_do_not_share_a_folder(sqlite_url: str, folder: Path) -> None:
    with locked(folder):
        done = archived(sqlite_url, folder)
    assert "is being written by another run" in refusal(done)
