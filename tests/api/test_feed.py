"""Following orders: nothing is missed, and nobody sees what is not theirs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from rig.processes import RunningServer, serving
from tests.api.client import KEY, Client, connect
from tests.api.stream import KITCHEN, OWN, SHOP, following

STAFF = {"api_key": KITCHEN}
JSON = {"Accept": "application/json"}
READER = "apitest-readonly"


def act(client: Client, order: dict[str, Any], action: str) -> Any:
    answer = client.send("POST", f"/api/shop/order/{order['id']}/{action}", {}, STAFF)
    assert answer.status == 200, answer.body
    return answer.json


def test_an_order_is_followed_from_its_placing_to_its_end(
    client: Client, server: RunningServer
) -> None:
    with following(server.port) as shop, following(server.port, OWN, "apitest") as own:
        placed = client.place(("1", 1))
        orders = [placed, *(act(client, placed, name) for name in ("accept", "ready", "complete"))]
        assert orders[-1]["status"] == "completed"
        for stream in (shop, own):
            events = stream.events(4)
            assert [event.data["order"] for event in events] == orders
            assert [event.data["type"] for event in events] == [
                "order.placed", "order.accepted", "order.ready", "order.completed",
            ]  # fmt: skip
            assert [event.data["seq"] for event in events] == [event.id for event in events]


def test_what_a_stream_begins_with(server: RunningServer) -> None:
    with following(server.port) as stream:
        assert stream.status == 200
        assert stream.header("Content-Type") == "text/event-stream"
        assert stream.header("Cache-Control") == "no-store, no-transform"
        assert stream.header("X-Accel-Buffering") == "no"
        assert stream.header("Content-Length") is None
        assert stream.header("Connection") is None
        assert stream.block() == "retry: 2000"


def test_head_is_answered_without_a_stream(server: RunningServer) -> None:
    with following(server.port, SHOP, KITCHEN, "Connection: close", method="HEAD") as stream:
        assert stream.status == 200
        assert stream.header("Content-Type") == "text/event-stream"
        assert stream.socket.recv(1) == b""


@pytest.mark.parametrize("more", [[], ["Connection: keep-alive"]])
def test_an_old_client_reads_to_the_end_of_the_connection(
    client: Client, server: RunningServer, more: list[str]
) -> None:
    with following(server.port, SHOP, KITCHEN, *more, version="1.0") as stream:
        assert stream.header("Connection") == "close"
        assert not stream.chunked
        order = client.place(("1", 1))
        assert stream.event("order").data["order"] == order


def test_nobody_sees_the_orders_of_others(client: Client, server: RunningServer) -> None:
    first_position = client.get(SHOP, **STAFF, **JSON).json["position"]
    first = client.place(("1", 1))
    with (
        following(server.port, OWN, READER) as other,
        following(server.port, f"{OWN}?order={first['id']}", "apitest") as one,
        following(server.port, f"{OWN}?after=0", READER) as history,
    ):
        client.place(("2", 1))
        act(client, first, "accept")
        with following(server.port) as shop:
            position = client.get(SHOP, **STAFF, **JSON).json["position"]
            assert shop.block() == "retry: 2000"
        assert one.event("order").data["order"]["id"] == first["id"]
        for stream in (other, history):
            stream.socket.settimeout(1)
            with pytest.raises(TimeoutError):
                stream.event("order")
        page = client.get(f"{OWN}?after={first_position}", api_key=READER, **JSON).json
        assert page == {"events": [], "position": position}


def test_listing_and_then_following_misses_nothing(client: Client, server: RunningServer) -> None:
    client.place(("1", 1))
    listed = client.get("/api/shop/order?limit=500", **STAFF).json
    later = [client.place(("1", n))["id"] for n in (1, 2, 3)]
    with following(server.port, f"{SHOP}?after={listed['position']}") as stream:
        events = stream.events(3)
        assert [event.data["order"]["id"] for event in events] == later
    head = f"Last-Event-ID: {events[0].id}"
    with following(server.port, f"{SHOP}?after=0", KITCHEN, head) as stream:
        assert stream.events(2) == events[1:]


def test_a_page_is_the_same_at_once(client: Client) -> None:
    begin = client.get(SHOP, **STAFF, **JSON).json
    assert begin["events"] == []
    order = client.place(("1", 1))
    path = f"{SHOP}?after={begin['position']}"
    page = client.get(path, **STAFF, **JSON).json
    assert [event["order"] for event in page["events"]] == [order]
    assert page["position"] == page["events"][0]["seq"]
    again = client.get(f"{SHOP}?after={page['position']}", **STAFF, **JSON).json
    assert again == {"events": [], "position": page["position"]}
    resumed = {**STAFF, **JSON, "Last-Event-ID": str(begin["position"])}
    assert client.send("GET", SHOP, headers=resumed).json == page
    beyond = client.get(f"{SHOP}?after={2**63 - 1}", **STAFF, **JSON).json
    assert beyond == {"events": [], "position": page["position"], "reset": True}


def test_a_page_holds_five_hundred_at_most(client: Client) -> None:
    begin = client.get(SHOP, **STAFF, **JSON).json["position"]
    for _ in range(501):
        client.place(("1", 1))
    first = client.get(f"{SHOP}?after={begin}", **STAFF, **JSON).json
    assert len(first["events"]) == 500
    second = client.get(f"{SHOP}?after={first['position']}", **STAFF, **JSON).json
    assert len(second["events"]) == 1


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        ("application/json", True),
        ("Application/JSON;q=0.9, text/event-stream;q=0.1", True),
        ("application/json, text/plain, */*", True),
        ("*/*", False),
        ("text/event-stream", False),
        ("application/json, text/event-stream", False),
        ("text/html, application/json;q=0", False),
        ("application/*;q=0.2, text/*;q=0.5", False),
        (";q=,,=;q=9", False),
    ],
)
def test_which_of_the_two_it_is(server: RunningServer, accept: str, is_page: bool) -> None:
    with following(server.port, SHOP, KITCHEN, f"Accept: {accept}") as stream:
        kind = stream.header("Content-Type")
        assert kind == ("application/json; charset=utf-8" if is_page else "text/event-stream")


def test_beyond_the_newest_is_a_reset_and_it_goes_on(client: Client, server: RunningServer) -> None:
    position = client.get(SHOP, **STAFF, **JSON).json["position"]
    with following(server.port, f"{SHOP}?after={position + 10}") as stream:
        reset = stream.event()
        assert reset == (position, "reset", {"position": position})
        order = client.place(("1", 1))
        assert stream.event("order").data["order"] == order


NONSENSE = ["", "x", "-1", "+1", "1.0", "0x1", "1e3", "%31%20", "9223372036854775808", "9" * 5000,
            "%EF%BC%91", "1&after=2"]  # fmt: skip


@pytest.mark.parametrize("after", NONSENSE)
def test_a_beginning_that_is_none(client: Client, after: str) -> None:
    for headers in (STAFF, {**STAFF, **JSON}):
        answer = client.get(f"{SHOP}?after={after}", **headers)
        assert answer.status == 400
        assert [error["field"] for error in answer.json["errors"]] == ["after"]


@pytest.mark.parametrize("id_", ["x", "-1", "1,2", "9" * 20, "9" * 15000, "1 2"])
def test_a_last_event_that_is_none(client: Client, id_: str) -> None:
    answer = client.send("GET", OWN, headers={**KEY, "Last-Event-ID": id_})
    assert answer.status == 400
    assert [error["field"] for error in answer.json["errors"]] == ["Last-Event-ID"]


def test_orders_that_are_none_or_of_others(client: Client) -> None:
    order = client.place(("1", 1))["id"]
    for bad in ("", "x", order.replace("-", ""), f"{order}&order={order}", "%00"):
        answer = client.get(f"{OWN}?order={bad}", **KEY)
        assert (answer.status, answer.json["errors"][0]["field"]) == (400, "order")
    assert client.get(f"{OWN}?order={order}", api_key=READER).status == 404
    unknown = "00000000-0000-4000-8000-00000000ffff"
    assert client.get(f"{OWN}?order={unknown}", **KEY, **JSON).status == 404


def test_who_may_follow(client: Client) -> None:
    for path, key, status in [
        (SHOP, "apitest", 403),
        (OWN, KITCHEN, 403),
        (SHOP, "wrong", 403),
        (SHOP, "", 401),
        (OWN, "", 401),
    ]:
        assert client.get(path, api_key=key).status == status
    assert client.send("POST", SHOP, headers=STAFF).status == 405
    preflight = client.send("OPTIONS", SHOP)
    assert "last-event-id" in preflight.headers["Access-Control-Allow-Headers"]


def test_six_streams_of_one_user_and_no_more(client: Client, server: RunningServer) -> None:
    with following(server.port, OWN, READER) as first:
        others = [following(server.port, OWN, READER) for _ in range(5)]
        for other in others:
            assert other.__enter__().status == 200
        answer = client.get(OWN, api_key=READER)
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) > 0
        assert client.get(OWN, api_key=READER, **JSON).status == 200
        first.close()
        deadline = time.monotonic() + 20
        while True:
            with following(server.port, OWN, READER) as seventh:
                if seventh.status == 200:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for other in others:
            other.__exit__(None, None, None)


@pytest.mark.parametrize("most", [0, 2])
def test_a_process_serves_so_many(http_server_name: str, most: int) -> None:
    with (
        serving("memory://", HTTP_SERVER=http_server_name, FEED_CLIENTS=most) as server,
        connect(server.url) as client,
    ):
        streams = [following(server.port) for _ in range(most)]
        for stream in streams:
            assert stream.__enter__().status == 200
        answer = client.get(OWN, **KEY)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert client.get(OWN, **KEY, **JSON).status == 200
        for stream in streams:
            stream.__exit__(None, None, None)


def test_a_server_that_is_killed_and_started_again_loses_no_event(
    fresh_database: str, http_server_name: str
) -> None:
    if fresh_database == "memory://":
        pytest.skip("memory:// survives nothing")
    seen: list[str] = []
    placed: list[str] = []
    last = "0"
    for number in range(3):
        with (
            serving(fresh_database, HTTP_SERVER=http_server_name) as server,
            connect(server.url) as client,
        ):
            placed += [client.place(("1", 1))["id"] for _ in range(3)]
            with following(server.port, SHOP, KITCHEN, f"Last-Event-ID: {last}") as stream:
                for event in stream.events(2 if number < 2 else len(placed) - len(seen)):
                    seen.append(event.data["order"]["id"])
                    last = str(event.id)
                server.process.send_signal(signal.SIGKILL)
                server.process.wait()
    assert seen == placed


def test_a_key_that_is_taken_away_ends_its_streams(
    fresh_database: str, http_server_name: str, take_key_of_kitchen_away: Callable[[], None]
) -> None:
    with (
        serving(fresh_database, HTTP_SERVER=http_server_name) as server,
        following(server.port) as shop,
        following(server.port, OWN, "apitest") as own,
        connect(server.url) as client,
    ):
        take_key_of_kitchen_away()
        shop.rest()
        assert shop.ended
        order = client.place(("1", 1))
        assert own.event("order").data["order"] == order
        assert client.get(SHOP, **STAFF).status == 403
