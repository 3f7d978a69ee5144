"""The codes of coupon files, held against a brute force that reads everything into sets."""

from __future__ import annotations

import errno
import gzip
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from fixtures import FixtureError
from orderfood.couponfiles import Progress, Sizes, Stopped, find_codes, list_coupon_files
from rig.processes import ROOT

TINY = Sizes(chunk=5, run=3, sample=2, part=4, unpacked_run=2, readers=2, sorters=2, in_memory=0)
"""With these a file of a few lines crosses every edge there is."""


def brute_force(contents: Sequence[bytes]) -> list[str]:
    """What the README says, in the fewest words."""
    counts: Counter[str] = Counter()
    for content in contents:
        lines = content.decode("utf-8-sig").split("\n")
        codes = {upper(line.removesuffix("\r")) for line in lines}
        counts.update(code for code in codes if 8 <= len(code) <= 10)
    return sorted(code for code, count in counts.items() if count > 1)


def upper(code: str) -> str:
    return code.encode().upper().decode()


def write(folder: Path, contents: Sequence[bytes], zipped: Sequence[bool] = ()) -> list[Path]:
    """Files of these contents; those to be gzipped have two members."""
    paths = []
    for number, content in enumerate(contents):
        path = folder / f"file{number:02}"
        if number < len(zipped) and zipped[number]:
            middle = len(content) // 2
            content = gzip.compress(content[:middle], 1) + gzip.compress(content[middle:], 1)
        path.write_bytes(content)
        paths.append(path)
    return paths


def found(files: Sequence[Path], spool: Path, sizes: Sizes | None = None) -> list[str]:
    with find_codes(files, spool, sizes=sizes, trusting=True) as codes:
        once, again = list(codes), list(codes)
        assert len(codes) == len(once)
    assert once == again
    return once


def found_in(tmp_path: Path, *contents: bytes, sizes: Sizes | None = None) -> list[str]:
    return found(write(tmp_path, contents), tmp_path, sizes)


# --- against the brute force ---

CODES = ["HAPPYHRS", "happyhrs", "OVER9000", "OVER90001", "OVER9000AB", "!_AAAAA9", "ABC", ""]
ODD = [
    "ÄPFELUND",
    "äPFELUND",
    "{BRACES}",
    "WITH SPACE",
    "A\rBCDEFG",
    "ŠŠŠŠŠŠŠŠŠŠ",
    "😀" * 8,
    "~~~~~~~~~~~",
]
TOO_LONG = ["ELEVENCHARS", "Ä" * 41, "X" * 200, "😀" * 11, "HAPPYHRS" * 6 + "\r"]
ALPHABET = strategies.text("AZ09az!_{ \t\rÄ😀\x7f", min_size=6, max_size=12)
LINES = strategies.one_of(strategies.sampled_from(CODES + ODD + TOO_LONG), ALPHABET)
ENDS = strategies.sampled_from(["\n", "\r\n", "\n\n", "\n"])
CONTENTS = strategies.builds(
    lambda bom, lines, last: (bom + "".join(map("".join, lines)) + last).encode(),
    strategies.sampled_from(["", "", "\ufeff"]),
    strategies.lists(strategies.tuples(LINES, ENDS), max_size=12),
    LINES,
)
FILES = strategies.lists(strategies.tuples(CONTENTS, strategies.booleans()), max_size=5)
SIZES = strategies.builds(
    Sizes,
    chunk=strategies.integers(4, 70),
    run=strategies.integers(1, 9),
    sample=strategies.integers(1, 5),
    part=strategies.integers(1, 9),
    unpacked_run=strategies.integers(1, 5),
    readers=strategies.integers(1, 4),
    sorters=strategies.integers(1, 3),
    in_memory=strategies.integers(0, 200),
)


@given(FILES, strategies.one_of(SIZES, strategies.just(Sizes())))
@settings(max_examples=300)
def test_finds_what_a_brute_force_finds(files: list[tuple[bytes, bool]], sizes: Sizes) -> None:
    contents = [content for content, _ in files]
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), contents, [zipped for _, zipped in files])
        assert found(paths, Path(folder), sizes) == brute_force(contents)


