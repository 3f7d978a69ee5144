"""An HTTP/1.1 server whose parser is C: httptools (llhttp, Node's parser) drives Tornado.

It speaks Tornado's own interfaces, HTTPServerConnectionDelegate, HTTPMessageDelegate and
HTTPConnection, so the same application runs on it and on Tornado's server.

Requests of one connection are answered in order, one at a time. What cannot be handed on yet is
kept up to a bound; beyond it neither is anything parsed nor the socket read. A large answer goes
out in slices of what all who get it share, the next one when the client has taken the last.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

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

from orderfood.server.accepting import Acceptor
from orderfood.server.framing import BodyRefused
from orderfood.server.heads import Head, HeadRefused, TooManyFields, parse_head
from orderfood.server.linger import LINGER_SECONDS

logger = logging.getLogger(__name__)

HIGH_WATER = 32 * 1024
"""Bytes that may wait to be sent to a client before its requests wait, too."""

SLICE = 32 * 1024
"""Bytes of a large answer that are handed to the socket at once. With HIGH_WATER that is 64 KiB
for a client that does not read, whatever it asked for."""

MAX_WAITING = 64 * 1024
"""Bytes of heads and bodies of one connection that may wait before no more is parsed or read."""

MAX_PIPELINED = 16
"""Requests of one connection that may wait for their turn before no more is parsed or read."""

SWEEP_SECONDS = 1.0
"""How often connections are looked at for having taken too long."""

CLOSE_SECONDS = 0.5
"""How long a client gets to take what was written before its connection is cut."""

_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NEVER = float("inf")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BEGINNING = re.compile(rb"[!-~]|\r\Z|\Z")
"""How a head, or half an empty line before it, may begin."""


@dataclass(slots=True)
class Limits:
    """Bounds of a connection: bytes of a request's head, and seconds for its parts.
    ``write_seconds`` are what a client gets to take HIGH_WATER or a SLICE."""

    header_bytes: int = 16 * 1024
    header_seconds: float = 20.0
    idle_seconds: float = 75.0
    body_seconds: float = 20.0
    write_seconds: float = 60.0
    connections: int = 10_000


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
    delivered = False
    blocked: asyncio.Future[None] | None = None
    head_written = False
    finished = False
    arrived: bytes | bytearray = b""
    """What has come of the body and is not handed on."""
    _rest: memoryview | None = None
    """What is still to be sent of a large answer."""
    _chunked = False
    _remaining: int | None = None
    _on_close: Callable[[], None] | None = None

    def __init__(self, connection: Connection, head: Head, head_bytes: int) -> None:
        self.connection = connection
        self.context = connection.address
        self.start_line = head.start_line
        self.headers = head.headers
        self.keep_alive = head.keep_alive
        self.expects = head.expects
        self.head_bytes = head_bytes
        self.body = head.body
        self.complete = head.body is None
        """Whether the whole request has come."""

    def is_whole(self, most: int) -> bool:
        """Whether all of the request is here, with a body of at most so many bytes."""
        return self.complete and len(self.arrived) <= most

    def receive(self, data: bytes, start: int) -> int:
        """Takes what belongs to the body, and returns where that ends. Raises BodyRefused."""
        assert self.body is not None
        into = None
        if not self.finished:
            into = self.arrived = cast(bytearray, self.arrived) or bytearray()
        stopped = self.body.read(data, start, into)
        self.complete = self.body.done
        return stopped

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
            del headers["Connection"]  # the end of the head says it
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
        """A whole answer: a status line and headers without the empty line, and the body, which
        is not copied where it is large."""
        self._remaining = None
        if len(body) <= SLICE:
            self.connection.write(head + self._end_of_head() + body)
            self.finish()
        else:
            self.connection.write(head + self._end_of_head())
            self._rest = memoryview(body)
            self.connection.pump()

    def send_rest(self) -> None:
        """Sends of a large answer what the client takes now."""
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

    def linger(self) -> None:
        """Ends our side now, and the connection in a moment."""
        self.keep_alive = False
        self.connection.linger()

    # --- what the connection calls ---

    @property
    def is_sending(self) -> bool:
        """Whether a large answer is on its way."""
        return self._rest is not None

    def begin(self) -> None:
        """Hands the head on. Raises HTTPInputError."""
        self.delegate = self.connection.server.delegate.start_request(self.connection, self)
        self._wait_for(self.delegate.headers_received(self.start_line, self.headers))

    def deliver(self) -> None:
        """Hands on what has come of the body, as far as the handler takes it."""
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
        """The client has left."""
        callback, self._on_close, self._rest = self._on_close, None, None
        if self.delegate is None or self.finished:
            return
        if not self.delivered:
            self.delegate.on_connection_close()
        elif callback is not None:
            callback()


class Connection(asyncio.Protocol):
    """One client's connection: what has come and is not parsed yet, and the queue of exchanges."""

    def __init__(self, server: HttpToolsServer) -> None:
        self.server = server
        self.loop = server.loop
        self.address = Address("")
        self.deadline = _NEVER
        """When the client must have sent more."""
        self.write_deadline = _NEVER
        """When it must have taken what was written."""
        self.waiting_bytes = 0
        """Bytes of heads and bodies that are not answered, or not handed on."""
        self._transport: asyncio.Transport | None = None
        self._unparsed = b""
        self._searched = 0
        """Bytes of a head, at the beginning of the above, in which its end is not."""
        self._exchanges: deque[Exchange] = deque()
        self._receiving: Exchange | None = None
        self._refusal: bytes | None = None
        self._client_has_ended = False
        self._deaf = False
        self._ended = False
        self._closing = False
        self._reading = True
        self._pumping = False
        self._giving_way = False
        self._lingering = False
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
        """Takes what has come."""
        if not self._deaf:
            self._unparsed = self._unparsed + data if self._unparsed else data
            self.pump()

    def eof_received(self) -> bool:
        """A client that has sent all it will may still wait for its answers."""
        self._client_has_ended = True
        return self._has_whole_request()

    def _has_whole_request(self) -> bool:
        return any(exchange.complete for exchange in self._exchanges)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._deaf = True
        self.deadline = self.write_deadline = _NEVER
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(StreamClosedError())
            self._drained.exception()
        for exchange in self._exchanges:
            exchange.lose()
        self._exchanges.clear()
        self.server.remove(self)

    def pause_writing(self) -> None:
        self._drained = self.loop.create_future()
        self.write_deadline = self.loop.time() + self.server.limits.write_seconds

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        self.write_deadline = _NEVER
        if drained is not None and not drained.done():
            drained.set_result(None)
        self.pump()
        if self._transport is not None and self._transport.is_closing():
            self._limit_writing()

    @property
    def has_ended(self) -> bool:
        """Whether nobody is there any more to be answered."""
        return self._transport is None or self._transport.is_closing()

    @property
    def is_blocked(self) -> bool:
        """Whether the client has to take something before more is sent."""
        return self._drained is not None

    # --- from bytes to requests ---

    def _parse(self) -> bool:
        """Makes requests of what has come, as many as may wait; whether there was anything."""
        data, start = self._unparsed, 0
        if not data or self._deaf:
            return False
        try:
            while start < len(data) and not self._deaf:
                before = start
                if self._receiving is not None:
                    start = self._parse_body(data, start)
                elif not self._is_full():
                    start = self._parse_head(data, start)
                if start == before:
                    break
        except TooManyFields:
            self._refuse(_TOO_LARGE)
        except (HeadRefused, BodyRefused):
            self._refuse(_BAD_REQUEST)
        self._unparsed = b"" if self._deaf else data[start:]
        return start > 0

    def _parse_body(self, data: bytes, start: int) -> int:
        exchange = self._receiving
        assert exchange is not None
        if self.waiting_bytes > MAX_WAITING:
            return start
        before = len(exchange.arrived)
        start = exchange.receive(data, start)
        self.waiting_bytes += len(exchange.arrived) - before
        if exchange.complete:
            self._receiving = None
            self.deadline = _NEVER
            self._end_if_last(exchange)
        return start

    def _parse_head(self, data: bytes, start: int) -> int:
        while data.startswith(b"\r\n", start):  # RFC 9112, 2.2
            start += 2
        found = data.find(b"\r\n\r\n", start + max(0, self._searched - 3))
        end = found + 4 if found >= 0 else len(data)
        if end - start > self.server.limits.header_bytes:
            self._refuse(_TOO_LARGE)
        elif found < 0:
            self._await_head(data, start)
        else:
            self._searched = 0
            self._begin_exchange(parse_head(data[start:end]), end - start)
            return end
        return start

    def _await_head(self, data: bytes, start: int) -> None:
        if self._searched == 0 and not self._exchanges:
            self.deadline = min(self.deadline, self.loop.time() + self.server.limits.header_seconds)
        if not _BEGINNING.match(data, start) or _BARE_LF.search(data, start + self._searched):
            raise HeadRefused  # there is no need to wait for its end
        self._searched = len(data) - start

    def _begin_exchange(self, head: Head, size: int) -> None:
        exchange = Exchange(self, head, size)
        self._exchanges.append(exchange)
        self.waiting_bytes += size
        if exchange.complete:
            self._end_if_last(exchange)
            if self._exchanges[0] is exchange:
                self.deadline = _NEVER
        else:
            self._receiving = exchange
            if self._exchanges[0] is exchange:
                self.deadline = self.loop.time() + self.server.limits.body_seconds

    def _end_if_last(self, exchange: Exchange) -> None:
        """Nothing is read behind a request that ends its connection."""
        if not exchange.keep_alive:
            self._deaf = True

    def _is_full(self) -> bool:
        return len(self._exchanges) > MAX_PIPELINED or self.waiting_bytes > MAX_WAITING

    # --- the queue ---

    def pump(self) -> None:
        """Brings the first exchange as far as it gets, and the next when it is answered."""
        if self._pumping:
            return
        self._pumping = True
        try:
            self._work()
        except HTTPInputError:
            self._exchanges.clear()
            self._refuse(_BAD_REQUEST)
            self._answer_refusal()
        except Exception as error:
            self.fail(error)
        finally:
            self._pumping = False
        self._regulate()

    def _work(self) -> None:
        answered = 0
        while True:
            while self._exchanges and self._step(self._exchanges[0]):
                answered += 1
            if answered >= MAX_PIPELINED and self._unparsed:
                self._give_way()
                return
            if not self._parse():
                break
        if self._refusal is not None and not self._has_whole_request():
            self._answer_refusal()
        if self._client_has_ended and not self._has_whole_request():
            self.close()  # what has begun and is not whole will never be

    def _give_way(self) -> None:
        """Goes on when other connections have had their turn, and reads no more until then."""
        if not self._giving_way:
            self._giving_way = True
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._giving_way = False
        self.pump()

    def _step(self, exchange: Exchange) -> bool:
        """One step; whether there may be another one."""
        if self._drained is not None:
            return False
        if exchange.delegate is None:
            exchange.begin()
        if exchange.blocked is not None:
            return False
        exchange.deliver()
        exchange.send_rest()
        if not exchange.finished:
            return False
        if not exchange.complete:
            self.linger()
            return False
        self._exchanges.popleft()
        self.waiting_bytes -= exchange.head_bytes
        exchange.delegate = None  # which knows it: a cycle would leave both to the collector
        if self._closing or not exchange.keep_alive:
            self._exchanges.clear()
            self.close() if self._closing else self.linger()
            return False
        self._set_deadline()
        return True

    def _refuse(self, answer: bytes) -> None:
        self._deaf = True
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
        self.linger()

    def _set_deadline(self) -> None:
        """When the client must have sent more, once nothing stands before it: what comes behind a
        request that is being answered has time, for nobody may be reading it."""
        limits = self.server.limits
        if self._exchanges and self._exchanges[0] is self._receiving:
            self.deadline = self.loop.time() + limits.body_seconds
        elif self._exchanges:
            self.deadline = _NEVER
        else:
            seconds = limits.header_seconds if self._searched else limits.idle_seconds
            self.deadline = self.loop.time() + seconds

    def _regulate(self) -> None:
        """Stops reading while too much waits, and starts again."""
        full = self._giving_way or (not self._deaf and self._is_full())
        if full is self._reading and self._transport and not self._transport.is_closing():
            self._reading = not full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # --- towards the client ---

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """Sends; the future ends when the client has taken enough of it."""
        if self.has_ended or self._ended:
            closed: asyncio.Future[None] = self.loop.create_future()
            closed.set_exception(StreamClosedError())
            closed.exception()  # whoever does not wait need not know
            return closed
        assert self._transport is not None
        self._transport.write(data)
        if self._drained is not None:
            return self._drained
        return self.server.done

    def fail(self, error: BaseException | None) -> None:
        """A defect in a handler that it did not answer itself."""
        logger.error("a request failed outside its handler", exc_info=error)
        self.abort()

    def close(self) -> None:
        """Ends the connection when what was written, and what is left of a large answer, is
        sent."""
        self._deaf = self._closing = True
        if self._transport is None:
            return
        if not (self._exchanges and self._exchanges[0].is_sending):
            self._transport.close()
            self._limit_writing()

    def _limit_writing(self) -> None:
        """Gives what is written an end, also below HIGH_WATER, where the transport says nothing."""
        if self._transport is not None and self._transport.get_write_buffer_size():
            end = self.loop.time() + self.server.limits.write_seconds
            self.write_deadline = min(self.write_deadline, end)

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
        self._lingering, self.deadline = True, _NEVER
        self._limit_writing()
        self.end_lingering()

    @property
    def is_sending(self) -> bool:
        """Whether the client has still to take something of its answers."""
        if self._exchanges and self._exchanges[0].is_sending:
            return True
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def end_lingering(self) -> None:
        """Begins the time that a client gets to notice that it is answered: not before it has taken
        the answer."""
        if self._lingering and not self.is_sending:
            self._lingering = False
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
        self._acceptors: list[Acceptor] = []
        self._opening: set[asyncio.Task[object]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, listening: socket.socket) -> None:
        """Serves on a socket that listens."""
        self._acceptors.append(Acceptor(listening, self._open))
        self._sweep()

    def _open(self, accepted: socket.socket) -> None:
        opening: asyncio.Task[object] = self.loop.create_task(
            self.loop.connect_accepted_socket(lambda: Connection(self), accepted)
        )
        self._opening.add(opening)
        opening.add_done_callback(self._opened)

    def _opened(self, opening: asyncio.Task[object]) -> None:
        self._opening.discard(opening)
        if not opening.cancelled() and isinstance(opening.exception(), OSError):
            logger.debug("a connection was gone at once: %s", opening.exception())

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

    @property
    def sending(self) -> int:
        """How many clients have still to take something of their answers."""
        return sum(connection.is_sending for connection in self.connections)

    def stop(self) -> None:
        """Takes no new connections; those that are open go on."""
        for acceptor in self._acceptors:
            acceptor.close()

    async def close_all_connections(self) -> None:
        """Ends every connection, sending first what was written."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
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
        for connection in self.connections:
            connection.end_lingering()
        for connection in [c for c in self.connections if min(c.deadline, c.write_deadline) < now]:
            connection.abort()
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)
