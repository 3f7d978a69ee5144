"""A client that leaves while its whole request waits for the store."""

from __future__ import annotations

import asyncio
from typing import cast

from fixtures import read_fixtures
from orderfood.app import build_app
from orderfood.catalogue import CatalogueCache
from orderfood.front import Front
from orderfood.handlers import Context
from orderfood.httptools_server import Connection, HttpToolsServer, Limits
from orderfood.observer import RequestObserver
from orderfood.service import Shop
from orderfood.settings import read_settings
from storage.memory import MemoryStorage
from tests.unit.test_garbage import BODY, Sink, post


class SlowStorage(MemoryStorage):
    """One that takes its time to tell the catalogue's version."""

    def __init__(self) -> None:
        super().__init__("memory://")
        self.open = asyncio.Event()

    async def get_catalogue_version(self) -> int:
        await self.open.wait()
        return await super().get_catalogue_version()


class Ends(RequestObserver):
    """Remembers the statuses with which requests ended."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []

    def end(self, method: str, route: str, status: int, *more: object) -> None:
        self.statuses.append(status)


async def test_it_is_answered_and_counted_once() -> None:
    storage, observer = SlowStorage(), Ends()
    await storage.replace_catalogue(read_fixtures(read_settings({}).fixtures_dir).catalogue)
    context = Context(Shop(storage, CatalogueCache(storage)), read_settings({}), observer=observer)
    server = HttpToolsServer(Front(build_app(context), context), Limits())
    connection, sink = Connection(server), Sink()
    connection.connection_made(cast(asyncio.Transport, sink))
    connection.data_received(post(BODY))
    await asyncio.sleep(0.01)
    assert context.active == 1
    connection.connection_lost(ConnectionResetError())
    assert context.active == 1  # the drain waits for it
    storage.open.set()
    async with asyncio.timeout(10):
        while context.active:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert observer.statuses == [200]
    assert len(await storage.list_orders("demo", limit=10)) == 1
    assert sink.sent == []
