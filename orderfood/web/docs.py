"""Swagger UI: a page to read the OpenAPI document and to try it.

The page is Swagger UI, its files taken as they are from the package flask-swagger-ui: no foreign
host is asked at run time, and nothing of it is copied here. Flask itself is never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from tornado.web import HTTPError

from orderfood.server.bodies import Encoded, encode_bytes
from orderfood.web.base import PageHandler

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Only what this host serves. Swagger UI sets styles in its markup, hence the one exception: a
style cannot send anything anywhere while every source is 'self'."""


def _own(name: str) -> bytes:
    return files("orderfood.web").joinpath("static", "docs", name).read_bytes()


def _swagger_ui(name: str) -> bytes:
    spec = find_spec("flask_swagger_ui")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "dist" / name).read_bytes()


ASSETS: Mapping[str, tuple[str, Callable[[str], bytes]]] = MappingProxyType(
    {
        "start.js": ("text/javascript; charset=utf-8", _own),
        "swagger-ui.css": ("text/css; charset=utf-8", _swagger_ui),
        "swagger-ui-bundle.js": ("text/javascript; charset=utf-8", _swagger_ui),
        "favicon-32x32.png": ("image/png", _swagger_ui),
    }
)
"""The files of the page: their types, and who has them."""


@cache
def _page() -> Encoded:
    return encode_bytes(_own("index.html"), "text/html; charset=utf-8")


@cache
def _asset(name: str) -> Encoded:
    """For names of ASSETS alone: what is kept here a client must not choose."""
    content_type, read = ASSETS[name]
    return encode_bytes(read(name), content_type)


class DocsHandler(PageHandler):
    """The page."""

    async def get(self) -> None:
        self.set_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.set_header("Referrer-Policy", "no-referrer")
        await self.send(_page())


class AssetHandler(PageHandler):
    """A file of the page."""

    async def get(self, name: str) -> None:
        if name not in ASSETS:
            raise HTTPError(404)
        await self.send(_asset(name))
