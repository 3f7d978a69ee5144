"""Ordinary handlers of Tornado's behind the front door, on both servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.web import Application, RequestHandler, StaticFileHandler

from orderfood.api.context import Context
from orderfood.api.endpoint import Api
from orderfood.api.routes import ROUTES, build_router
from orderfood.server.drain import Server, bind
from orderfood.settings import read_settings
from orderfood.shop.catalogue import CatalogueCache
from orderfood.shop.orders import Shop
from storage.memory.storage import MemoryStorage

pytestmark = pytest.mark.parametrize("name", ["httptools", "tornado"])

TEXT = "0123456789" * 20_000


class Broken(RequestHandler):
    async def get(self) -> None:
        raise RuntimeError("secret")


class Slow(RequestHandler):
    async def get(self) -> None:
        for _ in range(3):
            self.write("part ")
            await self.flush()
            await asyncio.sleep(0.01)


PAGES = {"/static/{file}", "/broken", "/slow"}


@asynccontextmanager
async def served(name: str, folder: Path) -> AsyncIterator[str]:
    settings = read_settings({"HTTP_SERVER": name})
    storage = MemoryStorage("memory://")
    context = Context(Shop(storage, CatalogueCache(storage)), settings)
    files = ("/static/(.*)", StaticFileHandler, {"path": str(folder)})
    pages = Application([files, ("/broken", Broken), ("/slow", Slow)], log_function=lambda _: None)
    server = Server(
        Api(context, build_router(ROUTES, PAGES), pages=pages), settings, context.traffic
    )
    listening = bind("127.0.0.1", 0)
    await server.listen(listening)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        await server.stop(1)
        assert context.traffic.in_flight == 0


async def get(url: str, **headers: str) -> HTTPResponse:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await AsyncHTTPClient().fetch(url, headers=sent, raise_error=False)


async def test_files_of_a_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    async with served(name, tmp_path) as url:
        whole = await get(f"{url}/static/a.txt", X_Request_ID="mine")
        assert (whole.code, whole.body.decode()) == (200, TEXT)
        assert whole.headers["X-Request-ID"] == "mine"
        assert whole.headers["X-Content-Type-Options"] == "nosniff"
        assert len(whole.headers.get_list("Date")) == 1
        part = await get(f"{url}/static/a.txt", Range="bytes=3-5")
        assert (part.code, part.body) == (206, b"345")
        assert (await get(f"{url}/static/a.txt", Range="bytes=900000-")).code == 416
        known = await get(f"{url}/static/a.txt", If_None_Match=whole.headers["ETag"])
        assert (known.code, known.body) == (304, b"")


async def test_what_is_no_file_is_answered_in_the_one_shape(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    async with served(name, tmp_path) as url:
        for path in ("nope", "..%2Fsecret", "folder", "%00", "%ff"):
            answer = await get(f"{url}/static/{path}")
            assert answer.code == 404, path
            assert json.loads(answer.body)["code"] == 404


async def test_a_page_that_fails_tells_nobody_why(name: str, tmp_path: Path) -> None:
    async with served(name, tmp_path) as url:
        answer = await get(f"{url}/broken")
        assert answer.code == 500
        assert b"secret" not in answer.body
        assert (await get(f"{url}/slow")).body == b"part part part "
