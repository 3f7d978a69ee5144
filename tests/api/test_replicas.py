"""Two servers on one database: retries, limited coupons, and death in between."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rig.processes import PATIENCE, RunningServer, prepare, run, serving
from tests.api.client import KEY, connect

KEYS, RETRIES, CLIENTS = 500, 4, 16


@pytest.fixture
def url(shared_url: str, menu: Path) -> str:
    coupons = json.loads((menu / "coupons.json").read_text())
    coupons.append({"code": "FEW", "kind": "percent", "value": 50, "maxUses": 30})
    coupons.append({"code": "ONCE", "kind": "amount", "value": 1, "maxUsesPerUser": 1})
    (menu / "coupons.json").write_text(json.dumps(coupons))
    prepare(shared_url, FIXTURES_DIR=menu)
    return shared_url


@pytest.fixture
def servers(url: str) -> Iterator[tuple[RunningServer, RunningServer]]:
    with serving(url) as one, serving(url) as two:
        yield one, two


def stored_orders(server: RunningServer) -> list[str]:
    """The ids of all orders of the sample user, by listing them."""
    ids: list[str] = []
    path = "/api/order?limit=100"
    with connect(server.url) as client:
        while True:
            page = client.get(path, **KEY).json
            ids += [order["id"] for order in page["orders"]]
            if "nextCursor" not in page:
                return ids
            path = f"/api/order?limit=100&cursor={page['nextCursor']}"


def basket(number: int, coupon: str | None = None) -> dict[str, object]:
    items = [{"productId": str(number % 10 + 1), "quantity": number % 7 + 1}]
    return {"items": items, "couponCode": coupon}


def test_two_thousand_retries_under_five_hundred_keys_store_five_hundred(
    servers: tuple[RunningServer, RunningServer],
) -> None:
    samples = len(stored_orders(servers[0]))

    def client_of(number: int) -> list[tuple[int, bytes]]:
        answers = []
        with connect(servers[number % 2].url) as client:
            # every key is sent by several clients, to both servers, at about the same time
            for retry in range(RETRIES * KEYS // CLIENTS):
                key = (retry * CLIENTS + number) % KEYS if number < CLIENTS // 2 else retry % KEYS
                answer = client.order(basket(key), **{"Idempotency-Key": f"retry-{key}"})
                assert answer.status == 200, answer.body
                answers.append((key, answer.body))
        return answers

    with ThreadPoolExecutor(CLIENTS) as pool:
        sent = [answer for part in pool.map(client_of, range(CLIENTS)) for answer in part]
    with connect(servers[1].url) as client:
        for key in range(KEYS):
            answer = client.order(basket(key), **{"Idempotency-Key": f"retry-{key}"})
            sent.append((key, answer.body))
    assert len(sent) == RETRIES * KEYS + KEYS
    bodies: dict[int, set[bytes]] = {}
    for key, body in sent:
        bodies.setdefault(key, set()).add(body)
    assert {len(answers) for answers in bodies.values()} == {1}, "one answer for each key"
    assert len(stored_orders(servers[0])) - samples == KEYS


def test_a_coupon_with_thirty_uses_is_accepted_thirty_times(
    servers: tuple[RunningServer, RunningServer],
) -> None:
    def order(number: int) -> int:
        with connect(servers[number % 2].url) as client:
            return client.order(basket(number, "few")).status

    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = Counter(pool.map(order, range(100)))
    assert statuses == {200: 30, 422: 70}


def test_a_cancelled_order_gives_the_use_back_and_a_load_does_not(
    servers: tuple[RunningServer, RunningServer], url: str, menu: Path
) -> None:
    with connect(servers[0].url) as one, connect(servers[1].url) as two:
        quote = "/api/order/quote"
        assert two.send("POST", quote, basket(1, "once"), KEY).status == 200
        order = one.place(("1", 1), coupon="ONCE")
        assert two.order(basket(1, "once")).status == 422
        assert two.send("POST", quote, basket(1, "once"), KEY).status == 422
        assert run("database-load", STORAGE_URL=url, FIXTURES_DIR=menu).returncode == 0
        assert two.order(basket(1, "once")).status == 422
        assert two.send("POST", f"/api/order/{order['id']}/cancel", headers=KEY).status == 200
        assert one.order(basket(1, "once")).status == 200
        assert two.order(basket(1, "once")).status == 422


def test_an_order_is_replayed_after_its_server_was_killed(url: str) -> None:
    key = {"Idempotency-Key": "over-death"}
    with serving(url) as server, connect(server.url) as client:
        first = client.order(basket(1), **key)
        server.stop(signal.SIGKILL)
    with serving(url) as server, connect(server.url) as client:
        assert client.order(basket(1), **key).body == first.body
        assert client.order(basket(2), **key).status == 422


def test_a_file_that_is_taken_away_takes_no_orders(sqlite_url: str) -> None:
    prepare(sqlite_url)
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with serving(sqlite_url) as server, connect(server.url) as client:
        assert client.order(basket(1)).status == 200
        path.rename(path.with_suffix(".old"))
        time.sleep(1.0)  # the catalogue is confirmed at least once a second
        assert client.order(basket(1)).status == 503
        assert client.get("/ready").status == 503
        path.with_suffix(".old").rename(path)
        deadline = time.monotonic() + PATIENCE
        while client.get("/ready").status != 200:  # a probe may have begun before
            assert time.monotonic() < deadline
        assert client.order(basket(1)).status == 200


def test_a_file_that_becomes_read_only_is_503_and_heals(sqlite_url: str) -> None:
    prepare(sqlite_url)
    import sqlite3

    path = sqlite_url.removeprefix("sqlite:///")
    with serving(sqlite_url) as server, connect(server.url) as client:
        assert client.order(basket(1)).status == 200
        locker = sqlite3.connect(path, isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")  # as good as read-only to everyone else
        refused = client.order(basket(1))
        assert refused.status == 503
        assert refused.headers["Retry-After"]
        assert client.get("/api/product").status == 200
        locker.execute("ROLLBACK")
        locker.close()
        assert client.order(basket(1)).status == 200


KITCHEN = {"api_key": "apikitchen"}


def wait_until(server: RunningServer, path: str, wanted: Callable[[Any], bool]) -> None:
    """Returns when the answer is as wanted; what may be older than a second is not waited for."""
    deadline = time.monotonic() + 1.5  # a second, and what the machine is late
    with connect(server.url) as client:
        while True:
            asked = time.monotonic()
            if wanted(client.get(path).json):
                return
            assert asked < deadline, f"{path} is old"
            time.sleep(0.02)


def test_what_the_shop_says_is_said_by_every_replica_and_no_load_touches_it(
    servers: tuple[RunningServer, RunningServer], url: str, menu: Path
) -> None:
    one, two = servers
    body = {"items": [{"productId": "4", "quantity": 1}]}
    with connect(one.url) as client, connect(two.url) as other:
        client.send("POST", "/api/shop/product/4/sold-out", headers=KITCHEN)
        wait_until(two, "/api/product/4", lambda product: product.get("available") is False)
        client.send("POST", "/api/shop/pause", {"message": "Back at six"}, KITCHEN)
        wait_until(two, "/api/shop", lambda shop: not shop["open"])
        assert other.order(body).json["reason"] == "closed"
        products = json.loads((menu / "products.json").read_text())
        products[3]["price"] = 99.0
        (menu / "products.json").write_text(json.dumps(products))
        assert run("database-load", STORAGE_URL=url, FIXTURES_DIR=menu).returncode == 0
        for server in servers:
            wait_until(server, "/api/product/4", lambda product: product["price"] == 99.0)
        assert other.get("/api/product/4").json["available"] is False
        assert other.get("/api/shop").json == {"open": False, "message": "Back at six"}
        other.send("POST", "/api/shop/resume", headers=KITCHEN)
        wait_until(one, "/api/shop", lambda shop: bool(shop["open"]))
        assert client.order(body).json["reason"] == "sold_out"
        other.send("POST", "/api/shop/product/4/available", headers=KITCHEN)
        wait_until(one, "/api/product/4", lambda product: "available" not in product)
        assert client.order(body).status == 200


def test_two_cooks_and_a_customer_on_two_replicas(
    servers: tuple[RunningServer, RunningServer],
) -> None:
    """Of accepting and cancelling exactly one wins; two who accept make one event."""
    with connect(servers[0].url) as client:
        orders = [client.order(basket(number)).json for number in range(60)]

    def press(who: int) -> list[tuple[int, Any]]:
        answers = []
        with connect(servers[who % 2].url) as client:
            for order in orders:
                if who < 4:
                    path, key = f"/api/shop/order/{order['id']}/accept", KITCHEN
                else:
                    path, key = f"/api/order/{order['id']}/cancel", KEY
                answer = client.send("POST", path, headers=key)
                answers.append((answer.status, answer.json))
        return answers

    with ThreadPoolExecutor(6) as pool:
        pressed = list(pool.map(press, range(6)))
    with connect(servers[1].url) as client:
        for number, order in enumerate(orders):
            now = client.get(f"/api/shop/order/{order['id']}", **KITCHEN).json
            assert len(now["events"]) == now["version"] == 2
            won = [answers[number][0] for answers in pressed]
            if now["status"] == "accepted":
                assert won == [200, 200, 200, 200, 409, 409]
            else:
                assert now["status"] == "cancelled"
                assert sorted(won) == [200, 409, 409, 409, 409, 409]
