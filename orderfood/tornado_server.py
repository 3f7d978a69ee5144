"""Tornado's own HTTP server, with the limits and the strictness of the other one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any, cast

from tornado import httputil
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream

from orderfood.accepting import Acceptor
from orderfood.framing import BodyRefused, body_of
from orderfood.httptools_server import SWEEP_SECONDS, Limits
from orderfood.remembered import remembered

_FRAMING = ("Transfer-Encoding", "Content-Length")

# Tornado would keep a thousand spellings of names that clients choose, of any size
vars(httputil)["_normalize_header"] = remembered(httputil._normalize_header.__wrapped__)


class TimedStream(IOStream):
    """A stream that knows when it was last given something to write."""

    written_at = 0.0

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """As IOStream's own."""
        self.written_at = asyncio.get_running_loop().time()
        return super().write(data)


class TornadoServer(HTTPServer):
    """Tornado's own server, which knows its connections and ends those that take too long."""

    def initialize(  # type: ignore[override]
        self, app: HTTPServerConnectionDelegate, limits: Limits
    ) -> None:
        super().initialize(
            app,
            # the handlers judge the size themselves: this would close without an answer
            max_body_size=2**62,
            max_header_size=limits.header_bytes,
            idle_connection_timeout=limits.idle_seconds,
            body_timeout=limits.body_seconds,
        )
        self._limits = limits
        self._streams: set[TimedStream] = set()
        self._acceptors: list[Acceptor] = []
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._streams)

    @property
    def no_keep_alive(self) -> bool:
        """Whether every answer closes its connection."""
        return self.conn_params.no_keep_alive

    @no_keep_alive.setter
    def no_keep_alive(self, value: bool) -> None:
        self.conn_params.no_keep_alive = value

    async def listen(self, listening: socket.socket) -> None:  # type: ignore[override]
        """Serves on a socket that listens."""
        self._acceptors.append(Acceptor(listening, self._open))
        self._sweep()

    def _open(self, accepted: socket.socket) -> None:
        if len(self._streams) >= self._limits.connections:
            accepted.close()
            return
        try:
            address = accepted.getpeername()
        except OSError:  # it is gone already
            accepted.close()
            return
        self.handle_stream(TimedStream(accepted), address)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        self._streams.add(cast(TimedStream, stream))
        super().handle_stream(stream, address)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        delegate = super().start_request(server_conn, request_conn)
        return _Strict(delegate, cast(HTTP1Connection, request_conn))

    def on_close(self, server_conn: object) -> None:
        stream = cast(HTTP1ServerConnection, server_conn).stream
        self._streams.discard(cast(TimedStream, stream))
        super().on_close(server_conn)

    def stop(self) -> None:
        """Takes no new connections; those that are open go on."""
        for acceptor in self._acceptors:
            acceptor.close()

    async def close_all_connections(self) -> None:
        """Ends every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await super().close_all_connections()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() - self._limits.write_seconds
        for stream in [s for s in self._streams if s.writing() and s.written_at < latest]:
            stream.close()
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)


class _Strict(HTTPMessageDelegate):
    """Refuses what Tornado takes and others frame differently, and ends what is no longer sure."""

    def __init__(self, inner: HTTPMessageDelegate, connection: HTTP1Connection) -> None:
        self._inner = inner
        self._connection = connection

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        if start_line.method == "CONNECT" or start_line.version not in ("HTTP/1.0", "HTTP/1.1"):
            raise HTTPInputError("neither tunnels nor other versions")
        framing = {n.lower(): headers[n] for n in _FRAMING if n in headers}
        try:
            body_of(framing, start_line.version)
        except BodyRefused:
            raise HTTPInputError("ambiguous framing") from None
        if start_line.version == "HTTP/1.0" and "Expect" in headers:
            del headers["Expect"]  # RFC 9110, 10.1.1; Tornado would answer it
        if headers.get("Expect", "").lower() == "100-continue":
            headers["Expect"] = "100-continue"  # Tornado knows no other case
        words = [word.strip(" \t") for word in headers.get("Connection", "").lower().split(",")]
        if "Upgrade" in headers or "close" in words:  # Tornado knows close alone only
            # there is no public way to say that nothing behind this request is to be read
            self._connection._disconnect_on_finish = True
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()
