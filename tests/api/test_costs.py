"""What a request may cost, whatever stands in its head: processor time and log lines."""

from __future__ import annotations

import json
import re
import socket
import statistics
from collections.abc import Iterator

import pytest

from rig.processes import RunningServer, serving
from tests.cost import cpu_seconds

SIZE = 14_000
"""Nearly all that a head may hold."""

HEADERS = (
    "Accept", "Accept-Encoding", "Access-Control-Request-Headers", "Authorization", "B3", "Baggage",
    "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Expect",
    "Forwarded", "Host", "Idempotency-Key", "If-None-Match", "Origin", "Range", "Sec-Fetch-Site",
    "Traceparent", "Tracestate", "Transfer-Encoding", "Uber-Trace-Id", "User-Agent", "X-API-Key",
    "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID", "api_key",
)  # fmt: skip

PARTS = (
    "a", "9", " ", "\t", ",", ";", '"', "\\", "*", ":", "a,", "a, ", "a=b,", "a=b;", 'W/"', '"a",',
    "%41", "a://", "a://b:", "gzip;q=0,", "10.0.0.1,", "for=10.0.0.1,", "for=10.0.0.1;", "00-",
    "\xe9", "orderfood-guest=a;", "orderfood-staff=YXBpa2l0Y2hlbg==;", "__Host-orderfood-guest=,",
)  # fmt: skip

READ_BY_SESSIONS = ("Cookie", "Origin", "Sec-Fetch-Site", "X-Forwarded-Proto")

TARGETS = ("/docs/", "/api/product/", "/api/order/", "/", "/api/order?limit=", "/api/product?")

TRACE = "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module", params=["httptools", "tornado"])
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """One that looks at all that it may look at."""
    settings = {
        "JAEGER_ENDPOINT": "http://127.0.0.1:9/api/traces",
        "OTEL_PROPAGATORS": "tracecontext,baggage",
        "OTEL_BSP_SCHEDULE_DELAY": 600_000,
        "RATE_LIMIT": "1000000/minute",
        "ABUSE_LIMIT": "1000000/minute",
        "TRUSTED_PROXIES": "127.0.0.0/8,10.0.0.0/8",
    }
    with serving("memory://", HTTP_SERVER=request.param, **settings) as running:
        yield running


def cost(server: RunningServer, request: bytes) -> float:
    """Processor time of one such request."""
    before = cpu_seconds(server.process.pid)
    exchange(server, request)
    return cpu_seconds(server.process.pid) - before


def exchange(server: RunningServer, request: bytes) -> None:
    """Sends it, reads what comes, and waits for the server to have done with it."""
    for sent in (request, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


def request(target: str, *lines: str, host: str = "Host: x") -> bytes:
    head = "\r\n".join((f"GET {target} HTTP/1.1", host, *lines))
    return f"{head}\r\nConnection: close\r\n\r\n".encode("latin-1")


def filled(part: str) -> str:
    return (part * SIZE)[:SIZE]


def too_dear(server: RunningServer, requests: dict[str, bytes]) -> list[str]:
    """Those that cost many times what a head as long does of which nobody reads what is long, three
    times out of three: something else may have to be done meanwhile."""
    plain = request("/api/product/1", TRACE, f"X-Other: {filled('a')}")
    most = 15 * statistics.median(cost(server, plain) for _ in range(5))
    return [name for name, sent in requests.items()
            if all(cost(server, sent) > most for _ in range(3))]  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_no_header_costs_much_more_than_its_length(server: RunningServer, name: str) -> None:
    exchange(server, request("/api/product"))
    already = len(server.lines)
    requests = {}
    for part in PARTS:
        line = f"{name}: {filled(part)}"
        trace = "X-Other: 1" if name == "Traceparent" else TRACE
        host = line if name == "Host" else "Host: x"
        lines = [] if name == "Host" else [line]
        target = "/api/session" if name in READ_BY_SESSIONS else "/api/product/1"
        requests[part] = request(target, trace, *lines, host=host)
    assert too_dear(server, requests) == []
    assert_hardly_logged(server, already, sum(map(len, requests.values())))


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_costs_much_more_than_its_length(server: RunningServer, target: str) -> None:
    exchange(server, request("/api/product"))
    already = len(server.lines)
    parts = [part.replace(" ", "+").replace("\t", "&") for part in PARTS if part.isascii()]
    requests = {part: request(target + filled(part), TRACE, "api_key: apitest") for part in parts}
    assert too_dear(server, requests) == []
    assert_hardly_logged(server, already, sum(map(len, requests.values())))


def assert_hardly_logged(server: RunningServer, already: int, sent: int) -> None:
    """Beside its access-log line a request has at most one, and all of them are no longer than
    what was sent."""
    lines = server.lines[already:]
    others = [line for line in lines if line["logger"] != "orderfood.access"]
    assert len(others) <= len(lines) - len(others)
    assert len(json.dumps(others)) < sent
    assert not re.search(r"(a,){50}|(a://){9}|(%41){9}", json.dumps(lines))
