"""The shop in a browser: the storefront, an order's page, the kitchen's board, and their files."""

from __future__ import annotations

import json
import os
from collections.abc import Generator

from tornado.web import HTTPError
from tornado.web import StaticFileHandler as FolderHandler

from orderfood.server.accept import prefers_json
from orderfood.server.bodies import encode_bytes
from orderfood.web.base import PageHandler
from orderfood.web.site import Site

LINKS = encode_bytes(
    json.dumps(
        {
            "links": {
                "menu": "/api/product",
                "orders": "/api/order",
                "shop": "/api/shop",
                "session": "/api/session",
                "openapi": "/openapi.json",
                "docs": "/docs",
                "kitchen": "/kitchen",
                "health": "/health",
                "ready": "/ready",
            }
        }
    ).encode(),
    "application/json; charset=utf-8",
)
"""What GET / answers to programs."""


class SiteHandler(PageHandler):
    """What all of them need."""

    @property
    def site(self) -> Site:
        """The site that is served."""
        site: Site = self.settings["site"]
        return site

    def guard(self) -> None:
        """Puts what is sent under the policy of the pages."""
        self.set_header("Content-Security-Policy", self.site.policy)
        self.set_header("Referrer-Policy", "no-referrer")

    async def send_page(self, name: str) -> None:
        """Sends one of the pages, under their policy."""
        self.guard()
        await self.send(self.site.pages[name])


class StorefrontHandler(SiteHandler):
    """GET /: the storefront; for programs, which ask for JSON, the service's links."""

    async def get(self) -> None:
        self.set_header("Vary", "Accept")
        if prefers_json(self.request.headers.get("Accept"), "text/html"):
            await self.send(LINKS)
        else:
            await self.send_page("storefront")


class OrderHandler(SiteHandler):
    """GET /orders/{orderId}: the page of an order. It is the same for each: whether there is such
    an order, and whose it is, it asks the API."""

    async def get(self, order_id: str) -> None:
        await self.send_page("order")


class KitchenHandler(SiteHandler):
    """GET /kitchen: the kitchen's board."""

    async def get(self) -> None:
        await self.send_page("kitchen")


IMMUTABLE = "public, max-age=31536000, immutable"
"""A year, which is the most that caches are asked for (RFC 9111, 5.2.2.1; RFC 8246)."""


class StaticFileHandler(SiteHandler):
    """GET /static/{folder}/{file}: a file of a page, to be kept for ever by its own digest, and
    else to be asked for anew."""

    async def get(self, folder: str, name: str) -> None:
        found = self.site.static.find(f"{folder}/{name}")
        if found is None:
            raise HTTPError(404)
        self.guard()
        is_own = found.url == f"/static/{folder}/{name}"
        await self.send(found.body, IMMUTABLE if is_own else None)


IMAGE_SUFFIXES = (".avif", ".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp")

IMAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""A picture that is opened by itself runs nothing: an SVG may hold scripts."""


class ImageHandler(FolderHandler):
    """GET /images/{file}: a picture of the shop's folder."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    def initialize(self) -> None:  # type: ignore[override]  # the folder is a setting
        site: Site = self.settings["site"]
        super().initialize(str(site.images or os.devnull))

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.clear_header("Date")

    async def get(self, path: str, include_body: bool = True) -> None:
        if "/" in path:  # as %2F: the folder is served, and no other
            raise HTTPError(404)
        await super().get(path, include_body)

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Content-Security-Policy", IMAGE_POLICY)
        self.set_header("Cache-Control", "public, max-age=300")

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        if not absolute_path.lower().endswith(IMAGE_SUFFIXES):
            raise HTTPError(404)
        return super().validate_absolute_path(root, absolute_path)

    @classmethod
    def get_content(
        cls, abspath: str, start: int | None = None, end: int | None = None
    ) -> Generator[bytes, None, None]:
        try:
            yield from super().get_content(abspath, start, end)
        except OSError:  # not ours to read, or gone meanwhile
            raise HTTPError(404) from None

    def compute_etag(self) -> str | None:
        """By time and size: Tornado's own is a digest that is never made anew."""
        assert self.absolute_path is not None
        found = os.stat(self.absolute_path)
        return f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