@pytest.mark.parametrize("count", [2, 3, 16, 17, 40])
def test_any_number_of_files(tmp_path: Path, count: int) -> None:
    """Up to sixteen are told apart in one way, more in another."""
    chance = random.Random(count)
    pool = [f"{chance.getrandbits(40):010X}"[: chance.choice([7, 8, 9, 10])] for _ in range(3000)]
    contents = ["\n".join(chance.sample(pool, 1000)).encode() for _ in range(count)]
    sizes = Sizes(chunk=1000, run=97, sample=7, part=300)
    assert found_in(tmp_path, *contents, sizes=sizes) == brute_force(contents)


def test_many_lines_at_the_real_sizes(tmp_path: Path) -> None:
    chance = random.Random(6)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    shared = ["".join(chance.choices(alphabet, k=chance.choice([8, 9, 10]))) for _ in range(20_000)]
    contents = []
    for number in range(3):
        own = [f"{number}{place:08}" for place in range(150_000)]
        lines = own + shared[number * 5000 : number * 5000 + 7500]
        chance.shuffle(lines)
        contents.append("\n".join(lines).encode())
    assert found_in(tmp_path, *contents) == brute_force(contents)


# --- what a code is ---


@pytest.mark.parametrize("size", [7, 8, 9, 10, 11])
@pytest.mark.parametrize("letter", ["A", "Ä", "€", "😀", "e\u0301", " "])
def test_a_code_has_8_to_10_characters_whatever_their_bytes(
    tmp_path: Path, letter: str, size: int
) -> None:
    code = (letter * size)[:size]
    expected = [upper(code)] if 8 <= size <= 10 else []
    assert found_in(tmp_path, code.encode(), code.encode()) == expected


def test_codes_compare_without_ascii_case_and_are_stored_in_capitals(tmp_path: Path) -> None:
    one = "happyhrs\nÄpfelund\nsmallonce\n\u017fmall\u212a12".encode()
    two = "HappyHrs\nÄPFELUND\näpfelund\nSmall\u212a12".encode()
    assert found_in(tmp_path, one, two) == ["HAPPYHRS", "ÄPFELUND"]


def test_nothing_is_trimmed(tmp_path: Path) -> None:
    assert found_in(tmp_path, b" HAPPYHRS\n", b"HAPPYHRS \n") == []
    assert found_in(tmp_path, b" HAPPYHRS\n", b" HAPPYHRS\r\n") == [" HAPPYHRS"]


def test_a_repeated_line_counts_once(tmp_path: Path) -> None:
    assert found_in(tmp_path, b"HAPPYHRS\n" * 50, b"OVER9000\nover9000\n", sizes=TINY) == []


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n", b"A", b"HAPPYHRS", b"\xef\xbb\xbf"])
def test_small_files(tmp_path: Path, content: bytes) -> None:
    expected = [content.decode()] if content == b"HAPPYHRS" else []
    assert found_in(tmp_path, content, content) == expected


def test_one_file_alone_gives_no_codes(tmp_path: Path) -> None:
    assert found_in(tmp_path, b"HAPPYHRS\nHAPPYHRS\n") == []
    assert found([], tmp_path) == []


@pytest.mark.parametrize("before", range(60))
def test_a_long_line_at_every_place(tmp_path: Path, before: int) -> None:
    content = b"X" * before + b"\nHAPPYHRS\n" + b"HAPPYHRS" * 10 + b"\nOVER9000"
    sizes = Sizes(chunk=16)
    assert found_in(tmp_path, content, content, sizes=sizes) == brute_force([content] * 2)


