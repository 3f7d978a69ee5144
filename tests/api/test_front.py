"""The two HTTP servers, and the two ways to the catalogue, are the same to a client."""

from __future__ import annotations

import gzip
import re
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from rig.processes import PATIENCE, RunningServer, serving
from tests.api.client import KEY, Answer, connect
from tests.api.test_protocol import socket_to

READS = ("/api/product", "/api/product/", "/api/product/3", "/api/product/10?x=1")


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, RunningServer]]:
    """Both servers, and one of each that has a rate limit: then every read goes to a handler."""
    kinds = {
        f"{name} {way}": {"HTTP_SERVER": name, "RATE_LIMIT": limit}
        for name in ("httptools", "tornado")
        for way, limit in (("front", "off"), ("handler", "1000000/hour"))
    }
    opened = {kind: serving("memory://", **settings) for kind, settings in kinds.items()}
    running = {kind: context.__enter__() for kind, context in opened.items()}
    yield running
    for context in opened.values():
        context.__exit__(None, None, None)


def described(answer: Answer) -> tuple[int, bytes, dict[str, list[str]]]:
    names = {name.title() for name in answer.headers} - {"Date"}
    kept = {name for name in names if not name.startswith("Ratelimit")}
    return answer.status, answer.body, {n: sorted(answer.headers.get_all(n) or []) for n in kept}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://shop.example"}, {"Accept-Encoding": "gzip, br"},
     {"If-None-Match": "*"}, {"If-None-Match": '"x"'}, {"Connection": "close"}],
    ids=range(6),
)  # fmt: skip
def test_every_way_answers_with_the_same_headers(
    servers: dict[str, RunningServer], method: str, path: str, headers: dict[str, str]
) -> None:
    id_ = uuid.uuid4().hex
    answers = {}
    for kind, server in servers.items():
        with connect(server.url) as client:
            answer = client.send(method, path, headers={"X-Request-ID": id_, **headers})
            assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", answer.headers["Date"])
            answers[kind] = described(answer)
    first = answers["tornado handler"]
    assert {kind: answer for kind, answer in answers.items() if answer != first} == {}


@pytest.mark.parametrize("path", READS)
def test_every_way_logs_and_counts_the_same(servers: dict[str, RunningServer], path: str) -> None:
    seen = {}
    for kind, server in servers.items():
        id_ = uuid.uuid4().hex
        with connect(server.url) as client:
            before = counted(client.get("/metrics").body.decode())
            client.get(path, **{"X-Request-ID": id_})
            time.sleep(1.0)  # an exposition is shared for a second
            after = counted(client.get("/metrics").body.decode())
        line = server.wait_for_request(id_)
        for name in ("timestamp", "duration_ms", "request_id"):
            del line[name]
        seen[kind] = (line, {k: v - before.get(k, 0.0) for k, v in after.items()})
    first = seen["tornado handler"]
    assert {kind: what for kind, what in seen.items() if what != first} == {}
    assert sum(first[1].values()) > 0


def counted(metrics: str) -> dict[str, float]:
    """The counts of the two reads; how long they took is not one."""
    pattern = r'^(http_server\w+_(?:total|count)\{.*route="/api/product.*\}) (\S+)$'
    return {name: float(value) for name, value in re.findall(pattern, metrics, re.MULTILINE)}


def test_a_large_menu_is_sent_compressed_to_those_who_ask(
    servers: dict[str, RunningServer],
) -> None:
    for server in servers.values():
        with connect(server.url) as client:
            plain = client.get("/openapi.json")
            packed = client.get("/openapi.json", **{"Accept-Encoding": "gzip"})
            assert gzip.decompress(packed.body) == plain.body
            assert packed.headers["Content-Encoding"] == "gzip"
            assert packed.headers["ETag"] != plain.headers["ETag"]
            assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
            for refused in ("gzip;q=0", "br", "identity", "*;q=0"):
                answer = client.get("/openapi.json", **{"Accept-Encoding": refused})
                assert answer.headers["Content-Encoding"] is None


# --- the parser is as strict as Tornado's ---

GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /api/order HTTP/1.1\r\nHost: x\r\napi_key: apitest\r\n"
BODY = b'{"items": [{"productId": "1", "quantity": 1}]}'
SIZE = str(len(BODY)).encode()
LENGTH = b"Content-Length: 5\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
MALFORMED = {
    "no version": b"GET /health\r\n\r\n",
    "version 2": b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
    "version 1.9": b"GET /health HTTP/9.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: y\r\n\r\n",
    "bad host": b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n",
    "bad host on the menu": b"GET /api/product HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "no host on the menu": b"GET /api/product HTTP/1.1\r\n\r\n",
    "space in a name": GET + b"Bad Name: 1\r\n\r\n",
    "space before the colon": GET + b"Bad : 1\r\n\r\n",
    "no colon": GET + b"nonsense\r\n\r\n",
    "empty name": GET + b": 1\r\n\r\n",
    "NUL in a value": GET + b"X: a\0b\r\n\r\n",
    "control in a value": GET + b"X: a\x01b\r\n\r\n",
    "CR in a value": GET + b"X: a\rb\r\n\r\n",
    "folded": GET + b"X: a\r\n b\r\n\r\n",
    "control in the path": b"GET /hea\x01lth HTTP/1.1\r\nHost: x\r\n\r\n",
    "length and chunked": POST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in two": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "length with a sign": POST + b"Content-Length: +5\r\n\r\nabcde",
    "negative length": POST + b"Content-Length: -5\r\n\r\n",
    "length in hex": POST + b"Content-Length: 0x5\r\n\r\nabcde",
    "length with an underscore": POST + b"Content-Length: 1_0\r\n\r\nabcdefghij",
    "empty length": POST + b"Content-Length: \r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "chunk without a size": POST + b"Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
    "chunk size with 0x": POST + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "chunk size with a sign": POST + b"Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
    "chunk that is too long": POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "huge chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\nabc",
    "trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n\r\n",
    "large head": GET + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
    "many headers": GET + b"".join(b"X-%d: 1\r\n" % n for n in range(5000)) + b"\r\n",
    "large path": b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
}
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def talk(server: RunningServer, data: bytes) -> bytes:
    """All that the server says to this."""
    received = b""
    with socket_to(server) as connection:
        try:
            connection.sendall(data)
            while chunk := connection.recv(65536):
                received += chunk
        except OSError:
            pass  # it may end a connection at once
    return received


@pytest.mark.parametrize("name", MALFORMED)
def test_neither_server_takes_what_is_malformed(
    servers: dict[str, RunningServer], name: str
) -> None:
    for kind in ("httptools front", "tornado front"):
        received = talk(servers[kind], MALFORMED[name] + SMUGGLED)
        statuses = re.findall(rb"^HTTP/1\.1 (\d{3})", received, re.MULTILINE)
        assert statuses in ([], [b"400"], [b"431"], [b"401"], [b"413"]), kind
        assert b"not found" not in received, "the second request was answered"


def test_requests_are_answered_in_order_however_they_come(
    servers: dict[str, RunningServer],
) -> None:
    order = POST + b"Content-Length: " + SIZE + b"\r\n\r\n" + BODY
    chunked = (
        POST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%b\r\n0\r\n\r\n"
        % (
            len(BODY),
            BODY,
        )
    )
    menu = b"GET /api/product/1 HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    requests = [order, menu, chunked, GET + b"\r\n", menu, order, last]
    expected = [b"200"] * 6 + [b"404"]
    for server in servers.values():
        for size in (10_000, 7, 1):
            with socket_to(server) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                data = b"".join(requests)
                for start in range(0, len(data), size):
                    connection.sendall(data[start : start + size])
                received = b""
                while chunk := connection.recv(65536):
                    received += chunk
            assert re.findall(rb"HTTP/1\.1 (\d{3}) ", received) == expected
            assert [b'"placed"' in part for part in received.split(b"HTTP/1.1 ")[1:]] == [
                True, False, True, False, False, True, False,
            ]  # fmt: skip


def test_a_head_that_never_ends_is_ended(servers: dict[str, RunningServer]) -> None:
    for kind in ("httptools front", "tornado front"):
        with socket_to(servers[kind]) as connection:
            connection.sendall(GET)
            deadline = time.monotonic() + PATIENCE
            with suppress(OSError):
                while time.monotonic() < deadline:
                    connection.send(b"X-Filler: " + b"x" * 1000 + b"\r\n")
        assert time.monotonic() < deadline, "the head was read for ever"


def test_a_client_that_does_not_read_is_not_answered_into_memory(
    servers: dict[str, RunningServer],
) -> None:
    server = servers["httptools front"]
    before = resident(server)
    with socket_to(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
        deadline = time.monotonic() + 3.0
        while time.monotonic() < deadline:
            try:
                connection.send(request)
            except BlockingIOError:
                time.sleep(0.01)
        assert resident(server) - before < 100_000_000
    with connect(server.url) as client:
        assert client.order({"items": [{"productId": "1", "quantity": 1}]}, **KEY).status == 200


def resident(server: RunningServer) -> int:
    """Bytes of memory that the process holds."""
    with open(f"/proc/{server.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def test_a_method_and_an_upgrade_that_are_not_for_us(servers: dict[str, RunningServer]) -> None:
    upgrade = GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    closing = GET + b"Connection: close\r\n\r\n"
    for server in servers.values():
        received = talk(server, upgrade + closing)
        assert re.findall(rb"HTTP/1\.1 (\d{3}) ", received) == [b"200"]
        assert b"\r\nConnection: close\r\n" in received


def answers_of(received: bytes) -> Any:
    return re.findall(rb"HTTP/1\.1 (\d{3}) ", received)


def test_http_1_0(servers: dict[str, RunningServer]) -> None:
    for server in servers.values():
        received = talk(server, b"GET /api/product/1 HTTP/1.0\r\n\r\n")
        assert answers_of(received) == [b"200"]
        kept = b"GET /api/product/1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        received = talk(server, kept + b"GET /api/product/1 HTTP/1.0\r\n\r\n")
        assert answers_of(received) == [b"200", b"200"]
