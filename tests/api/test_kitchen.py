"""The shop's side: what becomes of an order, and what the shop says of itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.client import KEY, Answer, Client

KITCHEN = {"api_key": "apikitchen"}
CANCEL: dict[str, object] = {"reason": "other"}

BODIES: dict[str, object] = {"estimate": {"minutes": 5}, "cancel": CANCEL}
ACTIONS = ("accept", "estimate", "ready", "complete", "recall", "cancel")

LEADS = {
    "placed": {"accept": "accepted", "cancel": "cancelled"},
    "accepted": {
        "estimate": "accepted", "ready": "ready", "complete": "completed", "cancel": "cancelled",
    },
    "ready": {"complete": "completed", "recall": "accepted", "cancel": "cancelled"},
    "completed": {"recall": "ready"},
    "cancelled": {},
}  # fmt: skip
"""From status and action to the status after it; every other action is 409."""

WAYS = {
    "placed": [],
    "accepted": ["accept"],
    "ready": ["accept", "ready"],
    "completed": ["accept", "ready", "complete"],
    "cancelled": ["cancel"],
}
"""How an order gets to a status."""


def act(client: Client, order: Any, action: str, body: object = None, **headers: str) -> Answer:
    body = BODIES.get(action) if body is None else body
    path = f"/api/shop/order/{order['id']}/{action}"
    return client.send("POST", path, body, KITCHEN | headers)


def order_in(client: Client, status: str) -> Any:
    order = client.place(("1", 2))
    for action in WAYS[status]:
        order = act(client, order, action).json
    assert order["status"] == status
    return order


def history(client: Client, order: Any) -> Any:
    return client.get(f"/api/shop/order/{order['id']}", **KITCHEN).json["events"]


@pytest.mark.parametrize("status", LEADS)
@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_on_every_status(client: Client, status: str, action: str) -> None:
    order = order_in(client, status)
    answer = act(client, order, action)
    if action == (WAYS[status] or [""])[-1]:
        assert answer.status == 200, "a repeat"
        assert answer.json == order
    elif action in LEADS[status]:
        assert answer.status == 200
        assert (answer.json["status"], answer.json["version"]) == (
            LEADS[status][action],
            order["version"] + 1,
        )
        assert act(client, order, action).json == answer.json, "a press is safe to repeat"
        assert answer.headers["ETag"] == f'"{answer.json["version"]}"'
    else:
        assert answer.status == 409
        assert answer.json["order"] == order
    events = history(client, order)
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    own = client.get(f"/api/order/{order['id']}", **KEY)
    assert own.json["version"] == len(events)
    assert own.headers["ETag"] == f'"{len(events)}"'


def test_what_an_action_says(client: Client) -> None:
    order = client.place(("1", 1))
    before = datetime.now(UTC)
    accepted = act(client, order, "accept", {"minutes": 20}).json
    ready_at = datetime.fromisoformat(accepted["readyAt"])
    assert timedelta() <= ready_at - before - timedelta(minutes=20) < timedelta(minutes=1)
    estimated = act(client, order, "estimate", {"minutes": 40}).json
    assert datetime.fromisoformat(estimated["readyAt"]) > ready_at + timedelta(minutes=19)
    assert act(client, order, "estimate", {"minutes": 40}).json == estimated, "repeated"
    assert act(client, order, "estimate", {"minutes": 41}).json["version"] == 4
    said = {"reason": "sold_out", "note": "no more waffles"}
    cancelled = act(client, order, "cancel", said).json
    assert cancelled["cancellation"] == {"by": "shop", **said}
    assert client.get(f"/api/order/{order['id']}", **KEY).json == cancelled
    events = history(client, order)
    assert [event["type"] for event in events] == [
        "order.placed", "order.accepted", "order.estimated", "order.estimated", "order.cancelled",
    ]  # fmt: skip
    assert events[0]["by"] == {"kind": "customer", "user": "demo"}
    assert events[-1]["by"] == {"kind": "staff", "user": "kitchen", "key": "6104ac75"}
    assert events[-1]["reason"] == "sold_out"
    assert events[1]["readyAt"] == accepted["readyAt"]
    assert [e["seq"] for e in events] == sorted({e["seq"] for e in events})


def test_the_usual_time_of_preparation(client: Client) -> None:
    for body in (None, b"", {}, {"minutes": None}, {"other": 1}):
        order = client.place(("1", 1))
        accepted = client.send("POST", f"/api/shop/order/{order['id']}/accept", body, KITCHEN).json
        ahead = datetime.fromisoformat(accepted["readyAt"]) - datetime.now(UTC)
        assert timedelta(minutes=14) < ahead <= timedelta(minutes=15)


BAD_MINUTES: list[object] = [0, -1, 241, 1.5, "5", True, [], 10**30]
BAD_BODIES: dict[str, list[object]] = {
    "accept": [
        *({"minutes": value} for value in BAD_MINUTES),
        [], "x", 5, b"{", b"null", b'{"minutes": NaN}',
    ],
    "estimate": [{}, {"minutes": None}, {"minutes": 0}, b""],
    "cancel": [
        *({"reason": value} for value in (None, "", "Other", "because", 5, ["other"])),
        *({**CANCEL, "note": value} for value in (5, "x" * 201, "a\nb", "\u202e")),
        b"",
    ],
}  # fmt: skip
NONSENSE = [(action, body) for action, bodies in BAD_BODIES.items() for body in bodies]


@pytest.mark.parametrize(("action", "body"), NONSENSE)
def test_nonsense_in_an_action(client: Client, action: str, body: object) -> None:
    order = order_in(client, "accepted" if action == "estimate" else "placed")
    path = f"/api/shop/order/{order['id']}/{action}"
    assert client.send("POST", path, body, KITCHEN).status == 400
    assert client.get(f"/api/order/{order['id']}", **KEY).json == order


def test_who_may(client: Client) -> None:
    order = client.place(("1", 1))
    routes = [
        ("GET", "/api/shop/order"),
        ("GET", f"/api/shop/order/{order['id']}"),
        *(("POST", f"/api/shop/order/{order['id']}/{action}") for action in ACTIONS),
        ("POST", "/api/shop/product/1/sold-out"),
        ("POST", "/api/shop/product/1/available"),
        ("POST", "/api/shop/pause"),
        ("POST", "/api/shop/resume"),
    ]
    for method, path in routes:
        assert client.send(method, path).status == 401
        assert client.send(method, path, headers=KEY).status == 403
    assert client.send("POST", "/api/order", {"items": []}, KITCHEN).status == 403
    assert client.get(f"/api/order/{order['id']}", **KITCHEN).status == 403
    for unknown in (str(uuid.uuid4()), "x", order["id"].replace("-", "")):
        assert client.get(f"/api/shop/order/{unknown}", **KITCHEN).status == 404
        assert act(client, {"id": unknown}, "accept").status == 404


def test_if_match(client: Client) -> None:
    order = client.place(("1", 1))
    assert act(client, order, "ready", **{"If-Match": '"2"'}).status == 412
    assert act(client, order, "accept", **{"If-Match": '"1"'}).json["version"] == 2
    assert act(client, order, "accept", **{"If-Match": '"1"'}).status == 200, "its repeat"
    refused = act(client, order, "ready", **{"If-Match": '"1"'})
    assert (refused.status, refused.json["order"]["version"]) == (412, 2)
    for other in ('"3"', '"0"', 'W/"2"', '"x"', '""', '"99999999999999999999"'):
        assert act(client, order, "ready", **{"If-Match": other}).status == 412
    for nonsense in ("2", "x", '"2', '"2", "3"', "a" * 9000):
        assert act(client, order, "ready", **{"If-Match": nonsense}).status == 400
    assert act(client, order, "ready", **{"If-Match": "*"}).json["version"] == 3
    assert act(client, order, "complete", **{"If-Match": ' "3" '}).json["version"] == 4


def test_a_recalled_order_that_was_seen_is_recalled_further(client: Client) -> None:
    order = order_in(client, "completed")
    ready = act(client, order, "recall").json
    assert (ready["status"], ready["version"]) == ("ready", 5)
    assert act(client, order, "recall").json == ready, "a repeat"
    accepted = act(client, order, "recall", **{"If-Match": '"5"'}).json
    assert (accepted["status"], accepted["version"]) == ("accepted", 6)


def test_a_customer_cancels_while_it_is_placed(client: Client) -> None:
    order = order_in(client, "accepted")
    refused = client.send("POST", f"/api/order/{order['id']}/cancel", headers=KEY)
    assert (refused.status, refused.json["message"]) == (409, "the shop is preparing it")
    assert refused.json["order"] == order
    placed = client.place(("1", 1))
    path = f"/api/order/{placed['id']}/cancel"
    assert client.send("POST", path, headers=KEY | {"If-Match": '"2"'}).status == 412
    assert client.send("POST", path, headers=KEY | {"If-Match": '"1"'}).status == 200
    assert act(client, placed, "cancel").status == 409, "its customer was first"
    assert act(client, placed, "accept").status == 409


def test_known_versions(client: Client) -> None:
    order = order_in(client, "accepted")
    for path, key in (("/api/order", KEY), ("/api/shop/order", KITCHEN)):
        headers = key | {"If-None-Match": '"2"'}
        assert client.get(f"{path}/{order['id']}", **headers).status == 304
        assert client.get(f"{path}/{order['id']}", **key, **{"If-None-Match": '"1"'}).status == 200


# --- what the customer says ---


@pytest.mark.parametrize(
    ("pickup", "echoed"),
    [
        (None, None),
        ({}, None),
        ({"name": "", "note": " \u2003"}, None),
        ({"name": "\u200b\u2060", "note": "\u00a0\ufeff"}, None),
        ({"name": None, "note": None}, None),
        ({"name": "Ann"}, {"name": "Ann"}),
        ({"name": " ", "note": "no nuts"}, {"note": "no nuts"}),
        ({"name": "x" * 60, "note": "ü" * 200}, {"name": "x" * 60, "note": "ü" * 200}),
        ({"name": "Ann", "phone": "5"}, {"name": "Ann"}),
        ({"note": "עברית \u200f 👩‍🍳"}, {"note": "עברית \u200f 👩‍🍳"}),
    ],
)
def test_what_a_customer_says_of_fetching_it(client: Client, pickup: Any, echoed: Any) -> None:
    body = {"items": [{"productId": "1", "quantity": 1}], "pickup": pickup}
    order = client.order(body).json
    assert order.get("pickup") == echoed
    assert client.get(f"/api/order/{order['id']}", **KEY).json == order
    assert client.send("POST", "/api/order/quote", body, KEY).status == 200


BAD_NAMES: list[object] = [5, [], {}, False, "x" * 61, "a\0b", "a\u202eb"]
BAD_NOTES: list[object] = [5, "x" * 201, "a\nb", "\u2066", "\x7f", "\x9f"]
NO_OBJECTS: list[object] = [[], "Ann", 5, True, [{}]]
NO_PICKUP = [
    *((value, "pickup") for value in NO_OBJECTS),
    *(({"name": value}, "pickup.name") for value in BAD_NAMES),
    *(({"note": value}, "pickup.note") for value in BAD_NOTES),
]


@pytest.mark.parametrize(("pickup", "field"), NO_PICKUP)
@pytest.mark.parametrize("path", ["/api/order", "/api/order/quote"])
def test_nonsense_about_fetching_it(client: Client, path: str, pickup: Any, field: str) -> None:
    body = {"items": [{"productId": "1", "quantity": 1}], "pickup": pickup}
    refused = client.send("POST", path, body, KEY)
    assert refused.status == 400
    assert [error["field"] for error in refused.json["errors"]] == [field]


def test_what_is_said_is_part_of_the_request_under_a_key(client: Client) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"items": [{"productId": "1", "quantity": 1}]}
    first = client.order(body | {"pickup": {"name": "Ann"}}, **key)
    assert client.order(body | {"pickup": {"note": " ", "name": "Ann"}}, **key).json == first.json
    act(client, first.json, "accept", {"minutes": 5})
    assert client.order(body | {"pickup": {"name": "Ann"}}, **key).json == first.json, "as it was"
    for other in ({"name": "Bob"}, {"note": "Ann"}, {}, None):
        assert client.order(body | {"pickup": other}, **key).status == 422


# --- listing ---


def test_the_board_lists_open_orders_oldest_first(client: Client) -> None:
    orders = {status: order_in(client, status) for status in LEADS}
    mine = {order["id"] for order in orders.values()}
    found, position = [], []
    page = client.get("/api/shop/order?limit=2", **KITCHEN).json
    while True:
        found += page["orders"]
        position.append(page["position"])
        if "nextCursor" not in page:
            break
        page = client.get(
            f"/api/shop/order?status=open&limit=2&cursor={page['nextCursor']}", **KITCHEN
        ).json
    waiting = [order for order in found if order["id"] in mine]
    assert waiting == [orders["placed"], orders["accepted"], orders["ready"]]
    assert len({order["id"] for order in found}) == len(found)
    assert found == sorted(found, key=lambda order: order["createdAt"])
    assert position == sorted(position)
    for status, order in orders.items():
        listed = client.get(f"/api/shop/order?status={status}&limit=500", **KITCHEN).json["orders"]
        assert order in listed
        assert {one["status"] for one in listed} == {status}
        assert listed == sorted(listed, key=lambda one: one["createdAt"], reverse=True)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "status=", "status=Open", "status=open&status=ready",
     "status=%00", "cursor=x", "status=" + "x" * 5000],
)  # fmt: skip
def test_bad_questions(client: Client, query: str) -> None:
    assert client.get(f"/api/shop/order?{query}", **KITCHEN).status == 400


# --- what the shop says of itself ---


@pytest.fixture
def open_shop(client: Client) -> Iterator[Client]:
    yield client
    assert client.send("POST", "/api/shop/resume", headers=KITCHEN).json == {"open": True}
    client.send("POST", "/api/shop/product/4/available", headers=KITCHEN)


def test_sold_out(open_shop: Client) -> None:
    client, path = open_shop, "/api/shop/product/4"
    menu = client.get("/api/product")
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = client.place(("4", 1), **key)
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for body in (None, {}, {"until": None}, {"until": until}):
        sold_out = client.send("POST", f"{path}/sold-out", body, KITCHEN)
        assert (sold_out.status, sold_out.json["available"]) == (200, False)
    assert client.get("/api/product/4").json == sold_out.json
    assert client.get("/api/product").json[3] == sold_out.json
    assert client.get("/api/product", **{"If-None-Match": menu.headers["ETag"]}).status == 200
    basket = {"items": [{"productId": i, "quantity": 1} for i in ("1", "4", "4")]}
    for asked in ("/api/order", "/api/order/quote"):
        refused = client.send("POST", asked, basket, KEY)
        assert (refused.status, refused.json["reason"]) == (422, "sold_out")
        assert refused.json["message"] == "sold out: 4"
        assert [error["field"] for error in refused.json["errors"]] == [
            "items[1].productId", "items[2].productId",
        ]  # fmt: skip
    assert client.place(("4", 1), **key) == first, "a replay answers as ever"
    assert client.get(f"/api/order/{first['id']}", **KEY).json == first
    available = client.send("POST", f"{path}/available", headers=KITCHEN)
    assert "available" not in available.json
    assert client.get("/api/product").json == menu.json
    assert client.place(("4", 1))["status"] == "placed"


@pytest.mark.parametrize(
    "until",
    ["", "tomorrow", "2026-01-01T00:00:00Z", "2999-01-01", "2999-01-01T00:00:00", 5, [],
     "2999-13-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00",
     "2999-01-01T00:00:00Z\n"],
)  # fmt: skip
def test_nonsense_about_sold_out(client: Client, until: object) -> None:
    answer = client.send("POST", "/api/shop/product/4/sold-out", {"until": until}, KITCHEN)
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "until")
    assert "available" not in client.get("/api/product/4").json


@pytest.mark.parametrize(("product", "status"), [("999", 404), ("0", 404), ("x", 400), ("01", 400)])
@pytest.mark.parametrize("action", ["sold-out", "available"])
def test_no_such_product(client: Client, product: str, status: int, action: str) -> None:
    answer = client.send("POST", f"/api/shop/product/{product}/{action}", headers=KITCHEN)
    assert answer.status == status


def test_the_shop_pauses(open_shop: Client) -> None:
    client, key = open_shop, {"Idempotency-Key": str(uuid.uuid4())}
    first = client.place(("1", 1), **key)
    assert client.get("/api/shop").json == {"open": True}
    paused = client.send(
        "POST", "/api/shop/pause", {"minutes": 60, "message": "Back at six"}, KITCHEN
    ).json
    until = datetime.fromisoformat(paused["until"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < until <= timedelta(minutes=60)
    assert client.get("/api/shop").json == paused
    for asked in ("/api/order", "/api/order/quote"):
        refused = client.send("POST", asked, {"items": [{"productId": "1", "quantity": 1}]}, KEY)
        assert (refused.status, refused.json["reason"]) == (422, "closed")
    assert client.place(("1", 1), **key) == first, "a replay answers as ever"
    assert act(client, first, "accept").status == 200, "the kitchen goes on"
    assert client.send("POST", "/api/shop/pause", headers=KITCHEN).json == {"open": False}
    assert client.get("/api/shop").json == {"open": False}
    assert client.send("POST", "/api/shop/resume", headers=KITCHEN).json == {"open": True}
    assert client.place(("1", 1))["status"] == "placed"


@pytest.mark.parametrize(
    "body",
    [{"minutes": 0}, {"minutes": 1441}, {"minutes": "5"}, {"message": 5}, {"message": "x" * 201},
     {"message": "a\u202eb"}, [], b"x"],
)  # fmt: skip
def test_nonsense_about_a_pause(client: Client, body: object) -> None:
    assert client.send("POST", "/api/shop/pause", body, KITCHEN).status == 400
    assert client.get("/api/shop").json == {"open": True}
