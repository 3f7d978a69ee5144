"""A client that leaves while its whole request waits for the store."""

from __future__ import annotations

import asyncio
from typing import cast

from fixtures import read_fixtures
from orderfood.api import menu
from orderfood.api.context import Context
from orderfood.api.endpoint import Api
from orderfood.api.routes import ROUTES, build_router
from orderfood.server.connection import Connection
from orderfood.server.limits import Limits
from orderfood.server.listener import HttpToolsServer
from orderfood.settings import read_settings
from orderfood.shop.catalogue import CatalogueCache
from orderfood.shop.observer import AnsweredRequest, Observer
from orderfood.shop.orders import Shop
from storage.memory.storage import MemoryStorage
from storage.records import Versions
from tests.unit.test_garbage import BODY, Sink, post


class SlowStorage(MemoryStorage):
    """One that takes its time to tell the catalogue's version."""

    def __init__(self) -> None:
        super().__init__("memory://")
        self.open = asyncio.Event()

    async def get_versions(self) -> Versions:
        await self.open.wait()
        return await super().get_versions()


class Ends(Observer):
    """Remembers the statuses with which requests ended."""

    def __init__(self) -> None:
        self.statuses: list[int] = []

    def request_ended(self, request: AnsweredRequest) -> None:
        self.statuses.append(request.status)


class Shopper:
    """A shop whose store is slow, and a client of it."""

    def __init__(self) -> None:
        self.storage, self.observer, self.sink = SlowStorage(), Ends(), Sink()
        shop = Shop(self.storage, CatalogueCache(self.storage, render=menu.render))
        self.context = Context(shop, read_settings({}), observer=self.observer)
        front = Api(self.context, build_router(ROUTES))
        self.connection = Connection(HttpToolsServer(front, Limits()))
        self.connection.connection_made(cast(asyncio.Transport, self.sink))

    async def fill(self) -> None:
        fixtures = read_fixtures(read_settings({}).fixtures_dir)
        await self.storage.replace_catalogue(fixtures.catalogue)

    async def wait_until_idle(self) -> None:
        async with asyncio.timeout(10):
            while self.context.traffic.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_it_is_answered_and_counted_once() -> None:
    shopper = Shopper()
    await shopper.fill()
    shopper.connection.data_received(post(BODY))
    await asyncio.sleep(0.01)
    assert shopper.context.traffic.in_flight == 1
    shopper.connection.connection_lost(ConnectionResetError())
    assert shopper.context.traffic.in_flight == 1  # the drain waits for it
    shopper.storage.open.set()
    await shopper.wait_until_idle()
    assert shopper.observer.statuses == [200]
    assert len(await shopper.storage.list_orders("demo", limit=10)) == 1
    assert shopper.sink.sent == []


async def test_half_a_request_behind_it_ends_with_its_client() -> None:
    shopper = Shopper()
    await shopper.fill()
    shopper.connection.data_received(post(BODY) + post(BODY)[:-1])
    await asyncio.sleep(0.01)
    assert shopper.connection.eof_received()  # the whole one is to be answered
    shopper.storage.open.set()
    async with asyncio.timeout(10):
        await shopper.sink.closed.wait()
    shopper.connection.connection_lost(None)
    await shopper.wait_until_idle()
    assert [answer[:12] for answer in shopper.sink.sent] == [b"HTTP/1.1 200"]
    assert len(await shopper.storage.list_orders("demo", limit=10)) == 1
