"""An order that is to cost what its client has seen."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

import pytest

from rig.processes import RunningServer, run, serving
from tests.api.client import KEY, Client, connect

BASKET = {
    "items": [{"productId": "1", "quantity": 2}, {"productId": "3", "quantity": 1}],
    "couponCode": "save10",
}


def count_orders(client: Client) -> int:
    return len(client.get("/api/order?limit=100", **KEY).json["orders"])


@pytest.mark.parametrize("total", [32.37, "32.370", "3237e-2", None])
def test_the_right_total_makes_no_difference(client: Client, total: object) -> None:
    body = json.dumps(BASKET)[:-1] + f', "expectedTotal": {"null" if total is None else total}}}'
    answer = client.order(body)
    assert (answer.status, answer.json["total"]) == (200, 32.37)
    assert "expectedTotal" not in answer.json


@pytest.mark.parametrize("total", [0, 32.36, 32.38, 35.97, 1e12, 123456789012345678])
def test_another_total_is_409_with_the_quote_and_nothing_is_stored(
    client: Client, total: float
) -> None:
    before = count_orders(client)
    answer = client.order(BASKET | {"expectedTotal": total})
    quoted = client.send("POST", "/api/order/quote", BASKET, KEY)
    assert answer.status == 409
    assert (answer.json["code"], answer.json["type"]) == (409, "error")
    assert answer.json["quote"] == quoted.json
    assert answer.json["quote"]["couponCode"] == "SAVE10"
    assert answer.headers["Retry-After"] is None
    assert count_orders(client) == before


@pytest.mark.parametrize("total", ["32.37", -0.01, -1, 32.371, 1e-3, True, [], {}, "", "x"])
def test_a_total_that_is_none(client: Client, total: object) -> None:
    answer = client.order(BASKET | {"expectedTotal": total})
    assert answer.status == 400
    assert [error["field"] for error in answer.json["errors"]] == ["expectedTotal"]
    # a quote does not know the member
    quoted = client.send("POST", "/api/order/quote", BASKET | {"expectedTotal": total}, KEY)
    assert quoted.status == 200


def test_what_cannot_be_fulfilled_is_said_first(client: Client) -> None:
    unknown = {"items": [{"productId": "999", "quantity": 1}], "expectedTotal": 1}
    assert client.order(unknown).status == 422
    assert client.order(BASKET | {"couponCode": "NOSUCHCODE", "expectedTotal": 1}).status == 422


def test_it_is_no_part_of_the_request_under_a_key(client: Client) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    refused = client.order(BASKET | {"expectedTotal": 1}, **key)
    assert refused.status == 409
    first = client.order(BASKET | {"expectedTotal": 32.37}, **key)
    assert first.status == 200
    for body in (BASKET, BASKET | {"expectedTotal": 32.37}, BASKET | {"expectedTotal": 1}):
        again = client.order(body, **key)
        assert (again.status, again.json) == (200, first.json)
    other = {"items": BASKET["items"], "expectedTotal": 1}
    assert client.order(other, **key).status == 422
    assert client.order(BASKET | {"expectedTotal": -1}, **key).status == 400


def test_a_price_that_has_changed_since(
    fresh_server: RunningServer, fresh_database: str, menu: Path
) -> None:
    if fresh_database == "memory://":
        pytest.skip("memory:// has no second process that could load")
    key = {"Idempotency-Key": "evening"}
    with connect(fresh_server.url) as client:
        first = client.order(BASKET | {"expectedTotal": 32.37}, **key)
        products = json.loads((menu / "products.json").read_text())
        products[0]["price"] = 13.99
        (menu / "products.json").write_text(json.dumps(products))
        done = run("database-load", STORAGE_URL=fresh_database, FIXTURES_DIR=menu)
        assert done.returncode == 0, done.stderr
        time.sleep(1.0)
        answer = client.order(BASKET | {"expectedTotal": 32.37})
        assert (answer.status, answer.json["quote"]["total"]) == (409, 34.17)
        assert client.order(BASKET | {"expectedTotal": 32.37}, **key).json == first.json


def test_it_is_counted_by_its_reason() -> None:
    with serving("memory://") as server, connect(server.url) as client:
        client.order(BASKET | {"expectedTotal": 1})
        text = client.get("/metrics").body.decode()
    assert 'orders_refused_total{reason="price_changed"} 1.0' in text
