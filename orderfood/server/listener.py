"""The HTTP server with httptools: listens, counts connections, and enforces their deadlines."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress

from tornado.httputil import HTTPServerConnectionDelegate

from orderfood.server.accepting import Acceptor
from orderfood.server.connection import Connection
from orderfood.server.exchange import AnswerTo
from orderfood.server.limits import SWEEP_SECONDS, Limits

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 0.5
"""How long a client gets to take what was written before its connection is cut."""


class HttpToolsServer:
    """Accepts connections up to the limit, and ends those whose deadline has passed."""

    def __init__(
        self,
        delegate: HTTPServerConnectionDelegate,
        limits: Limits,
        answer_to: AnswerTo = lambda data: None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.delegate = delegate
        self.answer_to = answer_to
        self.limits = limits
        self.no_keep_alive = False
        self.connections: set[Connection] = set()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.done.set_result(None)
        self._closing = False
        self._no_connections = asyncio.Event()
        self._no_connections.set()
        self._acceptors: list[Acceptor] = []
        self._opening: set[asyncio.Task[object]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, listening: socket.socket) -> None:
        """Serves on a socket that listens."""
        count = (lambda: self.open_connections) if self.limits.shared else None
        self._acceptors.append(Acceptor(listening, self._open, count))
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
        self._no_connections.clear()
        return not self._closing and len(self.connections) <= self.limits.connections

    def remove(self, connection: Connection) -> None:
        """Forgets a connection that has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._no_connections.set()
        self.delegate.on_close(connection)

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self.connections)

    @property
    def sending(self) -> int:
        """How many connections have a part of an answer still to be sent."""
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
                await self._no_connections.wait()
        for connection in list(self.connections):
            connection.abort()
        await self._no_connections.wait()

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in self.connections:
            connection.start_lingering_timer()
        for connection in [c for c in self.connections if min(c.deadline, c.write_deadline) < now]:
            connection.abort()
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)