def test_codes_ascend_by_code_point_whatever_their_path(tmp_path: Path) -> None:
    content = (
        "ZZZZZZZZ\n ZZZZZZZ\n~~~~~~~~\n!!!!!!!!\nÄÄÄÄÄÄÄÄ\nAAAAAAAAA\nAAAAAAAA\nA AAAAAA".encode()
    )
    codes = found_in(tmp_path, content, content)
    assert codes == sorted(codes)
    assert len(codes) == 8


# --- files that are doubtful ---

MARKED = strategies.sampled_from(
    ['"HAPPYHRS"', "HAPPYHRS;1", "A,B", "'", " HAPPYHRS", "HAPPYHRS\t", "\u00a0", "HAPPYHRS\u3000"]
)
JUDGED = strategies.lists(
    strategies.tuples(strategies.sampled_from([*CODES, "A B"]) | MARKED, ENDS), max_size=12
).map(lambda lines: "".join(map("".join, lines)).encode())


def doubt(content: bytes) -> str | None:
    """What is wrong with a file, in the fewest words."""
    lines = [line.removesuffix("\r") for line in content.decode().split("\n")]
    filled = [number for number, line in enumerate(lines, 1) if line]
    marked = [n for n in filled if set("\"',;") & set(lines[n - 1]) or blank(lines[n - 1])]
    if 2 * len(marked) > len(filled):
        return f"line {marked[0]}: {len(marked)} of {len(filled)} lines hold"
    if filled and not any(8 <= len(line) <= 10 for line in lines):
        return f"line {filled[0]}: not one of its {len(filled)} lines"
    return None


def blank(line: str) -> bool:
    return line[0].isspace() or line[-1].isspace()


@given(JUDGED, strategies.booleans(), SIZES)
@settings(max_examples=300)
def test_a_doubtful_file_is_refused_and_no_other(
    content: bytes, zipped: bool, sizes: Sizes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), [content], [zipped])
        try:
            find_codes(paths, Path(folder), sizes=sizes).close()
            problem = None
        except FixtureError as error:
            problem = str(error).partition(": ")[2]
    expected = doubt(content)
    assert (problem or "").startswith(expected or "")
    assert (problem is None) == (expected is None)


def test_files_that_only_begin_alike_are_none_twice(tmp_path: Path) -> None:
    common = b"HAPPYHRS\n" * 20_000
    paths = write(tmp_path, [common + b"OVER9000", common + b"OVER9001"])
    with find_codes(paths) as codes:
        assert list(codes) == ["HAPPYHRS"]


def test_a_checksum_alone_makes_no_file_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isal import isal_zlib

    monkeypatch.setattr(isal_zlib, "crc32", lambda *_: 0)
    with find_codes(write(tmp_path, [b"OVER9000\nHAPPYHRS", b"HAPPYHRS\nOVER9001"])) as codes:
        assert list(codes) == ["HAPPYHRS"]


# --- gzip ---


def test_gzip_is_known_by_its_bytes_or_its_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(b"HAPPYHRS"))
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"HAPPY") + gzip.compress(b"HRS\n") + b"\0" * 512)
    (tmp_path / "c.txt").write_bytes(b"HAPPYHRS")
    for pair in ("a", "b.gz"), ("a", "c.txt"):
        assert found([tmp_path / name for name in pair], tmp_path) == ["HAPPYHRS"]


