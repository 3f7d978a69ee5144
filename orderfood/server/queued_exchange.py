"""An exchange in the queue of its connection (HTTP pipelining)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tornado.httputil import HTTPMessageDelegate

from orderfood.server.heads import Head
from orderfood.server.outgoing import ExchangeConnection, Outgoing

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class QueuedExchange(Outgoing):
    """One request and its answer. Exchanges of one connection are answered in order."""

    # until something else is known; in the class, for most requests are answered before that
    delegate: HTTPMessageDelegate | None = None
    delivered = False
    blocked: asyncio.Future[None] | None = None
    arrived: bytes | bytearray = b""
    """Buffer of the body: received, not yet passed to the delegate."""
    _on_close: Callable[[], None] | None = None

    def __init__(self, connection: ExchangeConnection, head: Head, head_bytes: int) -> None:
        super().__init__(connection, head)
        self.headers = head.headers
        self.repeatable = head.repeatable
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
        into: bytearray | None = None
        if not self.finished:
            # made once: a body may come in a million parts
            into = self.arrived if isinstance(self.arrived, bytearray) else bytearray(self.arrived)
            self.arrived = into
        stopped = self.body.read(data, start, into)
        self.complete = self.body.done
        return stopped

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        self._on_close = callback

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
        callback, self._on_close = self._on_close, None
        self.lose_rest()
        if self.delegate is None or self.finished:
            return
        if not self.delivered:
            self.delegate.on_connection_close()
        elif callback is not None:
            callback()
