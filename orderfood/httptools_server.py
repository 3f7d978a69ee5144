"""An HTTP/1.1 server whose parser is C: httptools (llhttp, Node's parser) drives Tornado.

It speaks Tornado's own interfaces, HTTPServerConnectionDelegate, HTTPMessageDelegate and
HTTPConnection, so the same application runs on it and on Tornado's server. Where the two parsers
differ this one is the stricter: a request that Tornado would refuse is refused here, too.

Requests of one connection are answered in order, one at a time. What cannot be handed on yet is
kept up to a bound; beyond it the socket is not read.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar, cast

import httptools
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError

T = TypeVar("T")

logger = logging.getLogger(__name__)

HIGH_WATER = 64 * 1024
"""Bytes that may wait to be sent to a client before its requests wait, too."""

MAX_PENDING_BODY = 256 * 1024
"""Bytes of a body that may wait for a handler before the socket is not read any more."""

MAX_PIPELINED = 16
"""Requests of one connection that may wait for their turn before the socket is not read."""

SWEEP_SECONDS = 1.0
"""How often connections are looked at for having taken too long."""

LINGER_SECONDS = 2.0
"""How long a client that is still sending gets to notice that its request is answered."""

CLOSE_SECONDS = 0.5
"""How long a client gets to take what was written before its connection is cut."""

_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NEVER = float("inf")
_VERSIONS = {"1.0": "HTTP/1.0", "1.1": "HTTP/1.1"}


@dataclass(slots=True)
class Limits:
    """Bounds of a connection: bytes of a request's head, and seconds for its parts."""

    header_bytes: int = 16 * 1024
    header_seconds: float = 20.0
    idle_seconds: float = 75.0
    body_seconds: float = 20.0
    write_seconds: float = 60.0
    connections: int = 10_000


class RequestHeaders(HTTPHeaders):
    """The headers as they came, made into Tornado's only when somebody wants more than to look one
    up: most requests are answered before that."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        lowered: dict[str, str] = {}
        for key, value in raw:
            name = _lower_name(key)
            if name in lowered:
                lowered = _joined(raw)
                break
            lowered[name] = value.decode("latin-1")
        self.lowered = lowered
        """Their values by lower-case name; those of one name are joined by commas."""

    def __getattr__(self, name: str) -> object:
        if name not in ("_as_list", "_combined_cache"):
            raise AttributeError(name)
        super().__init__()
        for key, value in self._raw:
            self.add(key.decode("latin-1"), value.decode("latin-1"))
        return self.__dict__[name]

    def __bool__(self) -> bool:
        return True  # asked of every request; counting them would make them all

    def __getitem__(self, name: str) -> str:
        if "_as_list" in self.__dict__:
            return super().__getitem__(name)
        return self.lowered[name.lower()]

    def __contains__(self, name: object) -> bool:
        if "_as_list" in self.__dict__:
            return super().__contains__(name)
        return isinstance(name, str) and name.lower() in self.lowered

    def get(self, name: str, default: T | None = None) -> str | T | None:  # type: ignore[override]
        if "_as_list" in self.__dict__:
            return super().get(name, default)
        return self.lowered.get(name.lower(), default)


def _joined(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for key, value in raw:
        values.setdefault(_lower_name(key), []).append(value.decode("latin-1"))
    return {name: ",".join(texts) for name, texts in values.items()}


def _lower_name(name: bytes) -> str:
    return name.decode("latin-1").lower()


@dataclass(frozen=True, slots=True)
class Address:
    """What Tornado calls the connection's context."""

    remote_ip: str
    protocol: str = "http"
    address_family: int = socket.AF_INET


