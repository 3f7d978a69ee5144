"""Following over several processes on one database: whatever happens, no event is missed."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rig.pgbouncer import pgbouncer_before, through
from rig.processes import PATIENCE, RunningServer, prepare, serving
from tests.api.client import Client, connect
from tests.api.stream import KITCHEN, OWN, SHOP, Stream, following
from tests.proxy import proxy_before

STAFF = {"api_key": KITCHEN}
JSON = {"Accept": "application/json"}


@pytest.fixture
def url(shared_url: str) -> str:
    prepare(shared_url)
    return shared_url


@pytest.fixture
def servers(url: str) -> Iterator[list[RunningServer]]:
    with serving(url) as one, serving(url, HTTP_SERVER="tornado") as two:
        yield [one, two]


def live_through(client: Client) -> dict[str, Any]:
    order: dict[str, Any] = client.place(("1", 1))
    for action in ("accept", "ready", "complete"):
        path = f"/api/shop/order/{order['id']}/{action}"
        order = client.send("POST", path, {}, STAFF).json
    return order


def test_what_one_process_stores_another_one_tells(servers: list[RunningServer]) -> None:
    with following(servers[1].port) as stream, connect(servers[0].url) as client:
        orders = [live_through(client) for _ in range(5)]
        events = stream.events(20)
    assert [event.data["order"] for event in events[3::4]] == orders
    head = f"Last-Event-ID: {events[9].id}"
    with following(servers[0].port, SHOP, KITCHEN, head) as stream:
        assert stream.events(10) == events[10:]


def test_behind_a_pooler(postgres_url: str, request: pytest.FixtureRequest) -> None:
    if shutil.which("pgbouncer") is None:
        pytest.skip("pgbouncer is not on PATH")
    prepare(postgres_url)
    server = request.getfixturevalue("postgres_server")
    with (
        pgbouncer_before(server.url) as port,
        serving(through(port, postgres_url)) as one,
        serving(postgres_url) as two,
        connect(two.url) as client,
        following(one.port) as there,
    ):
        orders = [live_through(client) for _ in range(3)]
        assert [event.data["order"] for event in there.events(12)[3::4]] == orders


def test_a_database_that_goes_away_loses_no_event(postgres_url: str) -> None:
    prepare(postgres_url)
    with (
        proxy_before(postgres_url) as proxy,
        serving(proxy.url) as far,
        serving(postgres_url) as near,
        connect(near.url) as client,
        following(far.port) as stream,
    ):
        first = client.place(("1", 1))
        assert stream.event("order").data["order"] == first
        proxy.stalls = True
        orders = [live_through(client) for _ in range(3)]
        far.wait_for_line("the event log cannot be read")
        proxy.stalls = False
        assert [event.data["order"] for event in stream.events(12)[3::4]] == orders
        far.wait_for_line("the event log is read again")


def test_several_workers_follow_one_log(url: str) -> None:
    with (
        serving(url, WORKERS=3, DRAIN_SECONDS=20) as server,
        connect(server.url) as client,
        ExitStack() as stack,
    ):
        streams = [stack.enter_context(following(server.port)) for _ in range(6)]
        order = live_through(client)
        for stream in streams:
            assert stream.events(4)[3].data["order"] == order
        client.close()
        server.process.send_signal(signal.SIGTERM)
        for stream in streams:
            stream.rest()
            assert stream.ended
            stream.close()
        assert server.process.wait(15) == 0, "well before DRAIN_SECONDS"


class Follower(threading.Thread):
    """Follows by turns over all servers that there are, and comes again whatever happens."""

    def __init__(self, ports: Callable[[], list[int]], path: str, key: str) -> None:
        super().__init__(daemon=True)
        self._ports, self._path, self._key = ports, path, key
        self.versions: dict[str, list[int]] = defaultdict(list)
        self.last = 0
        self.resets = 0
        self.done = threading.Event()
        self.start()

    def run(self) -> None:
        for number in itertools.count():
            ports = self._ports()
            try:
                self._follow(ports[number % len(ports)], 1 + number % 40)
            except (OSError, EOFError, ValueError, AssertionError, IndexError):
                time.sleep(0.05)
            if self.done.is_set():
                return

    def _follow(self, port: int, most: int) -> None:
        with following(port, self._path, self._key, f"Last-Event-ID: {self.last}") as stream:
            stream.socket.settimeout(1)
            for _ in range(most):
                self._take(stream)

    def _take(self, stream: Stream) -> None:
        event = stream.event()
        if event.name == "order":
            assert event.id > self.last
            self.versions[event.data["order"]["id"]].append(event.data["order"]["version"])
        self.resets += event.name == "reset"
        self.last = event.id


def test_servers_that_are_killed_again_and_again_lose_no_event(url: str) -> None:
    placed: dict[str, int] = {}
    stopping = threading.Event()

    def order(server: RunningServer) -> None:
        with connect(server.url) as client:
            while not stopping.is_set():
                try:
                    order = live_through(client)
                except (OSError, ValueError, KeyError, AssertionError):
                    return
                placed[order["id"]] = order["version"]

    with ExitStack() as stack:
        servers = [stack.enter_context(serving(url)) for _ in range(2)]
        ports = lambda: [server.port for server in servers]  # noqa: E731
        all_of_them = Follower(ports, SHOP, KITCHEN)
        own = Follower(ports, OWN, "apitest")
        for round_ in range(4):
            writers = [threading.Thread(target=order, args=[server]) for server in servers]
            for writer in writers:
                writer.start()
            time.sleep(1)
            servers[round_ % 2].process.send_signal(signal.SIGKILL)
            time.sleep(0.3)
            servers[round_ % 2] = stack.enter_context(serving(url))
            stopping.set()
            for writer in writers:
                writer.join()
            stopping.clear()
        with connect(servers[0].url) as client:
            last = client.get(SHOP, **STAFF, **JSON).json["position"]
            stored = json.loads(client.get(f"{SHOP}?after=0", **STAFF, **JSON).body)
        deadline = time.monotonic() + PATIENCE
        while min(all_of_them.last, own.last) < last and time.monotonic() < deadline:
            time.sleep(0.05)
        for follower in (all_of_them, own):
            follower.done.set()
            follower.join(PATIENCE)
    assert len(placed) > 20
    assert stored["events"]
    for follower in (all_of_them, own):
        assert follower.resets == 0
        for order_id, version in placed.items():
            assert follower.versions[order_id] == list(range(1, version + 1))
        for versions in follower.versions.values():
            assert versions == list(range(1, len(versions) + 1))
