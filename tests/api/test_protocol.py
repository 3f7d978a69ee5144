"""What holds on every route: keys, errors, methods, CORS, request ids, sizes."""

from __future__ import annotations

import json
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rig.processes import RunningServer, serving
from tests.api.client import KEY, Client, connect

BODY = {"items": [{"productId": "1", "quantity": 1}]}
ORDER = "/api/order/00000000-0000-4000-8000-00000000ffff"
ROUTES = {
    "/api/product": {"GET", "HEAD", "OPTIONS"},
    "/api/product/1": {"GET", "HEAD", "OPTIONS"},
    "/api/order": {"GET", "HEAD", "POST", "OPTIONS"},
    ORDER: {"GET", "HEAD", "OPTIONS"},
    "/api/order/quote": {"POST", "OPTIONS"},
    f"{ORDER}/cancel": {"POST", "OPTIONS"},
    "/health": {"GET", "HEAD", "OPTIONS"},
    "/ready": {"GET", "HEAD", "OPTIONS"},
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")


def assert_error(answer: object, status: int) -> None:
    assert answer.status == status, answer.body  # type: ignore[attr-defined]
    body = answer.json  # type: ignore[attr-defined]
    assert (body["code"], body["type"]) == (status, "error")
    assert body["message"]
    assert body["requestId"] == answer.headers["X-Request-ID"]  # type: ignore[attr-defined]


# --- keys ---


@pytest.mark.parametrize("headers", [{}, {"api_key": ""}, {"X-API-Key": ""}])
def test_no_key(client: Client, headers: dict[str, str]) -> None:
    answer = client.send("POST", "/api/order", BODY, headers)
    assert_error(answer, 401)
    assert answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("key", ["wrong", "APITEST", "apitest2", "'; --", "x" * 5000, "sch\xf6n"])
def test_wrong_keys(client: Client, key: str) -> None:
    assert_error(client.send("POST", "/api/order", BODY, {"api_key": key}), 403)


def test_a_key_without_the_scope(client: Client) -> None:
    assert_error(client.send("POST", "/api/order", BODY, {"api_key": "apitest-readonly"}), 403)


def test_api_key_wins_over_the_other_header(client: Client) -> None:
    both = {"api_key": "apitest", "X-API-Key": "wrong"}
    assert client.send("POST", "/api/order", BODY, both).status == 200
    both = {"api_key": "wrong", "X-API-Key": "apitest"}
    assert client.send("POST", "/api/order", BODY, both).status == 403
    assert client.send("POST", "/api/order", BODY, {"X-API-Key": "apitest"}).status == 200


def test_the_key_is_judged_before_type_size_and_body(client: Client) -> None:
    broken = {"Content-Type": "text/plain", "Idempotency-Key": "\x80"}
    assert client.send("POST", "/api/order", b"{" * 100, broken).status == 401
    assert client.send("POST", "/api/order", b"{" * 100, {**broken, "api_key": "no"}).status == 403
    assert client.send("POST", "/api/order", b"{" * 100, {**broken, **KEY}).status == 415
    assert client.send("POST", "/api/order", b"{", {"Idempotency-Key": "\x80", **KEY}).status == 400


@pytest.mark.parametrize("path", [ORDER, "/api/order"])
def test_reading_orders_needs_a_key(client: Client, path: str) -> None:
    assert_error(client.get(path), 401)
    assert_error(client.get(path, api_key="wrong"), 403)


# --- routes and methods ---


@pytest.mark.parametrize(
    "path",
    ["/nope", "/api", "/api/", "/api/products", "/api/product/1/", "/health/", "/ready/",
     "/api/order/quote/", "//api/product", "/api/product/1/2", "/API/product", "/%00", "/x%ff",
     "/api/../api/product", "/favicon.ico", "/kitchen/"],
)  # fmt: skip
def test_unknown_routes(client: Client, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "PROPFIND", "OPTIONS"):
        assert_error(client.send(method, path), 404)


@pytest.mark.parametrize("path", ROUTES)
def test_wrong_methods_name_the_right_ones(client: Client, path: str) -> None:
    for method in set(METHODS) - ROUTES[path]:
        answer = client.send(method, path, headers=KEY)
        assert answer.status == 405, method
        assert set(answer.headers["Allow"].split(", ")) == ROUTES[path]
        if method != "HEAD":
            assert_error(answer, 405)


@pytest.mark.parametrize("method", ["FOO", "FINISH", "get", "_ANSWER"])
def test_methods_that_nobody_knows(server: RunningServer, method: str) -> None:
    for path, status in (("/health", 405), ("/nope", 404)):
        with socket_to(server) as connection:
            request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            # a parser that knows its methods refuses it before there is a route
            assert read_answer(connection)[0] in (status, 400)


@pytest.mark.parametrize("path", ROUTES)
def test_a_preflight_names_the_routes_methods(client: Client, path: str) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    answer = client.send("OPTIONS", path, headers=asked)
    assert (answer.status, answer.body) == (204, b"")
    assert set(answer.headers["Access-Control-Allow-Methods"].split(", ")) == ROUTES[path]
    allowed = set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    assert allowed == {
        "api_key", "x-api-key", "content-type", "idempotency-key", "if-match", "if-none-match",
        "last-event-id", "x-request-id", "traceparent", "tracestate",
    }  # fmt: skip
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Credentials"] is None


@pytest.mark.parametrize("path", ["/api/product", "/nope", "/health", "/api/product/abc", ORDER])
def test_every_answer_carries_cors_headers(client: Client, path: str) -> None:
    answer = client.get(path, Origin="https://shop.example")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed == {
        "X-Request-ID", "ETag", "Retry-After",
        "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset",
    }  # fmt: skip


def test_only_the_origins_that_are_allowed() -> None:
    allowed = "https://a.example, http://localhost:3000"
    with (
        serving("memory://", CORS_ALLOWED_ORIGINS=allowed) as server,
        connect(server.url) as client,
    ):
        for origin in ("https://a.example", "http://localhost:3000"):
            answer = client.get("/api/product", Origin=origin)
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert "Origin" in answer.headers["Vary"]
        for origin in ("https://b.example", "https://a.example:8443", "null", "http://a.example"):
            answer = client.get("/api/product", Origin=origin)
            assert answer.headers["Access-Control-Allow-Origin"] is None
            assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("sent", ["abc", "!~" * 64, "0"])
def test_a_request_id_that_is_visible_ascii_is_kept(client: Client, sent: str) -> None:
    for path in ("/api/product", "/nope", "/health"):
        assert client.get(path, **{"X-Request-ID": sent}).headers["X-Request-ID"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", "sch\xf6n", "a\tb"])
def test_any_other_gets_a_new_one(client: Client, sent: str) -> None:
    answers = [client.get("/health", **{"X-Request-ID": sent}) for _ in range(2)]
    ids = {answer.headers["X-Request-ID"] for answer in answers}
    assert len(ids) == 2
    assert sent not in ids
    assert all(re.fullmatch("[!-~]{1,128}", id_) for id_ in ids)


def test_health_and_ready(client: Client) -> None:
    assert (client.get("/health").status, client.get("/health").json) == (
        200,
        {"status": "healthy"},
    )
    assert (client.get("/ready").status, client.get("/ready").json) == (200, {"status": "ready"})


# --- sizes, on a bare socket ---


@contextmanager
def socket_to(server: RunningServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        yield connection


def head(path: str = "/api/order", **headers: object) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: test", "api_key: apitest"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_answer(connection: socket.socket) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection then ended without a reset."""
    data = b""
    while True:
        chunk = connection.recv(65536)
        if not chunk:
            break
        data += chunk
    top, _, body = data.partition(b"\r\n\r\n")
    return int(top.split()[1]), body, True


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 50_000_000, 10**17])
def test_an_announced_body_that_is_too_large_is_answered_before_it_ends(
    server: RunningServer, size: int
) -> None:
    with socket_to(server) as connection:
        connection.sendall(head(Content_Length=size) + b"x" * 1000)
        status, body, _ = read_answer(connection)
    assert status == 413
    assert json.loads(body)["code"] == 413


def test_a_client_that_goes_on_sending_still_reads_the_answer(server: RunningServer) -> None:
    with socket_to(server) as connection:
        connection.sendall(head(Content_Length=20_000_000))
        for _ in range(64):
            connection.sendall(b"x" * 65536)
        status, _, ended = read_answer(connection)
    assert (status, ended) == (413, True)


def test_a_chunked_body_that_is_too_large(server: RunningServer) -> None:
    with socket_to(server) as connection:
        connection.sendall(head(Transfer_Encoding="chunked"))
        for _ in range(20):
            connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        assert read_answer(connection)[0] == 413


def test_a_chunked_body_is_as_good_as_any(server: RunningServer) -> None:
    body = json.dumps(BODY).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    with socket_to(server) as connection:
        connection.sendall(head(Transfer_Encoding="chunked", Connection="close") + chunks)
        assert read_answer(connection)[0] == 200


def test_a_body_of_exactly_the_limit_is_read(server: RunningServer) -> None:
    body = json.dumps(BODY).encode().ljust(1024 * 1024)
    with socket_to(server) as connection:
        connection.sendall(head(Content_Length=len(body), Connection="close") + body)
        assert read_answer(connection)[0] == 200


def test_a_refused_request_with_a_small_body_keeps_its_connection(client: Client) -> None:
    for _ in range(3):
        assert client.send("POST", "/api/order", b"x" * 1000, {}).status == 401
        assert client.send("PUT", "/api/product", b"x" * 1000, {}).status == 405
        assert client.send("POST", "/nope", b"x" * 1000, {}).status == 404
    assert client.get("/health").status == 200


def test_who_waits_for_100_continue_gets_either_that_or_the_refusal(server: RunningServer) -> None:
    body = json.dumps(BODY).encode()
    with socket_to(server) as connection:
        connection.sendall(
            head(Expect="100-continue", Content_Length=len(body), Connection="close")
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert read_answer(connection)[0] == 200
    with socket_to(server) as connection:
        connection.sendall(head(Expect="100-continue", Content_Length=2 * 1024 * 1024))
        assert read_answer(connection)[0] == 413


@pytest.mark.parametrize(
    "request_",
    [b"nonsense\r\n\r\n", b"GET /health HTTP/9.9\r\n\r\n", b"GET /health\r\n\r\n",
     b"GET /health HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
     b"POST /api/order HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
     b"POST /api/order HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n",
     b"POST /api/order HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
     b"GET /health HTTP/1.1\r\nBad Header: 1\r\n\r\n"],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_http_ends_and_harms_nobody(server: RunningServer, request_: bytes) -> None:
    with socket_to(server) as connection:
        try:
            connection.sendall(request_)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        except OSError:  # ended before all was sent
            answer = b""
    assert not answer or re.match(rb"HTTP/1.1 4\d\d", answer)
    with connect(server.url) as client:
        assert client.get("/health").status == 200


def test_a_client_that_leaves_in_the_middle_harms_nobody(server: RunningServer) -> None:
    for part in (b"", b"{", b'{"items": [{"productId"'):
        with socket_to(server) as connection:
            connection.sendall(head(Content_Length=1000) + part)
    with connect(server.url) as client:
        assert client.order(BODY).status == 200


CHUNKED_WITHOUT_KEY = (
    b"POST /api/order HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n"
)


def test_half_a_request_behind_a_whole_one_ends_with_its_client() -> None:
    body = json.dumps(BODY).encode()
    with serving("memory://", DRAIN_SECONDS=0.2) as server:
        with socket_to(server) as connection:
            connection.sendall(head(Content_Length=len(body)) + body)
            connection.sendall(head(Content_Length=50) + b"{")
            connection.shutdown(socket.SHUT_WR)
            answered = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answered.startswith(b"HTTP/1.1 200 ")
        assert server.stop() == 0
    assert [line for line in server.lines if "cut off" in line["message"]] == []


@pytest.mark.parametrize("name", ["httptools", "tornado"])
def test_requests_that_are_given_up_leave_nothing_behind(name: str) -> None:
    with serving("memory://", HTTP_SERVER=name, DRAIN_SECONDS=0.2) as server:
        for _ in range(30):
            for request in (
                head(Content_Length=2_000_000),  # answered before the body
                head(Content_Length=50) + b"{",  # left in the middle of it
                head(Content_Length=1_000_000) + b"x" * 100_000,
                b"POST /api/order HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n",
                b"GET /api/product HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nx",
                CHUNKED_WITHOUT_KEY,
            ):
                with socket_to(server) as connection:
                    connection.sendall(request)
                    if request.endswith(b"\r\n\r\n"):
                        assert connection.recv(12).startswith(b"HTTP/1.1 4")
        with connect(server.url) as client:
            assert client.order(BODY).status == 200
        assert server.stop() == 0
    assert [line for line in server.lines if line["level"] == "error"] == []
    assert [line for line in server.lines if "cut off" in line["message"]] == []


def test_the_absolute_form_of_a_target_is_the_same(server: RunningServer) -> None:
    for target in (b"http://x/api/product/1", b"HTTP://x:80/api/product/1?a=b"):
        with socket_to(server) as connection:
            request = b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target
            connection.sendall(request)
            assert read_answer(connection)[0] == 200


def test_the_access_log_has_a_line_for_each_request(server: RunningServer) -> None:
    id_ = uuid.uuid4().hex
    with connect(server.url) as client:
        client.send("POST", "/api/order", BODY, {**KEY, "X-Request-ID": id_})
        client.get("/api/product/1?api_key=secret", **{"X-Request-ID": f"{id_}2"})
        client.get("/nope/secret", **{"X-Request-ID": f"{id_}3"})
    first, second, third = (server.wait_for_request(id_ + end) for end in ("", "2", "3"))
    assert (first["method"], first["route"], first["status"]) == ("POST", "/api/order", 200)
    assert first["user"] == "demo"
    assert first["duration_ms"] >= 0
    assert (second["route"], third["route"]) == ("/api/product/:productId", "unknown")
    assert "secret" not in json.dumps([first, second, third])
    assert "apitest" not in json.dumps(first)
