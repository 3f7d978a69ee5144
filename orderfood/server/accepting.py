"""Accepting connections, on either HTTP server.

Both uvloop and Tornado try again at once when there is no file descriptor left, with a traceback
each time. Here that is one line and a pause: the connections wait in the kernel's queue meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger(__name__)

AT_ONCE = 128
"""Connections that are accepted in one turn of the event loop."""

PAUSE_SECONDS = 0.5
"""How long nothing is accepted when the system has no room for one more connection."""

WARN_SECONDS = 60.0
"""Seconds between two log lines about it."""

_GONE = (errno.ECONNABORTED, errno.EPROTO, errno.EPERM)
"""One connection was lost before it was accepted (accept(2))."""


class Acceptor:
    """Accepts connections on ``listening``, which it owns, and passes each socket to ``handle``."""

    def __init__(self, listening: socket.socket, handle: Callable[[socket.socket], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._handle = handle
        self._warned_at = float("-inf")
        self._resuming: asyncio.TimerHandle | None = None
        self._watch()

    def _watch(self) -> None:
        self._resuming = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, _ = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _GONE:
                    continue
                self._pause(error)
                return
            accepted.setblocking(False)
            with suppress(OSError):  # it may be gone already
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._handle(accepted)

    def _pause(self, error: OSError) -> None:
        self._loop.remove_reader(self._listening)
        self._resuming = self._loop.call_later(PAUSE_SECONDS, self._watch)
        now = self._loop.time()
        if now - self._warned_at >= WARN_SECONDS:
            self._warned_at = now
            logger.warning("no connection can be accepted for now: %s", error.strerror)

    def close(self) -> None:
        """Stops accepting and closes the listening socket; a second call does nothing."""
        if self._listening.fileno() < 0:
            return
        if self._resuming is not None:
            self._resuming.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