DAMAGED = "is truncated or damaged gzip"
SOUND = gzip.compress(b"HAPPYHRS\n" * 1000, mtime=0)
BROKEN_CHECKSUM = SOUND[:-8] + bytes([SOUND[-8] ^ 1]) + SOUND[-7:]
BROKEN_LENGTH = SOUND[:-1] + bytes([SOUND[-1] ^ 1])


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("x.gz", SOUND[:-1], DAMAGED),
        ("x.gz", SOUND[:-20], DAMAGED),
        ("x", SOUND[:5], DAMAGED),
        ("x.gz", b"", "is no gzip"),
        ("x.gz", b"HAPPYHRS\n", "is no gzip"),
        ("x.gz", SOUND + b"garbage", DAMAGED),
        ("x.gz", BROKEN_CHECKSUM, DAMAGED),
        ("x.gz", BROKEN_LENGTH, DAMAGED),
        ("x.gz", SOUND[:20] + b"\xff" * 20 + SOUND[40:], DAMAGED),
        ("x.gz", gzip.compress(b"A\0", mtime=0), "line 1: holds a NUL byte: the file is not text"),
        ("x", b"A\nB\nHAPPY\0HRS", "line 3: holds a NUL byte: the file is not text"),
        ("x", b"A\n\xff\xfeH\0A\0", "line 2: holds a NUL byte: the file is not text"),
        ("x", b"A\n" * 1000 + b"\xffH", "line 1001: is not UTF-8: the file is not text"),
        ("x", b"A\n" * 1000 + b"\xc3", "line 1001: is not UTF-8: the file is not text"),
        ("x", b"\xed\xa0\x80" * 8, "line 1: is not UTF-8: the file is not text"),
        ("x", b"\xc0\xafAAAAAAAA", "line 1: is not UTF-8: the file is not text"),
        ("x", b"X" * 500 + b"\x80" * 500, "line 1: is not UTF-8: the file is not text"),
        ("x\n.gz", b"HAPPYHRS\n", "is no gzip"),
    ],
)
@pytest.mark.parametrize("sizes", [Sizes(), Sizes(chunk=7)])
def test_broken_files_are_named(
    tmp_path: Path, name: str, content: bytes, problem: str, sizes: Sizes
) -> None:
    folder = tmp_path / "coupons"
    folder.mkdir()
    (folder / "fine").write_bytes(b"HAPPYHRS\n")
    (folder / name).write_bytes(content)
    with pytest.raises(FixtureError) as caught:
        found(list_coupon_files(folder), tmp_path, sizes)
    shown = name.replace("\n", "\\n")
    assert str(caught.value).startswith(f"coupons/{shown}: {problem}")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FixtureError, match="/gone: cannot be read: No such file"):
        found([tmp_path / "gone"], tmp_path)
    with pytest.raises(FixtureError, match=": cannot be read: it is a folder"):
        found([tmp_path], tmp_path)


# --- the folder ---


def test_which_files_count(tmp_path: Path) -> None:
    for name in ("b.txt", "a.gz", "c", "README.md", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "d").symlink_to(tmp_path / "c")
    (tmp_path / "..data").mkdir()
    assert [path.name for path in list_coupon_files(tmp_path)] == ["a.gz", "b.txt", "c", "d"]


def test_folders_that_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "coupons"
    with pytest.raises(FixtureError, match=r"^coupons: cannot be read: No such"):
        list_coupon_files(folder)
    folder.mkdir()
    (folder / "README.md").touch()
    with pytest.raises(FixtureError, match=r"^coupons: holds no coupon files$"):
        list_coupon_files(folder)
    os.mkfifo(folder / "pipe")
    with pytest.raises(FixtureError, match=r"^coupons/pipe: cannot be read: it is a FIFO, and no "):
        list_coupon_files(folder)


# --- the spool ---


def test_a_spool_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FixtureError, match=r"spooled in .*nowhere \(SPOOL_DIR\): No such file"):
        found([], tmp_path / "nowhere")


def test_a_full_disk_is_no_fault_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write(tmp_path, [b"HAPPYHRS\n" * 10] * 2)

    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(FixtureError, match=r"\(SPOOL_DIR\): No space left on device"):
        found(files, tmp_path, TINY)


def test_small_files_need_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    files = write(tmp_path, ["HAPPYHRS\nÄPFELUND\n".encode()] * 2)
    with find_codes(files, trusting=True) as codes:
        assert list(codes) == ["HAPPYHRS", "ÄPFELUND"]


def test_a_system_without_a_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    files = write(tmp_path, [b"HAPPYHRS\n"] * 2)
    with pytest.raises(FixtureError, match=r"in the folder for .*\(SPOOL_DIR\): No usable"):
        find_codes(files, sizes=TINY, trusting=True)


