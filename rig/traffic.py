"""A shop's day in seconds: guests who order and try again, cooks, and followers of the feed."""

from __future__ import annotations

import json
import queue
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from rig.ledger import Happened, Json, Ledger, happened

GUEST = {"api_key": "apitest"}
STAFF = {"api_key": "apikitchen"}

ANSWER_SECONDS = 12.0
"""How long a client waits for an answer: longer than a server may take."""

PATIENCE = 120.0
"""How long one tries until one is answered."""

PAUSE = 0.1
"""Between two attempts. Less than Retry-After says: the first moment is to be met."""

Urls = Callable[[], Sequence[str]]
"""The servers that there are now."""


class NeverAnswered(Exception):
    """No attempt was answered with anything but 503, for too long."""


class Client:
    """Someone who asks a server, and the next one when the connection breaks."""

    def __init__(self, urls: Urls, ledger: Ledger) -> None:
        self._urls, self._ledger = urls, ledger
        self._connection: HTTPConnection | None = None

    def ask(
        self, method: str, path: str, key: Mapping[str, str], body: object = None
    ) -> tuple[int, Any]:
        """One attempt: the status and what was answered; 0 when the connection broke."""
        try:
            status, answer = self._ask(method, path, key, body)
        except (OSError, HTTPException, ValueError):
            self.close()
            status, answer = 0, None
        self._ledger.answered(status)
        return status, answer

    def _ask(self, method: str, path: str, key: Mapping[str, str], body: object) -> tuple[int, Any]:
        if self._connection is None:
            address = urlsplit(random.choice(self._urls())).netloc
            self._connection = HTTPConnection(address, timeout=ANSWER_SECONDS)
        text = None if body is None else json.dumps(body)
        self._connection.request(method, path, text, {**key, "Content-Type": "application/json"})
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def insist(
        self,
        method: str,
        path: str,
        key: Mapping[str, str],
        body: object = None,
        again: Sequence[int] = (503,),
    ) -> tuple[int, Any]:
        """Asks until there is an answer of another status than those. Raises NeverAnswered."""
        deadline = time.monotonic() + PATIENCE
        while True:
            status, answer = self.ask(method, path, key, body)
            if status not in (0, *again):
                return status, answer
            if time.monotonic() > deadline:
                raise NeverAnswered(f"{method} {path}: {status} {answer}")
            time.sleep(PAUSE)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(frozen=True)
class Habits:
    """How the people of a shop behave."""

    guests: int = 12
    cooks: int = 2
    pause: float = 0.05
    """Seconds between a guest's orders."""
    coupon: str | None = None
    """What every third order asks for, although it may be used up."""
    guests_cancel: bool = False
    """Whether some cancel, although the kitchen may be faster."""


