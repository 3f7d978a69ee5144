"""A port of its own for GET /metrics, which shows the shop's turnover without a key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from socket import socket

from orderfood.server.drain import Server, bind, url_of
from orderfood.settings import Settings


@contextmanager
def metrics_socket(settings: Settings) -> Iterator[socket | None]:
    """What listens on that port; None where the metrics have none. Raises ListenError."""
    if settings.metrics_port is None:
        yield None
        return
    with bind(settings.host, settings.metrics_port) as listening:
        yield listening


def metrics_url(settings: Settings, listening: socket | None) -> dict[str, str]:
    """Where the metrics are, for the line that says where the program listens."""
    return {} if listening is None else {"metrics": f"{url_of(listening, settings.host)}/metrics"}


def urls_text(more: dict[str, str]) -> str:
    """These URLs as text for the line that says where the program listens."""
    return "".join(f", {name} on {url}" for name, url in more.items())


@asynccontextmanager
async def metrics_served(
    server: Server, settings: Settings, handed: socket | None = None
) -> AsyncIterator[dict[str, str]]:
    """Has ``server`` serve them as long as the block, on a socket that was handed over or that is
    opened here: a drain is watched to its end. Yields their URL, or nothing where they have no port
    of their own. Raises ListenError."""
    with nullcontext(handed) if handed else metrics_socket(settings) as listening:
        if listening is None:
            yield {}
            return
        await server.listen(listening)
        try:
            yield metrics_url(settings, listening)
        finally:
            await server.stop(0)