class Exchange(HTTPConnection):
    """One request and its answer. Handlers see it as the connection of their request."""

    # until something else is known; in the class, for most requests are answered before that
    delegate: HTTPMessageDelegate | None = None
    chunks: deque[bytes] | None = None
    pending = 0
    """Bytes of the body that have come and are not handed on."""
    complete = False
    """Whether the whole request has come."""
    delivered = False
    blocked: asyncio.Future[None] | None = None
    head_written = False
    finished = False
    _chunked = False
    _remaining: int | None = None
    _on_close: Callable[[], None] | None = None

    def __init__(
        self,
        connection: Connection,
        start_line: RequestStartLine,
        headers: RequestHeaders,
        keep_alive: bool,
        expects: bool,
    ) -> None:
        self.connection = connection
        self.context = connection.address
        self.start_line = start_line
        self.headers = headers
        self.keep_alive = keep_alive
        self.expects = expects

    def is_whole(self, most: int) -> bool:
        """Whether all of the request is here, with a body of at most so many bytes."""
        return self.complete and self.pending <= most

    # --- what the handler calls ---

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """What to call when the client leaves before it is answered."""
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
        lines = [f"HTTP/1.1 {start_line.code} {start_line.reason}"]
        lines += [f"{name}: {value}" for name, value in headers.get_all()]
        text = "\r\n".join(lines)
        if not text.count("\r") == text.count("\n") == len(lines) - 1:
            raise ValueError("a header holds a line break")
        head = text.encode("latin-1") + self._end_of_head()
        return self._send(head + self._format(chunk) if chunk else head)

    def _frame(self, headers: HTTPHeaders, no_body: bool) -> None:
        """Decides how the client will know where the body ends (RFC 9112, 6.3)."""
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
        self.keep_alive = self.keep_alive and not self.connection.server.no_keep_alive
        if not self.keep_alive and self.start_line.version == "HTTP/1.1":
            return b"\r\nConnection: close\r\n\r\n"
        if self.keep_alive and self.start_line.version == "HTTP/1.0":
            return b"\r\nConnection: Keep-Alive\r\n\r\n"
        return b"\r\n\r\n"

    def send(self, head: bytes, body: bytes) -> None:
        """A whole answer: a status line and headers without the empty line, and the body."""
        self._remaining = None
        self.connection.write(head + self._end_of_head() + body)
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
        if self._remaining:
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

    def linger(self) -> None:
        """Ends our side now, and the connection in a moment."""
        self.keep_alive = False
        self.connection.linger()

    # --- what the connection calls ---

    def begin(self) -> None:
        """Hands the head on. Raises HTTPInputError."""
        self.delegate = self.connection.server.delegate.start_request(self.connection, self)
        self._wait_for(self.delegate.headers_received(self.start_line, self.headers))

    def deliver(self) -> None:
        """Hands on what has come of the body, as far as the handler takes it."""
        assert self.delegate is not None
        if self.expects:
            self._continue()
        while self.chunks and self.blocked is None:
            chunk = self.chunks.popleft()
            self.pending -= len(chunk)
            if not self.finished:
                self._wait_for(self.delegate.data_received(chunk))
        if self.complete and not self.chunks and not self.delivered and self.blocked is None:
            self.delivered = True
            if not self.finished:
                self.delegate.finish()

    def _continue(self) -> None:
        if self.blocked is None:
            self.expects = False
            if not (self.head_written or self.complete or self.chunks):
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
        """The client has left."""
        callback, self._on_close = self._on_close, None
        if self.delegate is None or self.finished:
            return
        if not self.delivered:
            self.delegate.on_connection_close()
        elif callback is not None:
            callback()


