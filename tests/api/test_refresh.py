"""What is loaded while the server runs."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rig.processes import PATIENCE, RunningServer, prepare, run, serving
from tests.api.client import KEY, connect

Load = Callable[[Path], None]


@pytest.fixture
def database_url(fresh_database: str) -> str:
    if fresh_database == "memory://":
        pytest.skip("memory:// has no second process that could load")
    return fresh_database


def change_price(menu: Path, price: float) -> None:
    products = json.loads((menu / "products.json").read_text())
    products[0]["price"] = price
    (menu / "products.json").write_text(json.dumps(products))


def load(url: str, menu: Path, code: int = 0) -> None:
    done = run("database-load", STORAGE_URL=url, FIXTURES_DIR=menu)
    assert done.returncode == code, done.stderr


class Reader(threading.Thread):
    """Reads the menu again and again, and keeps what it saw of the first price."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__()
        self.server = server
        self.seen: list[float] = []
        self.failures: list[object] = []
        self.done = threading.Event()

    def run(self) -> None:
        with connect(self.server.url) as client:
            while not self.done.is_set():
                answer = client.get("/api/product")
                if answer.status == 200 and len(answer.json) == 10:
                    self.seen.append(answer.json[0]["price"])
                else:
                    self.failures.append((answer.status, answer.body))

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.done.set()
        self.join(PATIENCE)


def wait_for_price(server: RunningServer, price: float) -> None:
    deadline = time.monotonic() + PATIENCE
    with connect(server.url) as client:
        while client.get("/api/product/1").json["price"] != price:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def read_back(server: RunningServer, orders: list[Any]) -> None:
    with connect(server.url) as client:
        for order in orders:
            assert client.get(f"/api/order/{order['id']}", **KEY).json == order


def test_a_loaded_price_is_served_without_a_restart_or_a_failed_request(
    fresh_server: RunningServer, database_url: str, menu: Path
) -> None:
    with Reader(fresh_server) as reader, connect(fresh_server.url) as client:
        before = client.place(("1", 1), ("2", 2), coupon="SAVE10")
        change_price(menu, 13.49)
        load(database_url, menu)
        # an answer may be a second old, and no more; this waits out what the contract allows
        time.sleep(1.0)
        assert client.get("/api/product/1").json["price"] == 13.49
        assert client.get("/api/product").json[0]["price"] == 13.49
        after = client.place(("1", 1))
        assert after["total"] == 13.49
        (menu / "products.json").write_text("[{")
        load(database_url, menu, code=1)
        assert client.get("/api/product/1").json["price"] == 13.49
        read_back(fresh_server, [before, after])
    assert not reader.failures
    assert reader.seen == sorted(reader.seen), "an old price came back"


def test_what_left_the_fixtures_is_gone_for_new_orders_and_stays_in_old_ones(
    fresh_server: RunningServer, database_url: str, menu: Path
) -> None:
    with connect(fresh_server.url) as client:
        before = client.place(("10", 1), ("1", 1), coupon="SAVE10")
        for file, index in (("products.json", -1), ("coupons.json", 0)):
            entries = json.loads((menu / file).read_text())
            del entries[index]
            (menu / file).write_text(json.dumps(entries))
        load(database_url, menu)
        time.sleep(1.0)
        assert client.get("/api/product/10").status == 404
        assert client.order({"items": [{"productId": "10", "quantity": 1}]}).status == 422
        line = {"productId": "1", "quantity": 1}
        assert client.order({"items": [line], "couponCode": "SAVE10"}).status == 422
        read_back(fresh_server, [before])


def test_a_key_that_is_taken_away_by_a_load_opens_nothing(
    fresh_server: RunningServer, database_url: str, menu: Path
) -> None:
    users = json.loads((menu / "users.json").read_text())
    for user in users:
        if user["id"] == "demo":
            user["keys"][0]["hash"] = "sha256:" + "0" * 64
    (menu / "users.json").write_text(json.dumps(users))
    with connect(fresh_server.url) as client:
        client.place(("1", 1))
        load(database_url, menu)
        time.sleep(1.0)
        assert client.order({"items": [{"productId": "1", "quantity": 1}]}).status == 403


def has_warned(server: RunningServer) -> bool:
    """By the time an answer comes, the catalogue is read, and its lines are written."""
    with connect(server.url) as client:
        answer = client.get("/health")
    server.wait_for_request(answer.headers["X-Request-ID"])
    return any("the sample key 'apitest' opens nothing" in line["message"] for line in server.lines)


SAMPLE = {"items": [{"productId": "1", "quantity": 1}]}


@pytest.mark.parametrize(
    ("environment", "refused"),
    [("prod", True), ("Production", True), ("PROD", True), ("dev", False), ("preprod", False)],
)
def test_in_production_the_sample_keys_open_nothing(
    fresh_database: str, environment: str, refused: bool
) -> None:
    with (
        serving(fresh_database, ENVIRONMENT=environment, RATE_LIMIT="1000/minute") as server,
        connect(server.url) as client,
    ):
        wait_for_price(server, 12.99)
        assert has_warned(server) is refused
        paths = {"apitest": "order", "apitest-readonly": "order", "apikitchen": "shop/order"}
        for key, path in paths.items():
            for header in ("api_key", "X-API-Key"):
                answer = client.get(f"/api/{path}", **{header: key})
                assert answer.status == (403 if refused else 200)
                if refused:
                    assert answer.json["message"] == "the API key is not valid"
        statuses = [
            client.send("POST", path, SAMPLE, KEY).status
            for path in ("/api/order", "/api/order/quote")
        ]
        assert statuses == [403 if refused else 200] * 2


def test_production_with_keys_of_its_own_is_not_warned(fresh_url: str, menu: Path) -> None:
    users = (menu / "users.json").read_text()
    for hashed in re.findall(r"sha256:(\w+)", users):
        users = users.replace(hashed, hashed[::-1])
    (menu / "users.json").write_text(users)
    if fresh_url != "memory://":
        prepare(fresh_url, FIXTURES_DIR=menu)
    with serving(fresh_url, ENVIRONMENT="prod", FIXTURES_DIR=menu) as server:
        wait_for_price(server, 12.99)
        assert not has_warned(server)
