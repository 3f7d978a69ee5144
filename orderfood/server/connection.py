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
from contextlib import suppress
from typing import Protocol, cast

from tornado.httputil import HTTPInputError, HTTPMessageDelegate, HTTPServerConnectionDelegate
from tornado.iostream import StreamClosedError

from orderfood.server.exchange import Address, AnswerTo, Exchange, prepare_stream
from orderfood.server.incoming import BAD_REQUEST, MAX_PIPELINED, MAX_WAITING, NEVER, Incoming
from orderfood.server.limits import Limits
from orderfood.server.lingering_close import LINGERING_SECONDS
from orderfood.server.queued_exchange import QueuedExchange

logger = logging.getLogger(__name__)

HIGH_WATER = 32 * 1024
"""Bytes that may wait to be sent to a client before its requests wait, too: with a SLICE that is
64 KiB for a client that does not read, whatever it asked for."""


class Listener(Protocol):
    """What a connection needs of its server."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    delegate: HTTPServerConnectionDelegate
    answer_to: AnswerTo
    no_keep_alive: bool
    done: asyncio.Future[None]

    def add(self, connection: Connection) -> bool:
        """Whether there is room for one more connection."""

    def remove(self, connection: Connection) -> None:
        """Forgets a connection that has ended."""


class Connection(Incoming):
    """One connection: a queue of exchanges, answered in order."""

    def __init__(self, server: Listener) -> None:
        super().__init__(server.loop, server.limits)
        self.server = server
        self.address = Address("")
        self.write_deadline = NEVER
        """When it must have taken what was written."""
        self._transport: asyncio.Transport | None = None
        self._ended = False
        self._closing = False
        self._reading = True
        self.pumping = False
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
        self.deadline = self.loop.time() + self.limits.idle_seconds
        if not self.server.add(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parses and handles received bytes."""
        if (
            self._transport is not None
            and not (self._exchanges or self._unparsed or self._reading_ended or self._drained)
            and (answer := self.server.answer_to(data)) is not None
        ):
            self._transport.write(answer)
            self.deadline = self.loop.time() + self.limits.idle_seconds
        elif not self._reading_ended:
            self._unparsed = self._unparsed + data if self._unparsed else data
            if len(data) >= MAX_WAITING:  # libuv would read 32 times before anybody else's turn
                self._give_way()
            self.pump()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._reading_ended = True
        self.deadline = self.write_deadline = NEVER
        if self._drained is not None:
            _end_closed(self._drained)
        for exchange in self._exchanges:
            exchange.lose()
        self._exchanges.clear()
        self.server.remove(self)

    def pause_writing(self) -> None:
        self._drained = self.loop.create_future()
        self.write_deadline = self.loop.time() + self.limits.write_seconds

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        self.write_deadline = NEVER
        if drained is not None and not drained.done():
            drained.set_result(None)
        self.pump()
        if self._transport is not None and self._transport.is_closing():
            self._limit_writing()

    @property
    def has_ended(self) -> bool:
        """Whether the connection is closed or closing."""
        return self._transport is None or self._transport.is_closing()

    @property
    def is_blocked(self) -> bool:
        """Whether the write buffer is above HIGH_WATER."""
        return self._drained is not None

    @property
    def unsent(self) -> int:
        """Bytes in the write buffer."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    @property
    def no_keep_alive(self) -> bool:
        """Whether every answer ends its connection."""
        return self.server.no_keep_alive

    def start_request(self, exchange: Exchange) -> HTTPMessageDelegate:
        """The delegate of the application for a new request."""
        return self.server.delegate.start_request(self, exchange)

    # --- the queue ---

    def pump(self) -> None:
        """Advances the first exchange of the queue as far as possible, and then the next ones."""
        if self.pumping:
            return
        self.pumping = True
        try:
            self._work()
        except HTTPInputError:
            self._exchanges.clear()
            self._refuse(BAD_REQUEST)
            self._answer_refusal()
        except Exception as error:
            self.fail(error)
        finally:
            self.pumping = False
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
        if self.client_has_ended and not self._has_whole_request():
            self.close()  # what has begun and is not whole will never be

    def _give_way(self) -> None:
        """Continues in the next turn of the event loop, and reads no more until then."""
        if not self._giving_way:
            self._giving_way = True
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._giving_way = False
        self.pump()

    def _step(self, exchange: QueuedExchange) -> bool:
        """Advances one exchange by one step; returns whether another step is possible."""
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
            self.lingering_close()
            return False
        self._exchanges.popleft()
        self.waiting_bytes -= exchange.head_bytes
        exchange.delegate = None  # which knows it: a cycle would leave both to the collector
        if self._closing or not exchange.keep_alive:
            self._exchanges.clear()
            self.close() if self._closing else self.lingering_close()
            return False
        self._set_deadline()
        return True

    def _answer_refusal(self) -> None:
        """Sends the refusal of malformed input; a request whose body it is loses its delegate."""
        assert self._refusal is not None
        begun = any(exchange.head_written for exchange in self._exchanges)
        if not begun:
            self.write(self._refusal)
        for exchange in self._exchanges:
            exchange.lose()
            exchange.finished = True
        self._exchanges.clear()
        self._refusal = None
        self.lingering_close()

    def _regulate(self) -> None:
        """Flow control: pauses reading while too much is queued, and resumes it."""
        full = self._giving_way or (not self._reading_ended and self._is_full())
        if full is self._reading and self._transport and not self._transport.is_closing():
            self._reading = not full
            change = self._transport.pause_reading if full else self._transport.resume_reading
            change()

    # --- towards the client ---

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """Writes to the transport; the future ends when the write buffer is below HIGH_WATER."""
        if self.has_ended or self._ended:
            return _end_closed(self.loop.create_future())
        assert self._transport is not None
        self._transport.write(data)
        if self._drained is not None:
            return self._drained
        return self.server.done

    def begin_stream(self) -> None:
        """Prepares the connection for a stream."""
        if self._transport is not None:
            prepare_stream(self._transport.get_extra_info("socket"))

    def fail(self, error: BaseException | None) -> None:
        """Logs an exception that a delegate has let out, and aborts the connection."""
        logger.error("a request failed outside its handler", exc_info=error)
        self.abort()

    def close(self) -> None:
        """Closes the connection when what was written, and a large answer's rest, is sent."""
        self._reading_ended = self._closing = True
        if self._transport is None:
            return
        if not (self._exchanges and self._exchanges[0].is_sending):
            self._transport.close()
            self._limit_writing()

    def _limit_writing(self) -> None:
        """Sets a deadline for the write buffer, also where the transport does not report it."""
        if self.unsent:
            end = self.loop.time() + self.limits.write_seconds
            self.write_deadline = min(self.write_deadline, end)

    def abort(self) -> None:
        """Closes the connection at once; what is buffered is lost."""
        self._reading_ended = True
        if self._transport is not None:
            self._transport.abort()

    def lingering_close(self) -> None:
        """Shuts our side when what was written is sent, and closes the connection
        LINGERING_SECONDS later (see lingering_close.py)."""
        self._reading_ended = True
        if self._transport is None or self._transport.is_closing():
            return
        self._ended = True
        with suppress(OSError, RuntimeError):
            self._transport.write_eof()
        self._lingering, self.deadline = True, NEVER
        self._limit_writing()
        self.start_lingering_timer()

    @property
    def is_sending(self) -> bool:
        """Whether a part of an answer is still to be sent."""
        return bool(self._exchanges and self._exchanges[0].is_sending) or self.unsent > 0

    def start_lingering_timer(self) -> None:
        """Starts the timeout of a lingering close, once the whole answer is sent."""
        if self._lingering and not self.is_sending:
            self._lingering = False
            self.deadline = self.loop.time() + LINGERING_SECONDS


def _end_closed(waiting: asyncio.Future[None]) -> asyncio.Future[None]:
    """Ends it for those who wait; whoever does not need not know."""
    if not waiting.done():
        waiting.set_exception(StreamClosedError())
        waiting.exception()
    return waiting
