"""GET /metrics: what becomes of orders, who follows it, and what waits."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from orderfood.observe.kitchen_metrics import COUNT_LONGEST_PAUSE, COUNT_SECONDS
from orderfood.shop.followers import STREAM_ENDINGS, STREAM_KINDS
from orderfood.shop.lifecycle import EVENTS, STEPS
from orderfood.shop.orders import ACTION_OUTCOMES
from rig.processes import PATIENCE, RunningServer, prepare, serving
from tests.api.client import KEY, Answer, Client, connect
from tests.observe.test_metrics import Scraped

STAFF = {"api_key": "apikitchen"}


@pytest.fixture(params=["httptools", "tornado"])
def server(database: str, request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """One that has counted nothing yet."""
    with serving(database, HTTP_SERVER=request.param) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with connect(server.url) as connected:
        yield connected


def act(client: Client, order: str, action: str, body: object = None, **headers: str) -> Answer:
    return client.send("POST", f"/api/shop/order/{order}/{action}", body, {**STAFF, **headers})


def wait_for(client: Client, wanted: Callable[[Scraped], bool]) -> Scraped:
    """The first exposition that is as wanted: one may be as old as the longest pause after a count,
    which a busy machine makes slow."""
    deadline = time.monotonic() + PATIENCE + COUNT_LONGEST_PAUSE
    while not wanted(found := Scraped(client)):
        assert time.monotonic() < deadline, found.text
        time.sleep(0.1)
    return found


def series(scraped: Scraped, family: str, *labels: str) -> dict[tuple[str, ...], float]:
    found = scraped.families[family].samples
    return {tuple(s.labels[label] for label in labels): s.value for s in found}


def test_every_series_stands_from_the_start(client: Client) -> None:
    scraped = Scraped(client)
    types = {("placed",), *((event,) for event in EVENTS.values())}
    assert series(scraped, "order_events", "type") == dict.fromkeys(types, 0)
    steps = {(step.action, step.by, outcome) for step in STEPS for outcome in ACTION_OUTCOMES}
    acted = series(scraped, "order_actions", "action", "by", "outcome")
    assert acted == dict.fromkeys(steps, 0)
    endings = {(kind, reason) for kind in STREAM_KINDS for reason in STREAM_ENDINGS}
    ended = series(scraped, "feed_streams_ended", "kind", "reason")
    assert ended == dict.fromkeys(endings, 0)
    clients = series(scraped, "feed_clients", "kind")
    assert clients == dict.fromkeys(((kind,) for kind in STREAM_KINDS), 0)
    assert scraped.value("orders_accept_alert_seconds") == 600


def test_actions_by_their_outcome(client: Client) -> None:
    first, second, third = (client.place(("1", 1))["id"] for _ in range(3))
    assert act(client, first, "accept", {"minutes": 5}).status == 200
    assert act(client, first, "accept", {"minutes": 5}).status == 200
    assert act(client, first, "estimate", {"minutes": 9}).status == 200
    assert act(client, first, "ready", None, **{"If-Match": '"1"'}).status == 412
    for action in ("ready", "recall", "ready", "complete"):
        assert act(client, first, action).status == 200
    assert act(client, first, "cancel", {"reason": "other"}).status == 409
    missing = "00000000-0000-4000-8000-00000000ffff"
    assert act(client, missing, "ready").status == 404
    assert act(client, "nonsense", "ready").status == 404
    assert act(client, second, "cancel", {"reason": "sold_out"}).status == 200
    assert client.send("POST", f"/api/order/{third}/cancel", None, KEY).status == 200
    assert client.send("POST", f"/api/order/{third}/cancel", None, KEY).status == 409
    assert act(client, third, "cancel", {"reason": "no reason"}).status == 400
    scraped = Scraped(client)
    acted = series(scraped, "order_actions", "action", "by", "outcome")
    assert {step: count for step, count in acted.items() if count} == {
        ("accept", "shop", "done"): 1,
        ("accept", "shop", "repeated"): 1,
        ("estimate", "shop", "done"): 1,
        ("ready", "shop", "version"): 1,
        ("ready", "shop", "not_found"): 2,
        ("ready", "shop", "done"): 2,
        ("recall", "shop", "done"): 1,
        ("complete", "shop", "done"): 1,
        ("cancel", "shop", "conflict"): 1,
        ("cancel", "shop", "done"): 1,
        ("cancel", "customer", "done"): 1,
        ("cancel", "customer", "conflict"): 1,
    }
    assert series(scraped, "order_events", "type") == {
        ("placed",): 3,
        ("accepted",): 1,
        ("estimated",): 1,
        ("ready",): 2,
        ("recalled",): 1,
        ("completed",): 1,
        ("cancelled",): 2,
    }
    for name, count in (("order_accepted_after", 1), ("order_ready_after", 2)):
        assert scraped.value(f"{name}_seconds_count") == count
        assert 0 < scraped.value(f"{name}_seconds_sum") < 60


def test_orders_that_wait(client: Client, server: RunningServer) -> None:
    before = wait_for(client, lambda scraped: "orders_open{" in scraped.text)
    accepted = before.value("orders_open", status="accepted")
    placed = [client.place(("1", 1))["id"] for _ in range(2)]
    act(client, placed[0], "accept")
    after = wait_for(
        client, lambda scraped: scraped.value("orders_open", status="accepted") == accepted + 1
    )
    assert after.value("orders_open", status="placed") >= 1
    assert set(series(after, "orders_open", "status")) == {("placed",), ("accepted",), ("ready",)}
    age = after.value("orders_oldest_placed_age_seconds")
    assert 0 < age < 3600
    older = wait_for(
        client, lambda scraped: scraped.value("orders_oldest_placed_age_seconds") > age
    )
    counted = older.value("storage_call_duration_seconds_count", operation="count_open_orders")
    up_for = time.time() - older.value("process_start_time_seconds")
    assert counted <= 1 + up_for / COUNT_SECONDS, "not once a scrape"


@contextmanager
def following(
    server: RunningServer, path: str, key: str, request_id: str = "follows"
) -> Iterator[http.client.HTTPResponse]:
    """A stream of the feed that has begun."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", path, headers={"api_key": key, "X-Request-ID": request_id})
    try:
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.readline().startswith(b"retry:")
        yield answer
        answer.close()
    finally:
        connection.close()


