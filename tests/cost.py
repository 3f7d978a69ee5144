"""What a process has used, as the system counts it: other processes make no difference."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads that live, once they rest: of one that runs the system knows
    only what it had used when it was last interrupted."""
    before, now = -1.0, _read(pid)
    for _ in range(500):
        if now == before:
            break
        time.sleep(0.002)
        before, now = now, _read(pid)
    return now


def _read(pid: int) -> float:
    seconds = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            seconds += int((task / "schedstat").read_text().split()[0]) / 1e9
    return seconds


def resident_bytes(pid: int) -> int:
    """Memory that is not shared with files."""
    resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
