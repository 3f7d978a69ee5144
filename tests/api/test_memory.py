"""What a client sends is forgotten with its request, whatever it is and however large."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import pytest

from orderfood.composition import api_application, new_context
from orderfood.observe.exporting import Tracing
from orderfood.observe.request_spans import RequestTracer
from orderfood.server.drain import Server, bind
from orderfood.settings import read_settings
from orderfood.store import prepare_storage
from storage import open_storage
from tests.api.test_costs import HEADERS, SIZE

REQUESTS = 40
"""Of their 560 KB hardly anything may stay."""

MOST = 150_000

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


Ask = Callable[[str], bytes]


def kept(http_server: str, tracing: Tracing, asks: Mapping[str, Ask]) -> dict[str, int]:
    """How many bytes more there are after many requests of a kind of which no two are alike, where
    they are too many."""

    async def ask_all() -> dict[str, int]:
        async with served(http_server, tracing) as port:
            return {name: await ask_many(port, ask) for name, ask in asks.items()}

    async def ask_many(port: int, ask: Ask) -> int:
        for number in range(10):
            await exchange(port, ask(f"warm{number}"))
        before = used(tracing)
        for number in range(REQUESTS):
            await exchange(port, ask(f"{number:06}" + "a" * (SIZE - 6)))
        return used(tracing) - before

    tracemalloc.start()
    try:
        return {name: more for name, more in asyncio.run(ask_all()).items() if more > MOST}
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


def test_no_header_stays(http_server: str, tracing: Tracing) -> None:
    def ask(name: str, text: str) -> bytes:
        line = f"{name}: {text}"
        if name == "Content-Type":  # looked at where there is a body
            return request_for("/api/order", *lines_with(line), method="POST")
        return request_for("/openapi.json", *lines_with(line))

    assert kept(http_server, tracing, {name: partial(ask, name) for name in HEADERS}) == {}


def lines_with(line: str) -> list[str]:
    """What a head needs beside this line."""
    others = ["Host: x", "api_key: apitest", "Content-Type: application/json"]
    return [line, *(other for other in others if other.split(":")[0] != line.split(":")[0])]


def test_no_target_stays(http_server: str, tracing: Tracing) -> None:
    def ask(path: str, text: str) -> bytes:
        return request_for(path.format(text), *lines_with("X: 1"))

    asks = {name: partial(ask, path) for name, path in PATHS.items()}
    assert kept(http_server, tracing, asks) == {}


def test_no_name_of_a_header_stays(http_server: str, tracing: Tracing) -> None:
    def ask(target: str, text: str) -> bytes:
        return request_for(target, *lines_with(f"X{text}: 1"))

    targets = ("/openapi.json", "/docs/nothing", "/api/order")
    assert kept(http_server, tracing, {each: partial(ask, each) for each in targets}) == {}


def test_no_method_stays(http_server: str, tracing: Tracing) -> None:
    def ask(text: str) -> bytes:
        return request_for("/api/order", *lines_with("X: 1"), method=text.upper())

    assert kept(http_server, tracing, {"method": ask}) == {}


def test_no_body_stays(http_server: str, tracing: Tracing) -> None:
    def ask(member: str, text: str) -> bytes:
        body = {"items": [{"productId": "1", "quantity": 1}], member: text}
        if member == "productId":
            body = {"items": [{"productId": text, "quantity": 1}]}
        sent = json.dumps(body).encode()
        lines = lines_with(f"Content-Length: {len(sent)}")
        return request_for("/api/order", *lines, method="POST") + sent

    members = ("couponCode", "productId", "name")
    assert kept(http_server, tracing, {each: partial(ask, each) for each in members}) == {}
