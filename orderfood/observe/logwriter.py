"""A writer of log lines that never blocks on their reader.

A pipe holds 64 KiB. When its reader stalls, a write into it waits for ever: on the event loop it
would stop every request, and the end of the program, too. So lines wait in a bounded queue, and a
daemon thread writes them. What does not fit is dropped and counted.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TextIO

CAPACITY = 1024 * 1024
"""Bytes that wait: a second of a busy server's lines or two."""

CHUNK = 64 * 1024
"""Bytes of one write: what a pipe holds. Each is a change of threads, which costs the other one."""

ATOMIC_CHUNK = 4096
"""As many where several processes share a pipe: more may be mixed (PIPE_BUF, pipe(7))."""

FLUSH_SECONDS = 5.0
"""How long the end of the program waits for a reader that reads."""

STALLED_SECONDS = 1.0
"""How long for one that does not."""


class LineWriter(Protocol):
    """The interface of log writers."""

    dropped: int
    """Lines that were lost, since the start."""

    def write(self, lines: str) -> None:
        """Writes whole lines, each with its end, together no longer than a chunk unless they are
        one line. Never raises and never blocks."""

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Waits until all is written, and gives up on a reader that stalls. Whether all is."""

    def close(self) -> None:
        """Flushes for the last time: an interpreter that ends starts no thread any more."""


class QueueWriter:
    """Writes to a file descriptor on a thread, from a bounded queue."""

    def __init__(
        self,
        fd: int,
        encoding: str = "utf-8",
        *,
        chunk: int = CHUNK,
        capacity: int = CAPACITY,
        on_flow: Callable[[int], None] = lambda dropped: None,
    ) -> None:
        self.dropped = 0
        self._fd = fd
        self._encoding = encoding
        self._chunk = chunk
        self._capacity = capacity
        self._on_flow = on_flow
        """Called with the number of dropped lines, once there is room again."""
        self._told = 0
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._written = 0
        self._writing = False
        self._idle = False
        """Whether the thread waits for lines, and is to be woken."""
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, lines: str) -> None:
        data = lines.encode(self._encoding, "backslashreplace")
        if self._closed:
            self._write_now(data)
            return
        with self._changed:
            if self._size + len(data) > self._capacity:
                self.dropped += data.count(b"\n")
                return
            self._waiting.append(data)
            self._size += len(data)
            if self._idle:
                self._changed.notify_all()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        now = time.monotonic()
        deadline, seen, moved = now + seconds, self._written, now
        with self._changed:
            while self._waiting or self._writing:
                self._changed.wait(0.05)
                now = time.monotonic()
                if self._written != seen:
                    seen, moved = self._written, now
                if now > min(deadline, moved + STALLED_SECONDS):
                    return False
        return True

    def close(self) -> None:
        self.flush()
        self._closed = True

    def _write_now(self, data: bytes) -> None:
        """What comes after the end, unless it would have to wait."""
        with suppress(OSError, ValueError):
            if len(data) <= select.PIPE_BUF and select.select([], [self._fd], [], 0)[1]:
                os.write(self._fd, data)
                return
        self.dropped += data.count(b"\n")

    def _run(self) -> None:
        while True:
            data = self._take()
            lost = self._write_out(data)
            with self._changed:
                self.dropped += lost
                self._writing = False
                self._changed.notify_all()
            if not lost:
                self._tell()

    def _take(self) -> bytes:
        """The next lines, as many as are written at once."""
        with self._changed:
            while not self._waiting:
                self._idle = True
                self._changed.wait()
            self._idle = False
            self._writing = True
            taken = [self._waiting.popleft()]
            size = len(taken[0])
            while self._waiting and size + len(self._waiting[0]) <= self._chunk:
                taken.append(self._waiting.popleft())
                size += len(taken[-1])
            self._size -= size
        return b"".join(taken)

    def _write_out(self, data: bytes) -> int:
        """How many lines were lost: their reader is gone, or the disk is full."""
        view = memoryview(data)
        while view:
            try:
                count = os.write(self._fd, view)
            except BlockingIOError:  # somebody who shares the pipe wants it so
                select.select([], [self._fd], [], 1.0)
            except (OSError, ValueError):
                return data.count(b"\n")
            else:
                view = view[count:]
                self._written += count
        return 0

    def _tell(self) -> None:
        missed = self.dropped - self._told
        if missed and self._size <= self._capacity // 2:
            self._told += missed
            self._on_flow(missed)


class StreamWriter:
    """Writes synchronously, to a stream that is no file and so cannot stall."""

    def __init__(self, stream: TextIO) -> None:
        self.dropped = 0
        self._stream = stream

    def write(self, lines: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(lines)
            self._stream.flush()

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        return True

    def close(self) -> None:
        """There is no thread."""


def writer_to(
    stream: TextIO | None,
    *,
    shared: bool = False,
    on_flow: Callable[[int], None] = lambda dropped: None,
) -> LineWriter:
    """What writes to a standard stream; ``shared`` says that other processes do, too."""
    if stream is None:  # it was closed when the program began
        return StreamWriter(open(os.devnull, "w"))
    try:
        fd = stream.fileno()
        stream.flush()
    except (OSError, ValueError):
        return StreamWriter(stream)
    chunk = ATOMIC_CHUNK if shared else CHUNK
    return QueueWriter(fd, stream.encoding or "utf-8", chunk=chunk, on_flow=on_flow)
