"""The catalogue's two reads, answered before Tornado's handlers are reached.

Most requests read the menu, and their answers are ready to send; what a RequestHandler does around
them costs several times what they need. So a plain HTTPMessageDelegate takes those that are
simple, on either server, and hands all others on. tests/api/test_front.py holds both ways to the
same headers, log lines and metrics.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from orderfood.api import endpoint as handlers
from orderfood.api.answers import (
    common_headers,
    has_current,
    http_date,
    is_certainly_good,
    negotiate,
    read_headers,
    request_id,
)
from orderfood.api.endpoint import Context
from orderfood.api.wire import Encoded
from orderfood.server.connection import SLICE, Exchange
from orderfood.server.heads import RequestHeaders

if TYPE_CHECKING:
    from orderfood.observe.request_spans import RequestTracer

_OF_A_BODY = ("Content-Type", "Content-Encoding")

LIST = handlers.ProductsHandler.route
ONE = handlers.ProductHandler.route
_PREFIX = "/api/product/"


class Front(HTTPServerConnectionDelegate):
    """Takes the simple reads and hands everything else on to ``app``."""

    def __init__(
        self,
        app: HTTPServerConnectionDelegate,
        context: Context,
        tracer: RequestTracer | None = None,
    ) -> None:
        self.app = app
        self.context = context
        self.tracer = tracer

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        return _Request(self, server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        self.app.on_close(server_conn)

    def find(self, start_line: RequestStartLine) -> tuple[str, Encoded] | None:
        """The route and the body of a simple read; None for all other requests, and while the
        catalogue is not known to be fresh."""
        if start_line.method not in ("GET", "HEAD") or self.context.limiter is not None:
            return None
        path = start_line.path.partition("?")[0]
        snapshot = self.context.shop.catalogue.fresh
        if snapshot is None or not path.startswith("/api/product"):
            return None
        if path in ("/api/product", _PREFIX):
            return LIST, snapshot.menu
        product = snapshot.encoded(path.removeprefix(_PREFIX))
        return None if product is None else (ONE, product)


class _Request(HTTPMessageDelegate):
    """One request, until it is clear who answers it."""

    __slots__ = (
        "_began",
        "_conn",
        "_front",
        "_headers",
        "_inner",
        "_method",
        "_read",
        "_received",
        "_server",
    )

    def __init__(self, front: Front, server_conn: object, request_conn: HTTPConnection) -> None:
        self._front = front
        self._server = server_conn
        self._conn = request_conn
        self._inner: HTTPMessageDelegate | None = None
        self._headers: Mapping[str, str]
        self._read: tuple[str, Encoded] | None = None
        self._received = 0

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        if not start_line.path.startswith("/"):
            start_line = _origin_form(start_line)
        self._began = time.perf_counter()
        tracer = self._front.tracer
        if tracer is None or not tracer.enter(headers, self._conn):
            self._read = self._front.find(start_line)
        if self._read is None or not self._is_simple(self._read[1], headers):
            self._inner = self._front.app.start_request(self._server, self._conn)
            return self._inner.headers_received(start_line, headers)
        self._method = start_line.method
        # one look-up each, for a few names, in what is a plain dict on our own server
        self._headers = headers.lowered if isinstance(headers, RequestHeaders) else headers
        self._front.context.active += 1
        self._front.context.observer.begin(start_line.method, self._read[0])
        return None

    def _is_simple(self, item: Encoded, headers: HTTPHeaders) -> bool:
        """Whether Tornado has nothing to judge of the host, and the answer needs no slicing."""
        sliced = isinstance(self._conn, Exchange) or len(item.body) <= SLICE
        return sliced and is_certainly_good(headers.get("Host", ""))

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._inner is not None:
            return self._inner.data_received(chunk)
        self._received += len(chunk)
        return None

    def finish(self) -> None:
        if self._inner is not None:
            self._inner.finish()
        else:
            self._answer()

    def on_connection_close(self) -> None:
        if self._inner is not None:
            self._inner.on_connection_close()
        elif self._read is not None:
            id_ = request_id(self._headers.get("x-request-id"))
            self._end(499, self._read[0], id_, sent=0)

    def _answer(self) -> None:
        assert self._read is not None
        front, headers = self._front, self._headers
        route, item = self._read
        item = negotiate(item, headers.get("accept-encoding"))
        current = has_current(headers.get("if-none-match"), item.etag)
        id_ = request_id(headers.get("x-request-id"))
        origin = headers.get("origin")
        head = static_head(item, current, front.context.settings.cors_allowed_origins, origin)
        body = b"" if current or self._method == "HEAD" else item.body
        if isinstance(self._conn, Exchange):
            date = f"Date: {http_date()}\r\nX-Request-ID: {id_}".encode("latin-1")
            self._conn.send(head + date, body)
        else:
            self._send_by_tornado(head, http_date(), id_, body)
        self._end(304 if current else 200, route, id_, len(body))

    def _end(self, status: int, route: str, id_: str, sent: int) -> None:
        self._front.context.active -= 1
        self._front.context.observer.end(
            self._method,
            route,
            status,
            time.perf_counter() - self._began,
            id_,
            None,
            None,
            self._received,
            sent,
        )

    def _send_by_tornado(self, head: bytes, date: str, id_: str, body: bytes) -> None:
        status, *lines = head.decode("latin-1").split("\r\n")[:-1]
        _, code, reason = status.split(" ", 2)
        headers = HTTPHeaders()
        for line in lines:
            name, _, value = line.partition(": ")
            headers.add(name, value)
        headers["Date"], headers["X-Request-ID"] = date, id_
        self._conn.write_headers(ResponseStartLine("HTTP/1.1", int(code), reason), headers, body)
        self._conn.finish()


def _origin_form(start_line: RequestStartLine) -> RequestStartLine:
    """A request for http://host/path as one for /path, which RFC 9112, 3.2.2, wants taken."""
    absolute = re.match(r"https?://[^/?#]+", start_line.path, re.IGNORECASE)
    if absolute is None:
        return start_line
    path = start_line.path[absolute.end() :]
    return start_line._replace(path=path if path.startswith("/") else f"/{path}")


def static_head(
    item: Encoded, current: bool, origins: tuple[str, ...], origin: str | None
) -> bytes:
    """The status line and those headers of an answer that are the same for every request; kept as
    long as the body is."""
    key = (current, origins, origin if origin in origins else None)
    head = item.heads.get(key)
    if head is None:
        head = item.heads[key] = _make_head(item, current, origins, origin)
    return head


def _make_head(item: Encoded, current: bool, origins: tuple[str, ...], origin: str | None) -> bytes:
    lines = ["HTTP/1.1 304 Not Modified" if current else "HTTP/1.1 200 OK"]
    headers = [*read_headers(item), *common_headers(origins, origin)]
    if current:  # what describes a body that is not sent is left out (RFC 9110, 15.4.5)
        headers = [header for header in headers if header[0] not in _OF_A_BODY]
    else:
        headers.append(("Content-Length", str(len(item.body))))
    lines += [f"{name}: {value}" for name, value in headers]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")
