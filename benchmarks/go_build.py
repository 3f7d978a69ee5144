"""The Go service as a program: built where there is a go, once for each change of its source."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from rig.processes import ROOT

SOURCE = ROOT / "benchmarks" / "go_service"
BUILT = Path(sys.prefix) / "go_service"
"""In the environment, which git and images know nothing of and `make clean` takes away."""

BUILD_SECONDS = 600.0


class NoGo(Exception):
    """There is no Go service here; the message says why."""


def build_go_service(target: Path = BUILT) -> Path:
    """The program. go itself builds anew only what has changed. Raises NoGo."""
    go = shutil.which("go")
    if go is None:
        raise NoGo("the Go service was left out: go is not on the PATH")
    done = subprocess.run(
        [go, "build", "-trimpath", "-buildvcs=false", "-o", str(target), "."],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["go said nothing"])[-1]
        raise NoGo(f"the Go service was left out: go cannot build it here: {last}")
    return target


def go_version(program: Path) -> str:
    """Of the go that has built it, as in "1.26.0"."""
    done = subprocess.run(
        ["go", "version", str(program)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.rpartition(" go")[2].strip()
