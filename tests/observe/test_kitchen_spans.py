"""What becomes of orders in spans: an action's, a stream's."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rig.processes import PATIENCE, RunningServer, serving
from tests.api.client import KEY, Client, connect
from tests.observe.collector import Collector, running_collector
from tests.observe.test_kitchen_metrics import act, following


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(params=["httptools", "tornado"])
def server(
    database: str, collector: Collector, request: pytest.FixtureRequest
) -> Iterator[RunningServer]:
    with serving(database, HTTP_SERVER=request.param, **collector.settings) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with connect(server.url) as connected:
        yield connected


def test_an_action_says_where_its_order_stands_then(client: Client, collector: Collector) -> None:
    order = client.place(("1", 1))["id"]
    steps = {
        "accept": ("accepted", "accepted"),
        "ready": ("ready", "ready"),
        "recall": ("accepted", "recalled"),
        "complete": ("completed", "completed"),
    }
    for action, reached in steps.items():
        assert act(client, order, action, **{"X-Request-ID": f"span-{action}"}).status == 200
        span = collector.wait_for(f"span-{action}")
        assert span.name == f"POST /api/shop/order/:orderId/{action}"
        attributes = span.attributes
        found = attributes["orderfood.order.status"], attributes["orderfood.order.event"]
        assert found == reached
        (call,) = [s for s in collector.spans if s.parent == span.id]
        assert call.name == "storage.change_order"
    assert act(client, order, "accept", **{"X-Request-ID": "span-late"}).status == 409
    span = collector.wait_for("span-late")
    assert span.attributes["orderfood.reason"] == "not_changeable"
    assert "orderfood.order.status" not in span.attributes
    own = client.place(("1", 1))["id"]
    headers = {**KEY, "X-Request-ID": "span-own"}
    assert client.send("POST", f"/api/order/{own}/cancel", None, headers).status == 200
    assert collector.wait_for("span-own").attributes["orderfood.order.event"] == "cancelled"


def test_a_streams_span_ends_when_it_has_begun(
    server: RunningServer, client: Client, collector: Collector
) -> None:
    with following(server, "/api/shop/event", "apikitchen", "stream-1"):
        span = collector.wait_for("stream-1")  # while the stream goes on
        assert span.name == "GET /api/shop/event"
        time.sleep(6)
        client.place(("1", 1))
    deadline = time.monotonic() + PATIENCE
    while not [s for s in collector.spans if s.name == "POST /api/order"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(collector.of_requests("stream-1")) == 1
    assert span.seconds < 5
