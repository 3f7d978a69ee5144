"""The route table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import URLSpec
from tornado.web import Application, RequestHandler, _HandlerDelegate

from orderfood import handlers
from orderfood.handlers import ApiHandler, Context

if TYPE_CHECKING:
    from orderfood.traced import RequestTracer

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
    (r"/metrics", handlers.MetricsHandler),
]


def build_app(context: Context, tracer: RequestTracer | None = None) -> Application:
    """The application; it holds no state but ``context``."""
    return _Application(
        tracer,
        [URLSpec(pattern, handler) for pattern, handler in ROUTES],
        default_handler_class=handlers.NotFoundHandler,
        log_function=_log,
        context=context,
    )


class _Application(Application):
    """Picks the handler with a span around it for requests that are traced; Front has asked.
    Routes without parameters are looked up instead of matched one after the other."""

    def __init__(self, tracer: RequestTracer | None, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._tracer = tracer
        self._plain = {
            path: handler
            for pattern, handler in ROUTES
            if "(" not in pattern
            for path in ({pattern.removesuffix("/?"), pattern.replace("/?", "/")})
        }

    def find_handler(  # type: ignore[override]
        self, request: HTTPServerRequest, **kwargs: Any
    ) -> HTTPMessageDelegate:
        plain = self._plain.get(request.path)
        if plain is not None:
            return self.get_handler_delegate(request, plain)
        return super().find_handler(request, **kwargs)

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        target_class: type[RequestHandler],
        *args: Any,
        **kwargs: Any,
    ) -> _HandlerDelegate:
        if self._tracer is not None and self._tracer.sampled:
            target_class = self._tracer.traced(cast(type[ApiHandler], target_class))
        return super().get_handler_delegate(request, target_class, *args, **kwargs)


def _log(handler: RequestHandler) -> None:
    cast(ApiHandler, handler).log()
