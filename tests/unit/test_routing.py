"""Paths lead where the table of routes says."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders
from tornado.web import RequestHandler

from orderfood.api.routes import ROUTES, build_router
from orderfood.api.routing import UNKNOWN
from orderfood.server.heads import RequestHeaders
from orderfood.web.pages import PAGES, pages_application

ROUTER = build_router(ROUTES, PAGES)
TEMPLATES = sorted({route.template for route in ROUTES} | set(PAGES), key=lambda t: "{" in t)

PARTS = ["/api", "/product", "/order", "/quote", "/cancel", "/", "/docs", "/health", "%2F", "%41",
         "x", "7", "", "/ready", "/openapi.json", "/metrics", "é", "%ff", "..", ";"]  # fmt: skip
SLASHED = ("/api/product", "/api/order")
"""Routes that are the same with a slash behind them."""


def by_template(path: str) -> str:
    """The label of the first template that the path has, as a reader would find it."""
    for template in TEMPLATES:
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        slash = "/?" if template in SLASHED else ""
        if re.fullmatch(pattern + slash, path):
            return re.sub(r"\{(\w+)\}", r":\1", template)
    return UNKNOWN.label


@given(st.lists(st.sampled_from(PARTS), max_size=6).map("".join))
def test_a_path_leads_to_its_template(path: str) -> None:
    assert ROUTER.find(path).resource.label == by_template(path)


@pytest.mark.parametrize(
    ("path", "label", "parameters"),
    [
        ("/api/product", "/api/product", {}),
        ("/api/product/", "/api/product", {}),
        ("/api/product/7", "/api/product/:productId", {"productId": "7"}),
        ("/api/product/%37", "/api/product/:productId", {"productId": "7"}),
        ("/api/product/%ff", "/api/product/:productId", {"productId": "\ufffd"}),
        ("/api/order/quote", "/api/order/quote", {}),
        ("/api/order/x/cancel", "/api/order/:orderId/cancel", {"orderId": "x"}),
        ("/docs/swagger-ui.css", "/docs/:file", {"file": "swagger-ui.css"}),
        ("/docs/", "unknown", {}),
        ("/openapi_json", "unknown", {}),
        ("/", "/", {}),
        ("//", "unknown", {}),
        ("*", "*", {}),
    ],
)
def test_what_a_path_says(path: str, label: str, parameters: dict[str, str]) -> None:
    found = ROUTER.find(path)
    assert (found.resource.label, dict(found.parameters)) == (label, parameters)


def test_methods_are_those_of_the_table_with_head_beside_get() -> None:
    assert ROUTER.find("/api/order").resource.methods == ("GET", "HEAD", "POST", "OPTIONS")
    assert ROUTER.find("/api/order/quote").resource.methods == ("POST", "OPTIONS")
    assert ROUTER.find("/docs").resource.methods == ("GET", "HEAD", "OPTIONS")


def test_headers_are_what_tornado_says_they_are() -> None:
    raw = [(b"X-One", b"a"), (b"x-one", b"b"), (b"Host", b"shop")]
    lazy, full = RequestHeaders(raw), HTTPHeaders()
    for name, value in raw:
        full.add(name.decode(), value.decode())
    assert (lazy["X-ONE"], lazy.get("host"), "x-two" in lazy) == ("a,b", "shop", False)
    assert list(lazy.get_all()) == list(full.get_all())
    assert lazy["x-one"] == full["X-One"]


def test_a_page_may_have_parameters_of_any_name() -> None:
    class Page(RequestHandler):
        pass

    application = pages_application(pages={"/orders/{id}/lines/{line}": Page})
    request = cast(Any, SimpleNamespace(path="/orders/5/lines/7"))
    found = [rule.matcher.match(request) for rule in application.wildcard_router.rules]
    assert found == [{"path_args": [b"5", b"7"], "path_kwargs": {}}]
