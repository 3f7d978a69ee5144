"""Listening, and ending without losing a request.

| on | what happens |
| --- | --- |
| SIGTERM | /ready is 503, answers close their connections, and new requests are still served for |
| | DRAIN_SECONDS, or until no connection is open; then as SIGINT |
| SIGINT | listening stops; requests in flight get DRAIN_SECONDS to end |
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.iostream import IOStream

from orderfood.handlers import Context

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES = 16 * 1024
"""Bytes of a request's head: generous for an API, small enough to hold for many clients."""

IDLE_SECONDS = 75.0
"""How long a connection may be silent between two requests: longer than the 60 s for which load
balancers usually keep theirs, so that they and not we end it."""

BODY_SECONDS = 20.0
"""How long a client may take to send a body."""

BACKLOG = 1024
"""Connections that the kernel holds until they are accepted."""

_TICK = 0.05


class ListenError(Exception):
    """The address cannot be listened on."""


class Server:
    """Tornado's HTTP server with limits, counted connections and a drain."""

    def __init__(self, app: HTTPServerConnectionDelegate, context: Context) -> None:
        self._context = context
        self._http = _CountingServer(
            app,
            # the handlers judge the size themselves: the server would close without an answer
            max_body_size=2**62,
            max_header_size=MAX_HEADER_BYTES,
            idle_connection_timeout=IDLE_SECONDS,
            body_timeout=BODY_SECONDS,
        )

    def listen(self, host: str, port: int) -> str:
        """Binds and serves; returns the URL. Raises ListenError."""
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise ListenError(f"cannot listen on {host} port {port}: {error.strerror}") from error
        listening.setblocking(False)
        self._http.add_socket(listening)
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{listening.getsockname()[1]}"

    async def drain(self, seconds: float) -> None:
        """Says that it is going, and serves on until nobody is connected or the time is over."""
        self._context.draining = True
        self._http.conn_params.no_keep_alive = True
        await _wait_until(lambda: self._http.open_connections == 0, seconds)

    async def stop(self, seconds: float) -> None:
        """Stops listening, lets what is in flight end, and closes every connection."""
        self._context.draining = True
        self._http.conn_params.no_keep_alive = True
        self._http.stop()
        if not await _wait_until(lambda: self._context.active == 0, seconds):
            logger.warning("%d requests were cut off", self._context.active)
        await self._http.close_all_connections()


class _CountingServer(HTTPServer):
    """Knows how many connections are open."""

    open_connections = 0

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        self.open_connections += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        self.open_connections -= 1
        super().on_close(server_conn)


async def _wait_until(done: Callable[[], bool], seconds: float) -> bool:
    deadline = asyncio.get_running_loop().time() + seconds
    while not done():
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_TICK)
    return True


async def serve_until_signal(server: Server, drain_seconds: float) -> None:
    """Returns when a signal has come and everything in flight has ended. A second signal ends the
    drain at once."""
    stop = _signals()
    first = await stop.get()
    logger.info("%s: stopping", signal.Signals(first).name)
    if first == signal.SIGTERM:
        await _until_either(server.drain(drain_seconds), stop)
    await _until_either(server.stop(drain_seconds), stop)


def _signals() -> asyncio.Queue[int]:
    received: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, received.put_nowait, number)
    return received


async def _until_either(work: Coroutine[Any, Any, None], stop: asyncio.Queue[int]) -> None:
    tasks: set[asyncio.Task[Any]] = {
        asyncio.create_task(work),
        asyncio.create_task(stop.get()),
    }
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
