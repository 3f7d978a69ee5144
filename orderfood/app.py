"""The route table."""

from __future__ import annotations

from typing import cast

from tornado.routing import URLSpec
from tornado.web import Application, RequestHandler

from orderfood import handlers
from orderfood.handlers import ApiHandler, Context

ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (r"/api/product/?", handlers.ProductsHandler),
    (r"/api/product/([^/]+)", handlers.ProductHandler),
    (r"/api/order/?", handlers.OrdersHandler),
    (r"/api/order/quote", handlers.QuoteHandler),
    (r"/api/order/([^/]+)", handlers.OrderHandler),
    (r"/api/order/([^/]+)/cancel", handlers.CancelHandler),
    (r"/openapi.json", handlers.ContractHandler),
    (r"/docs", handlers.DocsHandler),
    (r"/docs/([^/]+)", handlers.DocsAssetHandler),
    (r"/health", handlers.HealthHandler),
    (r"/ready", handlers.ReadyHandler),
]


def build_app(context: Context) -> Application:
    """The application; it holds no state but ``context``."""
    return Application(
        [URLSpec(pattern, handler) for pattern, handler in ROUTES],
        default_handler_class=handlers.NotFoundHandler,
        log_function=_log,
        context=context,
    )


def _log(handler: RequestHandler) -> None:
    cast(ApiHandler, handler).log()
