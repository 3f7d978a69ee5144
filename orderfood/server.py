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

from tornado import httputil
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.iostream import IOStream

from orderfood.handlers import Context
from orderfood.httptools_server import HttpToolsServer, Limits
from orderfood.remembered import remembered

logger = logging.getLogger(__name__)

LIMITS = Limits()
"""A head of 16 KiB is generous for an API and small enough to hold for many clients. A connection
may be silent for 75 s, longer than the 60 s for which load balancers usually keep theirs, so that
they and not we end it."""

BACKLOG = 1024
"""Connections that the kernel holds until they are accepted."""

_TICK = 0.05


class ListenError(Exception):
    """The address cannot be listened on."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ListenError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    listening.setblocking(False)
    return listening


def url_of(listening: socket.socket, host: str) -> str:
    """Where a socket that listens is reached."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"


class Server:
    """One of the two HTTP servers, with the same limits and the same end."""

    def __init__(self, app: HTTPServerConnectionDelegate, context: Context) -> None:
        self._context = context
        self._http: TornadoServer | HttpToolsServer
        if context.settings.http_server == "tornado":
            self._http = TornadoServer(app, LIMITS)
        else:
            self._http = HttpToolsServer(app, LIMITS)

    async def listen(self, listening: socket.socket) -> None:
        """Serves on a socket that is bound."""
        await self._http.listen(listening)

    async def drain(self, seconds: float) -> None:
        """Says that it is going, and serves on until nobody is connected or the time is over."""
        self._leave()
        await _wait_until(lambda: self._http.open_connections == 0, seconds)

    async def stop(self, seconds: float) -> None:
        """Stops listening, lets what is in flight end, and closes every connection."""
        self._leave()
        self._http.stop()
        if not await _wait_until(lambda: self._context.active == 0, seconds):
            logger.warning("%d requests were cut off", self._context.active)
        await self._http.close_all_connections()

    def _leave(self) -> None:
        self._context.draining = True
        self._http.no_keep_alive = True


# Tornado would keep a thousand spellings of names that clients choose, of any size
vars(httputil)["_normalize_header"] = remembered(httputil._normalize_header.__wrapped__)


class TornadoServer(HTTPServer):
    """Tornado's own server, which knows how many connections are open."""

    def initialize(  # type: ignore[override]
        self, app: HTTPServerConnectionDelegate, limits: Limits
    ) -> None:
        super().initialize(
            app,
            # the handlers judge the size themselves: this would close without an answer
            max_body_size=2**62,
            max_header_size=limits.header_bytes,
            idle_connection_timeout=limits.idle_seconds,
            body_timeout=limits.body_seconds,
        )
        self.open_connections = 0
        self._most = limits.connections

    @property
    def no_keep_alive(self) -> bool:
        """Whether every answer closes its connection."""
        return self.conn_params.no_keep_alive

    @no_keep_alive.setter
    def no_keep_alive(self, value: bool) -> None:
        self.conn_params.no_keep_alive = value

    async def listen(self, listening: socket.socket) -> None:  # type: ignore[override]
        """Serves on a socket that listens."""
        self.add_socket(listening)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if self.open_connections >= self._most:
            stream.close()
            return
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
    stop = received_signals()
    first = await stop.get()
    logger.info("%s: stopping", signal.Signals(first).name)
    if first == signal.SIGTERM:
        await _until_either(server.drain(drain_seconds), stop)
    await _until_either(server.stop(drain_seconds), stop)


def received_signals() -> asyncio.Queue[int]:
    """Where SIGTERM and SIGINT are put from now on."""
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
