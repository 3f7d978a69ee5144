"""What a customer says of fetching an order, and what the shop notes of a cancellation, is
personal: in no line of the log, no span and no metric, whatever becomes of the request."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from rig.processes import PATIENCE, command, environment, prepare
from tests.api.client import KEY, Client, connect
from tests.observe.collector import Collector, running_collector
from tests.observe.test_kitchen_metrics import STAFF, act
from tests.observe.test_server import locked

NAME, NOTE, REMARK = "Zyxomma", "quillwort", "brambling"
MARKERS = (NAME, NOTE, REMARK)
PICKUP = {"name": f"Ms {NAME}", "note": f"no {NOTE} please"}


@dataclass
class Observed:
    """A server at level debug, and all that it tells."""

    url: str
    log: Path
    collector: Collector
    metrics: str = ""

    def told(self) -> dict[str, str]:
        spans = b"".join(self.collector.bodies).decode("utf-8", "replace")
        return {"log": self.log.read_text(), "spans": spans, "metrics": self.metrics}


@contextmanager
def observed(url: str, folder: Path, **settings: object) -> Iterator[Observed]:
    """A server that has ended when the block has, all it had to tell told."""
    log = folder / "log"
    with running_collector() as collector, log.open("wb") as file:
        everything = {"LOG_LEVEL": "debug", "DRAIN_SECONDS": 0, **collector.settings, **settings}
        process = subprocess.Popen(
            command("order-food"),
            env=environment(STORAGE_URL=url, PORT=0, **everything),
            stdout=file,
            stderr=file,
        )
        try:
            running = Observed(wait_for_url(log), log, collector)
            yield running
            with connect(running.url) as client:
                running.metrics = client.get("/metrics").body.decode()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()


def wait_for_url(log: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while not (found := re.search(r"order-food listens.*?(http://[\d.:]+\d)", log.read_text())):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found[1]


def order(**more: object) -> dict[str, object]:
    return {"items": [{"productId": "1", "quantity": 1}], "pickup": PICKUP, **more}


def walk_through(client: Client) -> None:
    """Two orders through all that can become of them."""
    key = {"Idempotency-Key": "walk"}
    first, again = (client.order(order(), **key).json for _ in range(2))
    assert first == again
    assert first["pickup"] == PICKUP
    assert client.order(order(couponCode="SAVE10"), **key).status == 422
    assert client.send("POST", "/api/order/quote", order(), KEY).status == 200
    for action in ("accept", "accept", "ready", "recall", "ready", "complete"):
        assert act(client, first["id"], action).status == 200
    assert act(client, first["id"], "accept").status == 409
    assert act(client, first["id"], "recall", None, **{"If-Match": '"1"'}).status == 412
    second = client.order(order()).json["id"]
    because = {"reason": "other", "note": f"told by {REMARK}"}
    assert act(client, second, "estimate", {"minutes": 5}).status == 409
    assert act(client, second, "cancel", because).status == 200
    assert client.get(f"/api/order/{second}", **KEY).json["cancellation"]["note"]
    for path in ("order", f"order/{first['id']}", "order?status=cancelled"):
        assert client.get(f"/api/shop/{path}", **STAFF).status == 200
    page = client.get("/api/shop/event?after=0", Accept="application/json", **STAFF)
    assert REMARK in page.body.decode()


def be_refused(client: Client) -> None:
    """All of it is not valid, and says so without telling what it was."""
    for pickup in (
        {"name": NAME * 60},
        {"note": NOTE * 200},
        {"name": f"{NAME}\u202e{NAME}", "note": f"{NOTE}\x07"},
        {"name": [NAME], "note": {NOTE: NOTE}},
        NAME,
        [NOTE],
        {"name": f"{NAME}\ud800", "note": NOTE},
    ):
        assert client.order(order(pickup=pickup)).status == 400
        assert client.send("POST", "/api/order/quote", order(pickup=pickup), KEY).status == 400
    broken = f'{{"items": [], "pickup": {{"name": "{NAME}", "note": {NOTE}'
    assert client.send("POST", "/api/order", broken, KEY).status == 400
    assert client.send("POST", "/api/order", order(), {"api_key": "wrong"}).status == 403
    placed = client.place(("1", 1))["id"]
    for note in (REMARK * 200, [REMARK], f"{REMARK}\x00"):
        assert act(client, placed, "cancel", {"reason": "other", "note": note}).status == 400
    assert act(client, placed, "cancel", {"reason": REMARK}).status == 400


def check(running: Observed, requests: int) -> None:
    told = running.told()
    assert told["log"].count("orderfood.access") >= requests
    assert len(running.collector.spans) >= requests
    assert "order_events_total" in told["metrics"]
    for where, text in told.items():
        for marker in MARKERS:
            assert marker.lower() not in text.lower(), (where, marker)


@pytest.mark.parametrize("http_server", ["httptools", "tornado"])
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_it_is_told_nowhere(
    sqlite_url: str, tmp_path: Path, http_server: str, log_format: str
) -> None:
    prepare(sqlite_url)
    settings = {"HTTP_SERVER": http_server, "LOG_FORMAT": log_format}
    with observed(sqlite_url, tmp_path, **settings) as running, connect(running.url) as client:
        walk_through(client)
        be_refused(client)
        waits = client.place(("1", 1))["id"]
        with locked(sqlite_url):
            assert client.order(order()).status == 503
            note = {"reason": "other", "note": REMARK}
            assert act(client, waits, "cancel", note).status == 503
    check(running, 40)


REFUSE = f"ALTER TABLE orders ADD CONSTRAINT no_such_name CHECK (pickup_name <> '{NAME}')"


@pytest.mark.parametrize("http_server", ["httptools", "tornado"])
async def test_not_even_when_a_database_quotes_it(
    postgres_url: str, tmp_path: Path, http_server: str
) -> None:
    prepare(postgres_url)
    database = await asyncpg.connect(postgres_url)
    await database.execute(REFUSE)
    await database.close()
    settings = {"HTTP_SERVER": http_server}
    with observed(postgres_url, tmp_path, **settings) as running, connect(running.url) as client:
        walk_through(client)
        assert client.order(order(pickup={"name": NAME})).status == 422
    check(running, 20)
