"""The files of an archive: one for each day, of one JSON object for each order, compressed."""

from __future__ import annotations

import fcntl
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from storage.records import ArchivedOrder

_ORDERS = TypeAdapter(ArchivedOrder)

COMPRESSION = 6

_PRIVATE = 0o600


class ArchiveFailed(Exception):
    """The archive cannot be written or read; what is not safely in it is in the database still."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """While the folder, which is made where it is missing, is this process's alone. Raises
    ArchiveFailed."""
    with _failing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ArchiveFailed(f"{folder} is being written by another run") from error
    else:
        yield
    finally:
        os.close(lock)


class DayFile:
    """The orders of one day, by the time and id of each."""

    def __init__(self, folder: Path, day: date) -> None:
        self._path = folder / f"orders-{day.isoformat()}.jsonl.gz"

    def read(self) -> Iterator[ArchivedOrder]:
        """All orders; none when there is no file. Raises ArchiveFailed when it is damaged."""
        try:
            with self._path.open("rb") as raw, gzip.open(raw) as lines:
                if not os.fstat(raw.fileno()).st_size:  # gzip takes it for no lines
                    raise EOFError("it is empty")
                for line in lines:
                    yield _ORDERS.validate_json(line)
        except FileNotFoundError:
            return
        except ValidationError as error:  # whose text quotes the line
            raise ArchiveFailed(f"{self._path} cannot be read: a line is no order") from error
        except (OSError, EOFError, zlib.error) as error:
            raise ArchiveFailed(f"{self._path} cannot be read: {error}") from error

    @contextmanager
    def writing(self) -> Iterator[Callable[[ArchivedOrder], object]]:
        """Yields what writes an order. When the block ends the file takes the place of the one
        before at once, and is on disk; when it raises nothing has changed. Raises ArchiveFailed."""
        part = self._path.with_suffix(".part")
        try:
            with _failing(self._path):
                with _created(part) as raw:
                    with gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as content:
                        yield lambda order: content.write(_line(order))
                    raw.flush()
                    os.fsync(raw.fileno())
                part.replace(self._path)
                _sync(self._path.parent)
        finally:
            part.unlink(missing_ok=True)


def _line(order: ArchivedOrder) -> bytes:
    return _ORDERS.dump_json(order, exclude_none=True) + b"\n"


def _created(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, _PRIVATE), "wb")


def _sync(folder: Path) -> None:
    """Has the names in a folder be on disk, too."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveFailed(f"{path} cannot be written: {error.strerror or error}") from error
