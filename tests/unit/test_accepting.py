from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack, closing

from orderfood.server.accepting import SHARE, Acceptor
from orderfood.server.drain import bind

TOGETHER = 5 * SHARE


async def test_processes_that_share_a_socket_share_what_comes_at_once() -> None:
    """Two descriptors of one socket in one event loop stand for two processes."""
    first, second = list[socket.socket](), list[socket.socket]()
    with ExitStack() as opened:
        listening = opened.enter_context(bind("127.0.0.1", 0))
        for _ in range(TOGETHER):
            opened.enter_context(socket.create_connection(listening.getsockname()))
        for taken in (first, second):
            acceptor = Acceptor(listening.dup(), taken.append, taken.__len__)
            opened.enter_context(closing(acceptor))
        async with asyncio.timeout(10):
            while len(first) + len(second) < TOGETHER:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        for accepted in (*first, *second):
            accepted.close()
    assert min(len(first), len(second)) >= SHARE


async def test_what_has_connected_before_the_end_is_not_reset() -> None:
    taken = list[socket.socket]()
    with bind("127.0.0.1", 0) as listening:
        acceptor = Acceptor(listening, taken.append)
        clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
        acceptor.close()
    assert len(taken) == len(clients)
    for accepted, client in zip(taken, clients, strict=True):
        accepted.close()
        assert client.recv(1) == b""
        client.close()