def _is_framed(headers: Mapping[str, str]) -> bool:
    """Whether the end of the body is told in one way: as strict as Tornado, for what two servers
    frame differently can be smuggled past one."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        return length is None and coding.lower() == "chunked"
    return length is None or (length.isascii() and length.isdigit())


class Connection(asyncio.Protocol):
    """One client's connection: the parser's callbacks, and the queue of exchanges."""

    def __init__(self, server: HttpToolsServer) -> None:
        self.server = server
        self.loop = server.loop
        self.address = Address("")
        self.deadline = _NEVER
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()
        self._receiving: Exchange | None = None
        self._url = b""
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._most_head_bytes = 0
        self._in_head = False
        self._refusal: bytes | None = None
        self._client_has_ended = False
        self._deaf = False
        self._ended = False
        self._reading = True
        self._pumping = False
        self._drained: asyncio.Future[None] | None = None

    # --- from the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.address = Address(peer[0])
        self.deadline = self.loop.time() + self.server.limits.idle_seconds
        if not self.server.add(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._most_head_bytes = self._head_bytes + len(data)
        self._feed(data)
        if self._refusal is not None:
            self._deaf = True
        elif self._in_head:
            self._count_head(len(data))
        self.pump()

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # no other protocol is spoken here: the request is one like any other
            self._parser = httptools.HttpRequestParser(self)
            rest = data[upgrade.args[0] :]
            if rest and self._refusal is None:
                self._feed(rest)
        except httptools.HttpParserError:
            self._refuse(_BAD_REQUEST)

    def _count_head(self, size: int) -> None:
        if self._head_bytes == 0:
            self.deadline = min(self.deadline, self.loop.time() + self.server.limits.header_seconds)
        self._head_bytes += size
        if self._head_bytes > self.server.limits.header_bytes:
            self._refuse(_TOO_LARGE)
            self._deaf = True

    def eof_received(self) -> bool:
        """A client that has sent all it will may still wait for its answers."""
        self._client_has_ended = True
        return self._has_whole_request() and not self._deaf

    def _has_whole_request(self) -> bool:
        return any(exchange.complete for exchange in self._exchanges)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._deaf = True
        self.deadline = _NEVER
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(StreamClosedError())
            self._drained.exception()
        for exchange in self._exchanges:
            exchange.lose()
        self._exchanges.clear()
        self.server.remove(self)

    def pause_writing(self) -> None:
        self._drained = self.loop.create_future()
        self.deadline = self.loop.time() + self.server.limits.write_seconds

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        self._set_deadline()
        if drained is not None and not drained.done():
            drained.set_result(None)
        self.pump()

    # --- from the parser; an exception in here would be lost in C ---

    def on_message_begin(self) -> None:
        self._in_head = True
        self._url = b""
        self._raw_headers = []
        self._receiving = None

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self._raw_headers.append((name, value))
        else:
            self._refuse(_BAD_REQUEST)  # a trailer: nobody here could tell what it means

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self._refusal is not None:
            return
        if self._head_is_too_large():
            self._refuse(_TOO_LARGE)
            return
        headers = RequestHeaders(self._raw_headers)
        version = _VERSIONS.get(self._parser.get_http_version())
        if version is None or not _is_framed(headers.lowered):
            self._refuse(_BAD_REQUEST)
            return
        method = self._parser.get_method().decode("ascii")
        self._receiving = Exchange(
            self,
            RequestStartLine(method, self._url.decode("latin-1"), version),
            headers,
            self._parser.should_keep_alive(),
            headers.lowered.get("expect", "").lower() == "100-continue",
        )
        self._exchanges.append(self._receiving)
        self.deadline = self.loop.time() + self.server.limits.body_seconds

    def _head_is_too_large(self) -> bool:
        """Counts only where more has come than a head may have."""
        if self._most_head_bytes <= self.server.limits.header_bytes:
            return False
        lines = sum(len(name) + len(value) + 4 for name, value in self._raw_headers)
        return len(self._url) + lines > self.server.limits.header_bytes

    def on_body(self, body: bytes) -> None:
        exchange = self._receiving
        if exchange is not None and self._refusal is None and not exchange.finished:
            if exchange.chunks is None:
                exchange.chunks = deque()
            exchange.chunks.append(body)
            exchange.pending += len(body)

    def on_message_complete(self) -> None:
        if self._receiving is not None and self._refusal is None:
            self._receiving.complete = True
            self._receiving = None
            self.deadline = _NEVER

    # --- the queue ---

    def pump(self) -> None:
        """Brings the first exchange as far as it gets, and the next when it is answered."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._exchanges and self._step(self._exchanges[0]):
                pass
            if self._refusal is not None and not self._has_whole_request():
                self._answer_refusal()
            if self._client_has_ended and not self._has_whole_request():
                self.close()  # what has begun and is not whole will never be
        except HTTPInputError:
            self._exchanges.clear()
            self._refuse(_BAD_REQUEST)
            self._answer_refusal()
        except Exception as error:
            self.fail(error)
        finally:
            self._pumping = False
        if self._receiving is not None or len(self._exchanges) > 1 or not self._reading:
            self._regulate()

    def _step(self, exchange: Exchange) -> bool:
        """One step; whether there may be another one."""
        if self._drained is not None:
            return False
        if exchange.delegate is None:
            exchange.begin()
        if exchange.blocked is not None:
            return False
        exchange.deliver()
        if not exchange.finished:
            return False
        if not exchange.complete:
            self.linger()
            return False
        self._exchanges.popleft()
        exchange.delegate = None  # which knows it: a cycle would leave both to the collector
        if not exchange.keep_alive:
            self._exchanges.clear()
            self.close()
            return False
        self._set_deadline()
        return True

    def _refuse(self, answer: bytes) -> None:
        if self._refusal is None:
            self._refusal = answer

    def _answer_refusal(self) -> None:
        """Answers what is no request; one that turned out so in its body loses its handler."""
        assert self._refusal is not None
        begun = any(exchange.head_written for exchange in self._exchanges)
        if not begun:
            self.write(self._refusal)
        for exchange in self._exchanges:
            exchange.lose()
            exchange.finished = True
        self._exchanges.clear()
        self._refusal = None
        self._deaf = True
        self.linger()

    def _set_deadline(self) -> None:
        if self._receiving is not None:
            self.deadline = self.loop.time() + self.server.limits.body_seconds
        elif self._exchanges:
            self.deadline = _NEVER
        else:
            self.deadline = self.loop.time() + self.server.limits.idle_seconds

    def _regulate(self) -> None:
        """Stops reading while too much waits, and starts again."""
        if self._transport is None or self._transport.is_closing():
            return
        receiving = self._receiving
        full = len(self._exchanges) > MAX_PIPELINED or (
            receiving is not None and receiving.pending > MAX_PENDING_BODY
        )
        if full and self._reading:
            self._transport.pause_reading()
        elif not full and not self._reading:
            self._transport.resume_reading()
        self._reading = not full

    # --- towards the client ---

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Sends; the future ends when the client has taken enough of it."""
        if self._transport is None or self._ended or self._transport.is_closing():
            closed: asyncio.Future[None] = self.loop.create_future()
            closed.set_exception(StreamClosedError())
            closed.exception()  # whoever does not wait need not know
            return closed
        self._transport.write(data)
        if self._drained is not None:
            return self._drained
        return self.server.done

    def fail(self, error: BaseException | None) -> None:
        """A defect in a handler that it did not answer itself."""
        logger.error("a request failed outside its handler", exc_info=error)
        self._deaf = True
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Ends the connection when what was written is sent."""
        self._deaf = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._deaf = True
        if self._transport is not None:
            self._transport.abort()

    def linger(self) -> None:
        """Ends our side when what was written is sent, and the connection in a moment: closing on
        a client that still sends would reset it, and it might lose the answer (see linger.py)."""
        self._deaf = True
        if self._transport is None or self._transport.is_closing():
            return
        self._ended = True
        with suppress(OSError, RuntimeError):
            self._transport.write_eof()
        self.deadline = self.loop.time() + LINGER_SECONDS


