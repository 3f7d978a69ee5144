from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from migrations import read_folder, read_migrations
from storage import SCHEMA_VERSION

RELEASED = {
    "sqlite": {
        "0001_create_tables": "fe42e6d2be509b6a436743889c86df84339136503d9c191160da5cb0b361e7b5",
        "0002_create_indexes": "4ebf2c7253d9d7967cd8fb8e6a5e54d7b28ed09331dd0dbfeaf474626378c60f",
        "0003_add_orders": "2d44daaebc06b240cdf47bf942280783c39c29969128c595a24666ade29b70c7",
        "0004_order_life": "1541cbc8dd347a151e137650d58c72e28bd9809d8ccbd83dc1b0702e799d9bf3",
        "0005_archive": "f40f48eaa84cbf7002d76ca1cc7966a8b1d3340bbfe447e191e583d87180e275",
        "0006_load_runs": "b6a0267da89eede121fe10cf8023777731e080ba187f601a779f82f9c6563713",
    },
    "postgresql": {
        "0001_create_tables": "ea47a767eeec08ff40b4e0c06df900944317c2f37fa0da2356aa0d8a8f90b3e3",
        "0002_create_indexes": "fdb50a581ba71b0316a7c137455ba876acc903a974a066666447585c524562d6",
        "0003_add_orders": "7eb06e28fb11320afe50cd6e5309cc7b7611fe17dad00abc6bd843df8f30e6cb",
        "0004_order_life": "fe2ca5ddb023b03ed806997ce723630ac0a271293dc8eaf4a3129ce0d2e0f7a2",
        "0005_archive": "a4d921121abcca7bfdd6b9be92aecbd2e72e7646d93c64c7f61fb4524cbfda3e",
        "0006_load_runs": "4f48cc5316870eeb4aa6615c72d2464eb1a7bb84062028e1ebe0fcaf5eafacd9",
    },
}
"""The migrations that a release has applied somewhere, by their SHA-256: they never change again. A
release adds those that are new in it."""


@pytest.mark.parametrize("backend", RELEASED)
def test_what_was_released_never_changes(backend: str) -> None:
    checksums = {one.name: one.checksum for one in read_migrations(backend)}
    assert {name: checksums.get(name) for name in RELEASED[backend]} == RELEASED[backend]


def statement_timeout(folder: Path, text: str) -> float | None:
    (folder / "0001_a.sql").write_text(text)
    (migration,) = read_folder(folder)
    return migration.statement_timeout


def test_a_migration_asks_for_more_time_in_its_header(tmp_path: Path) -> None:
    for text, seconds in (
        ("SELECT 1;", None),
        ("-- Why.\n-- statement_timeout: 60s\nSELECT 1;", 60),
        ("\n--statement_timeout:5min\n\nSELECT 1;", 300),
        ("SELECT 1;\n-- statement_timeout: 60s\n", None),
        ("-- of the statement_timeout: 60s\nSELECT 1;", None),
    ):
        assert statement_timeout(tmp_path, text) == seconds, text


@pytest.mark.parametrize("value", ["", ":", ": 60", ": 0s", ": -1s", ": 1h", ": 60s 60s", "= 60s"])
def test_a_header_that_cannot_be_read_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ValueError, match=r"0001_a\.sql.* 60s or 5min"):
        statement_timeout(tmp_path, f"-- statement_timeout{value}\nSELECT 1;")


def test_the_code_needs_the_newest_migration() -> None:
    assert read_migrations("sqlite")[-1].version == SCHEMA_VERSION


def test_twins_have_equal_names() -> None:
    sqlite, postgres = read_migrations("sqlite"), read_migrations("postgresql")
    assert [one.name for one in sqlite] == [one.name for one in postgres]
    assert sqlite[0].name == "0001_create_tables"


def test_memory_has_none() -> None:
    assert read_migrations("memory") == []


def test_a_checksum_is_that_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 'ä';\n", encoding="utf-8")
    (migration,) = read_folder(tmp_path)
    assert (migration.version, migration.name, migration.sql) == (1, "0001_a", "SELECT 'ä';\n")
    assert migration.checksum == hashlib.sha256("SELECT 'ä';\n".encode()).hexdigest()


@pytest.mark.parametrize(
    "names",
    [
        ["0001_a.sql", "0003_b.sql"],
        ["0002_a.sql"],
        ["0001_a.sql", "0001_b.sql"],
        ["0001_A.sql"],
        ["1_a.sql"],
        ["0001_a.sql", "notes.txt"],
    ],
)
def test_names_that_make_no_sequence_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="migration"):
        read_folder(tmp_path)
