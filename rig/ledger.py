"""What servers acknowledged, and whether it is what they have stored."""

from __future__ import annotations

import sqlite3
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

import asyncpg

from rig.postgres import run

MOVES = ("status", "version", "readyAt", "cancellation")
"""The members of an order that change after it was placed."""

Json = dict[str, Any]
Ask = Callable[[str], Any]
"""The JSON of a GET by the shop's staff that must succeed, or by the customer for one's own."""


class Step(NamedTuple):
    """Where an order stood at a version."""

    order_id: str
    version: int
    status: str


class Happened(NamedTuple):
    """An event of the log."""

    seq: int
    step: Step


def happened(event: Json) -> Happened:
    """An event as the API writes it."""
    order = event["order"]
    return Happened(event["seq"], Step(order["id"], order["version"], order["status"]))


@dataclass
class Ledger:
    """What was answered, to all clients together."""

    orders: dict[str, Json] = field(default_factory=dict)
    """By idempotency key: each was answered with 200."""
    times: list[float] = field(default_factory=list)
    """When they were, on the monotonic clock: it rises."""
    steps: set[Step] = field(default_factory=set)
    """Where actions left orders, as was answered."""
    answers: Counter[int] = field(default_factory=Counter)
    """How many there were of each status; 0 is a connection that broke."""
    wrong: list[str] = field(default_factory=list)
    """What must not have been answered."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, status: int) -> None:
        with self._lock:
            self.answers[status] += 1

    def placed(self, key: str, order: Json) -> None:
        """An order was acknowledged; under a key it is always the same one."""
        with self._lock:
            self.times.append(time.monotonic())
            if self.orders.setdefault(key, order) != order:
                self.wrong.append(f"the key {key} got {order} after {self.orders[key]}")

    def moved(self, order: Json) -> None:
        """An action on an order was acknowledged."""
        with self._lock:
            self.steps.add(Step(order["id"], order["version"], order["status"]))

    def complain(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)

    def first_after(self, moment: float) -> float | None:
        """How many seconds after a moment the next order was acknowledged."""
        with self._lock:
            later = list(takewhile(lambda at: at >= moment, reversed(self.times)))
        return later[-1] - moment if later else None

    def longest_gap(self, began: float, ended: float) -> float:
        """The longest time without an acknowledged order, of those that touch a period."""
        with self._lock:
            first = max(bisect_left(self.times, began) - 1, 0)
            touching = self.times[first : bisect_left(self.times, ended) + 1]
        return max((later - earlier for earlier, later in pairwise(touching)), default=0.0)


@dataclass(frozen=True)
class Stored:
    """What the servers say is stored."""

    orders: Mapping[str, Json]
    """By id: the customer's, without those that were there before."""
    log: Sequence[Happened]


def read_stored(ask: Ask, known: Iterable[str], after: int) -> Stored:
    """All orders but the known ones, and the log behind a position."""
    before = set(known)
    orders = {order["id"]: order for order in list_orders(ask) if order["id"] not in before}
    log: list[Happened] = []
    while True:
        page = ask(f"/api/shop/event?after={after}")
        log += map(happened, page["events"])
        if page["position"] == after:
            return Stored(orders, log)
        after = page["position"]


def list_orders(ask: Ask) -> list[Json]:
    """All orders of the customer."""
    found: list[Json] = []
    cursor = ""
    while True:
        page = ask(f"/api/order?limit=100{cursor}")
        found += page["orders"]
        if "nextCursor" not in page:
            return found
        cursor = f"&cursor={page['nextCursor']}"


def check(ledger: Ledger, stored: Stored) -> list[str]:
    """What is wrong with what is stored, in words."""
    return [*ledger.wrong, *check_orders(ledger, stored), *check_log(ledger, stored)]


def check_orders(ledger: Ledger, stored: Stored) -> Iterable[str]:
    """Each acknowledged order is there as it was answered, and there is no other: every key was
    sent until it was answered."""
    acknowledged = {order["id"]: order for order in ledger.orders.values()}
    for order_id, order in acknowledged.items():
        found = stored.orders.get(order_id)
        if found is None:
            yield f"the acknowledged order {order_id} is lost"
        elif lasting(found) != lasting(order):
            yield f"the order {order_id} reads {found}, and was answered as {order}"
    for order_id in stored.orders.keys() - acknowledged.keys():
        yield f"the order {order_id} was never acknowledged: one key has stored two"


def lasting(order: Json) -> Json:
    return {name: value for name, value in order.items() if name not in MOVES}


def check_log(ledger: Ledger, stored: Stored) -> Iterable[str]:
    """The log rises, and holds of each order its versions without a gap up to where it stands, and
    every step that was acknowledged."""
    numbers = [event.seq for event in stored.log]
    if numbers != sorted(set(numbers)):
        yield "the log's numbers do not rise"
    steps: dict[str, list[Step]] = defaultdict(list)
    for event in stored.log:
        steps[event.step.order_id].append(event.step)
    for order_id, order in stored.orders.items():
        versions = [step.version for step in steps[order_id]]
        if versions != list(range(1, order["version"] + 1)):
            yield f"the order {order_id} is at version {order['version']}, its events at {versions}"
        elif steps[order_id][-1].status != order["status"]:
            yield f"the order {order_id} is {order['status']}, its last event says otherwise"
    for step in ledger.steps - {event.step for event in stored.log}:
        yield f"the acknowledged {step} is lost"


def check_followed(name: str, seen: Sequence[Happened], expected: Sequence[Happened]) -> list[str]:
    """What somebody who followed has missed, got twice or in another order."""
    if list(seen) == list(expected):
        return []
    counts = Counter(seen)
    missed = [event for event in expected if event not in counts]
    twice = [event for event, count in counts.items() if count > 1]
    strange = counts.keys() - set(expected)
    return [
        f"{name}: {len(missed)} events missed {missed[:3]}, {len(twice)} twice {twice[:3]},"
        f" {len(strange)} that are not in the log {list(strange)[:3]}"
    ]


def count_stored(url: str, statements: Mapping[str, str]) -> dict[str, int]:
    """What each statement counts, asked of the database itself."""
    if url.startswith("sqlite"):
        database = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return {name: database.execute(text).fetchone()[0] for name, text in statements.items()}
        finally:
            database.close()
    return run(_count(url, statements))


async def _count(url: str, statements: Mapping[str, str]) -> dict[str, int]:
    connection = await asyncpg.connect(url, statement_cache_size=0, timeout=10)
    try:
        return {name: await connection.fetchval(text) for name, text in statements.items()}
    finally:
        await connection.close()
