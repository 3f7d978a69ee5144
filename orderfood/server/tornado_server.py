"""Tornado's own HTTP server, with the limits and the strictness of the other one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
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
from tornado.iostream import IOStream, StreamClosedError

from orderfood.server.accepting import Acceptor
from orderfood.server.bounded_cache import bounded_cache
from orderfood.server.connection import HIGH_WATER
from orderfood.server.exchange import SLICE, Address, Exchange, Source, prepare_stream
from orderfood.server.framing import BodyRefused, body_of
from orderfood.server.heads import MAX_FIELDS, SEPARATORS
from orderfood.server.limits import SWEEP_SECONDS, Limits
from orderfood.server.lingering_close import LingeringConnections

_END_OF_HEAD = rb"\r\n\r\n|(?<!\r)\n"
"""The end of a head, or a bare LF, behind which no more of it is looked at."""

_FRAMING = ("Transfer-Encoding", "Content-Length")

# Tornado would keep a thousand spellings of names that clients choose, of any size
vars(httputil)["_normalize_header"] = bounded_cache(httputil._normalize_header.__wrapped__)


class TimedStream(IOStream):
    """A stream that knows when it was last given something to write."""

    written_at = 0.0
    taken = 0
    """Bytes that the system has taken."""
    client_has_ended = False
    """Whether the client sends no more."""
    on_client_end: Callable[[], None] | None = None
    """Called when that happens."""
    lingering: LingeringConnections | None = None
    """Where the connection goes when it is closed."""

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """As IOStream's own; but a client that has sent all it will while it is being answered has
        not left. One byte that begins nothing keeps the stream from asking again until then."""
        count = super().read_from_fd(buf)
        if count != 0 or self.reading():
            return count
        if self.client_has_ended:
            return None
        self.client_has_ended = True
        if self.on_client_end is not None:
            asyncio.get_running_loop().call_soon(self.on_client_end)
        buf[0] = ord("\r")
        return 1

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """As IOStream's own."""
        self.written_at = asyncio.get_running_loop().time()
        return super().write(data)

    def write_to_fd(self, data: memoryview) -> int:
        """As IOStream's own."""
        count = super().write_to_fd(data)
        self.taken += count or 0
        return count

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """A head. Tornado would take a bare LF for the end of a line, which others do not."""
        return self._read_head(max_bytes)

    async def _read_head(self, most: int | None) -> bytes:
        """Raises HTTPInputError."""
        head = await super().read_until_regex(_END_OF_HEAD, most)
        lines = head.lstrip(b"\r\n").count(b"\n")
        if not head.endswith(b"\r\n\r\n") or lines > MAX_FIELDS + 2:
            raise HTTPInputError("a bare line feed, or too many fields")
        return head

    def close(self, exc_info: Any = False) -> None:
        """Closes the connection with a lingering close."""
        if self.lingering is not None and not self.closed():
            self.lingering.add(self.socket)
        super().close(exc_info)

    def abort(self) -> None:
        """Ends the connection at once."""
        self.lingering = None
        self.close()


class TornadoServer(HTTPServer):
    """Tornado's own server, with deadlines for its connections."""

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
        self._rests: set[asyncio.Task[None]] = set()
        self._lingering = LingeringConnections()
        self._acceptors: list[Acceptor] = []
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._streams)

    @property
    def sending(self) -> int:
        """How many connections have a part of an answer still to be sent."""
        return max(len(self._rests), sum(stream.writing() for stream in self._streams))

    @property
    def no_keep_alive(self) -> bool:
        """Whether every answer closes its connection."""
        return self.conn_params.no_keep_alive

    @no_keep_alive.setter
    def no_keep_alive(self, value: bool) -> None:
        self.conn_params.no_keep_alive = value

    async def listen(self, listening: socket.socket) -> None:  # type: ignore[override]
        """Serves on a socket that listens."""
        count = (lambda: self.open_connections) if self._limits.shared else None
        self._acceptors.append(Acceptor(listening, self._open, count))
        self._sweep()

    def _open(self, accepted: socket.socket) -> None:
        if len(self._streams) + len(self._lingering) >= self._limits.connections:
            accepted.close()
            return
        try:
            address = accepted.getpeername()
        except OSError:  # it is gone already
            accepted.close()
            return
        stream = TimedStream(accepted)
        stream.lingering = self._lingering
        self.handle_stream(stream, address)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        self._streams.add(cast(TimedStream, stream))
        super().handle_stream(stream, address)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        exchange = TornadoExchange(cast(HTTP1Connection, request_conn), self._rests)
        return _Strict(super().start_request(server_conn, exchange), exchange)

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
        self._lingering.close()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() - self._limits.write_seconds
        for stream in [s for s in self._streams if s.writing() and s.written_at < latest]:
            stream.abort()
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)


