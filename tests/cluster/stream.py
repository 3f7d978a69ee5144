"""Orders and reads that go on while the cluster is worked on, and somebody who follows them.
Bounded: six clients, each with a pause after every request, and one stream."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.api.client import KEY, Answer, Client

PAUSE = 0.1
"""Seconds between two requests of one client."""

BASKET = {"items": [{"productId": "1", "quantity": 2}, {"productId": "3", "quantity": 1}]}

KITCHEN = {"api_key": "apikitchen"}

SILENCE = 40.0
"""Seconds without a beat after which a stream counts as dead."""

Ask = Callable[[Client], Answer]


@dataclass(frozen=True)
class Sample:
    """One request. ``status`` is 0 when no answer came."""

    kind: str
    sent: float
    status: int
    price: float = 0.0
    retry_after: str | None = None
    error: str = ""


@dataclass
class Stream:
    """``with Stream(url) as stream``: requests go on until the block ends."""

    url: str
    samples: list[Sample] = field(default_factory=list)
    orders: dict[str, Any] = field(default_factory=dict)
    """Every order that was acknowledged, as it was answered."""

    followed: list[tuple[int, str]] = field(default_factory=list)
    """Of every event that came by the feed its number and its order; a reset is (0, "")."""

    _ending: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Stream:
        kinds: dict[str, Ask] = {"menu": self._menu, "order": self._order, "receipt": self._receipt}
        self._threads = [
            threading.Thread(target=self._work, args=(kind, ask), daemon=True)
            for kind, ask in kinds.items()
            for _ in range(2)
        ]
        following = threading.Thread(target=self._follow, args=(self._position(),), daemon=True)
        self._threads.append(following)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def since(self, moment: float) -> list[Sample]:
        return [sample for sample in list(self.samples) if sample.sent >= moment]

    def _work(self, kind: str, ask: Ask) -> None:
        client = Client(self.url)
        while not self._ending.is_set():
            sample = _sample(kind, client, ask)
            self.samples.append(sample)
            if sample.status == 0:
                client.close()
                client = Client(self.url)
            time.sleep(PAUSE)
        client.close()

    def _position(self) -> str:
        """Where the event log ends before the first order."""
        client = Client(self.url)
        answer = client.get("/api/shop/order?limit=1", **KITCHEN)
        client.close()
        return str(answer.json["position"])

    def _follow(self, last: str) -> None:
        """As a tablet does: behind the last id whenever the stream has ended."""
        while not self._ending.is_set():
            try:
                last = self._follow_once(last)
            except (OSError, http.client.HTTPException):
                time.sleep(PAUSE)

    def _follow_once(self, last: str) -> str:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, SILENCE)
        headers = {**KITCHEN, "Last-Event-ID": last}
        try:
            connection.request("GET", "/api/shop/event", headers=headers)
            answer = connection.getresponse()
            event: dict[str, str] = {}
            while not self._ending.is_set() and (line := answer.readline()):
                name, _, value = line.decode().rstrip("\n").partition(": ")
                event[name] = value
                if not name:
                    last = self._note(event, last)
                    event = {}
        except (OSError, http.client.HTTPException):
            pass  # a pod that is killed ends nothing properly
        finally:
            connection.close()
        return last

    def _note(self, event: dict[str, str], last: str) -> str:
        if event.get("event") == "order":
            self.followed.append((int(event["id"]), json.loads(event["data"])["order"]["id"]))
        elif event.get("event") == "reset":
            self.followed.append((0, ""))
        return event.get("id", last)

    def place_one(self) -> str:
        """The id of one more order, when the others have ended."""
        client = Client(self.url)
        answer = self._order(client)
        client.close()
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def unseen_orders(self) -> set[str]:
        """Which acknowledged orders have not come by the feed."""
        return set(self.orders) - {order for _, order in self.followed}

    def _menu(self, client: Client) -> Answer:
        return client.get("/api/product/1")

    def _order(self, client: Client) -> Answer:
        answer = client.order(BASKET)
        if answer.status == 200:
            self.orders[answer.json["id"]] = answer.json
        return answer

    def _receipt(self, client: Client) -> Answer:
        """Any of the acknowledged orders must read back as it was answered, from any pod."""
        if not self.orders:
            return self._menu(client)
        order = random.choice(list(self.orders.values()))
        answer = client.get(f"/api/order/{order['id']}", **KEY)
        assert answer.status != 200 or answer.json == order
        return answer

    def lost_orders(self) -> list[str]:
        """Which acknowledged orders are not among the stored ones, as they were answered."""
        acknowledged = dict(self.orders)
        stored = {order["id"]: order for order in self._stored_orders()}
        return [id_ for id_, order in acknowledged.items() if stored.get(id_) != order]

    def _stored_orders(self) -> Iterator[Any]:
        client, cursor = Client(self.url), ""
        while True:
            page = client.get(f"/api/order?limit=100{cursor}", **KEY).json
            yield from page["orders"]
            if "nextCursor" not in page:
                break
            cursor = f"&cursor={page['nextCursor']}"
        client.close()


def _sample(kind: str, client: Client, ask: Ask) -> Sample:
    sent = time.time()
    try:
        answer = ask(client)
    except (OSError, http.client.HTTPException, AssertionError) as error:
        return Sample(kind, sent, 0, error=repr(error))
    price = answer.json["price"] if kind == "menu" and answer.status == 200 else 0.0
    return Sample(kind, sent, answer.status, price, answer.headers["Retry-After"])
