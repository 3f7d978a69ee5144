"""One scenario: a backend, one or two servers, people, one fault after another, the reckoning."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fixtures
from chaos.faults import Fault, Stage, possible
from chaos.servers import Clock, Server
from rig.ledger import Ledger, Stored, check, check_followed, count_stored, list_orders, read_stored
from rig.postgres import StartedServer
from rig.processes import prepare
from rig.traffic import GUEST, STAFF, Client, Follower, Habits, Traffic

USES = 200
"""How often the limited coupon may be used."""

VOLUME_MEGABYTES = 192

RECOVERY_SECONDS = 60.0
"""How long after a fault the next order may take before that is a defect."""

HABITS = Habits(guests=8, cooks=2, pause=0.1, coupon="FEW", guests_cancel=True)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Scenario:
    """What is tried."""

    backend: str
    servers: int

    @property
    def name(self) -> str:
        servers = "one server" if self.servers == 1 else "two servers"
        return f"{'SQLite' if self.backend == 'sqlite' else 'Postgres'}, {servers}"


@dataclass
class Outcome:
    """What came of it."""

    name: str
    gaps: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By fault: how long no order was acknowledged, each time."""
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def play(scenario: Scenario, seconds: float, seed: int, say: Say, stop: threading.Event) -> Outcome:
    """Plays a scenario for so long, or until it is to stop."""
    outcome = Outcome(scenario.name)
    with ExitStack() as exits:
        folder = exits.enter_context(scratch_folder())
        play = Play(scenario, folder, random.Random(f"{seed} {scenario.name}"), exits)
        for what in play.left_out():
            say(f"left out: {scenario.name}: {what}")
        play.run(seconds, outcome, say, stop)
    return outcome


