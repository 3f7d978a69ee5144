"""Other Pythons than the one that runs the benchmark, each with an environment of its own.

The environment lies in this one's folder, so that two interpreters never share installed packages
and `make clean` takes all away. virtualenv makes it: Debian's python3 cannot make one by itself.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from rig.processes import ROOT

DISTRIBUTION = "/usr/bin/python3"
OLDEST = (3, 11)
INSTALL_SECONDS = 900.0

QUESTION = """
import json, platform, sys, sysconfig
value = sysconfig.get_config_var
flags = " ".join(str(value(name)) for name in ("CONFIG_ARGS", "PY_CFLAGS", "PY_CORE_CFLAGS"))
optimised = "--enable-optimizations" in flags or "-fprofile-use" in flags
optimised = optimised or value("PGO_PROF_USE_FLAG") == ""
print(json.dumps([platform.python_version(), optimised, sys.version, sys.version_info[:2]]))
"""
"""Debian has a profile used by make, not by configure, and takes the compiler's flags for it out of
what the interpreter says of itself. Then the flag that stands in every other build is empty."""


class NoInterpreter(Exception):
    """It cannot be measured with; the message says why."""


class Interpreter(NamedTuple):
    """A Python, as it says itself."""

    program: str
    version: str
    optimised: bool
    """Whether it was built with profile-guided optimisation."""
    build: str
    """Tells one build from all others."""

    def __str__(self) -> str:
        return f"Python {self.version} ({'PGO' if self.optimised else 'no PGO'})"


def interpreter_at(program: str) -> Interpreter:
    """Raises NoInterpreter."""
    try:
        done = subprocess.run(
            [program, "-I", "-c", QUESTION], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoInterpreter(f"{program} was left out: it does not run: {error}") from error
    version, optimised, build, numbers = json.loads(done.stdout)
    if tuple(numbers) < OLDEST:
        raise NoInterpreter(f"{program} was left out: Python {version} is older than 3.11")
    return Interpreter(program, version, optimised, build)


def this_interpreter() -> Interpreter:
    return interpreter_at(sys.executable)


def find_another(than: Interpreter) -> str | None:
    """The distribution's Python, where that is another build of a version that is new enough."""
    try:
        found = interpreter_at(DISTRIBUTION)
    except NoInterpreter:
        return None
    return None if found.build == than.build else DISTRIBUTION


def with_environment(program: str) -> Interpreter:
    """The same interpreter in an environment that has all that is measured. Made once for each
    change of what it holds. Raises NoInterpreter."""
    found = interpreter_at(program)
    if found.build == sys.version:
        return found._replace(program=sys.executable)
    wanted = b"".join((ROOT / name).read_bytes() for name in ("setup.cfg", "constraints.txt"))
    name = hashlib.sha256(wanted + found.build.encode()).hexdigest()[:12]
    folder = Path(sys.prefix) / "interpreters" / f"{found.version}-{name}"
    inside = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        _make(found, folder, inside)
        complete.touch()
    return found._replace(program=str(inside))


def _make(found: Interpreter, folder: Path, inside: Path) -> None:
    print(f"making an environment for {found}", file=sys.stderr, flush=True)
    install = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "virtualenv", "--quiet", "--python", found.program, str(folder)],
        [*install, "--constraint", "constraints.txt", "--editable", ".[bench]"],
    ):
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if done.returncode:
            last = ((done.stderr + done.stdout).strip().splitlines() or ["no word of why"])[-1]
            raise NoInterpreter(f"{found} was left out: no environment for it: {last}")