class HttpToolsServer:
    """Listens, and keeps its connections within their limits."""

    def __init__(self, delegate: HTTPServerConnectionDelegate, limits: Limits) -> None:
        self.loop = asyncio.get_running_loop()
        self.delegate = delegate
        self.limits = limits
        self.no_keep_alive = False
        self.connections: set[Connection] = set()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.done.set_result(None)
        self._closing = False
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, listening: socket.socket) -> None:
        """Serves on a socket that listens."""
        server = await self.loop.create_server(lambda: Connection(self), sock=listening)
        self._servers.append(server)
        self._sweep()

    def add(self, connection: Connection) -> bool:
        """Whether there is room for one more connection."""
        self.connections.add(connection)
        self._nobody.clear()
        return not self._closing and len(self.connections) <= self.limits.connections

    def remove(self, connection: Connection) -> None:
        """Forgets a connection that has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._nobody.set()
        self.delegate.on_close(connection)

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self.connections)

    def stop(self) -> None:
        """Takes no new connections; those that are open go on."""
        for server in self._servers:
            server.close()

    async def close_all_connections(self) -> None:
        """Ends every connection, sending first what was written."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._nobody.wait()
        for connection in list(self.connections):
            connection.abort()
        await self._nobody.wait()

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in [c for c in self.connections if c.deadline < now]:
            connection.abort()
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)
