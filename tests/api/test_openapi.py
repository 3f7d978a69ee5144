"""The OpenAPI document, the page that shows it, and the rate limit."""

from __future__ import annotations

import json
import re
import time

import pytest
from openapi_spec_validator import validate

from orderfood.api.parsing import parse_basket
from orderfood.api.routes import ROUTES
from orderfood.web.pages import PAGES
from tests.api import schema
from tests.api.client import KEY, Client

BODY = {"items": [{"productId": "1", "quantity": 1}]}


def test_the_contract_is_openapi() -> None:
    validate(schema.document())


def test_every_route_stands_in_it_with_its_methods() -> None:
    paths = schema.document()["paths"]
    documented = {(method.upper(), path) for path, of_path in paths.items() for method in of_path}
    pages = {("GET", template) for template in PAGES}
    assert documented - pages == {(route.method, route.template) for route in ROUTES}


def test_every_route_needs_the_scope_that_stands_in_it() -> None:
    for route in ROUTES:
        operation = schema.document()["paths"][route.template][route.method.lower()]
        assert bool(operation.get("security")) == (route.scope is not None), route.template


def test_its_examples_are_right() -> None:
    for item in schema.document()["paths"].values():
        for operation in item.values():
            for response in operation["responses"].values():
                check_examples(schema.resolve(response).get("content", {}))
            check_examples(operation.get("requestBody", {}).get("content", {}))


def check_examples(content: dict[str, dict[str, dict[str, object]]]) -> None:
    for kind in content.values():
        for example in kind.get("examples", {}).values():
            schema.validate(kind["schema"], example["value"])  # type: ignore[index]


def test_its_example_requests_are_baskets() -> None:
    body = schema.document()["paths"]["/api/order"]["post"]["requestBody"]
    for example in body["content"]["application/json"]["examples"].values():
        assert parse_basket(json.dumps(example["value"]).encode()).items


def test_it_is_served(client: Client) -> None:
    answer = client.get("/openapi.json")
    assert answer.json == schema.document()
    assert client.get("/openapi.json", **{"If-None-Match": answer.headers["ETag"]}).status == 304


def test_the_page_and_all_its_files_come_from_here(client: Client) -> None:
    page = client.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    links = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert len(links) == 4
    for link in links:
        assert client.get(f"/{link}").status == 200
    assert client.get("/docs/swagger-ui.css").headers["Content-Type"].startswith("text/css")
    for path in ("/docs/", "/docs/nope", "/docs/..%2Fapp.py", "/docs/index.html"):
        assert client.get(path).status == 404


def test_a_quote_is_an_order_that_is_not_stored(client: Client) -> None:
    basket = {"items": [{"productId": "1", "quantity": 2}], "couponCode": "save10"}
    before = client.get("/api/order?limit=1", **KEY).json
    quote = client.send("POST", "/api/order/quote", basket, KEY).json
    assert client.get("/api/order?limit=1", **KEY).json == before
    order = client.order(basket).json
    assert quote == {k: v for k, v in order.items() if k in quote}
    assert set(order) - set(quote) == {"id", "number", "status", "version", "createdAt"}
    refused_baskets: tuple[object, ...] = (
        {"items": []},
        {"items": [{"productId": "99", "quantity": 1}]},
        [],
        None,
    )
    for refused in refused_baskets:
        answers = [client.send("POST", p, refused, KEY) for p in ("/api/order", "/api/order/quote")]
        statuses = {answer.status for answer in answers}
        assert len(statuses) == 1
        assert statuses <= {400, 422}


def test_an_order_is_cancelled_once(client: Client) -> None:
    order = client.place(("1", 1))
    path = f"/api/order/{order['id']}"
    answer = client.send("POST", f"{path}/cancel", headers=KEY)
    cancelled = {"status": "cancelled", "version": 2, "cancellation": {"by": "customer"}}
    assert answer.json == order | cancelled
    assert client.get(path, **KEY).json == answer.json
    again = client.send("POST", f"{path}/cancel", headers=KEY)
    assert (again.status, again.headers["Retry-After"]) == (409, None)
    form = {**KEY, "Content-Type": "application/x-www-form-urlencoded"}
    assert client.send("POST", f"{path}/cancel", headers=form).status == 409, "what body?"
    for unknown in ("00000000-0000-4000-8000-00000000ffff", "x", "5F0F6C0E"):
        assert client.send("POST", f"/api/order/{unknown}/cancel", headers=KEY).status == 404
    reader = {"api_key": "apitest-readonly"}
    assert client.send("POST", f"{path}/cancel", headers=reader).status == 403


def test_listing_pages_through_all_orders_while_others_arrive(client: Client) -> None:
    placed = [client.place(("1", n + 1)) for n in range(7)]
    page = client.get("/api/order?limit=3", **KEY).json
    seen = page["orders"]
    while "nextCursor" in page:
        client.place(("2", 1))
        page = client.get(f"/api/order?limit=3&cursor={page['nextCursor']}", **KEY).json
        seen += page["orders"]
    ids = [order["id"] for order in seen]
    assert len(ids) == len(set(ids))
    assert [o for o in seen if o in placed] == placed[::-1]
    assert client.get("/api/order", api_key="apitest-readonly").json == {"orders": []}


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=-1", "limit=1.0", "limit=", "limit=abc", "limit=%EF%BC%91",
     "limit=1&limit=2", "limit=+1", "limit=0x1", "cursor=", "cursor=abc", "cursor=%00",
     "cursor=" + "A" * 31 + "%3D", "cursor=" + "_" * 32, "cursor=%ff", "cursor=a&cursor=b",
     "limit=" + "9" * 5000],
)  # fmt: skip
def test_bad_limits_and_cursors(client: Client, query: str) -> None:
    assert client.get(f"/api/order?{query}", **KEY).status == 400


def test_an_idempotency_key_replays_for_as_long_as_it_lives(client: Client) -> None:
    key = {"Idempotency-Key": f"test-{time.time_ns()}"}
    basket = {"items": [{"productId": "1", "quantity": 2}], "couponCode": None}
    first = client.order(basket, **key)
    again = [
        client.order(basket, **key),
        client.order({"couponCode": "", "items": basket["items"], "note": 1}, **key),
        client.order(json.dumps(basket, indent=4), **key),
    ]
    assert [a.body for a in again] == [first.body] * 3
    for other in (2, 3):
        items = [{"productId": "2", "quantity": other}]
        assert client.order({"items": items}, **key).status == 422
    assert client.order({"items": basket["items"], "couponCode": "SAVE10"}, **key).status == 422
    client.send("POST", f"/api/order/{first.json['id']}/cancel", headers=KEY)
    assert client.order(basket, **key).body == first.body, "as it was then"


def test_a_refused_order_leaves_no_key(client: Client) -> None:
    key = {"Idempotency-Key": f"test-{time.time_ns()}"}
    assert client.order({"items": [{"productId": "99", "quantity": 1}]}, **key).status == 422
    assert client.order({"items": []}, **key).status == 400
    assert client.order(BODY, **key).status == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "sch\xf6n", "a\tb"])
def test_idempotency_keys_that_are_none(client: Client, key: str) -> None:
    assert client.order(BODY, **{"Idempotency-Key": key}).status == 400
