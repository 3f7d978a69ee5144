"""An exchange in the queue of its connection (HTTP pipelining)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from orderfood.server.exchange import SLICE, Address, Exchange
from orderfood.server.heads import Head

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ExchangeConnection(Protocol):
    """What an exchange needs of its connection."""

    address: Address
    waiting_bytes: int

    @property
    def no_keep_alive(self) -> bool:
        """Whether every answer ends its connection."""

    @property
    def has_ended(self) -> bool:
        """Whether the connection is closed or closing."""

    @property
    def is_blocked(self) -> bool:
        """Whether the write buffer is above HIGH_WATER."""

    def start_request(self, exchange: Exchange) -> HTTPMessageDelegate:
        """The delegate of the application for a new request."""

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """Writes; the future ends when the write buffer is below HIGH_WATER."""

    def pump(self) -> None:
        """Advances the first exchange of the queue as far as possible, and then the next ones."""

    def close(self) -> None:
        """Ends the connection when what was written is sent."""

    def lingering_close(self) -> None:
        """Shuts our side, and closes the connection later."""

    def fail(self, error: BaseException | None) -> None:
        """Logs the error and aborts the connection."""


class QueuedExchange(Exchange):
    """One request and its answer. Exchanges of one connection are answered in order."""

    # until something else is known; in the class, for most requests are answered before that
    delegate: HTTPMessageDelegate | None = None
    delivered = False
    blocked: asyncio.Future[None] | None = None
    head_written = False
    finished = False
    arrived: bytes | bytearray = b""
    """Buffer of the body: received, not yet passed to the delegate."""
    _rest: memoryview | None = None
    """The rest of a large answer, still to be sent."""
    _chunked = False
    _remaining: int | None = None
    _on_close: Callable[[], None] | None = None

    def __init__(self, connection: ExchangeConnection, head: Head, head_bytes: int) -> None:
        self.connection = connection
        self.context = connection.address
        self.remote_ip = connection.address.remote_ip
        self.start_line = head.start_line
        self.headers = head.headers
        self.keep_alive = head.keep_alive
        self.expects = head.expects
        self.head_bytes = head_bytes
        self.body = head.body
        self.complete = head.body is None
        """Whether the whole request has been received."""

    def is_whole(self, most: int) -> bool:
        return self.complete and len(self.arrived) <= most

    def receive(self, data: bytes, start: int) -> int:
        """Reads the body from ``data`` at ``start`` on; returns where it stopped. Raises
        BodyRefused."""
        assert self.body is not None
        into = None
        if not self.finished:
            into = self.arrived = cast(bytearray, self.arrived) or bytearray()
        stopped = self.body.read(data, start, into)
        self.complete = self.body.done
        return stopped

    # --- what the handler calls ---

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        self._on_close = callback

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
            self.connection.pump()

    def send_rest(self) -> None:
        """Sends slices of a large answer while the write buffer has room."""
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
        if self._remaining and not self.connection.has_ended:
            self.close()
            raise ValueError("less was written than Content-Length says")
        if self._chunked:
            self.connection.write(b"0\r\n\r\n")
        self.finished = True
        self.connection.pump()

    def close(self) -> None:
        """Ends the connection when what was written is sent."""
        self.keep_alive = False
        self.connection.close()

    def end_behind(self) -> None:
        self.keep_alive = False

    def lingering_close(self) -> None:
        self.keep_alive = False
        self.connection.lingering_close()

    # --- what the connection calls ---

    @property
    def is_sending(self) -> bool:
        """Whether a rest of a large answer is still to be sent."""
        return self._rest is not None

    def begin(self) -> None:
        """Passes the head to a new delegate. Raises HTTPInputError."""
        self.delegate = self.connection.start_request(self)
        judging = self.delegate.headers_received(self.start_line, self.headers)
        if judging is not None:
            self._wait_for(judging)

    def deliver(self) -> None:
        """Passes the buffered body to the delegate until that blocks, then the end of the
        request."""
        assert self.delegate is not None
        if self.expects:
            self._continue()
        while self.arrived and self.blocked is None:
            chunk, self.arrived = bytes(self.arrived), b""
            self.connection.waiting_bytes -= len(chunk)
            if not self.finished:
                self._wait_for(self.delegate.data_received(chunk))
        if self.complete and not self.arrived and not self.delivered and self.blocked is None:
            self.delivered = True
            if not self.finished:
                self.delegate.finish()

    def _continue(self) -> None:
        if self.blocked is None:
            self.expects = False
            if not (self.head_written or self.complete or self.arrived):
                self.connection.write(_CONTINUE)

    def _wait_for(self, result: object) -> None:
        if result is None:
            return
        future = asyncio.ensure_future(result)  # type: ignore[call-overload]
        if future.done():
            future.result()
            return
        self.blocked = future
        future.add_done_callback(self._unblock)

    def _unblock(self, future: asyncio.Future[None]) -> None:
        self.blocked = None
        if not future.cancelled() and future.exception() is not None:
            self.connection.fail(future.exception())
        else:
            self.connection.pump()

    def lose(self) -> None:
        """Notifies the delegate that the connection is lost."""
        callback, self._on_close, self._rest = self._on_close, None, None
        if self.delegate is None or self.finished:
            return
        if not self.delivered:
            self.delegate.on_connection_close()
        elif callback is not None:
            callback()