class TornadoExchange(Exchange):
    """One request and its answer on a connection of Tornado's."""

    _source: Source | None = None
    """What writes the answer, while that is a stream."""
    _is_blocked = False
    _unsent = 0
    _chunked = False

    def __init__(self, connection: HTTP1Connection, rests: set[asyncio.Task[None]]) -> None:
        self._connection = connection
        self._rests = rests
        """The rests of large answers, still to be sent."""
        self.context = connection.context
        self.remote_ip = cast(Address, connection.context).remote_ip
        self.version = "HTTP/1.1"
        self.headers = HTTPHeaders()
        """Of the request, once they have come."""

    def is_whole(self, most: int) -> bool:
        return False  # Tornado hands the head on before it looks at the body

    def send(self, head: bytes, body: bytes, *, close: bool = False, finish: bool = True) -> None:
        if close:
            self.end_behind()
        written = self._connection.write_headers(*_parsed(head), body[:SLICE])
        if len(body) > SLICE:
            sending = asyncio.create_task(self._send_rest(written, body))
            self._rests.add(sending)
            sending.add_done_callback(self._rests.discard)
        elif finish:
            self._connection.finish()
        _forget(written)

    async def _send_rest(self, written: asyncio.Future[None], body: bytes) -> None:
        """Sends a large body slice by slice, the next one when the last is taken."""
        with suppress(StreamClosedError):
            for start in range(SLICE, len(body), SLICE):
                await written
                written = self._connection.write(body[start : start + SLICE])
            self._connection.finish()

    # --- streams ---

    @property
    def _stream(self) -> TimedStream:
        return cast(TimedStream, self._connection.stream)

    def start_stream(self, head: bytes, source: Source) -> None:
        stream = self._stream
        if stream.closed():
            return
        self._source = source
        self._chunked = self.version == "HTTP/1.1"
        if self._connection.params.no_keep_alive:
            self.end_behind()
        start, headers = _parsed(head)
        if not self._chunked:
            self.end_behind()
            headers["Connection"] = "close"
            self.headers.pop("Connection", None)  # Tornado would promise to keep it alive
        stream.set_nodelay(True)
        prepare_stream(stream.socket)
        stream.on_client_end = self._leave
        self.set_close_callback(self._lose)
        _forget(self._connection.write_headers(start, headers))
        source.begin(self)
        if stream.client_has_ended:
            self._leave()

    @property
    def is_blocked(self) -> bool:
        return self._is_blocked

    @property
    def progress(self) -> int:
        return self._stream.taken

    def push(self, data: bytes) -> None:
        stream = self._stream
        if stream.closed():
            return
        written = stream.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        self._unsent = self._unsent + len(data) if stream.writing() else 0
        if self._unsent > HIGH_WATER and not self._is_blocked:
            self._is_blocked = True
            written.add_done_callback(self._taken)

    def _taken(self, written: asyncio.Future[None]) -> None:
        """What waited was taken, or the connection has ended."""
        self._unsent, self._is_blocked = 0, False
        if self._source is not None and not written.cancelled() and written.exception() is None:
            self._source.resume()

    def abort(self) -> None:
        self._stream.abort()

    def _leave(self) -> None:
        """The client sends no more: a stream, which has no end, ends there."""
        source = self._source
        if source is None:
            return
        source.lose()
        if self._is_blocked:
            self.abort()
        else:
            self.finish()

    def _lose(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.lose()

    def _finish_stream(self) -> None:
        """Ends the stream when all of it was taken."""
        stream, self._source = self._stream, None
        stream.on_client_end = None
        if stream.closed():
            return
        if self._connection.params.no_keep_alive:
            self.end_behind()
        stream.write(b"").add_done_callback(lambda _: self._connection.finish())

    def end_behind(self) -> None:
        # there is no public way to say it
        self._connection._disconnect_on_finish = True

    def lingering_close(self) -> None:
        self._connection.stream.close()

    # --- Tornado's own interface ---

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        self._connection.set_close_callback(callback)

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> asyncio.Future[None]:
        return self._connection.write_headers(start_line, headers, chunk)

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        return self._connection.write(chunk)

    def finish(self) -> None:
        if self._source is not None:
            self._finish_stream()
        else:
            self._connection.finish()


def _parsed(head: bytes) -> tuple[ResponseStartLine, HTTPHeaders]:
    """A head as Tornado has it."""
    status, *lines = head.decode("latin-1").split("\r\n")
    _, code, reason = status.split(" ", 2)
    headers = HTTPHeaders()
    for line in lines:
        name, _, value = line.partition(": ")
        headers.add(name, value)
    return ResponseStartLine("HTTP/1.1", int(code), reason), headers


def _forget(written: asyncio.Future[None]) -> None:
    """Marks the exception of a write as retrieved: a caller that does not await it need not see
    that the client has left."""
    written.add_done_callback(lambda done: done.cancelled() or done.exception())


class _Strict(HTTPMessageDelegate):
    """Refuses what Tornado takes and others frame differently, and ends what is no longer sure."""

    def __init__(self, inner: HTTPMessageDelegate, exchange: TornadoExchange) -> None:
        self._inner = inner
        self._exchange = exchange

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        if start_line.method == "CONNECT" or start_line.version not in ("HTTP/1.0", "HTTP/1.1"):
            raise HTTPInputError("neither tunnels nor other versions")
        self._exchange.version, self._exchange.headers = start_line.version, headers
        framing = {n.lower(): headers[n] for n in _FRAMING if n in headers}
        try:
            body_of(framing, start_line.version)
        except BodyRefused:
            raise HTTPInputError("ambiguous framing") from None
        if start_line.version == "HTTP/1.0" and "Expect" in headers:
            del headers["Expect"]  # RFC 9110, 10.1.1; Tornado would answer it
        if headers.get("Expect", "").lower() == "100-continue":
            headers["Expect"] = "100-continue"  # Tornado knows no other case
        for name, separator in SEPARATORS.items():  # Tornado joins all headers by commas
            if name in headers:
                headers[name] = separator.join(headers.get_list(name))
        words = [word.strip(" \t") for word in headers.get("Connection", "").lower().split(",")]
        if "Upgrade" in headers or "close" in words:  # Tornado knows close alone only
            self._exchange.end_behind()
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()
