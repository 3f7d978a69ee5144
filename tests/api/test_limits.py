"""Clients that are slow, silent or too many; in this process, so that little time is enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.web import Application, RequestHandler

from orderfood.httptools_server import HttpToolsServer, Limits
from orderfood.server import TornadoServer, bind

LIMITS = Limits(
    header_seconds=0.3, idle_seconds=0.6, body_seconds=0.3, write_seconds=0.3, connections=3
)
PATIENCE = 20.0


class Hello(RequestHandler):
    def get(self) -> None:
        self.write("hello")

    post = get


@asynccontextmanager
async def served(kind: str) -> AsyncIterator[int]:
    app: HTTPServerConnectionDelegate = Application([("/", Hello)])
    server = HttpToolsServer(app, LIMITS) if kind == "httptools" else TornadoServer(app, LIMITS)
    listening = bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    await server.listen(listening)
    try:
        yield port
    finally:
        server.stop()
        await server.close_all_connections()


async def is_ended(port: int, sent: bytes) -> bytes:
    """What comes back before the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

SLOW = {
    "says nothing": (b"", b""),
    "never ends its head": (b"GET / HTTP/1.1\r\nHost: x\r\n", b""),
    "never ends its first line": (b"GE", b""),
    "never ends its body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", b""),
    "never ends its chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"",
    ),
    "stays and says nothing more": (GET, b"hello"),
}


@pytest.mark.parametrize("kind", ["httptools", "tornado"])
@pytest.mark.parametrize("name", SLOW)
async def test_a_client_that_is_too_slow_is_ended(kind: str, name: str) -> None:
    sent, answered = SLOW[name]
    async with served(kind) as port:
        assert (await is_ended(port, sent)).endswith(answered)


@pytest.mark.parametrize("kind", ["httptools", "tornado"])
async def test_one_connection_too_many_is_ended_and_the_others_are_served(kind: str) -> None:
    async with served(kind) as port:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for reader, writer in opened:
            writer.write(GET)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        assert await is_ended(port, GET) == b""
        for reader, writer in opened:
            writer.write(GET)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            writer.close()
