"""Who is counted for what, and what becomes of those who send too much."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderfood.api.ratelimit import RateLimiter
from orderfood.settings.values import Rate
from rig.processes import serving
from tests.api.client import KEY, Client, connect

BODY = {"items": [{"productId": "1", "quantity": 1}]}
GUESS = {**BODY, "couponCode": "NOSUCHCODE"}
PREFLIGHT = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
PROXIES = {"TRUSTED_PROXIES": "127.0.0.0/8, 10.0.0.0/8, fd00::/8"}


@pytest.fixture(params=["httptools", "tornado"])
def http_server(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"HTTP_SERVER": request.param, "DRAIN_SECONDS": "0"}


@pytest.fixture
def limited(http_server: dict[str, str]) -> Iterator[Client]:
    settings = {"RATE_LIMIT": "3/hour", **http_server}
    with serving("memory://", **settings) as server, connect(server.url) as client:
        yield client


def use_up_the_address(client: Client) -> None:
    assert [client.get("/api/product").status for _ in range(3)] == [200, 200, 200]


def test_a_good_key_is_counted_and_stopped_by_itself(limited: Client) -> None:
    for left in (2, 1, 0):
        answer = limited.order(BODY)
        assert answer.status == 200
        assert answer.headers["RateLimit-Limit"] == "3"
        assert answer.headers["RateLimit-Remaining"] == str(left)
        assert 0 < int(answer.headers["RateLimit-Reset"]) <= 3600
    refused = limited.order(BODY)
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert limited.order([]).status == 429, "before its body is judged"
    assert limited.get("/api/product", **KEY).status == 429
    assert limited.get("/api/product").status == 200, "its address has sent nothing without it"
    other = {"api_key": "apitest-readonly"}
    assert limited.get("/api/order", **other).status == 200
    assert limited.send("POST", "/api/order", BODY, other).status == 403, "it is not over"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/api/order", {}, 401),
        ("POST", "/api/order", {"api_key": ""}, 401),
        ("POST", "/api/order", {"api_key": "wrong"}, 403),
        ("POST", "/api/order/quote", {"X-API-Key": "wrong"}, 403),
        ("GET", "/api/order", {"api_key": "wrong"}, 403),
        ("GET", "/api/product", {"api_key": "wrong"}, 200),
        ("GET", "/api/product", {}, 200),
        ("HEAD", "/api/product/1", {}, 200),
        ("GET", "/docs", {}, 200),
        ("GET", "/nope", {}, 404),
        ("GET", "*", {}, 404),
        ("GET", "/nope", {"api_key": "wrong"}, 404),
        ("OPTIONS", "/nope", {}, 404),
        ("PUT", "/api/product", {}, 405),
        ("PROPFIND", "/api/order", {"api_key": "wrong"}, 405),
    ],
)
def test_what_has_no_good_key_counts_for_its_address(
    limited: Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answers = [limited.send(method, path, headers=headers) for _ in range(5)]
    assert [answer.status for answer in answers] == [status] * 3 + [429] * 2
    assert [a.headers["RateLimit-Remaining"] for a in answers] == ["2", "1", "0", "0", "0"]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 3600
    assert limited.get("/api/product").status == 429
    assert [limited.order(BODY).status for _ in range(3)] == [200] * 3, "a good key goes on"


def test_what_a_good_key_asks_for_in_vain_counts_for_it(limited: Client) -> None:
    asked = [limited.get("/nope", **KEY), limited.send("PUT", "/api/product", None, KEY)]
    assert [answer.status for answer in asked] == [404, 405]
    assert asked[-1].headers["RateLimit-Remaining"] == "1"
    assert limited.get("/api/product").headers["RateLimit-Remaining"] == "2"


def test_who_is_over_may_still_ask_for_health_and_in_advance(limited: Client) -> None:
    use_up_the_address(limited)
    assert limited.get("/api/product").status == 429
    asked = limited.send("OPTIONS", "/api/order", headers=PREFLIGHT)
    assert asked.status == 204, "a browser asks without its key"
    assert asked.headers["RateLimit-Remaining"] == "0"
    for path in ("/health", "/ready", "/metrics"):
        assert limited.get(path).status == 200
    assert limited.get("/api/product", **{"X-Forwarded-For": "203.0.113.9"}).status == 429
    assert limited.get("/api/product", Forwarded="for=203.0.113.9").status == 429


def test_an_expired_key_is_no_good_key(http_server: dict[str, str], menu: Path) -> None:
    users = json.loads((menu / "users.json").read_text())
    for user in users:
        for key in user["keys"]:
            key["expiresAt"] = "2020-01-01T00:00:00Z"
    (menu / "users.json").write_text(json.dumps(users))
    settings = {"RATE_LIMIT": "2/hour", "FIXTURES_DIR": menu, **http_server}
    with serving("memory://", **settings) as server, connect(server.url) as client:
        statuses = [client.order(BODY).status, client.get("/api/product").status]
        assert statuses == [403, 200]
        assert client.order(BODY).status == 429


def hops(*values: str) -> list[tuple[str, str]]:
    """The same chain in both headers, as far as it can be written so."""
    return [("X-Forwarded-For", ", ".join(values)), ("Forwarded", ", ".join(map(_element, values)))]


def _element(node: str) -> str:
    return f'for="{node}";proto=https'


SAME = {
    "an address": (["203.0.113.1"], ["203.0.113.1"]),
    "with a port": (["203.0.113.8:4711"], ["203.0.113.8"]),
    "IPv6 by its /64": (["[2001:db8::1]"], ["[2001:db8::ffff:2]"]),
    "IPv6 with a port": (["[2001:db8::1]:4711"], ["[2001:db8::1]"]),
    "IPv4 in IPv6": (["[::ffff:203.0.113.8]"], ["203.0.113.8"]),
    "behind proxies": (["198.51.100.7", "203.0.113.3", "10.1.2.3"], ["203.0.113.3"]),
    "behind proxies of IPv6": (["203.0.113.3", "[fd00::1]:80", "10.1.2.3:99"], ["203.0.113.3"]),
    "whatever a client says of itself": (["1.2.3.4", "203.0.113.3"], ["203.0.113.3"]),
    "nonsense": (["nonsense"], ["unknown"]),
    "nonsense before proxies": (["999.1.1.1", "10.1.1.1"], ["_hidden"]),
    "a port that is none": (["203.0.113.8:port"], ["[203.0.113.8"]),
    "many trusted ones": (["203.0.113.1", *["10.0.0.1"] * 400], ["10.0.0.1"]),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("header", [0, 1], ids=["X-Forwarded-For", "Forwarded"])
def test_behind_a_trusted_proxy_the_client_is_who_the_proxy_names(
    http_server: dict[str, str], name: str, header: int
) -> None:
    settings = {"RATE_LIMIT": "1/hour", **PROXIES, **http_server}
    with serving("memory://", **settings) as server, connect(server.url) as client:
        first, second = (dict([hops(*chain)[header]]) for chain in SAME[name])
        assert client.get("/api/product", **first).status == 200
        assert client.get("/api/product", **second).status == 429
        other = dict([hops("192.0.2.77")[header]])
        assert client.get("/api/product", **other).status == 200


@pytest.mark.parametrize(
    "forwarded",
    [
        "for=203.0.113.7",
        "For=203.0.113.7",
        'by=10.0.0.1;for="203.0.113.7:4711";host="a,b;c"',
        "for=1.2.3.4, for=203.0.113.7;proto=http , for=10.9.9.9",
        'for="1.2.3.4, for=203.0.113.7',
        r'for=203.0.113.7;host="x\", for=9.9.9.9;a=\""',
    ],
)
def test_forwarded_as_the_specification_has_it(http_server: dict[str, str], forwarded: str) -> None:
    settings = {"RATE_LIMIT": "1/hour", **PROXIES, **http_server}
    with serving("memory://", **settings) as server, connect(server.url) as client:
        assert client.get("/api/product", Forwarded="for=203.0.113.7").status == 200
        assert client.get("/api/product", Forwarded=forwarded).status == 429


@pytest.mark.parametrize(
    "headers",
    [
        {"Forwarded": 'host="a, for=203.0.113.7"'},
        {"Forwarded": 'host="a;for=203.0.113.7"'},
        {"Forwarded": "for=203.0.113.7;for=203.0.113.8"},
        {"Forwarded": "for=203.0.113.7", "X-Forwarded-For": "203.0.113.8"},
        {"Forwarded": "for=203.0.113.7;x=" + "a" * 9000},
        {"X-Forwarded-For": "203.0.113.7" + " " * 9000 + "x"},
        {"X-Forwarded-For": ""},
    ],
)
def test_what_cannot_be_told_counts_for_the_proxy(
    http_server: dict[str, str], headers: dict[str, str]
) -> None:
    settings = {"RATE_LIMIT": "1/hour", **PROXIES, **http_server}
    with serving("memory://", **settings) as server, connect(server.url) as client:
        assert client.get("/api/product", **headers).status == 200
        assert client.get("/api/product").status == 429


# --- guesses ---


@pytest.fixture
def throttled(http_server: dict[str, str]) -> Iterator[Client]:
    settings = {"ABUSE_LIMIT": "3/hour", **PROXIES, **http_server}
    with serving("memory://", **settings) as server, connect(server.url) as client:
        yield client


WRONG = {"api_key": "wrong"}


def test_wrong_keys_are_braked(throttled: Client) -> None:
    statuses = [throttled.send("POST", "/api/order", BODY, WRONG).status for _ in range(3)]
    refused = throttled.send("GET", "/api/order", None, WRONG)
    assert [*statuses, refused.status] == [403, 403, 403, 429]
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert throttled.order(GUESS).status == 429, "one address guesses both"
    assert throttled.send("POST", "/api/order", BODY).status == 401, "none is no guess"
    assert throttled.get("/api/product", **WRONG).status == 200
    elsewhere = {**WRONG, "X-Forwarded-For": "203.0.113.9"}
    assert throttled.send("POST", "/api/order", BODY, elsewhere).status == 403


@pytest.mark.parametrize("path", ["/api/order", "/api/order/quote"])
def test_unknown_coupons_are_braked(throttled: Client, path: str) -> None:
    for number in range(5):
        guess = {**BODY, "couponCode": f"GUESS{number}"}
        answer = throttled.send("POST", path, guess, KEY)
        assert answer.status == (422 if number < 3 else 429)
        good = {**BODY, "couponCode": "SAVE10"}
        assert throttled.send("POST", path, good, KEY).status == 200
        assert throttled.order(BODY).status == 200
    unfit = {**BODY, "couponCode": "BUYGETONE"}
    assert throttled.send("POST", path, unfit, KEY).status == 422, "it exists: no guess"
    assert throttled.order([]).status == 400


def test_nobody_is_braked_who_was_not_told_to_be(http_server: dict[str, str]) -> None:
    with serving("memory://", **http_server) as server, connect(server.url) as client:
        assert {client.order(GUESS).status for _ in range(60)} == {422}
        assert {client.send("GET", "/api/order", None, WRONG).status for _ in range(60)} == {403}


# --- the counter ---


def test_a_window_ends_by_a_clock_that_is_never_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = RateLimiter(Rate(2, 60))
    assert [limiter.count("a").allowed for _ in range(3)] == [True, True, False]
    monkeypatch.setattr("time.time", lambda: 1.0)
    assert 58 <= limiter.count("a").reset <= 60
    now = 1000.0
    ours = RateLimiter(Rate(2, 60), clock=lambda: now)
    assert [ours.count("a").reset for _ in range(3)] == [60, 60, 60]
    now += 59.5
    assert (ours.count("a").allowed, ours.peek("a").reset) == (False, 1)
    now += 0.5
    assert ours.peek("a").remaining == 2
    assert ours.count("a").allowed


def test_a_window_is_never_longer_than_it_is() -> None:
    for tenth in range(1, 10_000):
        limiter = RateLimiter(Rate(2, 3600), clock=lambda now=tenth / 10: now)  # type: ignore[misc]
        assert limiter.count("a").reset == 3600


def test_the_clients_that_are_counted_are_bounded() -> None:
    now = 0.0
    limiter = RateLimiter(Rate(1, 60), most=100, clock=lambda: now)
    for number in range(1000):
        limiter.count(f"client {number}")
        assert len(limiter._windows) <= 100
    assert not limiter.count("client 999").allowed
    now += 61
    limiter.peek("somebody")
    assert len(limiter._windows) == 0
