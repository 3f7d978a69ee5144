"""Receive buffer of one connection: from bytes to a queue of exchanges."""

from __future__ import annotations

import asyncio
import re
from collections import deque

from orderfood.server.framing import BodyRefused
from orderfood.server.heads import Head, HeadRefused, TooManyFields, parse_head
from orderfood.server.limits import Limits
from orderfood.server.queued_exchange import QueuedExchange

MAX_WAITING = 64 * 1024
"""Bytes of heads and bodies of one connection that may wait before no more is parsed or read."""

MAX_PIPELINED = 16
"""Requests of one connection that may wait for their turn before no more is parsed or read."""

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)
NEVER = float("inf")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BEGINNING = re.compile(rb"[!-~]|\r\Z|\Z")
"""How a head, or half an empty line before it, may begin."""


class Incoming(asyncio.Protocol):
    """The unparsed bytes, and the queue of parsed exchanges."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self.loop = loop
        self.limits = limits
        self.deadline = NEVER
        """The loop time by which the client must have sent more."""
        self.waiting_bytes = 0
        """Bytes of heads and bodies that are queued: not answered, or not passed on."""
        self._unparsed = b""
        self._searched = 0
        """Bytes of a head, at the beginning of the above, in which its end is not."""
        self._exchanges: deque[QueuedExchange] = deque()
        self._receiving: QueuedExchange | None = None
        self._refusal: bytes | None = None
        """The answer to malformed input; sent after those to the requests before it."""
        self._reading_ended = False
        """Whether received bytes are discarded from now on."""
        self.client_has_ended = False
        """Whether the client sends no more."""

    def eof_received(self) -> bool:
        """Half-close: the client sends no more, but still gets its answers; a stream, which has no
        end, ends there."""
        self.client_has_ended = True
        if self._exchanges:
            self._exchanges[0].leave_stream()
        return self._has_whole_request()

    def _parse(self) -> bool:
        """Parses exchanges up to the limit of the queue; returns whether anything was parsed."""
        data, start = self._unparsed, 0
        if not data or self._reading_ended:
            return False
        try:
            while start < len(data) and not self._reading_ended:
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
            self._refuse(BAD_REQUEST)
        self._unparsed = b"" if self._reading_ended else data[start:]
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
            self.deadline = NEVER
            self._end_if_last(exchange)
        return start

    def _parse_head(self, data: bytes, start: int) -> int:
        while data.startswith(b"\r\n", start):  # RFC 9112, 2.2
            start += 2
        found = data.find(b"\r\n\r\n", start + max(0, self._searched - 3))
        end = found + 4 if found >= 0 else len(data)
        if end - start > self.limits.header_bytes:
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
            self.deadline = min(self.deadline, self.loop.time() + self.limits.header_seconds)
        if not _BEGINNING.match(data, start) or _BARE_LF.search(data, start + self._searched):
            raise HeadRefused  # there is no need to wait for its end
        self._searched = len(data) - start

    def _begin_exchange(self, head: Head, size: int) -> None:
        exchange = QueuedExchange(self, head, size)  # type: ignore[arg-type]  # a Connection
        self._exchanges.append(exchange)
        self.waiting_bytes += size
        if exchange.complete:
            self._end_if_last(exchange)
            if self._exchanges[0] is exchange:
                self.deadline = NEVER
        else:
            self._receiving = exchange
            if self._exchanges[0] is exchange:
                self.deadline = self.loop.time() + self.limits.body_seconds

    def _end_if_last(self, exchange: QueuedExchange) -> None:
        """Discards what follows a request that ends its connection."""
        if not exchange.keep_alive:
            self._reading_ended = True

    def _is_full(self) -> bool:
        return len(self._exchanges) > MAX_PIPELINED or self.waiting_bytes > MAX_WAITING

    def _refuse(self, answer: bytes) -> None:
        self._reading_ended = True
        if self._refusal is None:
            self._refusal = answer

    def _set_deadline(self) -> None:
        """Sets the deadline of the client: for a body while it is received, for the next head when
        the queue is empty. While a request is being answered there is none."""
        limits = self.limits
        if self._exchanges and self._exchanges[0] is self._receiving:
            self.deadline = self.loop.time() + limits.body_seconds
        elif self._exchanges:
            self.deadline = NEVER
        else:
            seconds = limits.header_seconds if self._searched else limits.idle_seconds
            self.deadline = self.loop.time() + seconds

    def _has_whole_request(self) -> bool:
        return any(exchange.complete for exchange in self._exchanges)
