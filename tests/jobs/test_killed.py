"""A load that is killed leaves the old data, at whatever moment it dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import read_fixtures
from tests.jobs.jobs import (
    PACKAGED,
    SOURCE,
    copy_fixtures,
    finish,
    read_catalogue,
    run_well,
    start_job,
    write_entries,
)

STUCK_LOAD = """
import asyncio, sys, time
from pathlib import Path
from fixtures import read_fixtures
from storage import open_storage

def codes():
    print("in the middle", flush=True)
    time.sleep(600)
    yield "NEVERSEEN"

async def main(url, folder):
    async with open_storage(url) as storage:
        await storage.replace_catalogue(read_fixtures(Path(folder)).catalogue, codes=codes())

asyncio.run(main(*sys.argv[1:]))
"""
"""A load that hangs where it reads coupon codes, which is in the middle of its step."""


def big_fixtures(folder: Path) -> Path:
    copy_fixtures(folder)
    dish = {"name": "Waffle", "price": 9, "category": "Waffle"}
    write_entries(folder, "products", [dish | {"id": str(id_)} for id_ in range(1, 10_001)])
    return folder


def kill_in_the_middle(url: str, folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK_LOAD, url, str(folder)],
        env={"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    with process:
        assert process.stdout.readline() == "in the middle\n"
        process.kill()


async def test_killed_in_the_middle_of_its_step(loaded: str, tmp_path: Path) -> None:
    before = await read_catalogue(loaded)
    folder = big_fixtures(tmp_path / "fixtures")
    kill_in_the_middle(loaded, folder)
    assert await read_catalogue(loaded) == before
    run_well("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder))
    assert (await read_catalogue(loaded)).catalogue == read_fixtures(folder).catalogue


@pytest.mark.parametrize("seconds", [0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
async def test_killed_at_any_moment(loaded: str, tmp_path: Path, seconds: float) -> None:
    """When it dies depends on the machine; what is read afterwards is old or new, never a mix."""
    folder = big_fixtures(tmp_path / "fixtures")
    process = start_job("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder))
    await asyncio.sleep(seconds)
    process.kill()
    finish(process)
    read = (await read_catalogue(loaded)).catalogue
    assert read in (read_fixtures(PACKAGED).catalogue, read_fixtures(folder).catalogue)
    run_well("load", "--force", STORAGE_URL=loaded)
    assert (await read_catalogue(loaded)).catalogue == read_fixtures(PACKAGED).catalogue
