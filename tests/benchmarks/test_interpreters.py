"""Which Python it was, and how it was built."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from benchmarks.bench import another_interpreter, parse_options
from benchmarks.interpreters import NoInterpreter, interpreter_at, with_environment
from benchmarks.report import as_text
from benchmarks.results import Results


def built_with(folder: Path, **variables: str) -> str:
    """A Python whose build says this of itself."""
    program = folder / f"python-{len(list(folder.iterdir()))}"
    fake = f"import sysconfig; sysconfig.get_config_var = {variables!r}.get; exec(sys.argv[1])"
    run = f"{shlex.quote(sys.executable)} -c 'import sys; '{shlex.quote(fake)} \"$3\""
    program.write_text(f"#!/bin/sh\nexec {run}\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("variables", "optimised"),
    [
        ({"CONFIG_ARGS": "'--enable-optimizations' '--with-lto'"}, True),
        ({"PY_CFLAGS": "-O3 -fprofile-use"}, True),
        ({"CONFIG_ARGS": "'--prefix=/usr'", "PGO_PROF_USE_FLAG": ""}, True),
        ({"CONFIG_ARGS": "'--prefix=/x'", "PGO_PROF_USE_FLAG": "-fprofile-use"}, False),
    ],
)
def test_a_build_tells_whether_it_is_optimised(
    tmp_path: Path, variables: dict[str, str], optimised: bool
) -> None:
    found = interpreter_at(built_with(tmp_path, **variables))
    assert found.optimised is optimised
    assert str(found).endswith("(PGO)" if optimised else "(no PGO)")


def test_this_interpreter_needs_no_other_environment() -> None:
    assert with_environment(sys.executable).program == sys.executable


def test_an_interpreter_that_does_not_run_is_left_out_by_name(tmp_path: Path) -> None:
    missing = str(tmp_path / "python9")
    with pytest.raises(NoInterpreter, match="python9 was left out"):
        interpreter_at(missing)
    results = Results()
    options = parse_options(["--also-python", missing])
    assert another_interpreter(options, interpreter_at(sys.executable), results) is None
    assert "python9 was left out: it does not run" in as_text(results, "make bench")


def test_the_same_interpreter_is_not_measured_twice() -> None:
    results = Results()
    options = parse_options(["--also-python", sys.executable])
    assert another_interpreter(options, interpreter_at(sys.executable), results) is None
    assert results.left_out == []
