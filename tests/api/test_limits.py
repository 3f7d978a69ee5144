"""Clients that are slow, silent or too many; in this process, so that little time is enough."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.web import Application, RequestHandler

from orderfood.server.drain import bind
from orderfood.server.limits import Limits
from orderfood.server.listener import HttpToolsServer
from orderfood.server.tornado_server import TornadoServer

LIMITS = Limits(
    header_seconds=0.3, idle_seconds=0.6, body_seconds=0.3, write_seconds=0.3, connections=3
)
PATIENCE = 20.0


class Hello(RequestHandler):
    def get(self) -> None:
        self.write("hello")

    post = get


class Big(RequestHandler):
    """More than the kernel keeps for a client."""

    def get(self) -> None:
        self.write(b"x" * 16_000_000)


@asynccontextmanager
async def served(kind: str, limits: Limits = LIMITS) -> AsyncIterator[int]:
    async with serving(kind, limits) as (_, port):
        yield port


@asynccontextmanager
async def serving(
    kind: str, limits: Limits = LIMITS
) -> AsyncIterator[tuple[HttpToolsServer | TornadoServer, int]]:
    app: HTTPServerConnectionDelegate = Application([("/", Hello), ("/big", Big)])
    server = HttpToolsServer(app, limits) if kind == "httptools" else TornadoServer(app, limits)
    listening = bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    await server.listen(listening)
    try:
        yield server, port
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
    async with served(kind, replace(LIMITS, idle_seconds=PATIENCE)) as port:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for reader, writer in opened:
            writer.write(GET)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        assert await is_ended(port, GET) == b""
        for reader, writer in opened:
            writer.write(GET)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            writer.close()


BIG = GET.replace(b"/", b"/big", 1)
UNREAD = {
    "one answer": [BIG],
    "eight, then one more request": [BIG * 8, GET],
    "eight, then half a head": [BIG * 8, b"GET / HT"],
    "eight, then half a body": [
        BIG * 8,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na",
    ],
    "many small ones": [GET * 20_000],
    "a closing one": [BIG.replace(b"Host", b"Connection: close\r\nHost")],
    "one of HTTP/1.0": [BIG.replace(b"1.1", b"1.0")],
    "one that asks for an upgrade": [BIG.replace(b"Host", b"Upgrade: x\r\nHost")],
    "nonsense behind it": [BIG, b"nonsense\r\n\r\n"],
}


@pytest.mark.parametrize("kind", ["httptools", "tornado"])
@pytest.mark.parametrize("name", UNREAD)
async def test_a_client_that_does_not_read_is_ended_whatever_comes_in(kind: str, name: str) -> None:
    async with serving(kind) as (server, port):
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, ("127.0.0.1", port))
            async with asyncio.timeout(PATIENCE):
                for part in UNREAD[name]:
                    with suppress(OSError, TimeoutError):
                        async with asyncio.timeout(0.2):
                            await loop.sock_sendall(connection, part)
                while server.open_connections:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


BEHIND = {
    "half a head": b"GET / HT",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"a" * 200_000,
}


@pytest.mark.parametrize("kind", ["httptools", "tornado"])
@pytest.mark.parametrize("name", BEHIND)
async def test_what_is_sent_behind_does_not_end_an_answer_that_is_read(
    kind: str, name: str
) -> None:
    """Nobody reads it while the answer is on its way, so its time has not begun."""
    async with served(kind, replace(LIMITS, write_seconds=PATIENCE)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65536)
        writer.write(BIG + BEHIND[name])
        received = 0
        async with asyncio.timeout(PATIENCE):
            while received < 16_000_000:
                received += len(chunk := await reader.read(400_000))
                assert chunk, f"cut after {received} bytes"
                await asyncio.sleep(0.02)
        writer.close()
