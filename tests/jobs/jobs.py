"""Runs the two jobs as the processes that they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fixtures
import scripts
from orderfood.settings import describe_settings
from storage import open_storage
from storage.records import VersionedCatalogue

PACKAGED = Path(fixtures.__file__).parent
SOURCE = Path(scripts.__file__).parents[1]

OURS = {"PYTHONPATH": str(SOURCE), "LOG_FORMAT": "text", "JAEGER_ENDPOINT": ""}

Finished = subprocess.CompletedProcess[str]
Running = subprocess.Popen[str]


def start_job(job: str, *arguments: str, **settings: str) -> Running:
    """Starts ``migrate`` or ``load``; its settings are those given and no others."""
    return start_into(subprocess.PIPE, job, *arguments, **settings)


def start_into(output: int, job: str, *arguments: str, **settings: str) -> Running:
    """The same, where both its streams go into ``output``."""
    inherited = {
        k: v for k, v in os.environ.items() if k not in {s.name for s in describe_settings()}
    }
    return subprocess.Popen(
        [sys.executable, "-m", f"scripts.{job}", *arguments],
        env={**inherited, **OURS, **settings},
        stdout=output,
        stderr=output,
        text=True,
    )


def finish(process: Running) -> Finished:
    """Waits for the end of a job that was started."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()  # does nothing to one that has ended
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_job(job: str, *arguments: str, **settings: str) -> Finished:
    """Runs a job to its end."""
    return finish(start_job(job, *arguments, **settings))


def run_well(job: str, *arguments: str, **settings: str) -> list[str]:
    """The lines of a job that succeeds and has nothing to complain about."""
    finished = run_job(job, *arguments, **settings)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout.splitlines()


def refusal(finished: Finished, code: int = 1) -> str:
    """The one line in which a job says why it did not do its work."""
    assert finished.returncode == code, finished
    (line,) = finished.stderr.splitlines()
    assert "Traceback" not in finished.stdout
    return line


def copy_fixtures(folder: Path) -> Path:
    """A copy of the packaged fixtures, to be changed."""
    folder.mkdir()
    for path in PACKAGED.glob("*.json"):
        shutil.copy(path, folder)
    shutil.copytree(PACKAGED / "coupons", folder / "coupons")
    return folder


def read_entries(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The entries of a file."""
    entries: list[dict[str, Any]] = json.loads((folder / f"{kind}.json").read_text())
    return entries


def write_entries(folder: Path, kind: str, entries: list[dict[str, Any]]) -> None:
    """Puts other entries into a file."""
    (folder / f"{kind}.json").write_text(json.dumps(entries))


async def read_catalogue(url: str) -> VersionedCatalogue:
    """What a server would read."""
    async with open_storage(url) as storage:
        return await storage.read_catalogue()
