"""database-migration as a process."""

from __future__ import annotations

import json
import re
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


def test_applies_what_is_pending_and_prints_its_names(shared_url: str) -> None:
    *lines, summary = run_well("migrate", STORAGE_URL=shared_url)
    assert lines == [f"applied {name}" for name in known_names(shared_url)]
    assert re.fullmatch(rf"applied {len(lines)} in \d+ ms", summary)


def test_twice_is_nothing_to_do(migrated: str) -> None:
    assert run_well("migrate", STORAGE_URL=migrated) == ["nothing to do: the schema is up to date"]


def test_three_at_once_apply_each_migration_once(shared_url: str) -> None:
    jobs = [start_job("migrate", STORAGE_URL=shared_url) for _ in range(3)]
    lines = []
    for finished in [finish(job) for job in jobs]:
        assert (finished.returncode, finished.stderr) == (0, "")
        lines += [line for line in finished.stdout.splitlines() if line.startswith("applied 0")]
    assert sorted(lines) == [f"applied {name}" for name in known_names(shared_url)]


def test_status_lists_applied_and_pending(shared_url: str) -> None:
    names = known_names(shared_url)
    pending = run_well("migrate", "status", STORAGE_URL=shared_url)
    assert pending == [f"{name}: pending" for name in names]
    run_well("migrate", STORAGE_URL=shared_url)
    applied = run_well("migrate", "status", STORAGE_URL=shared_url)
    assert [line.split(" ")[:2] for line in applied] == [[f"{name}:", "applied"] for name in names]


async def test_an_applied_file_that_was_changed_is_refused(shared_url: str) -> None:
    first = known_migrations(shared_url)[0]
    await apply(shared_url, replace(first, checksum="0" * 64))
    assert first.name in refusal(run_job("migrate", STORAGE_URL=shared_url))
    status = run_job("migrate", "status", STORAGE_URL=shared_url)
    assert first.name in refusal(status)
    assert f"{first.name}: changed since it was applied" in status.stdout


async def test_a_newer_migration_is_tolerated(migrated: str) -> None:
    newer = Migration(9999, "9999_later", "CREATE TABLE later (id integer)", "0" * 64)
    await apply(migrated, newer)
    assert run_well("migrate", STORAGE_URL=migrated) == ["nothing to do: the schema is up to date"]
    lines = run_well("migrate", "status", STORAGE_URL=migrated)
    assert lines[-1] == "9999_later: applied, unknown to this version"


def test_json_lines_carry_the_name(shared_url: str) -> None:
    lines = run_well("migrate", STORAGE_URL=shared_url, LOG_FORMAT="json", LOG_LEVEL="critical")
    *entries, summary = [json.loads(line) for line in lines]
    assert [entry["migration"] for entry in entries] == known_names(shared_url)
    assert summary["applied"] == known_names(shared_url)
    assert summary["duration_ms"] > 0
    assert {entry["service"] for entry in entries} == {"database-migration"}


def test_memory_has_no_schema() -> None:
    for arguments in ((), ("status",)):
        lines = run_well("migrate", *arguments, STORAGE_URL="memory://")
        assert lines == ["memory:// has no schema: nothing to migrate"]
