"""A store that is away, hangs, or fails in a way nobody thought of; in this process, so that it
can be made to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.ioloop import IOLoop

from fixtures import read_fixtures
from orderfood.api import menu
from orderfood.api.context import Context
from orderfood.api.endpoint import Api
from orderfood.api.routes import ROUTES, build_router
from orderfood.observe.instrumented_storage import InstrumentedStorage
from orderfood.server.drain import bind
from orderfood.server.limits import Limits
from orderfood.server.tornado_server import TornadoServer
from orderfood.settings import read_settings
from orderfood.shop.catalogue import CatalogueCache
from orderfood.shop.orders import Shop
from storage.errors import SchemaOutdated, StorageBusy, StorageUnavailable
from storage.memory.storage import MemoryStorage

BODY = json.dumps({"items": [{"productId": "1", "quantity": 1}]})


class BrokenStorage(MemoryStorage):
    """A storage in which every call, or those of one name, do what ``trouble`` says."""

    trouble: Callable[[], Awaitable[None]] | None = None
    only: str | None = None

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        trouble = super().__getattribute__("trouble")
        only = super().__getattribute__("only")
        if trouble is None or not asyncio.iscoroutinefunction(value) or name not in (only, name):
            return value
        if only is not None and name != only:
            return value

        async def troubled(*args: Any, **kwargs: Any) -> Any:
            await trouble()
            return await value(*args, **kwargs)

        return troubled


@pytest.fixture
def storage() -> BrokenStorage:
    return BrokenStorage("memory://")


@pytest.fixture
def context(storage: BrokenStorage) -> Context:
    observed = InstrumentedStorage(storage, call_seconds=0.2)
    catalogue = CatalogueCache(observed, deadlines=observed.deadlines, render=menu.render)
    return Context(Shop(observed, catalogue), read_settings({}))


@pytest.fixture
def port(context: Context, io_loop: IOLoop) -> Iterator[int]:
    listening = bind("127.0.0.1", 0)

    async def start() -> TornadoServer:
        server = TornadoServer(Api(context, build_router(ROUTES)), Limits())
        await server.listen(listening)
        return server

    server = io_loop.run_sync(start)
    yield listening.getsockname()[1]
    server.stop()
    io_loop.run_sync(server.close_all_connections)


class Caller:
    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._client = AsyncHTTPClient()

    async def __call__(self, path: str, body: str | None = None, **headers: str) -> HTTPResponse:
        return await self._client.fetch(
            self._url + path,
            method="GET" if body is None else "POST",
            body=body,
            headers={"api_key": "apitest", "Content-Type": "application/json", **headers},
            raise_error=False,
        )


@pytest.fixture
def call(port: int) -> Caller:
    return Caller(port)


async def fill(storage: BrokenStorage) -> None:
    loaded = read_fixtures(read_settings({}).fixtures_dir)
    await storage.replace_catalogue(loaded.catalogue, sample_orders=loaded.sample_orders)


def assert_unavailable(answer: HTTPResponse) -> None:
    assert answer.code == 503, answer.body
    assert answer.headers["Retry-After"]
    body = json.loads(answer.body)
    assert (body["code"], body["type"]) == (503, "error")
    assert "secret" not in body["message"]


async def away() -> None:
    raise StorageUnavailable("connection to secret refused")


async def busy() -> None:
    raise StorageBusy("secret")


async def outdated() -> None:
    raise SchemaOutdated("secret")


async def hanging() -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize("trouble", [away, busy, outdated, hanging])
async def test_a_store_that_does_not_answer_is_503_on_every_route_that_needs_it(
    call: Caller, storage: BrokenStorage, trouble: Callable[[], Awaitable[None]]
) -> None:
    await fill(storage)
    storage.trouble = trouble
    order = "/api/order/5f0f6c0e-6d0b-4c57-9a51-6d2f3a6b0001"
    for path in ("/api/product", "/api/product/1", "/api/order", order, "/ready"):
        assert_unavailable(await call(path))
    for path in ("/api/order", "/api/order/quote", f"{order}/cancel"):
        assert_unavailable(await call(path, BODY))
    assert (await call("/health")).code == 200


async def slow() -> None:
    """Nearly as long as a request may wait."""
    await asyncio.sleep(0.9)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/ready", None),
        ("/api/order", {"items": [{"productId": "1", "quantity": 1}], "couponCode": "NOSUCHCO"}),
        ("/api/order", {"items": [{"productId": "99", "quantity": 1}]}),
        ("/api/order", None),
        ("/api/order/5f0f6c0e-6d0b-4c57-9a51-6d2f3a6b0001", None),
        ("/api/order/5f0f6c0e-6d0b-4c57-9a51-6d2f3a6b0001/cancel", {}),
    ],
)
async def test_all_calls_of_a_request_have_one_limit(
    call: Caller, storage: BrokenStorage, context: Context, path: str, body: object
) -> None:
    """Each of them alone would be in time."""
    await fill(storage)
    assert (await call("/api/product")).code == 200
    storage.trouble = slow
    context.shop.storage.deadlines._seconds = 1.0  # type: ignore[attr-defined]
    context.shop.catalogue._probed_at -= 1.0  # so that the catalogue is asked for, too
    text = None if body is None else json.dumps(body)
    key = {} if body is None else {"Idempotency-Key": "one"}
    assert_unavailable(await call(path, text, **key))


@pytest.mark.parametrize("trouble", [away, busy, hanging])
async def test_it_recovers_by_itself(
    call: Caller, storage: BrokenStorage, trouble: Callable[[], Awaitable[None]]
) -> None:
    await fill(storage)
    assert (await call("/api/order", BODY)).code == 200
    storage.trouble = trouble
    storage.only = "add_order"
    assert_unavailable(await call("/api/order", BODY))
    assert (await call("/api/product")).code == 200
    storage.trouble = None
    assert (await call("/api/order", BODY)).code == 200
    assert (await call("/ready")).code == 200


async def test_a_menu_that_nobody_could_confirm_for_a_second_is_not_served(
    call: Caller, storage: BrokenStorage, context: Context
) -> None:
    await fill(storage)
    assert (await call("/api/product")).code == 200
    storage.trouble = away
    context.shop.catalogue._probed_at -= 1.0  # as if a second had gone by
    assert_unavailable(await call("/api/product"))


async def test_a_defect_is_500_in_the_one_shape_and_in_the_log(
    call: Caller, storage: BrokenStorage, caplog: pytest.LogCaptureFixture
) -> None:
    async def defect() -> None:
        raise ZeroDivisionError("secret")

    await fill(storage)
    storage.trouble = defect
    storage.only = "get_order"
    answer = await call("/api/order/5f0f6c0e-6d0b-4c57-9a51-6d2f3a6b0001")
    assert answer.code == 500
    assert json.loads(answer.body)["message"] == "internal error"
    assert any(r.exc_info and r.levelname == "ERROR" for r in caplog.records)


async def test_a_request_under_a_key_waits_for_the_first_one(
    call: Caller, storage: BrokenStorage, context: Context
) -> None:
    await fill(storage)
    locks = context.shop.key_locks
    locks._wait_seconds = 0.05
    async with locks.hold(("demo", "k")):
        answer = await call("/api/order", BODY, **{"Idempotency-Key": "k"})
        assert answer.code == 409
        assert answer.headers["Retry-After"]
    assert not locks._locks


async def test_notices_that_fail_do_not_end_the_probing(
    storage: BrokenStorage, context: Context
) -> None:
    async def defect() -> None:
        raise RuntimeError("no notices today")

    await fill(storage)
    storage.trouble = defect
    storage.only = "wait_for_notice"
    catalogue = context.shop.catalogue
    task = asyncio.create_task(catalogue.run())
    probes: set[float] = set()
    async with asyncio.timeout(30):
        while len(probes) < 4:
            assert not task.done()
            probes.add(catalogue._probed_at)
            await asyncio.sleep(0.02)
    task.cancel()
