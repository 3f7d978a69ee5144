"""Values and files that only look right: none may gut the shop, or hang or break a program."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import subprocess
from pathlib import Path

import pytest

from fixtures import FixtureError, read_fixtures
from orderfood.api.parsing import parse_order
from orderfood.settings import SettingsError, read_settings
from rig.processes import PATIENCE, command, environment
from storage.errors import InvalidStorageURL, StorageUnavailable
from storage.postgres.connect import Connector
from storage.postgres.url import read_url
from tests.jobs.jobs import copy_fixtures, read_entries, refusal, run_job, write_entries

CODES = [f"CODE{number:05d}" for number in range(200)]
TEXT = "".join(f"{code}\n" for code in CODES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_fixtures(tmp_path / "fixtures")


@pytest.mark.parametrize("total", ["1e308", "1.7e308", "1e307", "90071992547409930"])
def test_no_expected_total_is_an_error_of_ours(total: str) -> None:
    items = '"items":[{"productId":"1","quantity":1}]'
    body = f'{{{items},"expectedTotal":{total}}}'.encode()
    _, expected = parse_order(body)
    assert expected is not None
    assert expected > 2**52


COPIES = {
    "bom": "\ufeff" + TEXT,
    "no last newline": TEXT[:-1],
    "one more blank line": TEXT + "\n",
    "crlf": TEXT.replace("\n", "\r\n"),
    "lower case": TEXT.lower(),
    "a comment": "# generated\n" + TEXT,
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_that_differs_in_no_code(loaded: str, folder: Path, copy: str) -> None:
    (folder / "coupons" / "one").write_text(TEXT)
    (folder / "coupons" / "two.gz").write_bytes(gzip.compress(COPIES[copy].encode()))
    line = refusal(run_job("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder)))
    assert "coupons/one" in line
    assert "coupons/two.gz" in line


@pytest.mark.parametrize("end", ["\r\r", "\u2003", "\u202f", "\u200b"])
def test_lines_with_a_blank_at_their_end(loaded: str, folder: Path, end: str) -> None:
    (folder / "coupons" / "one").write_text("".join(f"AB{i:06d}{end}\n" for i in range(50)))
    refusal(run_job("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder)))


@pytest.mark.parametrize("target", ["nowhere", "coupon_files.json"])
def test_a_link_that_leads_nowhere_is_not_absent(folder: Path, target: str) -> None:
    path = folder / "coupon_files.json"
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    with pytest.raises(FixtureError, match=r"coupon_files\.json"):
        read_fixtures(folder)


def test_a_zone_that_is_none() -> None:
    with pytest.raises(SettingsError):
        read_settings({"HOST": "::1%\u202e"})


@pytest.mark.parametrize("label", ["prod\u200b", "\u202eprod", "prod\x85"])
def test_a_label_that_only_looks_like_prod(label: str) -> None:
    with pytest.raises(SettingsError):
        read_settings({"ENVIRONMENT": label})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@a:1,b:70000/db",
        "postgresql://u:p@/db?host=a&port=70000",
        "postgresql://u:p@h%00/db",
        "postgresql://u@h/db?passfile=%00",
        "postgresql://u:p@h/db?sslmode=require&sslcert=%00",
    ],
)
def test_urls_that_no_driver_can_use(url: str) -> None:
    with pytest.raises(InvalidStorageURL):
        read_url(url)


async def test_a_passfile_that_is_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    connector = Connector(f"postgresql://u@127.0.0.1:1/db?passfile={tmp_path / 'fifo'}")
    release = asyncio.get_running_loop().run_in_executor(None, _open_late, tmp_path / "fifo")
    with pytest.raises(StorageUnavailable, match="regular"):
        await connector.connect()
    await release


def _open_late(path: Path) -> None:
    """Lets go of whoever reads there, so that the test fails and does not hang."""
    import time

    time.sleep(0.5)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    os.close(reader)


GUTTED = {
    "users": ("keys", {"expiresAt": "2020-01-01T00:00:00Z"}),
    "coupons": (None, {"validUntil": "2020-01-01T00:00:00Z"}),
}


@pytest.mark.parametrize("kind", GUTTED)
def test_what_has_ended_already_is_gone(loaded: str, folder: Path, kind: str) -> None:
    """All keys (or coupons) expired: nobody can order any more, and the load needs no --force."""
    within, members = GUTTED[kind]
    entries = read_entries(folder, kind)
    for entry in entries:
        for each in entry[within] if within else [entry]:
            each.update(members)
    write_entries(folder, kind, entries)
    if kind == "coupons":
        (folder / "coupon_files.json").write_text(
            '[{"kind":"percent","value":10,"validUntil":"2020-01-01T00:00:00Z"}]'
        )
    refusal(run_job("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder)))


def test_lone_carriage_returns_beside_one_good_line(loaded: str, folder: Path) -> None:
    """200 codes end with CR, one line with LF is appended: 200 codes are passed over silently."""
    (folder / "coupons" / "one").write_bytes(TEXT.replace("\n", "\r").encode() + b"\nHAPPYHRS\n")
    refusal(run_job("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder)))


def test_a_folder_of_prometheus_that_is_none() -> None:
    """PROMETHEUS_MULTIPROC_DIR=/nope: a traceback and exit 1."""
    done = subprocess.run(
        command("order-food"),
        env=environment(STORAGE_URL="memory://", PORT=0, PROMETHEUS_MULTIPROC_DIR="/nope"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "PROMETHEUS_MULTIPROC_DIR" in done.stderr


def test_an_interrupt_at_the_end_does_not_hang(tmp_path: Path) -> None:
    """Both streams stall; SIGINT while the last lines are waited for: KeyboardInterrupt's traceback
    is written into the stalled stderr, for ever."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"\n" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    url = f"sqlite:///{tmp_path}/x.db"
    assert run_job("migrate", STORAGE_URL=url).returncode == 0
    program = (
        "import os, signal, threading;"
        "import orderfood.program as p;"
        "close = p.close_logs;"
        "p.close_logs = lambda: (threading.Timer("
        "0.3, os.kill, (os.getpid(), signal.SIGINT)).start(), close());"
        "import scripts.migrate as m; m.main([])"
    )
    import sys

    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment(STORAGE_URL=url),
        stdout=writer,
        stderr=writer,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(writer)
    try:
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(reader)
