"""What order-food tells a real Jaeger, on every backend."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rig.jaeger import Jaeger, Span, running_jaeger
from rig.processes import PATIENCE, RunningServer, prepare, serving
from tests.api.client import KEY, Client, connect
from tests.api.test_protocol import head, socket_to

SERVICE = "order-food"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": 50}
BODY = {"items": [{"productId": "1", "quantity": 2}]}


@pytest.fixture(scope="module")
def server(shared_jaeger: Jaeger, database: str) -> Iterator[RunningServer]:
    settings = {"JAEGER_ENDPOINT": shared_jaeger.endpoint, "ENVIRONMENT": "test", **SOON}
    with serving(database, SERVICE_VERSION="9.8", **settings) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with connect(server.url) as connected:
        yield connected


@pytest.fixture
def name() -> str:
    """A request id that no other test has."""
    return f"request-{time.time_ns()}"


def traceparent(trace_id: str, span_id: str, *, sampled: bool) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"}


def test_a_request_is_a_span_named_by_method_and_route(
    shared_jaeger: Jaeger, client: Client, server: RunningServer, name: str
) -> None:
    answer = client.get("/api/product/1", **{"X-Request-ID": name, "User-Agent": "test/1"})
    span = shared_jaeger.wait_for_request(name)
    assert span.name == "GET /api/product/:productId"
    assert span.parent is None
    tags = span.tags
    assert tags["span.kind"] == "server"
    assert tags["http.route"] == "/api/product/:productId"
    assert tags["http.request.method"] == "GET"
    assert tags["http.response.status_code"] == 200
    assert tags["http.request.header.user_agent"] == "test/1"
    assert tags["http.response.header.content_type"] == answer.headers["Content-Type"]
    assert tags["http.response.header.etag"] == answer.headers["ETag"]
    assert (tags["service.name"], tags["service.version"]) == (SERVICE, "9.8")
    assert tags["deployment.environment"] == "test"
    assert tags["url.path"] == "/api/product/1"
    assert "error" not in tags
    line = server.wait_for_request(name)
    assert (line["trace_id"], line["span_id"]) == (span.trace_id, span.id)
    assert abs((span.end - span.start) / 1000 - line["duration_ms"]) < 50


def test_the_storage_calls_of_an_order_are_under_it(
    shared_jaeger: Jaeger, client: Client, server: RunningServer, name: str
) -> None:
    order = client.order(BODY, **{"X-Request-ID": name})
    assert order.status == 200
    span = shared_jaeger.wait_for_request(name)
    assert span.name == "POST /api/order"
    (call,) = named(shared_jaeger.children(SERVICE, span), "storage.add_order")
    assert call.trace_id == span.trace_id
    assert call.tags["span.kind"] == "client"
    assert call.tags["db.operation.name"] == "add_order"
    assert call.tags["db.system.name"] in ("memory", "sqlite", "postgresql")
    assert span.start <= call.start
    assert call.end <= span.end + 1000
    assert "apitest" not in json.dumps(span.raw) + json.dumps(call.raw)
    if call.tags["db.system.name"] == "memory":
        return  # memory:// never commits
    (commit,) = named(shared_jaeger.children(SERVICE, call), "storage.commit")
    assert commit.tags["orderfood.commit.orders"] == 1


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


def test_a_page_is_watched_by_tornados_own_instrumentation_within_its_request(
    shared_jaeger: Jaeger, client: Client, name: str
) -> None:
    assert client.get("/docs/start.js", **{"X-Request-ID": name}).status == 200
    span = shared_jaeger.wait_for_request(name)
    assert span.name == "GET /docs/:file"
    assert span.tags["http.response.status_code"] == 200
    (page,) = shared_jaeger.children(SERVICE, span)
    assert page.tags["tornado.handler"] == "orderfood.web.docs.AssetHandler"
    assert page.tags["span.kind"] == "internal"


def test_every_other_storage_call(shared_jaeger: Jaeger, client: Client) -> None:
    order = client.place(("1", 1))["id"]
    requests = {
        "list_orders": ("GET", "/api/order"),
        "get_order": ("GET", f"/api/order/{order}"),
        "change_order": ("POST", f"/api/order/{order}/cancel"),
        "get_schema_version": ("GET", "/ready"),
    }
    for operation, (method, path) in requests.items():
        headers = {"X-Request-ID": f"{operation}-{time.time_ns()}", **KEY}
        assert client.send(method, path, headers=headers).status == 200
        span = shared_jaeger.wait_for_request(headers["X-Request-ID"])
        assert named(shared_jaeger.children(SERVICE, span), f"storage.{operation}")


def test_a_path_that_is_unknown_names_no_span(
    shared_jaeger: Jaeger, client: Client, name: str
) -> None:
    assert client.get("/wp-admin/secret", **{"X-Request-ID": name}).status == 404
    span = shared_jaeger.wait_for_request(name)
    assert span.name == "GET unknown"
    assert "http.route" not in span.tags
    assert span.tags["http.response.status_code"] == 404
    assert span.tags["orderfood.reason"] == "not_found"


def test_a_method_that_is_unknown(shared_jaeger: Jaeger, client: Client, name: str) -> None:
    assert client.send("PROPFIND", "/api/order", headers={"X-Request-ID": name}).status == 405
    span = shared_jaeger.wait_for_request(name)
    assert (span.name, span.tags["http.request.method"]) == ("OTHER /api/order", "OTHER")


def test_a_refusal_is_no_failure_and_says_why(
    shared_jaeger: Jaeger, client: Client, name: str
) -> None:
    body = {"items": [{"productId": "99", "quantity": 1}]}
    assert client.order(body, **{"X-Request-ID": f"{name}-refused"}).status == 422
    span = shared_jaeger.wait_for_request(f"{name}-refused")
    assert span.tags["orderfood.reason"] == "unknown_product"
    assert span.tags["http.response.status_code"] == 422
    assert "error" not in span.tags
    missing = "/api/order/00000000-0000-4000-8000-00000000ffff"
    assert client.get(missing, **KEY, **{"X-Request-ID": f"{name}-missing"}).status == 404
    span = shared_jaeger.wait_for_request(f"{name}-missing")
    (call,) = named(shared_jaeger.children(SERVICE, span), "storage.get_order")
    assert "error" not in call.tags
    assert [event["exception.type"] for event in call.events]


def test_traceparent_is_honoured(shared_jaeger: Jaeger, client: Client, name: str) -> None:
    caller = traceparent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)
    client.get("/api/product", **caller, **{"X-Request-ID": name})
    span = shared_jaeger.wait_for_request(name)
    assert span.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert span.parent == "b7ad6b7169203331"
    assert span.tags["span.kind"] == "server"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
        "01-" + "a" * 32 + "-" + "b" * 16 + "-01-" + "c" * 10_000,
        ", ".join(2 * ["00-" + "a" * 32 + "-" + "b" * 16 + "-01"]),
    ],
)
def test_a_traceparent_that_is_none(shared_jaeger: Jaeger, client: Client, header: str) -> None:
    request_id = f"odd-{time.time_ns()}"
    assert client.get("/health", traceparent=header, **{"X-Request-ID": request_id}).status == 200
    assert shared_jaeger.wait_for_request(request_id).parent is None


def test_no_key_is_in_any_span(shared_jaeger: Jaeger, memory_url: str, name: str) -> None:
    captured = "api_key,x-api-key,authorization,user-agent"
    settings = {
        "JAEGER_ENDPOINT": shared_jaeger.endpoint,
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": captured,
        **SOON,
    }
    with serving(memory_url, **settings) as server, connect(server.url) as client:
        secrets = {"X-API-Key": "s3cret-1", "Authorization": "Bearer s3cret-2"}
        client.order(BODY, **secrets, **{"X-Request-ID": name})
        span = shared_jaeger.wait_for_request(name)
        shown = json.dumps(span.raw)
        assert "apitest" not in shown
        assert "s3cret" not in shown
        assert span.tags["http.request.header.api_key"] == "***"
        server.stop()
        assert not [line for line in server.lines if "apitest" in json.dumps(line)]


def test_only_what_is_sampled_is_traced(shared_jaeger: Jaeger, memory_url: str) -> None:
    settings = {"JAEGER_ENDPOINT": shared_jaeger.endpoint, **SOON}
    ratio = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": 0.3}
    with serving(memory_url, **settings, **ratio) as server, connect(server.url) as client:
        prefix = f"drawn-{time.time_ns()}"
        for number in range(200):
            client.order(BODY, **{"X-Request-ID": f"{prefix}-{number}"})
        server.stop()
        logged = {e["trace_id"] for e in server.lines if e.get("request_id", "").startswith(prefix)
                  and "trace_id" in e}  # fmt: skip
    spans = [s for s in shared_jaeger.spans(SERVICE)
             if s.tags.get("request_id", "").startswith(prefix)]  # fmt: skip
    assert 30 < len(spans) < 90
    assert {span.trace_id for span in spans} == logged
    assert len({span.trace_id for span in spans}) == len(spans)
    for span in spans:
        assert named(shared_jaeger.children(SERVICE, span), "storage.add_order")


def test_a_client_that_leaves_is_in_a_span(
    shared_jaeger: Jaeger, memory_url: str, name: str
) -> None:
    settings = {"JAEGER_ENDPOINT": shared_jaeger.endpoint, **SOON}
    with serving(memory_url, **settings) as server:
        with socket_to(server) as connection:
            connection.sendall(head(Content_Length=100, X_Request_ID=name) + b'{"items"')
            with connect(server.url) as client:
                assert client.get("/health").status == 200
        span = shared_jaeger.wait_for_request(name)
        assert span.tags["http.response.status_code"] == 499
        line = server.wait_for_request(name)
        assert (line["status"], line["trace_id"]) == (499, span.trace_id)


def test_a_store_that_goes_away_is_recorded(
    shared_jaeger: Jaeger, request: pytest.FixtureRequest, sqlite_url: str, name: str
) -> None:
    prepare(sqlite_url)
    settings = {"JAEGER_ENDPOINT": shared_jaeger.endpoint, **SOON}
    with serving(sqlite_url, **settings) as server, connect(server.url) as client:
        with locked(sqlite_url):
            assert client.order(BODY, **{"X-Request-ID": name}).status == 503
        span = shared_jaeger.wait_for_request(name)
        assert span.tags["error"] is True
        assert span.tags["http.response.status_code"] == 503
        assert any(e["exception.type"].endswith("StorageUnavailable") for e in span.events)
        (call,) = named(shared_jaeger.children(SERVICE, span), "storage.add_order")
        assert call.tags["error"] is True
        assert call.tags["error.type"] == "StorageUnavailable"
        server.stop()
        assert server.process.returncode == 0
        assert not [line for line in server.lines if line["level"] in ("error", "critical")]


def locked(url: str) -> closing[sqlite3.Connection]:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return closing(connection)


async def test_a_shared_commit_is_linked_to_the_requests_it_served(
    shared_jaeger: Jaeger, shared_url: str
) -> None:
    prepare(shared_url)
    settings = {"JAEGER_ENDPOINT": shared_jaeger.endpoint, **SOON}
    with serving(shared_url, **settings) as server:
        prefix = f"shared-{time.time_ns()}"
        await asyncio.gather(*(place(server, f"{prefix}-{n}") for n in range(60)))
        server.stop()
    spans = shared_jaeger.spans(SERVICE)
    requests = [s for s in spans if s.tags.get("request_id", "").startswith(prefix)]
    ids = {s.id for s in requests}
    calls = {s.id: s for s in spans if s.name == "storage.add_order" and s.parent in ids}
    commits = [s for s in spans if s.name == "storage.commit" and s.parent in calls]
    served = [{c.parent, *(r["spanID"] for r in c.references("FOLLOWS_FROM"))} for c in commits]
    assert len(calls) == 60
    assert sorted(i for ids in served for i in ids if i) == sorted(calls)
    assert [len(ids) for ids in served] == [c.tags["orderfood.commit.orders"] for c in commits]
    assert max(len(ids) for ids in served) > 1
    for commit, ids_ in zip(commits, served, strict=True):
        for id_ in ids_ - {commit.parent}:
            links = {r["spanID"] for r in calls[str(id_)].references("FOLLOWS_FROM")}
            assert links == {commit.id}


async def place(server: RunningServer, request_id: str) -> None:
    body = json.dumps(BODY).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head(api_key="apitest", X_Request_ID=request_id, Content_Length=len(body)) + body)
    assert b"200 OK" in await reader.readuntil(b"\r\n")
    writer.close()


def test_a_jaeger_that_comes_up_late(tmp_path: Path, memory_url: str, name: str) -> None:
    with running_jaeger(tmp_path) as jaeger:
        jaeger.stop()
        settings = {"JAEGER_ENDPOINT": jaeger.endpoint, "LOG_LEVEL": "debug", **SOON}
        with serving(memory_url, **settings) as server, connect(server.url) as client:
            for _ in range(3):
                assert client.get("/health").status == 200
                time.sleep(0.2)
            warning = server.wait_for_line("cannot be exported")
            assert warning["level"] == "warning"
            jaeger.start()
            client.get("/health", **{"X-Request-ID": name})
            assert server.wait_for_line("spans are exported again")["level"] == "info"
            assert jaeger.wait_for_request(name).name == "GET /health"
            server.stop()
            told = [e["level"] for e in server.lines if "cannot be exported" in e["message"]]
            assert told[0] == "warning"
            assert set(told[1:]) <= {"debug"}


def test_a_jaeger_that_never_answers(memory_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/api/traces"
        settings = {"JAEGER_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": 10, "DRAIN_SECONDS": 0}
        with serving(memory_url, **settings) as server, connect(server.url) as client:
            silent.settimeout(PATIENCE)
            slowest = 0.0
            for _ in range(300):
                began = time.monotonic()
                assert client.order(BODY).status == 200
                slowest = max(slowest, time.monotonic() - began)
            connection, _ = silent.accept()
            assert slowest < 5
            began = time.monotonic()
            with connection:
                assert server.stop() == 0
            assert time.monotonic() - began < 4, "two seconds, and the end of a process"


def test_spans_that_nobody_takes_do_not_eat_memory(memory_url: str) -> None:
    from orderfood.observe.exporting import Tracing
    from orderfood.settings import read_settings

    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/api/traces"
        tracing = Tracing(read_settings({"JAEGER_ENDPOINT": endpoint}), "order-food")
        tracer = tracing.provider.get_tracer("test")
        began = time.monotonic()
        for _ in range(10_000):
            tracer.start_span("one of many").end()
        assert time.monotonic() - began < PATIENCE
        processor = tracing.provider._active_span_processor._span_processors[0]
        assert len(processor._batch_processor._queue) <= 2048  # type: ignore[attr-defined]
        tracing.stop(0.1)
