"""What the operating system says of this process."""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STARTED = time.time()


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """Figures of one moment; 0 where the system does not say."""

    cpu_seconds: float = 0.0
    resident_bytes: int = 0
    virtual_bytes: int = 0
    open_fds: int = 0
    max_fds: int = 0
    start_time: float = 0.0


def read_process() -> ProcessFigures:
    """The figures of now. Without /proc, as on macOS, those that there are."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    virtual = resident = fds = 0
    with suppress(OSError, ValueError):
        virtual, resident = _memory()
        fds = len(os.listdir(_PROC / "self" / "fd"))
    return ProcessFigures(
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        resident_bytes=resident,
        virtual_bytes=virtual,
        open_fds=fds,
        max_fds=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        start_time=_STARTED,
    )


def _memory() -> tuple[int, int]:
    pages = (_PROC / "self" / "statm").read_text().split()
    size = os.sysconf("SC_PAGE_SIZE")
    return int(pages[0]) * size, int(pages[1]) * size