class Play:
    """A scenario with everything that belongs to it."""

    def __init__(
        self, scenario: Scenario, folder: Path, dice: random.Random, exits: ExitStack
    ) -> None:
        postgres, volume = None, None
        if scenario.backend == "postgres":
            postgres = StartedServer()
            exits.callback(postgres.close)
            self._url = postgres.create_database()
        else:
            volume = exits.enter_context(small_volume(folder / "volume"))
            self._url = f"sqlite:///{volume or folder}/orderfood.db"
        prepare(self._url, FIXTURES_DIR=menu_with_coupon(folder / "menu"))
        clock = Clock(folder)
        servers = []
        for number in range(scenario.servers):
            servers.append(Server(self._url, folder / f"server{number}.log", clock))
            exits.callback(servers[-1].stop)
        self._stage = Stage(servers, clock, dice, postgres, volume)
        self._ledger = Ledger()
        self._client = Client(self._urls, Ledger())
        exits.callback(self._client.close)
        self._known = [order["id"] for order in list_orders(self._ask)]
        self._start: int = self._ask("/api/shop/event")["position"]

    def left_out(self) -> Iterator[str]:
        """What this machine cannot do to it."""
        if not self._stage.clock.can_jump:
            yield "clocks that jump, for libfaketime is not installed"
        if self._stage.postgres is None and self._stage.volume is None:
            yield "a disk that fills, for only root may mount one"

    def _urls(self) -> list[str]:
        return [server.url for server in self._stage.servers]

    def _ask(self, path: str) -> Any:
        key = STAFF if path.startswith("/api/shop") else GUEST
        status, answer = self._client.insist("GET", path, {**key, "Accept": "application/json"})
        assert status == 200, answer
        return answer

    def run(self, seconds: float, outcome: Outcome, say: Say, stop: threading.Event) -> None:
        """People, faults, and then the reckoning."""
        traffic = Traffic(self._urls, self._ledger, HABITS)
        paths = (("/api/shop/event", STAFF), ("/api/event", GUEST))
        followers = [Follower(self._urls, path, key, self._start) for path, key in paths]
        traffic.start()
        for follower in followers:
            follower.start()
        try:
            self._break(time.monotonic() + seconds, outcome, say, stop)
        finally:
            traffic.stop()
        stored = read_stored(self._ask, self._known, self._start)
        outcome.problems += check(self._ledger, stored)
        for follower in followers:
            follower.wait_for(stored.log[-1].seq)
            follower.stop()
            outcome.problems += follower.problems
            outcome.problems += check_followed(follower.name, follower.seen, stored.log)
        outcome.problems += self._check_counts(stored)
        for server in self._stage.servers:
            server.stop()
            outcome.problems += server.problems()
        outcome.problems += self._check_file()
        outcome.counts = self._counts(stored, followers)

    def _break(self, until: float, outcome: Outcome, say: Say, stop: threading.Event) -> None:
        """One fault after the other, each kind as often as any other."""
        deck: list[Fault] = []
        while time.monotonic() < until and not stop.is_set():
            if not deck:
                deck = possible(self._stage)
                self._stage.dice.shuffle(deck)
            fault, began = deck.pop(), time.monotonic()
            fault(self._stage)
            self._stage.while_(0.5, 1.5)  # some of it shows only then
            if not self._recovers():
                outcome.problems.append(f"no recovery within a minute after {fault.__name__}")
                return
            gap = self._ledger.longest_gap(began, time.monotonic())
            outcome.gaps[fault.__name__].append(gap)
            say(f"{outcome.name}: {fault.__name__}, {gap:.1f} s without an order")

    def _recovers(self) -> bool:
        """Whether another order is acknowledged and every server is back; returns when they are."""
        began = time.monotonic()
        while self._ledger.first_after(began) is None or not all(
            server.answers() for server in self._stage.servers
        ):
            if time.monotonic() - began > RECOVERY_SECONDS:
                return False
            time.sleep(0.02)
        return True

    def _check_counts(self, stored: Stored) -> list[str]:
        """Whether the database itself holds what servers say that it holds."""
        counts = count_stored(self._url, COUNTS)
        used = [order for order in stored.orders.values() if order.get("couponCode") == "FEW"]
        kept = sum(order["status"] != "cancelled" for order in used)
        expected = {
            "orders": len(stored.orders) + len(self._known),
            "uses of the coupon": kept,
        }
        found = [
            f"{name}: {counts[name]}, and should be {number}"
            for name, number in expected.items()
            if counts[name] != number
        ]
        return found + ([f"a coupon of {USES} uses has {kept}"] if kept > USES else [])

    def _check_file(self) -> list[str]:
        """What SQLite says of its file."""
        if not self._url.startswith("sqlite"):
            return []
        with closing(sqlite3.connect(self._url.removeprefix("sqlite:///"))) as database:
            said = database.execute("PRAGMA integrity_check").fetchone()[0]
        return [] if said == "ok" else [f"integrity_check: {said}"]

    def _counts(self, stored: Stored, followers: list[Follower]) -> dict[str, int]:
        answers = self._ledger.answers
        return {
            "orders acknowledged": len(self._ledger.orders),
            "actions acknowledged": len(self._ledger.steps),
            "events": len(stored.log),
            "answers 200": answers[200],
            "answers 503": answers[503],
            "connections that broke": answers[0],
            "streams resumed": sum(follower.connections - 1 for follower in followers),
            "server restarts": sum(len(server.codes) - 1 for server in self._stage.servers),
        }


COUNTS = {
    "orders": "SELECT count(*) FROM orders",
    "uses of the coupon": "SELECT coalesce(sum(uses), 0) FROM coupon_uses WHERE code = 'FEW'",
}
"""What is counted in the database itself."""


def menu_with_coupon(folder: Path) -> Path:
    """The packaged fixtures, and a coupon that is limited."""
    shutil.copytree(Path(fixtures.__file__).parent, folder, ignore=shutil.ignore_patterns("*.py"))
    path = folder / "coupons.json"
    few = {"code": "FEW", "kind": "percent", "value": 50, "maxUses": USES}
    path.write_text(json.dumps([*json.loads(path.read_text()), few]))
    return folder


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is taken away."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="orderfood-chaos-") as folder:
        yield Path(folder)


@contextmanager
def small_volume(folder: Path) -> Iterator[Path | None]:
    """A file system that can be filled; None where we may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_MEGABYTES}m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
