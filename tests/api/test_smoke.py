"""The examples of docs/api.md, as the script asks them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from rig.processes import ROOT, RunningServer

SMOKE = ROOT / "scripts" / "smoke.sh"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def smoke(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SMOKE), url], capture_output=True, text=True, timeout=60, check=False
    )


def test_every_example_of_the_readme_is_answered_as_it_says(server: RunningServer) -> None:
    done = smoke(server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"all right: {server.url}"


def test_the_first_wrong_answer_fails(server: RunningServer) -> None:
    done = smoke(f"{server.url}/nope")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("wrong: ")