def test_short_writes_and_reads_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_all, read_all = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write_all(fd, data[:5], at))
    monkeypatch.setattr(os, "preadv", lambda fd, bufs, at: read_all(fd, [bufs[0][:3]], at))
    assert found_in(tmp_path, b"HAPPYHRS\nOVER9000", b"OVER9000\nHAPPYHRS", sizes=TINY) == [
        "HAPPYHRS",
        "OVER9000",
    ]


def test_nothing_stays_on_the_disk(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    files = write(tmp_path, [b"HAPPYHRS\n" * 10] * 2)
    with find_codes(files, spool, sizes=TINY, trusting=True) as codes:
        assert list(spool.iterdir()) == []
        assert list(codes) == ["HAPPYHRS"]


# --- progress ---


class Recorder(Progress):
    """Keeps what was reported; stops the work at a stage if told so."""

    def __init__(self, stop_at: str = "") -> None:
        super().__init__()
        self.stages: dict[str, int] = {}
        self.stop_at = stop_at

    def begin(self, stage: str, total: int) -> None:
        super().begin(stage, total)
        self.stages[stage] = total
        if stage == self.stop_at:
            self.stop()


def test_progress_reaches_its_total(tmp_path: Path) -> None:
    files = write(tmp_path, [b"HAPPYHRS\nOVER9000\n" * 9] * 3, [True])
    progress = Recorder()
    with find_codes(files, tmp_path, progress, TINY, trusting=True):
        assert progress.stages["reading"] == sum(path.stat().st_size for path in files)
        assert progress.stages["comparing"] >= 6
        assert progress.done == progress.total


@pytest.mark.parametrize("stage", ["reading", "comparing"])
def test_work_that_is_stopped_ends(tmp_path: Path, stage: str) -> None:
    files = write(tmp_path, ["HAPPYHRS\nÄPFELUND\n".encode() * 9] * 3)
    with pytest.raises(Stopped):
        find_codes(files, tmp_path, Recorder(stage), TINY, trusting=True)
    assert not [t for t in threading.enumerate() if t.name.startswith("coupon-")]


# --- memory ---

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from Linux's /proc")

PEAK = """
import sys
from pathlib import Path
from orderfood.couponfiles import find_codes
files = [Path(name) for name in sys.argv[2:]]
with find_codes(files, Path(sys.argv[1]), trusting=True) as codes:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            print(len(codes), int(line.split()[1]) // 1024)
"""
"""The kernel's figure of this program alone: getrusage counts what forked it, too."""


def peak(spool: Path, *files: Path) -> tuple[int, int]:
    """How many codes, and the megabytes of a process that finds them."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PEAK, str(spool), *map(str, files)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "NPY_DISABLE_CPU_FEATURES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    codes, megabytes = map(int, done.stdout.split())
    return codes, megabytes


def write_repeated(path: Path, block: bytes, times: int) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(times):
            file.write(block)
    return path


@linux
def test_one_code_without_end_and_one_line_without_end_take_no_memory(tmp_path: Path) -> None:
    """A tenth and a third of a gigabyte: held in memory as it is, each would be seen."""
    code = write_repeated(tmp_path / "code.gz", b"HAPPYHRS\n" * 100_000, 120)
    line = write_repeated(tmp_path / "line.gz", b"X" * 1_000_000, 300)
    unpacked = write_repeated(tmp_path / "odd.gz", "ÄPFELUND\n".encode() * 10_000, 20)
    assert peak(tmp_path, code, line, unpacked, code, unpacked) < (2, 256)
    assert peak(tmp_path, code, code, unpacked, unpacked)[0] == 2


@linux
def test_many_odd_codes_take_no_memory(tmp_path: Path) -> None:
    lines = "".join(f"Ä{number:07}\n" for number in range(400_000)).encode()
    files = write(tmp_path, [lines, lines])
    codes, megabytes = peak(tmp_path, *files)
    assert codes == 400_000
    assert megabytes < 256
