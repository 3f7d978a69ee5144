"""database-migration as a process."""

from __future__ import annotations

import json
from dataclasses import replace

from migrations import read_migrations
from storage import open_storage
from storage.records import Migration
from tests.jobs.jobs import finish, refusal, run_job, run_well, start_job


def known_migrations(url: str) -> list[Migration]:
    return read_migrations(open_storage(url).backend)


def known_names(url: str) -> list[str]:
    return [migration.name for migration in known_migrations(url)]


async def apply(url: str, migration: Migration) -> None:
    async with open_storage(url) as storage:
        assert await storage.apply_migration(migration)


def test_applies_what_is_pending_and_prints_its_names(database: str) -> None:
    lines = run_well("migrate", STORAGE_URL=database)
    assert lines == [f"applied {name}" for name in known_names(database)]


def test_twice_is_nothing_to_do(migrated: str) -> None:
    assert run_well("migrate", STORAGE_URL=migrated) == ["nothing to do: the schema is up to date"]


def test_three_at_once_apply_each_migration_once(database: str) -> None:
    jobs = [start_job("migrate", STORAGE_URL=database) for _ in range(3)]
    lines = []
    for finished in [finish(job) for job in jobs]:
        assert (finished.returncode, finished.stderr) == (0, "")
        lines += [line for line in finished.stdout.splitlines() if line.startswith("applied")]
    assert sorted(lines) == [f"applied {name}" for name in known_names(database)]


def test_status_lists_applied_and_pending(database: str) -> None:
    names = known_names(database)
    pending = run_well("migrate", "status", STORAGE_URL=database)
    assert pending == [f"{name}: pending" for name in names]
    run_well("migrate", STORAGE_URL=database)
    applied = run_well("migrate", "status", STORAGE_URL=database)
    assert [line.split(" ")[:2] for line in applied] == [[f"{name}:", "applied"] for name in names]


async def test_an_applied_file_that_was_changed_is_refused(database: str) -> None:
    first = known_migrations(database)[0]
    await apply(database, replace(first, checksum="0" * 64))
    assert first.name in refusal(run_job("migrate", STORAGE_URL=database))
    status = run_job("migrate", "status", STORAGE_URL=database)
    assert first.name in refusal(status)
    assert f"{first.name}: changed since it was applied" in status.stdout


async def test_a_newer_migration_is_tolerated(migrated: str) -> None:
    newer = Migration(9999, "9999_later", "CREATE TABLE later (id integer)", "0" * 64)
    await apply(migrated, newer)
    assert run_well("migrate", STORAGE_URL=migrated) == ["nothing to do: the schema is up to date"]
    lines = run_well("migrate", "status", STORAGE_URL=migrated)
    assert lines[-1] == "9999_later: applied, unknown to this version"


def test_json_lines_carry_the_name(database: str) -> None:
    lines = run_well("migrate", STORAGE_URL=database, LOG_FORMAT="json", LOG_LEVEL="critical")
    entries = [json.loads(line) for line in lines]
    assert [entry["migration"] for entry in entries] == known_names(database)
    assert {entry["service"] for entry in entries} == {"database-migration"}


def test_memory_has_no_schema() -> None:
    for arguments in ((), ("status",)):
        lines = run_well("migrate", *arguments, STORAGE_URL="memory://")
        assert lines == ["memory:// has no schema: nothing to migrate"]