class Traffic:
    """Guests and cooks, until they are told to stop."""

    def __init__(self, urls: Urls, ledger: Ledger, habits: Habits) -> None:
        self._urls, self._ledger, self._habits = urls, ledger, habits
        self._stop, self._closing = threading.Event(), threading.Event()
        self._to_cook: queue.Queue[str] = queue.Queue()
        self._guests = [
            threading.Thread(target=self._run, args=(self._order, n), daemon=True)
            for n in range(habits.guests)
        ]
        self._cooks = [
            threading.Thread(target=self._run, args=(self._cook, n), daemon=True)
            for n in range(habits.cooks)
        ]

    def start(self) -> None:
        for thread in (*self._guests, *self._cooks):
            thread.start()

    def stop(self) -> None:
        """Returns when whatever was asked has been answered."""
        self._stop.set()
        for thread in self._guests:
            thread.join()
        self._closing.set()
        for thread in self._cooks:
            thread.join()

    def _run(self, work: Callable[[Client, int], None], number: int) -> None:
        client = Client(self._urls, self._ledger)
        try:
            work(client, number)
        except Exception as error:
            self._ledger.complain(f"{type(error).__name__}: {error}")
        finally:
            client.close()

    def _order(self, client: Client, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            self._order_once(client, f"{uuid.uuid4()}", number + turn)
            self._stop.wait(self._habits.pause)

    def _order_once(self, client: Client, key: str, turn: int) -> None:
        headers = {**GUEST, "Idempotency-Key": key}
        body: Json = {"items": [{"productId": str(turn % 10 + 1), "quantity": turn % 3 + 1}]}
        if self._habits.coupon and turn % 3 == 0:
            body["couponCode"] = self._habits.coupon
        # 409: an earlier attempt under the key is not done yet
        status, answer = client.insist("POST", "/api/order", headers, body, (409, 503))
        if status == 422 and "couponCode" in body:
            return  # it was used up
        if status != 200:
            self._ledger.complain(f"an order was {status}: {answer}")
            return
        self._ledger.placed(key, answer)
        if turn % 5 == 0:
            again = client.insist("POST", "/api/order", headers, body, (409, 503))
            self._ledger.placed(key, again[1])
        self._go_on(client, answer["id"], turn)

    def _go_on(self, client: Client, order_id: str, turn: int) -> None:
        """What becomes of an order: some are cancelled, some are made, others stay."""
        if turn % 2 == 0:
            self._to_cook.put(order_id)
        if self._habits.guests_cancel and turn % 6 < 2:
            self._act(client, f"/api/order/{order_id}/cancel", GUEST)

    def _cook(self, client: Client, _: int) -> None:
        while not (self._closing.is_set() and self._to_cook.empty()):
            try:
                order_id = self._to_cook.get(timeout=0.1)
            except queue.Empty:
                continue
            for action in ("accept", "ready", "complete"):
                if self._closing.is_set():
                    return
                self._act(client, f"/api/shop/order/{order_id}/{action}", STAFF)

    def _act(self, client: Client, path: str, key: Mapping[str, str]) -> None:
        """An action, which somebody else may have made impossible."""
        status, answer = client.insist("POST", path, key)
        if status == 200:
            self._ledger.moved(answer)
        elif status != 409:
            self._ledger.complain(f"{path} was {status}: {answer}")


class Follower:
    """Follows the feed from a position on, and comes back behind the last event that it got."""

    def __init__(self, urls: Urls, path: str, key: Mapping[str, str], after: int) -> None:
        self._urls, self._path, self._key = urls, path, key
        self.name = path
        self.seen: list[Happened] = []
        self.problems: list[str] = []
        self.last = after
        self.connections = 0
        self._stop = threading.Event()
        self._connection: HTTPConnection | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait_for(self, seq: int, seconds: float = 30.0) -> None:
        """Returns when it has come that far, or when that takes too long; then it is a problem."""
        deadline = time.monotonic() + seconds
        while self.last < seq:
            if time.monotonic() > deadline:
                self.problems.append(f"{self.name}: still at {self.last}, the log is at {seq}")
                return
            time.sleep(0.05)

    def stop(self) -> None:
        self._stop.set()
        with suppress(AttributeError, OSError):  # there may be none, or no more
            self._connection.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._opened() as answer:
                    self._read(answer)
            except (OSError, HTTPException, ValueError):
                pass
            self._stop.wait(PAUSE)

    @contextmanager
    def _opened(self) -> Iterator[HTTPResponse]:
        address = urlsplit(random.choice(self._urls())).netloc
        connection = HTTPConnection(address, timeout=20)  # a beat comes every fifteen seconds
        self._connection = connection
        try:
            headers = {**self._key, "Last-Event-ID": str(self.last)}
            connection.request("GET", self._path, headers=headers)
            answer = connection.getresponse()
            if answer.status not in (200, 503):
                self.problems.append(f"{self.name} was {answer.status}")
            self.connections += answer.status == 200
            yield answer
        finally:
            connection.close()

    def _read(self, answer: HTTPResponse) -> None:
        fields: dict[str, str] = {}
        while answer.status == 200 and (line := answer.readline()) and not self._stop.is_set():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
                continue
            self._take(fields)
            fields = {}

    def _take(self, fields: Mapping[str, str]) -> None:
        kind = fields.get("event")
        if kind == "order":
            self.seen.append(happened(json.loads(fields["data"])))
        elif kind not in ("beat", None):
            self.problems.append(f"{self.name}: {kind} at {self.last}")
        self.last = int(fields.get("id", self.last))