def events_of(stream: http.client.HTTPResponse, count: int) -> None:
    while count:
        count -= stream.readline() == b"event: order\n"


def test_who_follows_and_how_late(client: Client, server: RunningServer) -> None:
    with (
        following(server, "/api/shop/event", "apikitchen") as shop,
        following(server, "/api/shop/event", "apikitchen") as other,
        following(server, "/api/event", "apitest") as own,
    ):
        clients = {("shop",): 2, ("customer",): 1}
        wait_for(client, lambda scraped: series(scraped, "feed_clients", "kind") == clients)
        order = client.place(("1", 1))["id"]
        act(client, order, "accept")
        for stream in (shop, other, own):
            events_of(stream, 2)
        scraped = wait_for(client, lambda scraped: scraped.value("feed_lag_seconds_count") == 2)
        assert 0 < scraped.value("feed_lag_seconds_sum") < PATIENCE
        assert scraped.value("feed_events_written_total") == 6
    ended = {("shop", "client"): 2, ("customer", "client"): 1}
    wait_for(client, lambda scraped: endings(scraped) == ended)
    assert set(series(Scraped(client), "feed_clients", "kind").values()) == {0}


def endings(scraped: Scraped) -> dict[tuple[str, ...], float]:
    found = series(scraped, "feed_streams_ended", "kind", "reason")
    return {ending: count for ending, count in found.items() if count}


def test_a_stream_is_neither_in_flight_nor_slow(client: Client, server: RunningServer) -> None:
    with following(server, "/api/shop/event", "apikitchen"):
        time.sleep(6)
        route = {"method": "GET", "route": "/api/shop/event"}
        scraped = wait_for(
            client, lambda scraped: scraped.value("http_server_requests_total", **route) == 1
        )
        assert scraped.value("http_server_active_requests", **route) == 0
        assert scraped.value("http_server_request_duration_seconds_count", **route) == 1
    wait_for(client, lambda scraped: endings(scraped) == {("shop", "client"): 1})
    scraped = wait_for(client, lambda scraped: True)
    assert scraped.value("http_server_requests_total", **route) == 1
    assert scraped.value("http_server_request_duration_seconds_sum", **route) < 5


def test_refused_because_of_the_kitchen(client: Client) -> None:
    client.send("POST", "/api/shop/product/1/sold-out", {}, STAFF)
    client.order({"items": [{"productId": "1", "quantity": 1}]})
    client.send("POST", "/api/shop/product/1/available", {}, STAFF)
    client.send("POST", "/api/shop/pause", {}, STAFF)
    client.order({"items": [{"productId": "1", "quantity": 1}]})
    client.send("POST", "/api/shop/resume", {}, STAFF)
    refused = series(Scraped(client), "orders_refused", "reason")
    assert {reason for (reason,), count in refused.items() if count} == {"sold_out", "closed"}


def test_several_workers_count_as_one(sqlite_url: str) -> None:
    prepare(sqlite_url)
    with serving(sqlite_url, WORKERS=2) as server, ExitStack() as connections:
        clients = [connections.enter_context(connect(server.url)) for _ in range(8)]
        orders = [client.place(("1", 1))["id"] for client in clients]
        for client, order in zip(clients, reversed(orders), strict=True):
            assert act(client, order, "accept").status == 200
        for _ in range(5):
            connections.enter_context(following(server, "/api/event", "apitest"))
            connections.enter_context(following(server, "/api/shop/event", "apikitchen"))
        wait_for(clients[0], lambda scraped: scraped.value("orders_open", status="accepted") == 8)
        scraped = wait_for(
            clients[0],
            lambda scraped: scraped.value("order_events_total", type="accepted") == 8,
        )
        assert scraped.value("orders_oldest_placed_age_seconds") == 0
        assert scraped.value("orders_accept_alert_seconds") == 600
        wait_for(clients[0], lambda scraped: scraped.value("feed_clients") == 10)
