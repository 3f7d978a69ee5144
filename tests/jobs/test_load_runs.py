"""database-load status: what became of the last runs, when their logs are gone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from rig.postgres import execute, run
from storage import open_storage
from storage.records import LoadRun
from tests.jobs.jobs import copy_fixtures, refusal, run_job, run_well, write_entries


def runs(url: str) -> list[str]:
    return [line.partition(" on ")[2] for line in run_well("load", "status", STORAGE_URL=url)]


def test_what_became_of_the_last_runs_is_said(migrated: str, tmp_path: Path) -> None:
    assert run_well("load", "status", STORAGE_URL=migrated) == ["no run is recorded"]
    run_well("load", STORAGE_URL=migrated, POD_NAME="one")
    run_well("load", "--dry-run", STORAGE_URL=migrated, POD_NAME="dry")
    folder = copy_fixtures(tmp_path / "fixtures")
    write_entries(folder, "products", [{"id": "1", "name": "X", "price": -1, "category": "Y"}])
    settings = {"STORAGE_URL": migrated, "FIXTURES_DIR": str(folder)}
    reason = refusal(run_job("load", **settings, POD_NAME="broken"), 1)
    write_entries(folder, "products", [])
    run_job("load", **settings, POD_NAME="empty")
    last, failed, first = runs(migrated)
    assert last.startswith("empty: failed after ")
    assert failed.startswith("broken: failed after ")
    assert failed.partition(" s: ")[2] in reason
    assert "products.json" in failed
    assert first.startswith("one: loaded after ")


def test_a_reason_that_is_no_unicode_is_kept(migrated: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "no\udcff\n\x1bfolder")
    refusal(run_job("load", STORAGE_URL=migrated, FIXTURES_DIR=folder, POD_NAME="one"))
    (failed,) = runs(migrated)
    assert failed.startswith("one: failed after ")
    assert "there is no such folder" in failed


async def test_a_run_that_was_killed_has_not_ended(migrated: str) -> None:
    async with open_storage(migrated) as storage:
        await storage.record_load_run(LoadRun(uuid4(), "killed", datetime.now(UTC)))
    assert runs(migrated) == ["killed: has not ended: it runs, or was killed"]


def test_a_role_without_rights_on_it_loads_all_the_same(migrated: str) -> None:
    if migrated.startswith("sqlite"):
        with closing(sqlite3.connect(migrated.removeprefix("sqlite:///"))) as database:
            database.execute("DROP TABLE load_runs")
    else:
        run(execute(migrated, "DROP TABLE load_runs"))
    lines = run_well("load", STORAGE_URL=migrated)
    assert any("this run is not recorded" in line for line in lines)
    assert any("loaded in" in line for line in lines)
