"""Requests leave nothing for the garbage collector, which therefore may come seldom."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any, cast

import pytest

from fixtures import read_fixtures
from orderfood.api import menu
from orderfood.api.context import Context
from orderfood.api.endpoint import Api
from orderfood.api.routes import ROUTES, build_router
from orderfood.observe.instrumented_storage import InstrumentedStorage
from orderfood.server.connection import Connection
from orderfood.server.limits import Limits
from orderfood.server.listener import HttpToolsServer
from orderfood.settings import read_settings
from orderfood.shop.catalogue import CatalogueCache
from orderfood.shop.orders import Shop
from storage.memory.storage import MemoryStorage

BODY = b'{"items": [{"productId": "1", "quantity": 2}]}'
HEAD = b"Host: shop\r\napi_key: apitest\r\n"
BAD = b'{"items": [], "more": "%b"}' % (b"x" * 100_000)
UNKNOWN = b'{"items": [{"productId": "999", "quantity": 2}]}'


def post(body: bytes, head: bytes = HEAD) -> bytes:
    return b"POST /api/order HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


def get(target: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, HEAD)


REQUESTS = {
    "list": (200, get(b"/api/product")),
    "order": (200, post(BODY)),
    "replay": (200, post(BODY, HEAD + b"Idempotency-Key: k\r\n")),
    "page": (200, get(b"/api/order?limit=1")),
    "no JSON": (400, post(b"{")),
    "not of the schema": (400, post(BAD)),
    "not of the schema, short": (400, post(b"{}")),
    "unknown product": (422, post(UNKNOWN)),
    "no key": (401, post(BODY, b"Host: shop\r\n")),
    "no such order": (404, get(b"/api/order/x")),
    "no such route": (404, get(b"/nowhere")),
    "no such method": (405, b"DELETE /api/order HTTP/1.1\r\n%b\r\n" % HEAD),
}


class Sink:
    """Stands for a socket."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.reads = True
        self.closed = asyncio.Event()
        self.wrote = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.sent.append(data)
        self.wrote.set()

    def get_extra_info(self, name: str) -> object:
        return None

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def close(self) -> None:
        self.closed.set()

    abort = write_eof = close

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing."""

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


@pytest.fixture
def kept_garbage() -> Iterator[list[Any]]:
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()


async def new_front() -> Api:
    storage = InstrumentedStorage(MemoryStorage("memory://"))
    await storage.replace_catalogue(read_fixtures(read_settings({}).fixtures_dir).catalogue)
    context = Context(Shop(storage, CatalogueCache(storage, render=menu.render)), read_settings({}))
    await context.shop.catalogue.get()
    return Api(context, build_router(ROUTES))


@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_request_leaves_no_cycles(kind: str, kept_garbage: list[Any]) -> None:
    connection, sink = Connection(HttpToolsServer(await new_front(), Limits())), Sink()
    connection.connection_made(cast(asyncio.Transport, sink))
    gc.collect()
    kept_garbage.clear()  # what the preparations have left
    status, request = REQUESTS[kind]
    for _ in range(5):
        sink.wrote.clear()
        connection.data_received(request)
        await sink.wrote.wait()
    await asyncio.sleep(0.01)
    assert all(answer.startswith(b"HTTP/1.1 %d " % status) for answer in sink.sent if answer)
    gc.collect()
    assert [type(found).__name__ for found in kept_garbage if is_ours(found)] == []


def is_ours(found: object) -> bool:
    return type(found).__module__.partition(".")[0] in ("orderfood", "storage", "tornado")
