"""Bytes on bare sockets, nearly requests, to both HTTP servers: no 5xx, no hang, no traceback, and
no more memory at the end than after the beginning."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import struct

import pytest

from rig.processes import PATIENCE, RunningServer, prepare, serving
from tests.api.client import connect
from tests.api.test_front import resident
from tests.fuzz.mutations import pieces, stream

SECONDS = float(os.environ.get("ORDERFOOD_FUZZ_SECONDS", "10"))
"""How long each of the two servers is talked to; make fuzz takes longer."""

CLIENTS = 8
MORE_MEMORY = 24_000_000
"""Bytes by which the second half may end above the first: what Python keeps for itself."""

RESET = struct.pack("ii", 1, 0)


class Talker:
    """Clients that send what they have drawn, each case with a seed of its own."""

    def __init__(self, port: int, first_seed: int) -> None:
        self._port = port
        self._seed = first_seed
        self.cases = 0
        self.failures: list[str] = []

    async def talk_for(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(*(self._talk_until(until) for _ in range(CLIENTS)))

    async def _talk_until(self, until: float) -> None:
        while asyncio.get_running_loop().time() < until and not self.failures:
            self._seed += 1
            seed = self._seed
            problem = await self._case(random.Random(seed))
            self.cases += 1
            if problem:
                self.failures.append(f"seed {seed}: {problem}")

    async def _case(self, draw: random.Random) -> str | None:
        """What was wrong with the answers to one client; None when nothing was."""
        data = stream(draw)
        try:
            async with asyncio.timeout(PATIENCE):
                received = await self._exchange(pieces(data, draw), draw.choice("rrrrxf"))
        except TimeoutError:
            return f"no end to {data[:300]!r}"
        if re.search(rb"HTTP/1\.1 5\d\d", received):
            return f"{received[:300]!r} to {data[:300]!r}"
        return None

    async def _exchange(self, parts: list[bytes], end: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0)
            if end == "x":  # leaves with a reset
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, RESET
                )
                return b""
            if end == "f":  # leaves without reading
                return b""
            writer.write_eof()
            return await reader.read()
        except OSError:
            return b""
        finally:
            writer.close()


@pytest.mark.parametrize("name", ["httptools", "tornado"])
async def test_nothing_that_comes_does_harm(name: str, sqlite_url: str) -> None:
    prepare(sqlite_url)
    with serving(sqlite_url, HTTP_SERVER=name, DRAIN_SECONDS=1) as server:
        talker = Talker(server.port, random.SystemRandom().randrange(10**9))
        await talker.talk_for(SECONDS / 2)
        before = resident(server)
        await talker.talk_for(SECONDS / 2)
        print(f"{name}: {talker.cases} clients")
        assert talker.failures == []
        assert resident(server) - before < MORE_MEMORY
        await asyncio.to_thread(assert_unharmed, server)


def assert_unharmed(server: RunningServer) -> None:
    with connect(server.url) as client:
        assert client.get("/health").status == 200
        assert client.order({"items": [{"productId": "1", "quantity": 1}]}).status == 200
    assert server.stop() == 0
    wrong = [line for line in server.lines if line["level"] in ("error", "critical")]
    assert wrong == []
    assert [line for line in server.lines if "exception" in line] == []
