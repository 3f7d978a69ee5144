"""The lead of a replicated Postgres changes hands while orders, followers and loads go on.

A real Patroni decides; one standby is synchronous. Nothing acknowledged may be lost, whatever
happens to the leader, and orders go on as soon as somebody takes writes.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rig.ledger import Ledger, check, check_followed, list_orders, read_stored
from rig.patroni import Node, NoPatroni, PatroniCluster, patroni_cluster
from rig.postgres import NoPostgres
from rig.processes import RunningServer, prepare, run, serving
from rig.traffic import GUEST, STAFF, Client, Follower, Habits, Traffic
from tests.api.conftest import menu as menu  # the fixture
from tests.proxy import Proxy

RESUME_SECONDS = 3.0
"""How long after somebody takes writes an order must have been acknowledged."""

ETCD_AWAY_SECONDS = 30.0

LOAD_SECONDS = 90.0
"""How long after the last disturbance a load must have succeeded: the cluster may want its standby
back first."""


class Link(Proxy):
    def __init__(self, port: int) -> None:
        super().__init__(f"postgresql://127.0.0.1:{port}")

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def cluster() -> Iterator[PatroniCluster]:
    try:
        with patroni_cluster(Link) as started:
            yield started
    except (NoPatroni, NoPostgres) as reason:
        pytest.skip(f"no Patroni: {reason}")


class Scene:
    """A shop on the cluster at its busiest."""

    def __init__(self, cluster: PatroniCluster, server: RunningServer, menu: Path) -> None:
        self.cluster, self._menu = cluster, menu
        self.ledger = Ledger()
        self._client = Client(lambda: [server.url], Ledger())
        self._known = [order["id"] for order in list_orders(self.ask)]
        self._start = self.ask("/api/shop/event")["position"]
        self.traffic = Traffic(lambda: [server.url], self.ledger, Habits())
        self.followers = [
            Follower(lambda: [server.url], path, key, self._start)
            for path, key in (("/api/shop/event", STAFF), ("/api/event", GUEST)) * 2
        ]
        self.figures: list[str] = []
        self.loads: list[int] = []
        self._stop = threading.Event()
        self._loading = threading.Thread(target=self._load, daemon=True)

    def ask(self, path: str) -> Any:
        key = STAFF if path.startswith("/api/shop") else GUEST
        status, answer = self._client.insist("GET", path, {**key, "Accept": "application/json"})
        assert status == 200, answer
        return answer

    def close(self) -> None:
        self._client.close()

    def _load(self) -> None:
        """Loads now and then, each time another price; while nobody takes writes it fails."""
        products = json.loads((self._menu / "products.json").read_text())
        while not self._stop.wait(2):
            products[3]["price"] = 10.0 + len(self.loads)
            (self._menu / "products.json").write_text(json.dumps(products))
            settings = {"FIXTURES_DIR": self._menu, "STORAGE_WAIT_SECONDS": 3}
            done = run("database-load", STORAGE_URL=self.cluster.url, **settings)
            self.loads.append(done.returncode)

    def wait_for_load(self) -> None:
        """Returns when another load has succeeded."""
        deadline = time.monotonic() + LOAD_SECONDS
        loaded = self.loads.count(0)
        while self.loads.count(0) == loaded:
            assert time.monotonic() < deadline, f"no load succeeds any more: {self.loads}"
            time.sleep(0.1)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Orders, followers and loads; when the block ends, all that was asked is answered."""
        self.traffic.start()
        self._loading.start()
        for follower in self.followers:
            follower.start()
        try:
            yield
        finally:
            self._stop.set()
            self.traffic.stop()
            self._loading.join()

    def problems(self) -> list[str]:
        """What was lost, doubled or wrong."""
        stored = read_stored(self.ask, self._known, self._start)
        found = check(self.ledger, stored)
        for follower in self.followers:
            follower.wait_for(stored.log[-1].seq)
            follower.stop()
            found += follower.problems + check_followed(follower.name, follower.seen, stored.log)
        return found

    def watch(self, name: str, change: Callable[[], Node | None]) -> Node:
        """Makes the lead change hands, and notes how long it took until the next order."""
        began = time.monotonic()
        old = change()
        leader = self.cluster.wait_for_leader(other_than=old)
        writable = time.monotonic()
        while (resumed := self.ledger.first_after(writable)) is None:
            assert time.monotonic() - writable < 30, f"{name}: no order after half a minute"
            time.sleep(0.02)
        taken = writable - began
        self.figures.append(f"{name}: leader after {taken:.1f} s, orders {resumed:.2f} s later")
        if resumed > RESUME_SECONDS:
            self.ledger.complain(self.figures[-1])
        return leader


@pytest.fixture
def scene(cluster: PatroniCluster, menu: Path) -> Iterator[Scene]:
    prepare(cluster.url)
    with serving(cluster.url) as server:
        scene = Scene(cluster, server, menu)
        yield scene
        scene.close()


def test_nothing_is_lost_whatever_becomes_of_the_leader(scene: Scene) -> None:
    with scene.busy():
        for disturb in (hand_over, kill, take_etcd, cut_off_from_peers, cut_off_from_all):
            scene.wait_for_load()
            disturb(scene)
    print(*scene.figures, f"loads: {scene.loads}", scene.ledger.answers, sep="\n")
    assert scene.problems() == []
    assert set(scene.ledger.answers) == {200, 503}
    assert set(scene.loads) <= {0, 1}
    assert len(scene.ledger.orders) > 1000


def hand_over(scene: Scene) -> None:
    cluster, leader = scene.cluster, scene.cluster.wait_until_whole()

    def switch() -> Node:
        standby = next(node for node in cluster.nodes if node.says("/sync"))
        cluster.switch_over(leader, standby)
        return leader

    scene.watch("switchover", switch)


def kill(scene: Scene) -> None:
    leader = scene.cluster.wait_until_whole()

    def power_off() -> Node:
        leader.kill()
        return leader

    scene.watch("leader killed", power_off)
    leader.start()


def take_etcd(scene: Scene) -> None:
    cluster = scene.cluster
    cluster.wait_until_whole()
    cluster.etcd.end(signal.SIGKILL)
    time.sleep(ETCD_AWAY_SECONDS)

    def bring_back() -> None:
        cluster.start_etcd()

    scene.watch("etcd back", bring_back)


def cut_off_from_peers(scene: Scene) -> None:
    """The server still reaches the old leader, which nobody else does."""
    leader = scene.cluster.wait_until_whole()
    with leader.cut_off(from_clients=False):
        scene.watch("leader cut off from its peers", lambda: leader)


def cut_off_from_all(scene: Scene) -> None:
    leader = scene.cluster.wait_until_whole()
    with leader.cut_off(from_clients=True):
        scene.watch("leader cut off from all", lambda: leader)
        time.sleep(2)
