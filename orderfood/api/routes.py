"""The one table of routes: method, template, endpoint, scope. tests/house holds it against
openapi.yaml."""

from __future__ import annotations

from collections.abc import Iterable

from orderfood.api import events, kitchen, menu, operation, orders, sessions
from orderfood.api.routing import EVERYTHING, Route, Router
from orderfood.shop.orders import CREATE_ORDER, MANAGE_ORDERS, READ_ORDER

ROUTES = (
    Route("GET", "/api/product", catalogue_endpoint=menu.list_products, slash=True),
    Route("GET", "/api/product/{productId}", catalogue_endpoint=menu.get_product),
    Route("GET", "/api/order", orders.list_own, READ_ORDER, slash=True),
    Route(
        "POST", "/api/order", orders.place, CREATE_ORDER,
        slash=True, reads_body=True, takes_idempotency_key=True, limits_guests=True,
    ),
    Route("POST", "/api/order/quote", orders.quote, CREATE_ORDER, reads_body=True),
    Route("GET", "/api/order/{orderId}", orders.get_own, READ_ORDER),
    Route(
        "POST", "/api/order/{orderId}/cancel", orders.cancel_own, CREATE_ORDER, limits_guests=True
    ),
    Route("GET", "/api/session", sessions.get),
    Route("POST", "/api/session", sessions.begin, reads_body=True),
    Route("POST", "/api/session/end", sessions.end),
    Route("GET", "/api/event", events.follow_own, READ_ORDER),
    Route("GET", "/api/shop/event", events.follow_all, MANAGE_ORDERS),
    Route("GET", "/api/shop", catalogue_endpoint=kitchen.get_shop),
    Route("POST", "/api/shop/pause", kitchen.pause, MANAGE_ORDERS, reads_body=True),
    Route("POST", "/api/shop/resume", kitchen.resume, MANAGE_ORDERS),
    Route("GET", "/api/shop/order", kitchen.list_orders, MANAGE_ORDERS),
    Route("GET", "/api/shop/order/{orderId}", kitchen.get_order, MANAGE_ORDERS),
    Route(
        "POST", "/api/shop/order/{orderId}/accept", kitchen.accept, MANAGE_ORDERS, reads_body=True
    ),
    Route(
        "POST", "/api/shop/order/{orderId}/estimate", kitchen.estimate, MANAGE_ORDERS,
        reads_body=True,
    ),
    *(
        Route(
            "POST", f"/api/shop/order/{{orderId}}/{name}", kitchen.plain_action(name), MANAGE_ORDERS
        )
        for name in ("ready", "complete", "recall")
    ),
    Route(
        "POST", "/api/shop/order/{orderId}/cancel", kitchen.cancel, MANAGE_ORDERS, reads_body=True
    ),
    Route(
        "POST", "/api/shop/product/{productId}/sold-out", kitchen.set_sold_out, MANAGE_ORDERS,
        reads_body=True,
    ),
    Route("POST", "/api/shop/product/{productId}/available", kitchen.set_available, MANAGE_ORDERS),
    Route("GET", "/openapi.json", operation.get_openapi),
    Route("GET", "/health", operation.get_health, limited=False),
    Route("GET", "/ready", operation.get_ready, limited=False),
    Route("GET", "/metrics", operation.get_metrics, limited=False),
)  # fmt: skip

METRICS = tuple(route for route in ROUTES if route.template == "/metrics")
"""The routes that move to METRICS_PORT where it is set."""


def build_router(
    routes: Iterable[Route], pages: Iterable[str] = (), *, everything: bool = True
) -> Router:
    """The router for these routes and page templates, with OPTIONS for each of them, and OPTIONS *
    if ``everything``."""
    found = [*routes, *(Route("GET", template, page=True) for template in pages)]
    templates = dict.fromkeys(route.template for route in found)
    found += [Route("OPTIONS", template, operation.options) for template in templates]
    if everything:
        found.append(Route("OPTIONS", EVERYTHING, operation.options))
    return Router(found)
