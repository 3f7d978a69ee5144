"""Schemathesis against the OpenAPI document: thousands of requests that somebody might send.

`make test` sends over a thousand to each backend, `make fuzz` a hundred thousand in all: the
variable ORDERFOOD_FUZZ_EXAMPLES says how many examples each operation gets in a phase, and
ORDERFOOD_FUZZ_SEEDS how often it all begins anew, with other ones.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fixtures
from orderfood.shop.orders import SCOPES, hash_key
from rig.processes import RunningServer, prepare, serving
from tests.conftest import BACKENDS

CONFIG = Path(__file__).parent / "schemathesis.toml"
EXAMPLES = int(os.environ.get("ORDERFOOD_FUZZ_EXAMPLES", "20"))
SEEDS = int(os.environ.get("ORDERFOOD_FUZZ_SEEDS", "1"))


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def menu(tmp_path: Path) -> Path:
    """The packaged fixtures, and a user who may do everything."""
    folder = tmp_path / "fixtures"
    shutil.copytree(Path(fixtures.__file__).parent, folder)
    users = json.loads((folder / "users.json").read_text())
    key = {"hash": hash_key("everything"), "scopes": list(SCOPES)}
    users.append({"id": "everything", "name": "Everything", "keys": [key]})
    (folder / "users.json").write_text(json.dumps(users))
    return folder


SHOP_STATE = "/api/shop/(pause|resume|product/.*)$"
"""What keeps orders from being placed: tried after everything else."""


def fuzz(server: RunningServer, seed: int, *which: str) -> str:
    """What Schemathesis says in the end; it must have found nothing."""
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG),
            "run", f"{server.url}/openapi.json", "--checks", "all",
            "--header", "api_key: everything", *which, "--no-color",
            "--max-examples", str(EXAMPLES), "--generation-database", "none", "--seed", str(seed),
        ],
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    return done.stdout


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_nothing_is_found_that_the_contract_does_not_allow(
    url: str, menu: Path, seed: int, record_property: Callable[[str, object], None]
) -> None:
    if url != "memory://":
        prepare(url, FIXTURES_DIR=menu)
    with serving(url, FIXTURES_DIR=menu) as server:
        said = fuzz(server, seed, "--exclude-path-regex", SHOP_STATE)
        fuzz(server, seed, "--include-path-regex", f"/api/shop$|{SHOP_STATE}")
        cases = re.search(r"(\d+) generated", said)
        assert cases is not None
        assert int(cases[1]) > 500
        record_property("cases", cases[1])
        print(f"{url.partition(':')[0]}: {cases[1]} requests", file=sys.__stdout__)
        server.stop()
    answered = [line for line in server.lines if line["logger"] == "orderfood.access"]
    assert len(answered) > int(cases[1]) // 2
    assert [line for line in answered if line["status"] >= 500] == []
    assert [line for line in server.lines if line["level"] in ("error", "critical")] == []
