"""A small strict proxy: several clients share one connection to the server, each request framed by
RFC 9112 and by nothing else. What the next client gets shows whether the server frames alike."""

from __future__ import annotations

import re
import socket
from types import TracebackType
from typing import Self


class StrictProxy:
    """Sends requests on one kept connection and hands back one answer each. A connection that the
    server ends is opened again, as a proxy would."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._upstream: socket.socket | None = None
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._drop()

    def ask(self, request: bytes) -> bytes:
        """The answer to one whole request; empty where the server ended the connection instead."""
        if self._upstream is None:
            self._upstream = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        try:
            self._upstream.sendall(request)
            return self._answer(request.startswith(b"HEAD "))
        except OSError:
            self._drop()
            return b""

    def _drop(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
        self._upstream, self._read = None, b""

    def _answer(self, head_only: bool) -> bytes:
        head = self._until(b"\r\n\r\n")
        while re.match(rb"HTTP/1\.1 1\d\d", head):
            head = self._until(b"\r\n\r\n")
        body = b"" if head_only or re.match(rb"HTTP/1\.1 (204|304)", head) else self._body(head)
        if re.search(rb"\r\nConnection: close\r\n", head, re.IGNORECASE) or not _is_framed(head):
            self._drop()
        return head + body

    def _body(self, head: bytes) -> bytes:
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head, re.IGNORECASE)
        if length:
            return self._exactly(int(length[1]))
        if not _is_framed(head):
            return self._all()
        body = b""
        while size := int(self._until(b"\r\n"), 16):
            body += self._exactly(size + 2)[:-2]
        self._exactly(2)
        return body

    def _more(self) -> None:
        assert self._upstream is not None
        chunk = self._upstream.recv(65536)
        if not chunk:
            raise ConnectionError
        self._read += chunk

    def _until(self, end: bytes) -> bytes:
        while end not in self._read:
            self._more()
        found, _, self._read = self._read.partition(end)
        return found + end

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            self._more()
        found, self._read = self._read[:size], self._read[size:]
        return found

    def _all(self) -> bytes:
        try:
            while True:
                self._more()
        except ConnectionError:
            return self._read


def _is_framed(head: bytes) -> bool:
    return bool(re.search(rb"\r\n(Content-Length|Transfer-Encoding):", head, re.IGNORECASE))
