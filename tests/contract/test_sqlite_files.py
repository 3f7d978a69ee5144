"""The files of an SQLite database: whose they are, how large, and what if one is taken away."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from storage.errors import StorageUnavailable
from tests.contract.database import Database, new_catalogue, new_order

LIMIT = 16 * 1024 * 1024
"""Bytes of the -wal that may stay."""

ENDINGS = ("", "-wal", "-shm")


def path_of(url: str, ending: str = "") -> Path:
    return Path(url.removeprefix("sqlite:///") + ending)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("how", ["removed", "replaced", "moved away"])
async def test_a_file_that_is_not_ours_any_more(sqlite_url: str, ending: str, how: str) -> None:
    path = path_of(sqlite_url, ending)
    async with Database(sqlite_url).open() as storage:
        await storage.add_order(new_order())
        await storage.get_versions()
        match how:
            case "removed":
                path.unlink()
            case "replaced":
                shutil.copy(path, path.with_suffix(".copy"))
                os.replace(path.with_suffix(".copy"), path)
            case _:
                path.rename(path.with_suffix(".away"))
        with pytest.raises(StorageUnavailable, match=path.name):
            await storage.get_versions()
        with pytest.raises(StorageUnavailable):
            await storage.find_obstacle()


async def test_what_others_do_to_the_files_is_fine(sqlite_url: str) -> None:
    async with Database(sqlite_url).open() as storage, Database(sqlite_url).open() as other:
        for number in range(5):
            await storage.add_order(new_order())
            await other.replace_catalogue(new_catalogue(number + 1))
            with sqlite3.connect(path_of(sqlite_url)) as third:
                third.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                third.execute("VACUUM")
            third.close()
            assert (await storage.get_versions()).catalogue == number + 1
    for _ in range(2):  # the last to close takes them away
        async with Database(sqlite_url).open() as storage:
            await storage.get_versions()


async def test_they_are_private(sqlite_url: str) -> None:
    before = os.umask(0)
    try:
        async with Database(sqlite_url).open() as storage:
            await storage.add_order(new_order())
            modes = {e: path_of(sqlite_url, e).stat().st_mode & 0o777 for e in ENDINGS}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(ENDINGS, 0o600)


async def test_the_log_shrinks_after_a_long_reader(sqlite_url: str) -> None:
    log = path_of(sqlite_url, "-wal")
    async with Database(sqlite_url).open() as storage:
        reader = sqlite3.connect(path_of(sqlite_url), isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM catalogue").fetchall()
        number = 0
        while log.stat().st_size < 2 * LIMIT:
            number += 1
            many = [f"{number:02}{code:08}" for code in range(100_000)]
            await storage.replace_catalogue(new_catalogue(), codes=many)
        reader.execute("COMMIT")
        reader.close()
        for _ in range(3):
            await storage.add_order(new_order())
        assert log.stat().st_size <= LIMIT
