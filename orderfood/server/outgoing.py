"""The answer of an exchange: its framing, and what of it is still to be sent."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import Protocol

from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from orderfood.server.exchange import SLICE, Address, Exchange, Source
from orderfood.server.heads import Head


class ExchangeConnection(Protocol):
    """What an exchange needs of its connection."""

    address: Address
    waiting_bytes: int
    pumping: bool
    """Whether pump is at work."""

    @property
    def no_keep_alive(self) -> bool:
        """Whether every answer ends its connection."""

    @property
    def client_has_ended(self) -> bool:
        """Whether the client sends no more."""

    @property
    def has_ended(self) -> bool:
        """Whether the connection is closed or closing."""

    @property
    def is_blocked(self) -> bool:
        """Whether the write buffer is above HIGH_WATER."""

    @property
    def unsent(self) -> int:
        """Bytes in the write buffer."""

    def start_request(self, exchange: Exchange) -> HTTPMessageDelegate:
        """The delegate of the application for a new request."""

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """Writes; the future ends when the write buffer is below HIGH_WATER."""

    def pump(self) -> None:
        """Advances the first exchange of the queue as far as possible, and then the next ones."""

    def begin_stream(self) -> None:
        """Has the system hold little of what is written."""

    def close(self) -> None:
        """Ends the connection when what was written is sent."""

    def abort(self) -> None:
        """Closes the connection at once."""

    def lingering_close(self) -> None:
        """Shuts our side, and closes the connection later."""

    def fail(self, error: BaseException | None) -> None:
        """Logs the error and aborts the connection."""


class Outgoing(Exchange):
    """The half of an exchange that is sent."""

    # until something else is known; in the class, for most requests are answered before that
    head_written = False
    finished = False
    _rest: memoryview | None = None
    """The rest of a large answer, still to be sent."""
    _source: Source | None = None
    """What writes the answer, while that is a stream."""
    _chunked = False
    _remaining: int | None = None

    def __init__(self, connection: ExchangeConnection, head: Head) -> None:
        self.connection = connection
        self.context = connection.address
        self.remote_ip = connection.address.remote_ip
        self.start_line = head.start_line
        self.keep_alive = head.keep_alive

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        assert isinstance(start_line, ResponseStartLine)
        no_body = start_line.code in (204, 304) or start_line.code < 200
        head_only = self.start_line.method == "HEAD" or start_line.code == 304
        self._frame(headers, no_body or head_only)
        if headers.get("Connection", "").lower() == "close":
            self.keep_alive = False
            del headers["Connection"]  # the end of the head says it
        lines = [f"HTTP/1.1 {start_line.code} {start_line.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        text = "\r\n".join(lines)
        if not text.count("\r") == text.count("\n") == len(lines) - 1:
            raise ValueError("a header holds a line break")
        head = text.encode("latin-1") + self._end_of_head()
        return self._send(head + self._format(chunk) if chunk else head)

    def _frame(self, headers: HTTPHeaders, no_body: bool) -> None:
        """Chooses the framing of the answer's body (RFC 9112, 6.3)."""
        if no_body:
            self._remaining = 0
        elif "Content-Length" in headers:
            self._remaining = int(headers["Content-Length"])
        elif self.start_line.version == "HTTP/1.1":
            self._chunked = True
            headers["Transfer-Encoding"] = "chunked"
        else:
            self.keep_alive = False

    def _end_of_head(self) -> bytes:
        self.head_written = True
        self.keep_alive = self.keep_alive and not self.connection.no_keep_alive
        if not self.keep_alive and self.start_line.version == "HTTP/1.1":
            return b"\r\nConnection: close\r\n\r\n"
        if self.keep_alive and self.start_line.version == "HTTP/1.0":
            return b"\r\nConnection: Keep-Alive\r\n\r\n"
        return b"\r\n\r\n"

    def send(self, head: bytes, body: bytes, *, close: bool = False, finish: bool = True) -> None:
        self._remaining = None
        self.keep_alive = self.keep_alive and not close
        if len(body) <= SLICE:
            self.connection.write(head + self._end_of_head() + body)
            if finish:
                self.finish()
        else:
            self.connection.write(head + self._end_of_head())
            self._rest = memoryview(body)
            self._pump()

    def start_stream(self, head: bytes, source: Source) -> None:
        if self.connection.has_ended:
            return
        self._source, self._remaining = source, None
        self._chunked = self.start_line.version == "HTTP/1.1"
        self.keep_alive = self.keep_alive and self._chunked
        framing = b"Transfer-Encoding: chunked" if self._chunked else b"Connection: close"
        self.connection.begin_stream()
        self.connection.write(b"%b\r\n%b%b" % (head, framing, self._end_of_head()))
        source.begin(self)
        if self.connection.client_has_ended:
            self.leave_stream()

    @property
    def is_blocked(self) -> bool:
        return self.connection.is_blocked

    @property
    def progress(self) -> int:
        return self.connection.unsent

    def push(self, data: bytes) -> None:
        self.connection.write(self._format(data))

    def abort(self) -> None:
        self.connection.abort()

    def send_rest(self) -> None:
        """Sends slices of a large answer, or what a stream has, while the write buffer has room."""
        if self._source is not None:
            self._source.resume()
        while self._rest is not None and not self.connection.is_blocked:
            self.connection.write(self._rest[:SLICE])
            self._rest = self._rest[SLICE:] or None
            if self._rest is None:
                self.finish()

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        return self._send(self._format(chunk))

    def _format(self, chunk: bytes) -> bytes:
        if self._remaining is not None:
            self._remaining -= len(chunk)
            if self._remaining < 0:
                self.close()
                raise ValueError("more was written than Content-Length says")
        if self._chunked and chunk:
            return b"%x\r\n%b\r\n" % (len(chunk), chunk)
        return chunk

    def _send(self, data: bytes) -> asyncio.Future[None]:
        return self.connection.write(data)

    def finish(self) -> None:
        if self.finished:
            return
        if self._source is not None:
            self._source = None
            self.keep_alive = self.keep_alive and not self.connection.no_keep_alive
        if self._remaining and not self.connection.has_ended:
            self.close()
            raise ValueError("less was written than Content-Length says")
        if self._chunked:
            self.connection.write(b"0\r\n\r\n")
        self.finished = True
        self._pump()

    def _pump(self) -> None:
        """Goes on with the queue. What begins there must not change the context of the request that
        is answered here, perhaps in a task of its own: they belong to different spans."""
        if not self.connection.pumping:
            copy_context().run(self.connection.pump)

    def close(self) -> None:
        """Ends the connection when what was written is sent."""
        self.keep_alive = False
        self.connection.close()

    def end_behind(self) -> None:
        self.keep_alive = False

    def lingering_close(self) -> None:
        self.keep_alive = False
        self.connection.lingering_close()

    @property
    def is_sending(self) -> bool:
        """Whether a rest of a large answer is still to be sent."""
        return self._rest is not None

    @property
    def is_streaming(self) -> bool:
        """Whether the answer is a stream that has not ended."""
        return self._source is not None

    def leave_stream(self) -> None:
        """Ends a stream whose client sends no more."""
        source = self._source
        if source is None:
            return
        source.lose()
        if self.connection.is_blocked:
            self.connection.abort()
        else:
            self.finish()

    def lose_rest(self) -> None:
        """Forgets what is still to be sent: the connection is lost."""
        self._rest = None
        source, self._source = self._source, None
        if source is not None:
            source.lose()
