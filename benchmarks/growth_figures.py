"""The figures that are taken of a database with few orders and of one with many.

Each is a function from a Site to the seconds that one thing takes. What goes over HTTP goes over
one connection, one request at a time: the median of many says how long a request takes, not how
many there may be.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from orderfood.api.orders import encode_cursor
from rig.processes import RunningServer, run, serving
from storage.records import Cursor

CUSTOMER = {"api_key": "apitest"}
STAFF = {"api_key": "apikitchen"}
BASKET = {"items": [{"productId": "1", "quantity": 2}, {"productId": "4", "quantity": 1}]}
EVENTS_PAGE = {"Accept": "application/json"}


@dataclass
class Site:
    """A database with some orders of the customer, and a server on it while there is one."""

    url: str
    orders: int
    places: list[Cursor]
    """Orders of the customer, all over the list."""
    old_event: int
    keys: list[str] = field(default_factory=list)
    """Keys under which an order was placed."""
    placed: list[str] = field(default_factory=list)
    """Orders that were placed and not cancelled."""
    connection: http.client.HTTPConnection | None = None

    @contextmanager
    def serving(self) -> Iterator[RunningServer]:
        with serving(self.url) as server:
            self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            try:
                yield server
            finally:
                self.connection.close()

    def request(
        self, method: str, path: str, headers: dict[str, str], body: object = None
    ) -> tuple[float, Any]:
        """How long the answer takes, and what it says. Raises WrongAnswer."""
        assert self.connection is not None
        sent = None if body is None else json.dumps(body)
        began = time.perf_counter()
        self.connection.request(method, path, body=sent, headers=headers)
        response = self.connection.getresponse()
        content = response.read()
        seconds = time.perf_counter() - began
        if response.status != 200:
            raise WrongAnswer(f"{method} {path}: {response.status} {content[:300]!r}")
        return seconds, json.loads(content)


class WrongAnswer(Exception):
    """A request was not answered with 200, or with less than there is."""


def first_page(site: Site) -> float:
    seconds, page = site.request("GET", "/api/order?limit=20", CUSTOMER)
    return seconds if len(page["orders"]) == 20 else fail("the first page is short")


def deep_page(site: Site) -> float:
    """From a place anywhere in the customer's list; the last 20 orders are nobody's place."""
    cursor = encode_cursor(random.choice(site.places))
    seconds, page = site.request("GET", f"/api/order?limit=20&cursor={cursor}", CUSTOMER)
    return seconds if len(page["orders"]) == 20 else fail("a deep page is short")


def look_up(site: Site) -> float:
    return site.request("GET", f"/api/order/{random.choice(site.places).id}", CUSTOMER)[0]


def order(site: Site) -> float:
    key = uuid.uuid4().hex
    seconds, placed = site.request(
        "POST", "/api/order", {**CUSTOMER, "Idempotency-Key": key}, BASKET
    )
    site.keys.append(key)
    site.placed.append(placed["id"])
    return seconds


def order_with_coupon(site: Site) -> float:
    seconds, placed = site.request(
        "POST", "/api/order", CUSTOMER, {**BASKET, "couponCode": "SAVE10"}
    )
    site.placed.append(placed["id"])
    return seconds


def replay(site: Site) -> float:
    headers = {**CUSTOMER, "Idempotency-Key": random.choice(site.keys)}
    return site.request("POST", "/api/order", headers, BASKET)[0]


def cancel(site: Site) -> float:
    return site.request("POST", f"/api/order/{site.placed.pop()}/cancel", CUSTOMER)[0]


def kitchen_list(site: Site) -> float:
    seconds, page = site.request("GET", "/api/shop/order", STAFF)
    return seconds if page["orders"] else fail("the kitchen has nothing to do")


def completed_list(site: Site) -> float:
    path = "/api/shop/order?status=completed&limit=50"
    seconds, page = site.request("GET", path, STAFF)
    return seconds if len(page["orders"]) == 50 else fail("few are completed")


def history(site: Site) -> float:
    return site.request("GET", f"/api/shop/order/{random.choice(site.places).id}", STAFF)[0]


def catch_up(site: Site) -> float:
    """From about the oldest event that is kept, which no ring holds."""
    path = f"/api/shop/event?after={site.old_event}"
    seconds, page = site.request("GET", path, {**STAFF, **EVENTS_PAGE})
    return seconds if len(page["events"]) == 500 else fail("the log is short")


def own_catch_up(site: Site) -> float:
    """For each event: how many there are of one customer, the same part of all, differs."""
    path = f"/api/event?after={site.old_event}"
    seconds, page = site.request("GET", path, {**CUSTOMER, **EVENTS_PAGE})
    return seconds / len(page["events"])


def fail(what: str) -> float:
    raise WrongAnswer(what)


def start(site: Site) -> float:
    """Until order-food is ready."""
    began = time.perf_counter()
    with site.serving():
        site.request("GET", "/ready", {})
        return time.perf_counter() - began


def program(*command: str) -> Callable[[Site], float]:
    """How long one of the programs takes."""

    def figure(site: Site) -> float:
        began = time.perf_counter()
        done = run(*command, STORAGE_URL=site.url)
        seconds = time.perf_counter() - began
        return fail(done.stderr) if done.returncode else seconds

    return figure


@dataclass(frozen=True)
class Figure:
    """A row of the table: what is measured, how often in a round, and how."""

    name: str
    often: int
    seconds: Callable[[Site], float]


REQUESTS = (
    Figure("own orders, first page of 20", 30, first_page),
    Figure("own orders, a page of 20 anywhere", 30, deep_page),
    Figure("look-up of an order", 40, look_up),
    Figure("order", 30, order),
    Figure("order with a coupon", 30, order_with_coupon),
    Figure("repeat of an order with its Idempotency-Key", 30, replay),
    Figure("cancel", 20, cancel),
    Figure("kitchen's list of open orders", 20, kitchen_list),
    Figure("the 50 orders completed last", 20, completed_list),
    Figure("an order with its events", 30, history),
    Figure("feed's catch-up, 500 of the oldest events", 10, catch_up),
    Figure("feed's catch-up of one customer, per event", 10, own_catch_up),
)
PROGRAMS = (
    Figure("order-food: start until it is ready", 1, start),
    Figure("database-migration, nothing to do", 1, program("database-migration")),
    Figure("database-load, nothing to change", 1, program("database-load")),
)
