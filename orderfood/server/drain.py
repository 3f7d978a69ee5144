"""Listening sockets, and graceful shutdown (drain).

| on | what happens |
| --- | --- |
| SIGTERM, | /ready is 503, answers close their connections, and new requests are still served for |
| SIGHUP, SIGQUIT | DRAIN_SECONDS, or until no connection is open; then as SIGINT |
| SIGINT | listening stops; requests in flight get DRAIN_SECONDS to end |
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from orderfood.server.accepting import BACKLOG
from orderfood.server.exchange import Application
from orderfood.server.limits import Limits
from orderfood.server.listener import HttpToolsServer
from orderfood.server.tornado_server import TornadoServer
from orderfood.server.traffic import Traffic
from orderfood.settings import Settings
from orderfood.signals import ending_signals

logger = logging.getLogger(__name__)

_TICK = 0.05


class ListenError(Exception):
    """The address cannot be listened on."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; on ``::`` for both address families. Raises ListenError."""
    try:
        listening = socket.create_server(
            (host, port),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            backlog=BACKLOG,
            dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        raise ListenError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    listening.setblocking(False)
    return listening


def url_of(listening: socket.socket, host: str) -> str:
    """The URL of a listening socket."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"


class Server:
    """Either of the two HTTP servers, with equal limits and an equal shutdown."""

    def __init__(self, app: Application, settings: Settings, traffic: Traffic) -> None:
        self._traffic = traffic
        self._http: TornadoServer | HttpToolsServer
        limits = Limits(idle_seconds=settings.idle_seconds, shared=settings.workers > 1)
        if settings.http_server == "tornado":
            self._http = TornadoServer(app, limits)
        else:
            self._http = HttpToolsServer(app, limits, app.answer_to)

    async def listen(self, listening: socket.socket) -> None:
        """Serves on a socket that is bound."""
        await self._http.listen(listening)

    async def drain(self, seconds: float) -> None:
        """Phase one: /ready is 503 and answers close their connections; returns when no
        connection is open or the time is over."""
        self._leave()
        await _wait_until(lambda: self._http.open_connections == 0, seconds)

    async def stop(self, seconds: float) -> None:
        """Phase two: stops listening, waits for requests that have come, and closes every
        connection."""
        self._leave()
        self._http.stop()
        await asyncio.sleep(_TICK)  # what has come until now is read, and is in flight then
        if not await _wait_until(lambda: self._unfinished() == 0, seconds):
            logger.warning("%d requests were cut off", self._unfinished())
        await self._http.close_all_connections()

    def _unfinished(self) -> int:
        """How many requests are in flight, or answers not yet sent."""
        return max(self._traffic.in_flight, self._http.sending)

    def _leave(self) -> None:
        self._http.no_keep_alive = True
        self._traffic.leave()


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
    if first != signal.SIGINT:
        await _until_either(server.drain(drain_seconds), stop)
    await _until_either(server.stop(drain_seconds), stop)


def received_signals() -> asyncio.Queue[int]:
    """Installs handlers for the ending signals; returns the queue that they fill."""
    received: asyncio.Queue[int] = asyncio.Queue()
    for number in ending_signals():
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
