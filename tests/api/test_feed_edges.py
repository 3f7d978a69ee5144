"""Streams and clients that leave, stall, or say more than they should, on both servers."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from orderfood import composition
from orderfood.api.context import Context
from orderfood.api.request import Request
from orderfood.background import background
from orderfood.composition import api_application, new_context
from orderfood.server.drain import Server, bind
from orderfood.settings import read_settings
from orderfood.shop.feed import Hub
from orderfood.shop.followers import Follower
from orderfood.store import prepare_storage
from rig.processes import PATIENCE, RunningServer, serving
from storage import open_storage
from tests.api.client import KEY, Client, connect
from tests.api.stream import KITCHEN, OWN, SHOP, Stream, following
from tests.api.test_leaving import MIB, reset, resident

STAFF = {"api_key": KITCHEN}
STREAMS = 200
EACH = 6
"""Streams that one user may have."""

pytestmark = pytest.mark.parametrize("name", ["httptools", "tornado"])


@pytest.fixture
def many(menu: Path) -> Path:
    """The fixtures with many members of staff: staff-0, staff-1, and so on are their keys."""
    users = json.loads((menu / "users.json").read_text())
    for number in range(STREAMS // EACH + 1):
        hashed = hashlib.sha256(f"staff-{number}".encode()).hexdigest()
        keys = [{"hash": f"sha256:{hashed}", "scopes": ["manage_orders"]}]
        users.append({"id": f"staff-{number}", "name": "Staff", "keys": keys})
    (menu / "users.json").write_text(json.dumps(users))
    return menu


def key_of(number: int) -> str:
    return f"staff-{number // EACH}"


@pytest.fixture
def server(name: str) -> Iterator[RunningServer]:
    with serving("memory://", HTTP_SERVER=name, DRAIN_SECONDS=20) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with connect(server.url) as connected:
        yield connected


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def streams_of_demo(client: Client) -> Callable[[], bool]:
    """Whether the user may have one more stream, who had six."""
    return lambda: client.send("HEAD", OWN, headers=KEY).status == 200


def say_no_more(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leave", [socket.socket.close, reset, say_no_more])
@pytest.mark.parametrize("orders", [0, 1])
def test_who_leaves_is_forgotten(
    server: RunningServer, client: Client, leave: Callable[[socket.socket], None], orders: int
) -> None:
    streams = [Stream(server.port, OWN, "apitest") for _ in range(EACH)]
    assert not streams_of_demo(client)()
    for stream in streams:
        for _ in range(orders):
            client.place(("1", 1))  # something is on its way, unread
        leave(stream.socket)
    until(streams_of_demo(client))
    for stream in streams:
        stream.close()
    client.close()
    assert server.stop() == 0
    assert not [line for line in server.lines if line["level"] in ("error", "warning")]


def test_who_says_no_more_gets_an_end(server: RunningServer) -> None:
    with following(server.port) as stream:
        stream.socket.shutdown(socket.SHUT_WR)
        assert stream.rest() == ["retry: 2000"]
        assert stream.ended


def test_who_has_said_no_more_before_gets_an_end(server: RunningServer) -> None:
    ask = f"GET {SHOP} HTTP/1.1\r\nHost: x\r\napi_key: {KITCHEN}\r\n\r\n".encode()
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(ask)
        say_no_more(connection)
        while received := connection.recv(65536):
            answer += received
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"retry: 2000\n\n\r\n0\r\n\r\n")


def test_the_drain_ends_all_streams_before_it_waits(name: str, many: Path) -> None:
    with (
        serving("memory://", HTTP_SERVER=name, DRAIN_SECONDS=25, FIXTURES_DIR=many) as server,
        ExitStack() as stack,
    ):
        streams = [
            stack.enter_context(following(server.port, SHOP, key_of(number)))
            for number in range(STREAMS)
        ]
        assert {stream.block() for stream in streams} == {"retry: 2000"}
        server.process.send_signal(signal.SIGTERM)
        retries = []
        for stream in streams:
            (last,) = (block for block in stream.rest() if "event: beat" not in block)
            assert stream.ended
            retries.append(int(last.removeprefix("retry: ")))
            stream.close()
        assert all(500 <= retry <= 3000 for retry in retries)
        assert len(set(retries)) > STREAMS / 2
        assert server.process.wait(15) == 0, "well before DRAIN_SECONDS"


def test_a_stream_that_begins_while_it_drains(server: RunningServer, client: Client) -> None:
    with following(server.port) as kept:  # a connection that keeps the drain from ending
        idle = [Client(server.url) for _ in range(2)]
        for other in idle:
            assert other.get("/health").status == 200
        server.process.send_signal(signal.SIGTERM)
        assert kept.rest()[-1].startswith("retry: ")
        with following(server.port) as late:
            assert (late.status, late.header("Connection")) == (200, "close")
            (only,) = late.rest()
            assert 500 <= int(only.removeprefix("retry: ")) <= 3000
            assert late.ended
        for other in idle:
            other.close()
    client.close()
    assert server.process.wait(PATIENCE) == 0


def test_a_request_behind_a_stream_waits_for_its_end(server: RunningServer) -> None:
    behind = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with following(server.port) as stream, connect(server.url) as client:
        stream.socket.sendall(behind.encode() * 3)
        order = client.place(("1", 1))
        assert stream.event("order").data["order"] == order
        server.process.send_signal(signal.SIGTERM)
        stream.rest()
        assert stream.ended


def test_what_is_sent_behind_a_stream_is_not_kept(server: RunningServer) -> None:
    with following(server.port) as stream, connect(server.url) as client:
        client.get("/health")
        before = resident(server)
        stream.socket.settimeout(1)
        asks = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000_000
        with pytest.raises(TimeoutError):
            stream.socket.sendall(asks)
        assert resident(server) - before < 10 * MIB
        order = client.place(("1", 1))
        stream.socket.settimeout(PATIENCE)
        assert stream.event("order").data["order"] == order


def test_a_huge_last_event_id(server: RunningServer) -> None:
    line = b"Last-Event-ID: " + b"1" * 20_000
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(f"GET {SHOP} HTTP/1.1\r\nHost: x\r\n".encode() + line + b"\r\n\r\n")
        assert connection.recv(65536)[:12] in (b"HTTP/1.1 431", b"")
    with connect(server.url) as client:
        assert client.get("/health").status == 200


def test_streams_are_no_requests_in_flight_and_take_no_hours(
    server: RunningServer, client: Client
) -> None:
    def metrics() -> str:
        return client.get("/metrics").body.decode()

    with following(server.port, SHOP, KITCHEN, "X-Request-ID: followed"):
        assert server.wait_for_request("followed")["status"] == 200
        assert re.findall(r'active_requests\{.*shop/event"\} (\S+)', metrics()) in ([], ["0.0"])
    client.close()
    assert server.stop() == 0
    lines = [line for line in server.lines if line.get("request_id") == "followed"]
    assert len(lines) == 1


def test_those_who_do_not_read_cost_little(name: str, many: Path) -> None:
    """Events are large here: for 200 clients a hundred megabytes would wait."""
    with (
        serving("memory://", HTTP_SERVER=name, FIXTURES_DIR=many) as server,
        connect(server.url) as client,
    ):
        for _ in range(300):
            client.place(*((str(n % 9 + 1), 1) for n in range(100)))
        with following(server.port, f"{SHOP}?after=0") as reader:
            reader.events(300)  # the ring is full of it
            before = resident(server)
            stalled = []
            for number in range(STREAMS):
                stalled.append(stall(server.port, key_of(number)))
            order = client.place(("1", 1))
            assert reader.event("order").data["order"] == order
            assert resident(server) - before < STREAMS * 128 * 1024
        for connection in stalled:
            connection.close()


def test_those_who_do_not_read_do_not_hold_up_the_drain(name: str, many: Path) -> None:
    with (
        serving("memory://", HTTP_SERVER=name, FIXTURES_DIR=many, DRAIN_SECONDS=25) as server,
        connect(server.url) as client,
    ):
        for _ in range(200):
            client.place(*((str(n % 9 + 1), 1) for n in range(100)))
        stalled = [stall(server.port, key_of(number)) for number in range(20)]
        client.close()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0, "well before DRAIN_SECONDS"
        server.reader.join(PATIENCE)
        assert not [line for line in server.lines if line["level"] in ("error", "warning")]
        for connection in stalled:
            connection.close()


def stall(port: int, key: str) -> socket.socket:
    """Asks for everything, and reads no more than that it comes."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    ask = f"GET {SHOP}?after=0 HTTP/1.1\r\nHost: x\r\napi_key: {key}\r\n\r\n"
    connection.sendall(ask.encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


@asynccontextmanager
async def served(name: str) -> AsyncIterator[tuple[int, Context]]:
    """The whole server in this process: its port, and what its requests share."""
    environment = {"STORAGE_URL": "memory://", "HTTP_SERVER": name, "JAEGER_ENDPOINT": ""}
    settings = read_settings(environment)
    async with open_storage(settings.storage_url) as storage:
        await prepare_storage(storage, settings)
        context = new_context(settings, storage)
        server = Server(api_application(context, None), settings, context.traffic)
        listening = bind("127.0.0.1", 0)
        port = listening.getsockname()[1]
        await server.listen(listening)
        async with background(context):
            yield port, context
            await server.stop(1)


async def test_streams_leave_nothing_behind(name: str) -> None:
    async with served(name) as (port, context):
        hub = context.feed
        assert hub is not None
        await asyncio.to_thread(come_and_go, port)
        await nobody_follows(hub)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await asyncio.to_thread(come_and_go, port)
            await nobody_follows(hub)
            await asyncio.sleep(0.1)
            gc.collect()
            assert [found for found in map(type, gc.garbage) if found in (Follower, Request)] == []
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        assert context.traffic.in_flight == 0
        async with asyncio.timeout(PATIENCE):
            while [one for one in gc.get_objects() if type(one) is Follower]:  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def nobody_follows(hub: Hub) -> None:
    async with asyncio.timeout(PATIENCE):
        while hub.clients:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def come_and_go(port: int) -> None:
    with connect(f"http://127.0.0.1:{port}") as client:
        for path, key in [(SHOP, KITCHEN), (OWN, "apitest")] * 20:
            with following(port, path, key) as stream:
                order = client.place(("1", 1))
                assert stream.event("order").data["order"] == order


async def test_who_takes_nothing_is_ended_and_who_takes_little_is_not(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "Hub", partial(Hub, blocked_seconds=10, beat_seconds=1))
    async with served(name) as (port, context):
        await asyncio.to_thread(stall_and_watch, port)
        assert context.feed is not None
        await nobody_follows(context.feed)


def stall_and_watch(port: int) -> None:
    with connect(f"http://127.0.0.1:{port}") as client, following(port) as beating:
        for _ in range(100):
            client.place(*((str(n % 9 + 1), 1) for n in range(100)))
        beating.events(100)
        stalled = stall(port, KITCHEN)
        with following(port, f"{SHOP}?after=0") as slow:
            slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
            ids = [slow.event("order").id for _ in range(50)]
            for _ in range(8):  # it takes little, but it takes
                time.sleep(1.5)
                ids += [slow.event("order").id for _ in range(5)]
            ids += [slow.event("order").id for _ in range(10)]
            assert ids == list(range(1, 101))
        assert 0 < size_of(stalled) < MIB
        assert {beating.event("beat").id for _ in range(3)} == {100}


def size_of(stalled: socket.socket) -> int:
    """How much is still to be read of a connection that was ended."""
    received = 0
    with stalled:
        stalled.settimeout(PATIENCE)
        try:
            while data := stalled.recv(65536):
                received += len(data)
        except ConnectionError:
            pass
    return received
