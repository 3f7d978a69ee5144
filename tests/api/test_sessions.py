"""Browsers' sessions: guests and staff by cookie, on every backend and both HTTP servers."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rig.processes import RunningServer, serving
from tests.api.client import Answer, Client, connect
from tests.api.stream import OWN, SHOP, following

BODY = {"items": [{"productId": "1", "quantity": 1}]}
SAME = {"Sec-Fetch-Site": "same-origin"}
STAFF = {"key": "apikitchen"}
ATTRIBUTES = "; Path=/; Max-Age={}; HttpOnly; SameSite=Strict"


def cookies_of(answer: Answer) -> dict[str, str]:
    """The values of the cookies that an answer sets, by name."""
    found = [cookie.partition(";")[0] for cookie in answer.headers.get_all("Set-Cookie") or []]
    return dict(each.partition("=")[::2] for each in found)


def begin(client: Client, body: object = None, **headers: str) -> dict[str, str]:
    """The header of the session that began."""
    answer = client.send("POST", "/api/session", body or {}, headers)
    assert answer.status == 204, answer.body
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies_of(answer).items())}


@pytest.fixture
def guest(client: Client) -> dict[str, str]:
    return begin(client) | SAME


@pytest.fixture
def staff(client: Client) -> dict[str, str]:
    return begin(client, STAFF) | SAME


def place(client: Client, headers: dict[str, str], body: object = None, **more: str) -> Answer:
    return client.send("POST", "/api/order", body or BODY, {**headers, **more})


def test_a_guest_orders_reads_and_cancels(client: Client, guest: dict[str, str]) -> None:
    order = place(client, guest).json
    assert client.get(f"/api/order/{order['id']}", **guest).json == order
    assert [each["id"] for each in client.get("/api/order", **guest).json["orders"]] == [
        order["id"]
    ]
    cancelled = client.send("POST", f"/api/order/{order['id']}/cancel", headers=guest)
    assert cancelled.json["status"] == "cancelled"


def test_guests_do_not_see_each_other(client: Client, guest: dict[str, str]) -> None:
    order = place(client, guest).json
    other = begin(client) | SAME
    assert client.get(f"/api/order/{order['id']}", **other).status == 404
    assert client.get("/api/order", **other).json == {"orders": []}
    assert client.get(f"/api/order/{order['id']}", api_key="apitest").status == 404


def test_a_guest_that_comes_again_stays_the_same(client: Client, guest: dict[str, str]) -> None:
    again = client.send("POST", "/api/session", {}, guest)
    assert f"orderfood-guest={cookies_of(again)['orderfood-guest']}" == guest["Cookie"]


def test_what_the_cookies_look_like(client: Client) -> None:
    plain = client.send("POST", "/api/session", {})
    assert re.fullmatch(
        "orderfood-guest=[A-Za-z0-9_-]{43}" + ATTRIBUTES.format(180 * 86400),
        plain.headers["Set-Cookie"],
    )
    host = "127.0.0.1:1"
    secure = client.send("POST", "/api/session", STAFF, {"Host": host, "Origin": f"https://{host}"})
    assert re.fullmatch(
        "__Host-orderfood-staff=[A-Za-z0-9_=-]+" + ATTRIBUTES.format(43200) + "; Secure",
        secure.headers["Set-Cookie"],
    )
    assert secure.headers["Cache-Control"] == "no-store"


def test_staff_by_cookie(client: Client, staff: dict[str, str]) -> None:
    assert client.get("/api/shop/order", **staff).status == 200
    order = client.order(BODY).json
    accepted = client.send("POST", f"/api/shop/order/{order['id']}/accept", {}, staff)
    assert accepted.json["status"] == "accepted"
    events = client.get(f"/api/shop/order/{order['id']}", **staff).json["events"]
    assert events[-1]["by"] | {"key": ""} == {"kind": "staff", "user": "kitchen", "key": ""}
    assert client.get("/api/order", **staff).status == 401  # it counts for the staff's routes alone


def test_who_a_browser_is(client: Client, guest: dict[str, str], staff: dict[str, str]) -> None:
    assert client.get("/api/session").json == {}
    both = {"Cookie": f"{guest['Cookie']}; {staff['Cookie']}"}
    assert client.get("/api/session", **both).json == {
        "guest": {"scopes": ["read_order", "create_order"]},
        "staff": {"user": "kitchen", "scopes": ["manage_orders"]},
    }
    ended = client.send("POST", "/api/session/end", headers=both | SAME)
    assert ended.status == 204
    assert cookies_of(ended) == {"orderfood-guest": "", "orderfood-staff": ""}


@pytest.mark.parametrize("key", ["wrong", "", "apikitche", "x" * 5000, "schlüssel"])
def test_a_wrong_key_signs_nobody_in(client: Client, key: str) -> None:
    answer = client.send("POST", "/api/session", {"key": key})
    assert (answer.status, answer.headers["Set-Cookie"]) == (403, None)


@pytest.mark.parametrize("body", ["[]", "null", '"x"', "{", '{"key": 1}', '{"key": ["a"]}'])
def test_a_body_that_is_none(client: Client, body: str) -> None:
    answer = client.send("POST", "/api/session", body, {"Content-Type": "application/json"})
    assert (answer.status, answer.headers["Set-Cookie"]) == (400, None)


NO_GUESTS = [
    "orderfood-guest=", "orderfood-guest=short", f"orderfood-guest={'a' * 44}", "orderfood-guest",
    f"orderfood-guest={'ä' * 43}", f"other={'a' * 43}", f"orderfood-staff={'a' * 43}", ";;;=;",
    f"orderfood-guest={'a' * 42}%", "orderfood-guest=" + "a" * 16_000,
]  # fmt: skip


@pytest.mark.parametrize("cookie", NO_GUESTS)
def test_a_cookie_that_is_no_guests_is_none(client: Client, cookie: str) -> None:
    cookie = cookie.encode().decode("latin-1")
    assert place(client, {"Cookie": cookie} | SAME).status == 401
    assert client.get("/api/session", Cookie=cookie).json == {}


@pytest.mark.parametrize("value", ["", "****", "YXBpa2l0Y2hlbg", "/w==", "d3Jvbmc=", "a" * 16_000])
def test_a_cookie_that_is_no_staffs_opens_nothing(client: Client, value: str) -> None:
    headers = {"Cookie": f"orderfood-staff={value}"}
    assert client.get("/api/shop/order", **headers).status in (401, 403)
    assert client.get("/api/session", **headers).json == {}


def test_a_key_in_a_header_always_wins(client: Client, guest: dict[str, str]) -> None:
    order = place(client, guest, api_key="apitest").json
    assert client.get(f"/api/order/{order['id']}", api_key="apitest").status == 200
    assert client.get(f"/api/order/{order['id']}", **guest).status == 404
    for header in ("api_key", "X-API-Key"):
        assert place(client, guest, **{header: "wrong"}).status == 403
        assert place(client, guest, **{header: ""}).status == 401


# --- where a request comes from ---

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "Same-Origin"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://shop.example"},
    {"Origin": "http://evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://shop.example.evil.example"},
    {"Origin": "http://shop.example:81"},
    {"Origin": "https://shop.example:80"},
    {"Origin": "ftp://shop.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://"},
    {"Origin": "http://shop.example:port"},
    {"Origin": "http://[shop.example"},
]
SAME_ORIGIN = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://other.example"},  # a proxy changed Host
    {"Origin": "http://shop.example"},
    {"Origin": "http://shop.example:80"},
    {"Origin": "HTTP://SHOP.example"},
    {"Origin": "https://shop.example:443", "Host": "shop.example:443"},
]


@pytest.mark.parametrize("sent", [{}, *FOREIGN])
def test_a_post_by_cookie_of_another_origin_is_refused(
    client: Client, guest: dict[str, str], staff: dict[str, str], sent: dict[str, str]
) -> None:
    headers = {"Host": "shop.example", **sent}
    for cookie, path, body in (
        (guest, "/api/order", BODY),
        (guest, "/api/order/quote", BODY),
        (staff, "/api/shop/pause", {}),
        (staff, "/api/session/end", None),
    ):
        answer = client.send("POST", path, body, {"Cookie": cookie["Cookie"], **headers})
        assert (answer.status, answer.json["reason"]) == (403, "cross_origin")
    assert client.get("/api/order", Cookie=guest["Cookie"], **headers).status == 200


@pytest.mark.parametrize("sent", FOREIGN)
def test_another_origin_begins_no_session(client: Client, sent: dict[str, str]) -> None:
    headers = {"Host": "shop.example", **sent}
    for body in ({}, STAFF):
        answer = client.send("POST", "/api/session", body, headers)
        assert (answer.status, answer.headers["Set-Cookie"]) == (403, None)


@pytest.mark.parametrize("sent", SAME_ORIGIN)
def test_a_post_by_cookie_of_the_same_origin(client: Client, sent: dict[str, str]) -> None:
    headers = {"Host": "shop.example", **sent}
    answer = client.send("POST", "/api/order/quote", BODY, begin(client, {}, **headers) | headers)
    assert answer.status == 200


def test_over_https_a_cookie_that_another_host_may_have_set_is_none(client: Client) -> None:
    plain = begin(client)
    headers = {"Host": "shop.example", "Origin": "https://shop.example"}
    assert place(client, plain | headers).status == 401
    assert place(client, begin(client, {}, **headers) | headers).status == 200


def test_a_comma_in_a_cookie_of_another_host_begins_no_other_one(
    client: Client, guest: dict[str, str]
) -> None:
    order = place(client, guest).json
    secret = guest["Cookie"].partition("=")[2]
    value = f"{'a' * 43},__Host-orderfood-staff=YXBpa2l0Y2hlbg=="
    planted = f"__Host-orderfood-guest={secret}; theme=dark,__Host-orderfood-guest={value}"
    assert client.get("/api/session", Cookie=planted).json.keys() == {"guest"}
    assert client.get("/api/order", Cookie=planted).json["orders"] == [order]


def test_cookies_in_several_headers_are_all_read(
    server: RunningServer, client: Client, guest: dict[str, str]
) -> None:
    order = place(client, guest).json
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        lines = ["GET /api/order HTTP/1.1", "Host: a", "Connection: close", "Cookie: theme=dark"]
        raw.sendall("\r\n".join([*lines, f"Cookie: {guest['Cookie']}", "", ""]).encode())
        assert order["id"].encode() in raw.makefile("rb").read()


def test_what_a_trusted_proxy_says_of_https() -> None:
    trusting = serving("memory://", TRUSTED_PROXIES="127.0.0.0/8")
    with trusting as server, connect(server.url) as client:
        for said, name in (("https", "__Host-orderfood-guest"), ("http", "orderfood-guest")):
            answer = client.send("POST", "/api/session", {}, {"X-Forwarded-Proto": said})
            assert list(cookies_of(answer)) == [name]


def test_what_a_stranger_says_of_https_is_nothing(client: Client) -> None:
    answer = client.send("POST", "/api/session", {}, {"X-Forwarded-Proto": "https"})
    assert list(cookies_of(answer)) == ["orderfood-guest"]


# --- what bounds a guest ---


def test_a_guest_has_three_open_orders_at_once(client: Client, guest: dict[str, str]) -> None:
    first = place(client, guest, **{"Idempotency-Key": "first"})
    assert [place(client, guest).status for _ in range(3)] == [200, 200, 422]
    refused = place(client, guest, **{"Idempotency-Key": "fourth"})
    assert (refused.status, refused.json["reason"]) == (422, "open_orders")
    again = place(client, guest, **{"Idempotency-Key": "first"})
    assert (again.status, again.json) == (200, first.json)
    kitchen = {"api_key": "apikitchen"}
    for action in ("accept", "complete"):
        client.send("POST", f"/api/shop/order/{first.json['id']}/{action}", None, kitchen)
    assert place(client, guest, **{"Idempotency-Key": "fourth"}).status == 200


def test_of_many_at_once_three_are_stored(server: RunningServer) -> None:
    with connect(server.url) as client:
        guest = begin(client) | SAME

    def one(_: int) -> int:
        with connect(server.url) as client:
            return place(client, guest).status

    with ThreadPoolExecutor(10) as pool:
        assert sorted(pool.map(one, range(10))) == [200] * 3 + [422] * 7


@pytest.fixture
def limited_coupon(menu: Path) -> Path:
    coupons = json.loads((menu / "coupons.json").read_text())
    coupons.append({"code": "ONCE", "kind": "amount", "value": 1, "maxUsesPerUser": 1})
    (menu / "coupons.json").write_text(json.dumps(coupons))
    return menu


def test_a_coupon_that_is_limited_for_each_user_is_none_of_a_guest(limited_coupon: Path) -> None:
    body = BODY | {"couponCode": "once"}
    own_menu = serving("memory://", FIXTURES_DIR=limited_coupon)
    with own_menu as server, connect(server.url) as client:
        guest = begin(client) | SAME
        for path in ("/api/order", "/api/order/quote"):
            answer = client.send("POST", path, body, guest)
            assert (answer.status, answer.json["reason"]) == (422, "guest_coupon")
            assert answer.json["errors"][0]["field"] == "couponCode"
        assert client.order(body).status == 200
        assert place(client, guest, BODY | {"couponCode": "SAVE10"}).status == 200


@pytest.fixture
def hurried() -> Iterator[Client]:
    with serving("memory://", GUEST_RATE_LIMIT="2/hour") as server, connect(server.url) as client:
        yield client


def test_orders_and_cancellations_of_guests_count_for_their_address(hurried: Client) -> None:
    order = place(hurried, begin(hurried) | SAME).json
    another = begin(hurried) | SAME
    assert hurried.send("POST", f"/api/order/{order['id']}/cancel", None, another).status == 404
    for path in ("/api/order", f"/api/order/{order['id']}/cancel"):
        answer = hurried.send("POST", path, BODY, begin(hurried) | SAME)
        assert (answer.status, answer.json["reason"]) == (429, "guest_rate_limit")
        assert int(answer.headers["Retry-After"]) > 3000
    assert hurried.send("POST", "/api/order/quote", BODY, another).status == 200
    assert hurried.get("/api/order", **another).status == 200
    assert hurried.order(BODY).status == 200  # who has a key is no guest


def test_where_there_are_no_guests() -> None:
    with serving("memory://", GUEST_ORDERS="false") as server, connect(server.url) as client:
        answer = client.send("POST", "/api/session", {})
        assert (answer.status, answer.json["reason"]) == (403, "no_guests")
        known = {"Cookie": f"orderfood-guest={'a' * 43}"} | SAME
        assert place(client, known).status == 403
        assert client.get("/api/order", **known).json == {"orders": []}
        assert client.get("/api/session", **known).json == {"guest": {"scopes": ["read_order"]}}
        assert begin(client, STAFF)


# --- what follows events ---


def cookie_line(session: dict[str, str]) -> str:
    return f"Cookie: {session['Cookie']}"


def test_a_guest_follows_its_own_orders(
    server: RunningServer, client: Client, guest: dict[str, str]
) -> None:
    with following(server.port, OWN, None, cookie_line(guest)) as stream:
        client.order(BODY)
        order = place(client, guest).json
        assert stream.event("order").data["order"] == order


def test_a_staffs_session_ends_when_its_key_is_taken_away(
    fresh_database: str, http_server_name: str, take_key_of_kitchen_away: Callable[[], None]
) -> None:
    with (
        serving(fresh_database, HTTP_SERVER=http_server_name) as server,
        connect(server.url) as client,
    ):
        staff, guest = begin(client, STAFF), begin(client)
        with (
            following(server.port, SHOP, None, cookie_line(staff)) as shop,
            following(server.port, OWN, None, cookie_line(guest)) as own,
        ):
            take_key_of_kitchen_away()
            shop.rest()
            assert shop.ended
            assert client.get("/api/shop/order", **staff).status == 403
            assert client.get("/api/session", **staff).json == {}
            order = place(client, guest | SAME).json
            assert own.event("order").data["order"] == order


def test_wrong_keys_of_sessions_are_guesses(http_server_name: str) -> None:
    settings = {"ABUSE_LIMIT": "2/hour", "HTTP_SERVER": http_server_name}
    with serving("memory://", **settings) as server, connect(server.url) as client:
        statuses = [client.send("POST", "/api/session", {"key": f"k{n}"}).status for n in range(3)]
        assert statuses == [403, 403, 429]
        assert begin(client, STAFF)


def test_wrong_keys_in_cookies_are_guesses(http_server_name: str) -> None:
    settings = {"ABUSE_LIMIT": "2/hour", "HTTP_SERVER": http_server_name}
    with serving("memory://", **settings) as server, connect(server.url) as client:
        stale = {"Cookie": "orderfood-staff=d3Jvbmc="}
        answers = [client.get("/api/session", **stale) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert cookies_of(answers[0]) == {"orderfood-staff": ""}  # a browser asks but once with it
        assert client.get("/api/session", **begin(client, STAFF)).json["staff"]


def test_a_signed_in_kitchen_counts_for_its_key(http_server_name: str) -> None:
    settings = {"RATE_LIMIT": "3/hour", "HTTP_SERVER": http_server_name}
    with serving("memory://", **settings) as server, connect(server.url) as client:
        staff = begin(client, STAFF)
        assert [client.get("/api/product").status for _ in range(3)] == [200, 200, 429]
        # whoever else is at the kitchen's address does not keep the board from beginning
        board = ("/kitchen", "/api/session", "/api/shop/order", "/api/product")
        assert [client.get(path, **staff).status for path in board] == [200, 200, 200, 429]


def test_no_secret_and_no_key_is_logged(server: RunningServer, client: Client) -> None:
    guest, staff = begin(client), begin(client, STAFF)
    place(client, guest | SAME | {"X-Request-ID": "first"})
    client.get("/api/shop/order", **staff, **{"X-Request-ID": "second"})
    server.wait_for_request("second")
    logged = json.dumps(server.lines)
    secrets = [session["Cookie"].partition("=")[2] for session in (guest, staff)]
    for secret in (*secrets, "apikitchen"):
        assert secret not in logged
    assert '"user": "guest ' in logged
