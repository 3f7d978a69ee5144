"""database-load and the coupon files: what it says, what stops it, and what is left then."""

from __future__ import annotations

import gzip
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rig.processes import PATIENCE
from storage import open_storage
from tests.contract.database import cancel, new_order
from tests.jobs.jobs import (
    SOURCE,
    copy_fixtures,
    finish,
    read_catalogue,
    refusal,
    run_job,
    run_well,
    start_job,
)

OLD = "HAPPYHRS"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_fixtures(tmp_path / "fixtures")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


def write_slow_file(folder: Path, seconds: int = 5) -> None:
    """A line of gigabytes, small on the disk: a gzip file may have any number of members."""
    member = gzip.compress(b"X" * 10_000_000)
    end = gzip.compress(b"\nSLOWCODE\n")
    (folder / "coupons" / "slow.gz").write_bytes(member * (100 * seconds) + end)


async def find(url: str, code: str) -> str | None:
    async with open_storage(url) as storage:
        return (await storage.find_coupon(code)).file_code


async def test_says_how_many_codes_there_are(loaded: str, folder: Path) -> None:
    lines = run_well("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder))
    assert "coupon_codes: 0 added, 0 changed, 0 removed, 8 unchanged" in lines
    assert lines[-1].endswith(" ms, with 8 codes of coupon files")
    entry = json.loads(run_well("load", STORAGE_URL=loaded, LOG_FORMAT="json")[-1])
    assert entry["file_codes"] == 8
    assert await find(loaded, "gnulinux") == "GNULINUX"
    assert await find(loaded, "SUPER100") is None


async def test_a_folder_of_fixtures_without_coupon_files_has_no_codes(
    loaded: str, folder: Path
) -> None:
    shutil.rmtree(folder / "coupons")
    (folder / "coupon_files.json").unlink()
    lines = run_well("load", "--force", STORAGE_URL=loaded, FIXTURES_DIR=str(folder))
    assert "coupon_codes: 0 added, 0 changed, 8 removed, 0 unchanged" in lines
    assert (await read_catalogue(loaded)).catalogue.file_coupon is None


def _empty_folder(coupons: Path) -> None:
    for path in coupons.iterdir():
        path.unlink()


def _no_folder(coupons: Path) -> None:
    shutil.rmtree(coupons)
    coupons.touch()


def _not_text(coupons: Path) -> None:
    (coupons / "couponbase1.txt").write_bytes(b"HAPPYHRS\n\xff")


def _truncated(coupons: Path) -> None:
    path = coupons / "couponbase2.gz"
    path.write_bytes(path.read_bytes()[:-9])


def _unpacked_beside(coupons: Path) -> None:
    packed = coupons / "couponbase2.gz"
    (coupons / "couponbase2").write_bytes(gzip.decompress(packed.read_bytes()))


def _copied(coupons: Path) -> None:
    shutil.copy(coupons / "couponbase1.txt", coupons / "zz copy of couponbase1.txt")


def _linked(coupons: Path) -> None:
    (coupons / "a").symlink_to("couponbase1.txt")


def _packed_anew(coupons: Path) -> None:
    text = gzip.decompress((coupons / "couponbase3.gz").read_bytes())
    middle = len(text) // 2
    (coupons / "z").write_bytes(gzip.compress(text[:middle], 1) + gzip.compress(text[middle:], 9))


def _content(content: bytes | str) -> Callable[[Path], None]:
    def spoil(coupons: Path) -> None:
        data = content if isinstance(content, bytes) else content.encode()
        (coupons / "couponbase1.txt").write_bytes(data)

    return spoil


CODES = ["HAPPYHRS", "FIFTYOFF", "OVER9000"]
FIRST = "coupons/couponbase1.txt: line 1: "
TABLE = FIRST + "3 of 3 lines hold quotes, commas or semicolons, or begin or end with a blank"
NO_CODE = "lines is a code of 8 to 10 characters"


def _settings(text: str) -> Callable[[Path], None]:
    def spoil(coupons: Path) -> None:
        (coupons.parent / "coupon_files.json").write_text(text)

    return spoil


SPOILS = [
    (_empty_folder, "coupons: holds no coupon files"),
    (_no_folder, "coupons: cannot be read: Not a directory"),
    (_not_text, "coupons/couponbase1.txt: line 2: is not UTF-8: the file is not text"),
    (_truncated, "coupons/couponbase2.gz: is truncated or damaged gzip: "),
    (_unpacked_beside, "coupons/couponbase2 and coupons/couponbase2.gz hold the same text"),
    (
        _copied,
        "coupons/couponbase1.txt and coupons/zz copy of couponbase1.txt hold the same text",
    ),
    (_linked, "coupons/a and coupons/couponbase1.txt hold the same text"),
    (_packed_anew, "coupons/couponbase3.gz and coupons/z hold the same text"),
    (_content("\r".join(CODES)), FIRST + "not one of its 1 " + NO_CODE),
    (
        _content("\n\nSHORT\nFARTOOLONGTOBEONE\n"),
        "coupons/couponbase1.txt: line 3: not one of its 2 ",
    ),
    (_content("".join(f'"{code}"\n' for code in CODES)), TABLE),
    (_content("".join(f"'{code}'\n" for code in CODES)), TABLE),
    (_content("".join(f"\u201c{code}\u201d\r\n" for code in CODES)), TABLE),
    (_content("".join(f"{code},\n" for code in CODES)), TABLE),
    (_content("".join(f"{code};10\n" for code in CODES)), TABLE),
    (_content("\ufeff" + "".join(f"{code} \r\n" for code in CODES)), TABLE),
    (_content("".join(f"{code}\t\n" for code in CODES)), TABLE),
    (_content("".join(f" {code}\n" for code in CODES)), TABLE),
    (_content("".join(f"{code}\u00a0\n" for code in CODES)), TABLE),
    (
        _content("HAPPYHRS\n\nOVER9000,\r\nFIFTYOFF \n"),
        "coupons/couponbase1.txt: line 3: 2 of 3 lines hold",
    ),
    (_content(gzip.compress(b"HAPPYHRS,\nOVER9000,1\n")), FIRST + "2 of 2 lines hold"),
    (_content("HAPPYHRS\n".encode("utf-16")), FIRST + "is UTF-16 and not UTF-8"),
    (_content("HAPPYHRS\n".encode("utf-16-be")), FIRST + "holds a NUL byte"),
    (_content("HAPPYHRS\n".encode("utf-32")), FIRST + "is UTF-16 and not UTF-8"),
    (_settings("[]"), "coupon_files.json: must hold an array of one object"),
    (_settings('[{"kind": "percent"}]'), "coupon_files.json: entry 1: value must be over 0"),
    (_settings('[{"kind": "percent", "value": 5, "code": "A"}]'), "coupon_files.json: entry 1"),
]


@pytest.mark.one_backend
@pytest.mark.parametrize(("spoil", "expected"), SPOILS)
async def test_broken_coupon_files_change_nothing(
    loaded: str, folder: Path, spoil: Callable[[Path], None], expected: str
) -> None:
    before = await read_catalogue(loaded)
    products = json.loads((folder / "products.json").read_text())
    products[0]["name"] = "Something new that must not get in"
    (folder / "products.json").write_text(json.dumps(products))
    spoil(folder / "coupons")
    line = refusal(run_job("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder)))
    assert line.startswith(f"database-load: {expected}")
    assert await read_catalogue(loaded) == before
    assert await find(loaded, OLD) == OLD


def test_memory_checks_the_coupon_files_too(memory_url: str, folder: Path) -> None:
    _truncated(folder / "coupons")
    line = refusal(run_job("load", STORAGE_URL=memory_url, FIXTURES_DIR=str(folder)))
    assert "truncated" in line


# --- the spool ---


def test_a_spool_that_is_no_folder(migrated: str, tmp_path: Path) -> None:
    line = refusal(run_job("load", STORAGE_URL=migrated, SPOOL_DIR=str(tmp_path / "nowhere")))
    assert line.endswith("nowhere (SPOOL_DIR): No such file or directory")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root, where it may, can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


async def test_a_full_disk_ends_the_load_cleanly(
    loaded: str, folder: Path, tiny_disk: Path
) -> None:
    before = await read_catalogue(loaded)
    for name in ("many1", "many2"):
        (folder / "coupons" / name).write_text("\n".join(f"C{n:08}" for n in range(200_000)))
    settings = {"STORAGE_URL": loaded, "FIXTURES_DIR": str(folder), "SPOOL_DIR": str(tiny_disk)}
    line = refusal(run_job("load", **settings))
    assert line.endswith(f"spooled in {tiny_disk} (SPOOL_DIR): No space left on device")
    assert os.listdir(tiny_disk) == []
    assert os.statvfs(tiny_disk).f_bavail == os.statvfs(tiny_disk).f_blocks
    assert await read_catalogue(loaded) == before
    assert await find(loaded, OLD) == OLD


# --- a load that takes long ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_a_load_that_is_stopped_leaves_nothing(
    loaded: str, folder: Path, spool: Path, number: signal.Signals
) -> None:
    write_slow_file(folder, 30)
    before = await read_catalogue(loaded)
    settings = {"STORAGE_URL": loaded, "FIXTURES_DIR": str(folder), "SPOOL_DIR": str(spool)}
    process = start_job("load", **settings)
    assert process.stdout
    assert "coupon files: reading, " in process.stdout.readline()
    assert os.listdir(spool) == []
    process.send_signal(number)
    start = time.monotonic()
    finished = finish(process)
    assert time.monotonic() - start < PATIENCE, "it read on to the end"
    assert finished.returncode == (-number if number == signal.SIGKILL else 128 + number)
    if number != signal.SIGKILL:
        assert finished.stderr == f"database-load: stopped by {number.name}\n"
    assert os.listdir(spool) == []
    assert await read_catalogue(loaded) == before
    assert await find(loaded, OLD) == OLD


async def test_progress_is_logged_and_the_store_is_free_meanwhile(
    loaded: str, folder: Path
) -> None:
    write_slow_file(folder)
    job = start_job("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder), LOG_FORMAT="json")
    assert job.stdout
    entry = json.loads(job.stdout.readline())
    job.send_signal(signal.SIGSTOP)  # in the midst of it, however long this takes
    assert (entry["stage"], entry["percent"]) == ("reading", pytest.approx(50, abs=50))
    async with open_storage(loaded) as storage:
        order = await storage.add_order(new_order())
        await cancel(storage, order.user_id, order.id)
        assert job.poll() is None, "it was over before the order was stored and cancelled"
    job.send_signal(signal.SIGCONT)
    finished = finish(job)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_a_terminal_shows_a_bar_and_the_log_no_progress(migrated: str, folder: Path) -> None:
    write_slow_file(folder, 2)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "scripts.load"],
        env={
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "STORAGE_URL": migrated,
            "FIXTURES_DIR": str(folder),
            "LOG_FORMAT": "text",
        },
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = read_terminal(ours)
    out = finish(process).stdout
    assert process.returncode == 0
    assert "coupon files: reading" not in out
    assert b"coupon files: reading: " in shown
    assert b"%|" in shown


def read_terminal(file: int) -> bytes:
    """Everything that is written there until nobody can write any more."""
    shown = b""
    with open(file, "rb", buffering=0) as terminal, suppress(OSError):  # EIO: nobody is left
        while data := terminal.read(4096):
            shown += data
    return shown


# --- who imports what ---


def test_programs_start_without_numpy() -> None:
    code = (
        "import sys, orderfood.__main__, scripts.loading;"
        "sys.exit(bool({'numpy', 'isal', 'tqdm'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE)}, check=True)


def test_numpy_is_told_not_to_sort_with_avx_512() -> None:
    code = (
        "import os; from orderfood.couponfiles.progress_bar import _import_numpy; _import_numpy();"
        "print(os.environ['NPY_DISABLE_CPU_FEATURES'])"
    )
    for given, expected in ("", "X86_V4"), ("X86_V3", "X86_V3"):
        env = {"PYTHONPATH": str(SOURCE)} | ({"NPY_DISABLE_CPU_FEATURES": given} if given else {})
        command = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
        assert done.stdout.strip() == expected


FINE = [
    "HAPPYHRS\r\nFIFTYOFF\r\n",
    "\ufeffHAPPYHRS\nFIFTYOFF",
    "HAPPYHRS\nFIFTYOFF\n,\n \n",
    "SHORT\n" * 1000 + "HAPPYHRS\nFIFTYOFF\n" + "FARTOOLONGTOBEONE\n" * 1000,
    "\n" * 100 + 'HAPPYHRS\nFIFTYOFF\n"QUOTED"\n',
]


@pytest.mark.parametrize("text", FINE)
async def test_odd_lines_among_codes_are_fine(loaded: str, folder: Path, text: str) -> None:
    (folder / "coupons" / "couponbase1.txt").write_text(text, newline="")
    lines = run_well("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder))
    assert lines[-1].startswith("loaded in ")
    assert await find(loaded, "happyhrs") == "HAPPYHRS"


async def test_files_without_a_line_may_stand_twice(loaded: str, folder: Path) -> None:
    for name in ("one", "two"):
        (folder / "coupons" / name).write_bytes(b"\n\n")
    run_well("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder))


async def test_what_systems_leave_in_the_folder_is_passed_over_and_said(
    loaded: str, folder: Path
) -> None:
    for name in ("lost+found", "@eaDir", ".snapshot", "..data"):
        (folder / "coupons" / name).mkdir()
    for name in (".DS_Store", "Thumbs.db", ".couponbase1.txt.swp"):
        (folder / "coupons" / name).write_bytes(b"\0")
    lines = run_well("load", STORAGE_URL=loaded, FIXTURES_DIR=str(folder))
    assert lines[0] == (
        "no coupon files, passed over: '..data', '.DS_Store', '.couponbase1.txt.swp',"
        " '.snapshot', '@eaDir', 'Thumbs.db', 'lost+found'"
    )
    assert "coupon_codes: 0 added, 0 changed, 0 removed, 8 unchanged" in lines
