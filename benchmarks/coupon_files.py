"""Finds the codes of large coupon files, side by side with zcat of the same files.

    python -m benchmarks.coupon_files                      three files of a million lines
    python -m benchmarks.coupon_files --lines 105000000    the real size: 3 GB of text, 2 GB of gzip

Writes the files once to --folder (they are the same for the same lines and seed, and stay there
with --keep), then takes turns: ``zcat`` of the files one after the other, and ``database-load
--dry-run`` on an empty SQLite file. Prints the seconds of each round, the best and the median
ratio, and the peak memory of the whole process of database-load. The files are read once before
anything is measured, so that both find them in the page cache if they fit it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from isal import igzip
from numpy.typing import NDArray

import fixtures

QUALIFY = (
    "HAPPYHRS",
    "FIFTYOFF",
    "BIRTHDAY",
    "BUYGETON",
    "SIXTYOFF",
    "FREEZAAA",
    "GNULINUX",
    "OVER9000",
)
ONCE = "SUPER100"
ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", np.uint8)
FILES = 3
BLOCK = 200_000
"""Lines that are made at once."""


def write_files(folder: Path, lines: int, seed: int) -> list[Path]:
    """Files of random codes of 8 to 10 characters, of which none stands in two files, with the
    known codes in them. Those that exist are taken for right."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"couponbase{number + 1}.gz" for number in range(FILES)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda n: write_file(paths[n], lines, seed, n), range(FILES)))
    return paths


def write_file(path: Path, lines: int, seed: int, number: int) -> None:
    if path.exists():
        return
    known = [code for place, code in enumerate(QUALIFY) if (place + number) % FILES]
    known += [ONCE] if number == 0 else []
    random = np.random.default_rng([seed, number])
    part = path.with_suffix(".part")
    with igzip.open(part, "wb", compresslevel=1) as file:  # type: ignore[no-untyped-call]
        for start in range(0, lines, BLOCK):
            file.write(random_lines(random, min(BLOCK, lines - start), number))
            if known:
                file.write(known.pop().encode() + b"\n")
        file.writelines(code.encode() + b"\n" for code in known)
    part.rename(path)


def random_lines(random: np.random.Generator, count: int, file: int) -> bytes:
    """Lines of 8 to 10 characters, 10 bytes with their ends; the eighth tells the files apart."""
    table: NDArray[np.uint8] = ALPHABET[random.integers(0, ALPHABET.size, (count, 11), np.uint8)]
    table[:, 7] = ALPHABET[file::FILES][random.integers(0, ALPHABET.size // FILES, count)]
    lengths = random.choice(np.array([8, 9, 10]), count, p=[0.35, 0.35, 0.3])
    table[np.arange(count), lengths] = ord("\n")
    return table[np.arange(11) <= lengths[:, None]].tobytes()


def run_zcat(files: Sequence[Path]) -> float:
    """Seconds that zcat of the files takes, one after the other."""
    start = time.perf_counter()
    for path in files:
        subprocess.run(["zcat", str(path)], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


LOAD = """
import sys
from scripts.load import main
code = main(["--dry-run"])
with open("/proc/self/status") as status:
    print(next(line for line in status if line.startswith("VmHWM")).split()[1])
sys.exit(code)
"""
"""Says how large it ever was: the kernel's figure of this program alone."""


def run_load(environment: dict[str, str]) -> tuple[float, int, str]:
    """Seconds that the whole program takes, from its start to its end, its peak memory in MB, and
    what it says last."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    seconds = time.perf_counter() - start
    *_, said, kilobytes = done.stdout.splitlines()
    return seconds, int(kilobytes) // 1024, said


def prepare(folder: Path, spool: Path | None) -> dict[str, str]:
    """A folder of fixtures around the coupon files, and a migrated database."""
    for path in Path(fixtures.__file__).parent.glob("*.json"):
        shutil.copy(path, folder)
    settings = {
        "STORAGE_URL": f"sqlite:///{folder}/orders.db",
        "FIXTURES_DIR": str(folder),
        "SPOOL_DIR": str(spool or folder),
        "LOG_FORMAT": "text",
    }
    environment = {**os.environ, **settings}
    migrate = [sys.executable, "-m", "scripts.migrate"]
    subprocess.run(migrate, env=environment, stdout=subprocess.DEVNULL, check=True)
    return environment


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    start = time.perf_counter()
    files = write_files(folder / "coupons", arguments.lines, arguments.seed)
    size = sum(path.stat().st_size for path in files)
    seconds = time.perf_counter() - start
    print(f"{len(files)} files of {arguments.lines} lines, {size / 1e6:.0f} MB, in {seconds:.0f} s")
    environment = prepare(folder, arguments.spool)
    run_zcat(files)
    ratios, peaks = [], []
    for number in range(1, arguments.rounds + 1):
        zcat = run_zcat(files)
        load, peak, said = run_load(environment)
        assert said.endswith(f"with {len(QUALIFY)} codes of coupon files"), said
        ratios.append(load / zcat)
        peaks.append(peak)
        print(f"round {number}: zcat {zcat:.2f} s, load {load:.2f} s, {load / zcat:.2f}: {said}")
    print(f"best {min(ratios):.2f}, median {statistics.median(ratios):.2f} of zcat's time")
    print(f"peak memory of the load {max(peaks)} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000, help="of each file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--folder", type=Path, help="where the files are written")
    parser.add_argument("--keep", action="store_true", help="leave the files there")
    parser.add_argument("--spool", type=Path, help="SPOOL_DIR of the load")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        measure(arguments.folder if arguments.keep else Path(temporary), arguments)


if __name__ == "__main__":
    main()
