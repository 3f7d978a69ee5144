"""One request and its answer: the interface of both HTTP servers to the application."""

from __future__ import annotations

import abc
import socket
from collections.abc import Callable
from dataclasses import dataclass

from tornado.httputil import HTTPConnection

SLICE = 32 * 1024
"""Bytes of a large answer that are handed to the socket at once: the memory that a client costs
which does not read."""


@dataclass(frozen=True, slots=True)
class Address:
    """What Tornado calls the connection's context."""

    remote_ip: str
    protocol: str = "http"
    address_family: int = socket.AF_INET


class Exchange(HTTPConnection, abc.ABC):
    """Tornado's HTTPConnection, and beside it a short way for answers that are whole."""

    remote_ip: str
    """The address of the other end of the connection, be it the client or a proxy."""

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
    def end_behind(self) -> None:
        """Has the connection end behind this answer, and nothing more of it be read."""

    @abc.abstractmethod
    def lingering_close(self) -> None:
        """Shuts our side now, and closes the connection later (see lingering_close.py)."""
