"""One request and its answer: the interface of both HTTP servers to the application."""

from __future__ import annotations

import abc
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from tornado.httputil import HTTPConnection, HTTPServerConnectionDelegate

SLICE = 32 * 1024
"""Bytes of a large answer that are handed to the socket at once: the memory that a client costs
which does not read."""


STREAM_BUFFER = 16 * 1024
"""Bytes of a stream that the system is asked to hold for a client: it would grow to megabytes for
each that does not read."""


STREAM_SILENCE_MS = 30_000
"""Milliseconds after which a client is gone that acknowledges nothing: one that was cut off sends
no farewell, and would keep its place for a quarter of an hour."""


def prepare_stream(connection: socket.socket) -> None:
    """Has the system hold little of what is written, which waits here, where it is counted; and
    has it give up a client that is gone, soon after the next beat."""
    with suppress(OSError):  # it may be gone already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STREAM_SILENCE_MS)


@dataclass(frozen=True, slots=True)
class Address:
    """What Tornado calls the connection's context."""

    remote_ip: str
    protocol: str = "http"
    address_family: int = socket.AF_INET


class Source(Protocol):
    """What writes a streamed answer."""

    def begin(self, sink: Exchange) -> None:
        """The head was sent: from here on it may push."""

    def resume(self) -> None:
        """The client takes more again."""

    def lose(self) -> None:
        """The client has left, or sends no more, which is the same from here."""


AnswerTo = Callable[[bytes], bytes | None]
"""From received bytes to the whole answer to them, which leaves its connection open; None for what
is to be parsed."""


class Application(HTTPServerConnectionDelegate):
    """Tornado's HTTPServerConnectionDelegate, and beside it a short way for a known head."""

    answer_to: AnswerTo


class Exchange(HTTPConnection, abc.ABC):
    """Tornado's HTTPConnection, and beside it a short way for answers that are whole."""

    remote_ip: str
    """The address of the other end of the connection, be it the client or a proxy."""

    repeatable: bytes | None = None
    """The bytes of a head whose answer is the same for whoever sends it (see heads.py)."""

    @abc.abstractmethod
    def is_whole(self, most: int) -> bool:
        """Whether all of the request is here, with a body of at most ``most`` bytes."""

    @abc.abstractmethod
    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Sets what to call when the client leaves before it is answered."""

    @abc.abstractmethod
    def send(self, head: bytes, body: bytes, *, close: bool = False, finish: bool = True) -> None:
        """Sends a whole answer: ``head`` is the status line and the headers, Content-Length among
        them, without the empty line. ``body`` is not copied where it is large. The connection ends
        behind it with ``close``. Without ``finish`` the request goes on being read: the caller
        calls :meth:`finish` when it has come, or :meth:`lingering_close`."""

    @abc.abstractmethod
    def start_stream(self, head: bytes, source: Source) -> None:
        """Sends the head of an answer whose end is not known: as for :meth:`send`, without a
        length. ``source`` begins when the head is sent, which is never when the client has left."""

    @property
    @abc.abstractmethod
    def is_blocked(self) -> bool:
        """Whether more waits for the client to take it than should."""

    @property
    @abc.abstractmethod
    def progress(self) -> int:
        """A number that is another one whenever the client has taken something meanwhile."""

    @abc.abstractmethod
    def push(self, data: bytes) -> None:
        """Sends a part of a stream at once. :meth:`finish` ends it."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Ends the connection at once; what was not taken is lost."""

    @abc.abstractmethod
    def end_behind(self) -> None:
        """Has the connection end behind this answer, and nothing more of it be read."""

    @abc.abstractmethod
    def lingering_close(self) -> None:
        """Shuts our side now, and closes the connection later (see lingering_close.py)."""
