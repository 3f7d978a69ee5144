from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from migrations import read_folder, read_migrations
from storage import SCHEMA_VERSION


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
