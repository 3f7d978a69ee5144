"""The pages: ordinary handlers of a Tornado application, behind the same front door as the API.

What surrounds every request (an id, the log, metrics, who may read it) is added there; here is only
what a page is. Each has its template in PAGES, by which logs, metrics and spans name it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tornado.web import Application, RequestHandler

from orderfood.web import docs, shop
from orderfood.web.site import Site

PAGES: dict[str, type[RequestHandler]] = {
    "/": shop.StorefrontHandler,
    "/orders/{orderId}": shop.OrderHandler,
    "/kitchen": shop.KitchenHandler,
    "/static/{folder}/{file}": shop.StaticFileHandler,
    "/images/{file}": shop.ImageHandler,
    "/docs": docs.DocsHandler,
    "/docs/{file}": docs.AssetHandler,
}
"""The one table of pages, by path template."""


def pages_application(
    site: Site | None = None, pages: Mapping[str, type[RequestHandler]] = PAGES
) -> Application:
    """The application that answers for ``pages``, whose handlers get a path's parameters by their
    order. Without a ``site`` it serves those pages alone that need none."""
    rules = [(re.sub(r"\{\w+\}", "([^/]+)", path), handler) for path, handler in pages.items()]
    return Application(rules, log_function=_nothing, site=site)


def _nothing(handler: RequestHandler) -> None:
    """Does nothing: the access log is the front door's."""
