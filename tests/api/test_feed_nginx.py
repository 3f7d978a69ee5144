"""Streams behind a real nginx with its defaults."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest

from orderfood import composition
from orderfood.shop.feed import Hub
from rig.nginx import nginx_before
from rig.processes import PATIENCE, RunningServer, serving
from tests.api.client import connect
from tests.api.stream import KITCHEN, OWN, SHOP, following
from tests.api.test_feed_edges import served, until

if shutil.which("nginx") is None:
    pytest.skip("nginx is not on PATH", allow_module_level=True)

pytestmark = pytest.mark.parametrize("name", ["httptools", "tornado"])

LINE = f"X-API-Key: {KITCHEN}"
"""Nginx drops headers whose names have underscores."""


@pytest.fixture
def server(name: str) -> Iterator[RunningServer]:
    with serving("memory://", HTTP_SERVER=name, DRAIN_SECONDS=20) as running:
        yield running


def test_events_pass_at_once_and_so_does_the_end(server: RunningServer) -> None:
    with (
        nginx_before(server.port) as port,
        following(port, SHOP, "", LINE) as stream,
        connect(server.url) as client,
    ):
        assert (stream.status, stream.chunked) == (200, True)
        assert stream.block() == "retry: 2000"
        for _ in range(3):
            order = client.place(("1", 1))
            assert stream.event("order").data["order"] == order
        client.close()
        server.process.send_signal(signal.SIGTERM)
        assert stream.rest()[-1].startswith("retry: ")
        assert stream.ended
        assert server.process.wait(PATIENCE) == 0


def test_who_leaves_the_proxy_is_forgotten(server: RunningServer) -> None:
    with nginx_before(server.port) as port, connect(server.url) as client:
        for _ in range(6):
            with following(port, OWN, "", "X-API-Key: apitest") as stream:
                assert stream.status == 200
        key = {"api_key": "apitest"}
        until(lambda: client.send("HEAD", OWN, headers=key).status == 200)


async def test_beats_keep_a_stream_alive(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of every 15 seconds do, where the read time-out is a minute."""
    monkeypatch.setattr(composition, "Hub", partial(Hub, beat_seconds=0.5))
    async with served(name) as (port, _):
        await asyncio.to_thread(live_long, port)


def live_long(server_port: int) -> None:
    with (
        nginx_before(server_port, more="proxy_read_timeout 8s;") as port,
        following(port, SHOP, "", LINE) as stream,
    ):
        began = time.monotonic()
        while time.monotonic() < began + 10:
            assert stream.event().name == "beat"
