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

BACKLOG = 1024
"""Connections that the kernel holds until they are accepted."""

AT_ONCE = 128
"""Connections that are accepted in one turn of the event loop."""

SHARE = 8
"""The same where other processes accept on the same socket."""

REST_SECONDS = 0.0001
MOST_REST = 0.005
"""How long accepting is theirs after that: so much for each connection that this process has, and
at most so much. Without, the one that wakes first takes all that come together, and one processor
works for all these clients while another rests."""

PAUSE_SECONDS = 0.5
"""How long nothing is accepted when the system has no room for one more connection."""

WARN_SECONDS = 60.0
"""Seconds between two log lines about it."""

_GONE = (errno.ECONNABORTED, errno.EPROTO, errno.EPERM)
"""One connection was lost before it was accepted (accept(2))."""


class Acceptor:
    """Accepts connections on ``listening``, which it owns, and passes each socket to ``handle``.
    With ``count``, which tells how many there are, it takes turns with other processes that accept
    on the same socket: who has more comes less often."""

    def __init__(
        self,
        listening: socket.socket,
        handle: Callable[[socket.socket], object],
        count: Callable[[], int] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._handle = handle
        self._count = count
        self._warned_at = float("-inf")
        self._resuming: asyncio.TimerHandle | None = None
        self._watch()

    def _watch(self) -> None:
        self._resuming = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        if self._count is not None:
            self._rest(min(MOST_REST, REST_SECONDS * (SHARE + self._count())))
        self._accept_some(AT_ONCE if self._count is None else SHARE)

    def _accept_some(self, most: int) -> None:
        for _ in range(most):
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
        self._rest(PAUSE_SECONDS)
        now = self._loop.time()
        if now - self._warned_at >= WARN_SECONDS:
            self._warned_at = now
            logger.warning("no connection can be accepted for now: %s", error.strerror)

    def _rest(self, seconds: float) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
        self._loop.remove_reader(self._listening)
        self._resuming = self._loop.call_later(seconds, self._watch)

    def close(self) -> None:
        """Accepts what has connected already, which closing would reset, and closes the listening
        socket; a second call does nothing."""
        if self._listening.fileno() < 0:
            return
        self._accept_some(BACKLOG)
        if self._resuming is not None:
            self._resuming.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
