"""Where a request's body ends: the one place that decides it.

RFC 9112, 6 and 7.1, at its strictest, as Tornado has it: what two servers frame differently can be
smuggled past one of them. A length is plain digits, chunks have no extensions, and there are no
trailers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

MAX_LENGTH_DIGITS = 18
"""Digits of a Content-Length: with more it does not fit an int64."""

MAX_SIZE_DIGITS = 16
"""Hexadecimal digits of a chunk's size, likewise."""

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,%d}" % MAX_SIZE_DIGITS)


class BodyRefused(Exception):
    """The framing of a body is ambiguous, missing or not supported."""


class Body(Protocol):
    """A body that is being received. ``done`` when its last byte has been read."""

    done: bool

    def read(self, data: bytes, start: int, into: bytearray | None) -> int:
        """Reads ``data`` from ``start`` on, adds what is content to ``into`` (None: drops it), and
        returns where it stopped: at the body's end, or where more has to come first. Raises
        BodyRefused."""


def body_of(headers: Mapping[str, str], version: str) -> Body | None:
    """The body that ``headers``, by lower-case name, announce; None for none. Raises
    BodyRefused."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None or coding.lower() != "chunked" or version != "HTTP/1.1":
            raise BodyRefused
        return ChunkedBody()
    if length is None:
        return None
    if not (length.isascii() and length.isdigit() and len(length) <= MAX_LENGTH_DIGITS):
        raise BodyRefused
    return SizedBody(int(length)) if int(length) else None


class SizedBody:
    """A body of so many bytes."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = False

    def read(self, data: bytes, start: int, into: bytearray | None) -> int:
        end = min(start + self._left, len(data))
        if into is not None:
            into += data[start:end]
        self._left -= end - start
        self.done = self._left == 0
        return end


class ChunkedBody:
    """A body in chunks (RFC 9112, 7.1)."""

    def __init__(self) -> None:
        self._left = 0
        """Bytes that the present chunk still has, with the line break at its end."""
        self.done = False

    def read(self, data: bytes, start: int, into: bytearray | None) -> int:
        while not self.done:
            before = start
            if self._left > 2:
                start = self._read_content(data, start, into)
            elif self._left:
                start = self._read_break(data, start)
            else:
                start = self._read_size(data, start)
            if start == before:
                break
        return start

    def _read_content(self, data: bytes, start: int, into: bytearray | None) -> int:
        end = min(start + self._left - 2, len(data))
        if into is not None:
            into += data[start:end]
        self._left -= end - start
        return end

    def _read_break(self, data: bytes, start: int) -> int:
        if not b"\r\n".startswith(data[start : start + 2]):
            raise BodyRefused
        if len(data) < start + 2:
            return start
        self._left = 0
        return start + 2

    def _read_size(self, data: bytes, start: int) -> int:
        """Reads a chunk's size, and behind the last one the empty line: trailers are refused."""
        found = _SIZE.match(data, start)
        end = found.end() if found else start
        rest = data[end : end + 4]
        if found is None or not b"\r\n".startswith(rest[:2]):
            if start == len(data):
                return start
            raise BodyRefused
        size = int(found[0], 16)
        if size == 0 and not b"\r\n\r\n".startswith(rest):
            raise BodyRefused
        if len(rest) < (2 if size else 4):
            return start
        if size == 0:
            self.done = True
            return end + 4
        self._left = size + 2
        return end + 2
