"""Closing a connection on a client that is still sending, without losing the answer.

A socket that is closed while received data is unread makes the kernel send a reset, on which the
client may drop the answer it has not read yet. So our side is shut first, what still comes is
read and thrown away for a moment, and only then the connection is closed (nginx calls it
lingering_close).
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

LINGERING_SECONDS = 2.0
"""How long what a client still sends is read and discarded (nginx's lingering_timeout)."""

_READ_BYTES = 65536


class LingeringConnections:
    """Sockets that are shut on our side, read for LINGERING_SECONDS more, and then closed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timers: dict[socket.socket, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._timers)

    def add(self, ending: socket.socket) -> None:
        """Takes over the connection of a socket that its owner is about to close."""
        try:
            kept = ending.dup()
        except OSError:  # there is no descriptor left: it is closed at once
            return
        with suppress(OSError):
            kept.shutdown(socket.SHUT_WR)
        kept.setblocking(False)
        self._timers[kept] = self._loop.call_later(LINGERING_SECONDS, self._end, kept)
        self._loop.add_reader(kept, self._read, kept)

    def _read(self, kept: socket.socket) -> None:
        try:
            ended = not kept.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._end(kept)

    def _end(self, kept: socket.socket) -> None:
        self._timers.pop(kept).cancel()
        self._loop.remove_reader(kept)
        kept.close()

    def close(self) -> None:
        """Closes all of them at once."""
        for kept in list(self._timers):
            self._end(kept)
