"""Routes and requests are what Tornado would have made of them."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest, RequestStartLine
from tornado.routing import PathMatches
from tornado.web import RequestHandler

from orderfood.api.dispatch import PlainRequest, Route, Routes, new_request
from orderfood.api.endpoint import ApiHandler, NotFoundHandler
from orderfood.api.routes import ROUTES
from orderfood.server.connection import Address, Exchange
from orderfood.server.heads import Head, RequestHeaders

ROUTE_TABLE = Routes(ROUTES, NotFoundHandler)

PARTS = ["/api", "/product", "/order", "/quote", "/cancel", "/", "/docs", "/health", "%2F", "%41",
         "x", "7", "", "/ready", "/openapi.json", "/metrics", "é", "%ff", "..", ";"]  # fmt: skip


def by_tornado(path: str) -> Route:
    """The first pattern that matches, as Application would ask them."""
    request = cast(HTTPServerRequest, SimpleNamespace(path=path))
    for pattern, handler in ROUTES:
        if pattern == "*":  # the target of OPTIONS *, which is no path
            continue
        found = PathMatches(pattern.replace(".", r"\.")).match(request)
        if found is not None:
            return handler, tuple(found.get("path_args", ()))
    return NotFoundHandler, ()


@given(st.lists(st.sampled_from(PARTS), max_size=6).map("".join))
def test_a_path_leads_to_the_same_handler(path: str) -> None:
    assert ROUTE_TABLE.find(path) == by_tornado(path)


@pytest.mark.parametrize(
    "path",
    ["/api/product", "/api/product/", "/api/product/7", "/api/order", "/api/order/quote",
     "/api/order/x/cancel", "/docs/swagger-ui.css", "/openapi.json", "/nowhere", "/"],
)  # fmt: skip
def test_every_route_is_found(path: str) -> None:
    handler, parameters = ROUTE_TABLE.find(path)
    assert (handler, parameters) == by_tornado(path)
    assert (handler is NotFoundHandler) == (path in ("/nowhere", "/"))


def request_of(target: str, host: str | None) -> tuple[RequestStartLine, RequestHeaders, Exchange]:
    headers = RequestHeaders([] if host is None else [(b"Host", host.encode())])
    line = RequestStartLine("GET", target, "HTTP/1.1")
    connection = cast(Any, SimpleNamespace(address=Address("192.0.2.7"), server=None))
    return line, headers, Exchange(connection, Head(line, headers, True, False, None), 0)


@pytest.mark.parametrize("host", ["shop.example", "SHOP.example:8080", "[::1]:80", "127.0.0.1"])
@pytest.mark.parametrize("target", ["/", "/api/order", "/a%20b", "/?a=1&b", "/x?"])
def test_a_plain_request_is_as_tornado_would_make_it(target: str, host: str) -> None:
    line, headers, exchange = request_of(target, host)
    made = new_request(line, headers, exchange, exchange.connection)
    wanted = HTTPServerRequest(
        connection=exchange, server_connection=exchange.connection, start_line=line, headers=headers
    )
    assert type(made) is PlainRequest
    for name in set(vars(wanted)) - {"_start_time", "arguments", "query_arguments"}:
        assert getattr(made, name) == getattr(wanted, name), name
    assert made.request_time() < 60
    assert made.full_url() == wanted.full_url()


@pytest.mark.parametrize(("target", "host"), [("/?a=1", ""), ("/", "shop_é.example"), ("/", "a b")])
def test_all_others_are_left_to_tornado(target: str, host: str) -> None:
    line, headers, exchange = request_of(target, host)
    with suppress(HTTPInputError):
        assert type(new_request(line, headers, exchange, None)) is HTTPServerRequest


def test_a_handler_has_all_that_tornado_gives_it() -> None:
    """Its __init__ is not Tornado's: what a newer Tornado sets there must not go unnoticed. What
    "ui" is for are templates, of which there are none."""

    class Plain(RequestHandler):
        pass

    line, headers, exchange = request_of("/", "shop.example")
    request = new_request(line, headers, exchange, None)
    application = cast(Any, SimpleNamespace(ui_methods={}, ui_modules={}, settings={}))
    given_by_tornado = set(vars(Plain(application, request)))
    assert given_by_tornado - names_set_in(ApiHandler) == {"ui"}


def names_set_in(kind: type[ApiHandler]) -> set[str]:
    init, clear = kind.__init__.__code__, kind.clear.__code__
    return {*init.co_names, *clear.co_names}


def test_headers_are_what_tornado_says_they_are() -> None:
    raw = [(b"X-One", b"a"), (b"x-one", b"b"), (b"Host", b"shop")]
    lazy, full = RequestHeaders(raw), HTTPHeaders()
    for name, value in raw:
        full.add(name.decode(), value.decode())
    assert (lazy["X-ONE"], lazy.get("host"), "x-two" in lazy) == ("a,b", "shop", False)
    assert list(lazy.get_all()) == list(full.get_all())
    assert lazy["x-one"] == full["X-One"]
