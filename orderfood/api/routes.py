"""The route table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.web import Application, RequestHandler

from orderfood.api import endpoint as handlers
from orderfood.api.dispatch import Dispatch, Route, Routes
from orderfood.api.endpoint import ApiHandler, Context

if TYPE_CHECKING:
    from orderfood.observe.request_spans import RequestTracer

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
    (r"*", handlers.EverythingHandler),
    (r"/health", handlers.HealthHandler),
    (r"/ready", handlers.ReadyHandler),
]

METRICS: list[tuple[str, type[ApiHandler]]] = [(r"/metrics", handlers.MetricsHandler)]
"""On the same port as all others, unless they have one of their own."""


def build_app(context: Context, tracer: RequestTracer | None = None) -> Application:
    """The application; it holds no state but ``context``."""
    routes = ROUTES if context.settings.metrics_port is not None else ROUTES + METRICS
    return _Application(routes, tracer, log_function=_log, context=context)


def build_metrics_app(context: Context) -> Application:
    """What is served on the metrics' own port."""
    return _Application(METRICS, None, log_function=_log, context=context)


class _Application(Application):
    """Picks the handler with a span around it for requests that are traced; Front has asked."""

    def __init__(
        self,
        routes: list[tuple[str, type[ApiHandler]]],
        tracer: RequestTracer | None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._tracer = tracer
        self._routes = Routes(routes, handlers.NotFoundHandler)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        return Dispatch(self, self._choose, server_conn, request_conn)

    def _choose(self, path: str) -> Route:
        handler, parameters = self._routes.find(path)
        if self._tracer is not None and self._tracer.sampled:
            handler = self._tracer.traced(handler)
        return handler, parameters


def _log(handler: RequestHandler) -> None:
    cast(ApiHandler, handler).log()
