"""What a client sends is forgotten with its request, whatever it is and however large."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from orderfood.composition import api_application, new_context
from orderfood.observe.exporting import Tracing
from orderfood.observe.request_spans import RequestTracer
from orderfood.server.drain import Server, bind
from orderfood.settings import read_settings
from orderfood.store import prepare_storage
from storage import open_storage
from tests.api.test_costs import HEADERS, SIZE

REQUESTS = 80
"""Of their 1.1 MB hardly anything may stay."""

MOST = 300_000

PATHS = {
    "docs": "/docs/{}",
    "product": "/api/product/{}",
    "order": "/api/order/{}",
    "cancel": "/api/order/{}/cancel",
    "nowhere": "/{}",
    "folders": "/{}/x",
    "query": "/api/product?{}",
    "field": "/api/order?limit={}",
    "cursor": "/api/order?cursor={}",
    "whole": "http://{}/api/product",
}


SETTINGS = {
    "STORAGE_URL": "memory://",
    "RATE_LIMIT": "1000000/minute",
    "ABUSE_LIMIT": "1000000/minute",
    "TRUSTED_PROXIES": "127.0.0.0/8",
    "CORS_ALLOWED_ORIGINS": "https://a.example",
    "OTEL_PROPAGATORS": "tracecontext,baggage",
    "LOG_LEVEL": "critical",
}


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    """Pytest would keep each record, with all that its traceback knows."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module", params=["httptools", "tornado"])
def http_server(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def tracing() -> Tracing:
    return Tracing(read_settings({"JAEGER_ENDPOINT": "http://127.0.0.1:9/"}), "order-food")


@asynccontextmanager
async def served(http_server: str, tracing: Tracing) -> AsyncIterator[int]:
    """The whole server in this process, so that each byte it keeps is known."""
    settings = read_settings({**SETTINGS, "HTTP_SERVER": http_server})
    async with open_storage(settings.storage_url) as storage:
        await prepare_storage(storage, settings)
        context = new_context(settings, storage)
        tracer = RequestTracer(tracing, settings)
        server = Server(api_application(context, tracer), settings, context.traffic)
        listening = bind("127.0.0.1", 0)
        port: int = listening.getsockname()[1]
        await server.listen(listening)
        try:
            yield port
        finally:
            await server.stop(0)


def kept(http_server: str, tracing: Tracing, request: Callable[[str], bytes]) -> int:
    """How many bytes more there are after many requests of which no two are alike."""

    async def ask() -> int:
        async with served(http_server, tracing) as port:
            for number in range(30):
                await exchange(port, request(f"warm{number}"))
            before = used(tracing)
            for number in range(REQUESTS):
                await exchange(port, request(f"{number:06}" + "a" * (SIZE - 6)))
            return used(tracing) - before

    tracemalloc.start()
    try:
        return asyncio.run(ask())
    finally:
        tracemalloc.stop()


def used(tracing: Tracing) -> int:
    """But for the spans that wait to be sent: a bounded queue."""
    tracing.provider.force_flush()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def exchange(port: int, request: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    writer.write_eof()
    try:
        async with asyncio.timeout(20):
            await reader.read()
    except ConnectionError:
        pass
    writer.close()


def request_for(target: str, *lines: str, method: str = "GET") -> bytes:
    head = "\r\n".join((f"{method} {target} HTTP/1.1", *(lines or ["Host: x"])))
    return f"{head}\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize("name", HEADERS)
def test_no_header_stays(http_server: str, tracing: Tracing, name: str) -> None:
    def request(text: str) -> bytes:
        line = f"{name}: {text}"
        if name == "Content-Type":  # looked at where there is a body
            return request_for("/api/order", *lines_with(line), method="POST")
        return request_for("/openapi.json", *lines_with(line))

    assert kept(http_server, tracing, request) < MOST


def lines_with(line: str) -> list[str]:
    """What a head needs beside this line."""
    others = ["Host: x", "api_key: apitest", "Content-Type: application/json"]
    return [line, *(other for other in others if other.split(":")[0] != line.split(":")[0])]


@pytest.mark.parametrize("path", PATHS)
def test_no_target_stays(http_server: str, tracing: Tracing, path: str) -> None:
    def request(text: str) -> bytes:
        return request_for(PATHS[path].format(text), *lines_with("X: 1"))

    assert kept(http_server, tracing, request) < MOST


@pytest.mark.parametrize("target", ["/openapi.json", "/docs/nothing", "/api/order"])
def test_no_name_of_a_header_stays(http_server: str, tracing: Tracing, target: str) -> None:
    def request(text: str) -> bytes:
        return request_for(target, *lines_with(f"X{text}: 1"))

    assert kept(http_server, tracing, request) < MOST


def test_no_method_stays(http_server: str, tracing: Tracing) -> None:
    def request(text: str) -> bytes:
        return request_for("/api/order", *lines_with("X: 1"), method=text.upper())

    assert kept(http_server, tracing, request) < MOST


@pytest.mark.parametrize("member", ["couponCode", "productId", "name"])
def test_no_body_stays(http_server: str, tracing: Tracing, member: str) -> None:
    def request(text: str) -> bytes:
        body = {"items": [{"productId": "1", "quantity": 1}], member: text}
        if member == "productId":
            body = {"items": [{"productId": text, "quantity": 1}]}
        sent = json.dumps(body).encode()
        lines = lines_with(f"Content-Length: {len(sent)}")
        return request_for("/api/order", *lines, method="POST") + sent

    assert kept(http_server, tracing, request) < MOST
