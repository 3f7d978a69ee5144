"""A client of the feed, on a bare socket."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rig.processes import PATIENCE

SHOP = "/api/shop/event"
OWN = "/api/event"
KITCHEN = "apikitchen"


class Event(NamedTuple):
    """A server-sent event."""

    id: int
    name: str
    data: dict[str, Any]


class Stream:
    """A request whose answer is read as far as a test needs it."""

    def __init__(self, port: int, path: str = SHOP, key: str | None = KITCHEN, *lines: str,
                 method: str = "GET", version: str = "1.1") -> None:  # fmt: skip
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        keys = [] if key is None else [f"api_key: {key}"]
        head = [f"{method} {path} HTTP/{version}", "Host: x", *keys, *lines, "", ""]
        self.socket.sendall("\r\n".join(head).encode())
        self._raw = b""
        self._body = b""
        self.ended = False
        """Whether it has ended properly: with the last chunk."""
        try:
            self.head = self._until(b"\r\n\r\n").decode()
        except BaseException:
            self.socket.close()
            raise
        self.status = int(self.head.split()[1])
        self.chunked = "transfer-encoding: chunked" in self.head.lower()

    def header(self, name: str) -> str | None:
        found = re.search(rf"^{name}: (.*)\r$", self.head, re.IGNORECASE | re.MULTILINE)
        return found[1] if found else None

    def _receive(self) -> bool:
        received = self.socket.recv(65536)
        self._raw += received
        return bool(received)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._raw:
            if not self._receive():
                raise EOFError(self._raw)
        found, _, self._raw = self._raw.partition(mark)
        return found + mark

    def _read(self) -> None:
        """Reads a chunk, or without chunks what there is."""
        if not self.chunked:
            if not self._raw and not self._receive():
                raise EOFError
            self._body, self._raw = self._body + self._raw, b""
            return
        size = int(self._until(b"\r\n"), 16)
        while len(self._raw) < size + 2:
            if not self._receive():
                raise EOFError
        self._body += self._raw[:size]
        assert self._raw[size : size + 2] == b"\r\n"
        self._raw = self._raw[size + 2 :]
        self.ended = size == 0

    def block(self) -> str:
        """The next lines up to an empty one. Raises EOFError at the end, however it comes."""
        while b"\n\n" not in self._body:
            if self.ended:
                raise EOFError
            self._read()
        found, _, self._body = self._body.partition(b"\n\n")
        return found.decode()

    def event(self, name: str | None = None) -> Event:
        """The next event, or the next of that name."""
        while True:
            fields = dict(line.split(": ", 1) for line in self.block().split("\n"))
            if "id" in fields and name in (None, fields["event"]):
                return Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))

    def events(self, count: int) -> list[Event]:
        return [self.event("order") for _ in range(count)]

    def rest(self) -> list[str]:
        """What comes until the end, which must not be far."""
        blocks: list[str] = []
        deadline = time.monotonic() + PATIENCE
        try:
            while True:
                blocks.append(self.block())
                assert time.monotonic() < deadline
        except EOFError:
            return blocks

    def close(self) -> None:
        self.socket.close()


@contextmanager
def following(port: int, path: str = SHOP, key: str | None = KITCHEN, *lines: str,
              **options: str) -> Iterator[Stream]:  # fmt: skip
    stream = Stream(port, path, key, *lines, **options)
    try:
        yield stream
    finally:
        stream.close()
