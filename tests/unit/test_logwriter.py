"""The queue between those who log and a reader that may stall."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from orderfood.observe.logwriter import CHUNK, QueueWriter
from rig.processes import PATIENCE

LINE = "x" * 99 + "\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ours, theirs = os.pipe()
    yield ours, theirs
    for fd in (ours, theirs):
        try:
            os.close(fd)
        except OSError:
            continue  # closed by the test


def read_all(fd: int, lines: int) -> bytes:
    """So many lines."""
    data = b""
    while data.count(b"\n") < lines:
        data += os.read(fd, 65536)
    return data


def test_all_lines_come_in_order(pipe: tuple[int, int]) -> None:
    writer = QueueWriter(pipe[1])
    for number in range(500):
        writer.write(f"{number}\n")
    assert writer.flush()
    assert read_all(pipe[0], 500).decode().split() == [str(number) for number in range(500)]
    assert writer.dropped == 0


def test_what_does_not_fit_is_dropped_counted_and_told_once(pipe: tuple[int, int]) -> None:
    told: list[int] = []
    writer = QueueWriter(pipe[1], capacity=100_000, on_flow=told.append)
    for _ in range(5000):
        writer.write(LINE)
    kept = 5000 - writer.dropped
    assert 1000 <= kept <= 1000 + (65536 + CHUNK) // 100 + 200
    assert not writer.flush(0.2)
    assert read_all(pipe[0], kept) == LINE.encode() * kept
    deadline = time.monotonic() + PATIENCE
    while not told:
        assert time.monotonic() < deadline
    writer.write("again\n")
    assert writer.flush()
    assert read_all(pipe[0], 1) == b"again\n"
    assert sum(told) == writer.dropped  # in one line, unless it flows for a moment in between


def test_a_write_is_no_longer_than_a_portion(pipe: tuple[int, int]) -> None:
    """More than PIPE_BUF may be mixed with what others write."""
    sizes = []
    real = os.write

    def write(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return real(fd, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", write)
        writer = QueueWriter(pipe[1], chunk=4096)
        reader = threading.Thread(target=read_all, args=(pipe[0], 3000))
        reader.start()
        for _ in range(3000):
            writer.write(LINE)
        assert writer.flush()
        reader.join(PATIENCE)
    assert max(sizes) <= 4096
    assert sum(sizes) == 300_000


def test_a_reader_that_went_away_costs_lines_and_no_more(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    writer = QueueWriter(pipe[1])
    writer.write(LINE * 3)
    assert writer.flush()
    assert writer.dropped == 3


def test_a_pipe_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    writer = QueueWriter(pipe[1])
    for _ in range(2000):
        writer.write(LINE)
    assert not writer.flush(0.2)
    assert read_all(pipe[0], 2000) == LINE.encode() * 2000
    assert writer.flush()
    assert writer.dropped == 0
