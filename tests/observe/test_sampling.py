"""Whose word counts on what is traced."""

from __future__ import annotations

import json
from functools import partial

import pytest

from rig.processes import serving
from tests.api.client import KEY, connect
from tests.api.test_protocol import head, socket_to
from tests.observe.collector import running_collector

BODY = {"items": [{"productId": "1", "quantity": 2}]}
TRUSTED = {"TRUSTED_PROXIES": "127.0.0.0/8"}
LOW_ID = "00000000000000000000000000000001"
"""One that every sampler takes that goes by the id."""

OTHER_ID = "1af7651916cd43dd8448eb211c80319d"
PARENT = "b7ad6b7169203331"

SAMPLERS = {
    "parentbased": {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"},
    "by id alone": {"OTEL_TRACES_SAMPLER": "traceidratio"},
}


@pytest.fixture(params=["httptools", "tornado"])
def http_server(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"HTTP_SERVER": request.param, "DRAIN_SECONDS": "0"}


def caller(trace_id: str, flags: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{PARENT}-{flags}"}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("trusted", [{}, TRUSTED], ids=["anybody", "trusted"])
def test_only_a_trusted_caller_has_a_request_traced(
    http_server: dict[str, str], sampler: str, trusted: dict[str, str]
) -> None:
    ratio = {**SAMPLERS[sampler], "OTEL_TRACES_SAMPLER_ARG": "0.000001"}
    with running_collector() as collector:
        settings = {**collector.settings, **ratio, **trusted, **http_server}
        with serving("memory://", **settings) as server, connect(server.url) as client:
            for number in range(5):
                headers = {**caller(LOW_ID, "01"), "X-Request-ID": f"asked-{number}"}
                client.order(BODY, **headers)
                client.get("/api/product", **headers)
            assert server.wait_for_request("asked-4")["trace_id"] == LOW_ID, "for the log"
            if trusted:
                collector.wait_for("asked-4")
            server.stop()
        traced = collector.of_requests("asked")
        assert len(traced) == (10 if trusted else 0)
        assert {s.parent for s in traced} <= {PARENT}


@pytest.mark.parametrize("trusted", [{}, TRUSTED], ids=["anybody", "trusted"])
def test_only_a_trusted_caller_keeps_a_request_from_being_traced(
    http_server: dict[str, str], trusted: dict[str, str]
) -> None:
    with running_collector() as collector:
        settings = {**collector.settings, **trusted, **http_server}
        with serving("memory://", **settings) as server, connect(server.url) as client:
            client.order(BODY, **caller(OTHER_ID, "00"), **{"X-Request-ID": "hidden"})
            assert server.wait_for_request("hidden")["trace_id"] == OTHER_ID
            server.stop()
        traced = [(s.trace_id, s.parent) for s in collector.of_requests("hidden")]
        assert traced == ([] if trusted else [(OTHER_ID, PARENT)])


def test_a_request_is_drawn_as_often_whoever_asks(http_server: dict[str, str]) -> None:
    ratio = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.3"}
    with running_collector() as collector:
        settings = {**collector.settings, **ratio, **http_server}
        with serving("memory://", **settings) as server, connect(server.url) as client:
            for number in range(200):
                headers = {**caller(OTHER_ID, "00"), "X-Request-ID": f"drawn-{number}"}
                client.order(BODY, **headers)
            server.stop()
        assert 30 < len(collector.of_requests("drawn")) < 90


def test_no_request_belongs_to_the_one_before_it_on_its_connection(
    http_server: dict[str, str],
) -> None:
    ratio = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.3"}
    asked = b"".join(pipelined(number) for number in range(200))
    with running_collector() as collector:
        settings = {**collector.settings, **ratio, **TRUSTED, **http_server}
        with serving("memory://", **settings) as server:
            with socket_to(server) as connection:
                connection.sendall(asked + got("/health", Connection="close"))
                answers = b"".join(iter(partial(connection.recv, 65536), b""))
            assert answers.count(b"HTTP/1.1 200") == 201
            server.stop()
            logged = {line["request_id"]: line.get("trace_id") for line in server.lines
                      if line.get("request_id", "").startswith("after-")}  # fmt: skip
        spans = {s.attributes["request_id"]: s for s in collector.of_requests("after-")}
    assert len(logged) == 200
    assert {name: id_ for name, id_ in logged.items() if id_} == {
        name: span.trace_id for name, span in spans.items()
    }
    called = {name for name in spans if name.endswith("-0")}
    assert called == {f"after-{number}-0" for number in range(0, 200, 10)}
    assert {name for name, span in spans.items() if span.parent} == called
    assert 25 < len(spans) - len(called) < 85


def pipelined(number: int) -> bytes:
    """The menu and an order in turns; each tenth one has a caller who has it traced."""
    traced = caller(f"{number + 1:032x}", "01") if number % 10 == 0 else {}
    fields = {"X_Request_ID": f"after-{number}-{number % 10}", **traced}
    if number % 3:
        return got("/api/product", **fields)
    body = json.dumps(BODY).encode()
    return head(Content_Length=len(body), **fields) + body


def got(path: str, **fields: str) -> bytes:
    return head(path, **fields).replace(b"POST", b"GET", 1)


def test_what_a_client_chooses_is_short_in_a_span(http_server: dict[str, str]) -> None:
    with running_collector() as collector:
        settings = {**collector.settings, **http_server}
        with serving("memory://", **settings) as server, connect(server.url) as client:
            agent = {"User-Agent": "a" * 14_000, "X-Request-ID": "long"}
            client.send("GET", "/api/order", headers={**KEY, **agent})
            server.stop()
        (span,) = collector.of_requests("long")
        assert len(span.attributes["http.request.header.user_agent"]) == 1024


@pytest.mark.parametrize("length", ["0" * 5000, "9" * 5000, "0" * 5000 + "2"])
def test_a_length_of_thousands_of_digits_is_no_defect(
    http_server: dict[str, str], length: str
) -> None:
    with running_collector() as collector:
        settings = {**collector.settings, **http_server}
        with serving("memory://", **settings) as server, socket_to(server) as connection:
            connection.sendall(head(Content_Length=length, Connection="close") + b"{}")
            answer = b"".join(iter(partial(connection.recv, 65536), b""))
            assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 413")
            server.stop()
            assert {line["level"] for line in server.lines} <= {"info"}
