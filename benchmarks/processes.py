"""What a process costs, as Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold anything (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def family(pid: int) -> list[int]:
    """The process and its children: those that serve for Postgres, or the workers."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, children.split())]


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and of its children, those that have ended included."""
    ticks = 0
    for member in family(pid):
        try:
            fields = _stat(member)
        except FileNotFoundError:
            continue  # it has just ended, and counts as one that has
        ticks += sum(map(int, fields[11:15] if member == pid else fields[11:13]))
    return ticks * TICK


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/status has no {name}")


def peak_memory(pid: int) -> int:
    """The most bytes that were resident since the start or since forget_peak."""
    return _status(pid, "VmHWM")


def resident_memory(pid: int) -> int:
    """The bytes that are resident now."""
    return _status(pid, "VmRSS")


def forget_peak(pid: int) -> None:
    """Lets the peak begin anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
