"""A request's way into its handler: what Tornado's own delegates do, in half the time.

They are made for any application: they parse a query that is not there, ask a chain of matchers for
the route, and start a handler before its body has come, which then takes three turns of the event
loop. Most requests here are whole when their head is judged, and their route is a look-up.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
    split_host_and_port,
)
from tornado.web import Application

from orderfood.api.answers import is_certainly_good
from orderfood.api.endpoint import MAX_KEPT_BODY, ApiHandler
from orderfood.server.connection import Exchange

Route = tuple[type[ApiHandler], tuple[bytes, ...]]
"""A handler and what its path says."""


class Routes:
    """Patterns with their handlers; the first that matches the whole path counts."""

    def __init__(
        self, table: Sequence[tuple[str, type[ApiHandler]]], otherwise: type[ApiHandler]
    ) -> None:
        self._otherwise = otherwise
        self._plain: dict[str, type[ApiHandler]] = {}
        self._matched: list[tuple[re.Pattern[str], type[ApiHandler]]] = []
        for pattern, handler in table:
            if "(" in pattern:
                self._matched.append((re.compile(pattern), handler))
            else:
                self._plain[pattern.removesuffix("/?")] = handler
                self._plain[pattern.replace("/?", "/")] = handler

    def find(self, path: str) -> Route:
        """The handler of a path, which is still as it came, and its parameters, which are not."""
        plain = self._plain.get(path)
        if plain is not None:
            return plain, ()
        for pattern, handler in self._matched:
            found = pattern.fullmatch(path)
            if found is not None:
                return handler, tuple(unquote_to_bytes(group) for group in found.groups())
        return self._otherwise, ()


class PlainRequest(HTTPServerRequest):
    """A request with a good host, of which Tornado has nothing to judge. Its query is not parsed: a
    route that has parameters looks for them."""

    def __init__(  # it sets what Tornado's own sets, which is not called: it would parse and copy
        self, start_line: RequestStartLine, headers: HTTPHeaders, host: str, connection: Exchange
    ) -> None:
        self.method, self.uri, self.version = start_line
        self.path, _, self.query = start_line.path.partition("?")
        self.headers = headers
        self.body = b""
        self.files = {}
        self.remote_ip = connection.context.remote_ip
        self.protocol = connection.context.protocol
        self.host = host
        self.connection = connection
        self.server_connection = connection.connection
        self.arguments = {}
        self.query_arguments = {}
        self.body_arguments = {}
        self._start_time = time.time()
        self._finish_time = None

    @property
    def host_name(self) -> str:  # type: ignore[override]
        """The host without its port."""
        return split_host_and_port(self.host.lower())[0]


def new_request(
    start_line: RequestStartLine,
    headers: HTTPHeaders,
    connection: HTTPConnection,
    server_connection: object,
) -> HTTPServerRequest:
    """Raises HTTPInputError."""
    host = headers.get("Host", "")
    if isinstance(connection, Exchange) and is_certainly_good(host):
        return PlainRequest(start_line, headers, host, connection)
    path, _, query = start_line.path.partition("?")
    request = HTTPServerRequest(
        connection=connection,
        server_connection=server_connection,
        start_line=start_line._replace(path=path),  # it would refuse a query of many fields
        headers=headers,
    )
    request.uri, request.query = start_line.path, query
    return request


class Dispatch(HTTPMessageDelegate):
    """One request: finds its handler and starts it, at once or, when it is whole, with its body."""

    __slots__ = ("_application", "_choose", "_conn", "_handler", "_server", "_whole_with")

    def __init__(
        self,
        application: Application,
        choose: Callable[[str], Route],
        server_connection: object,
        connection: HTTPConnection,
    ) -> None:
        self._application = application
        self._choose = choose
        self._server = server_connection
        self._conn = connection
        self._handler: ApiHandler | None = None
        self._whole_with: tuple[bytes, ...] | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        request = new_request(start_line, headers, self._conn, self._server)
        kind, parameters = self._choose(request.path)
        handler = self._handler = kind(self._application, request)
        if isinstance(self._conn, Exchange) and self._conn.is_whole(MAX_KEPT_BODY):
            self._whole_with = parameters
            request._body_future = self._conn.connection.server.done
            return None
        handler.body_is_late = True
        request._body_future = asyncio.Future()
        prepared: asyncio.Future[None] = asyncio.Future()
        handler._prepared_future = prepared  # type: ignore[assignment]  # None by its stubs
        _start(handler, parameters)
        return prepared

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        assert self._handler is not None
        return self._handler.data_received(chunk)

    def finish(self) -> None:
        assert self._handler is not None
        self._handler.body_is_complete()
        if self._whole_with is not None:
            _start(self._handler, self._whole_with)
        elif not self._handler.request._body_future.done():
            self._handler.request._body_future.set_result(None)

    def on_connection_close(self) -> None:
        if self._handler is not None:
            self._handler.on_connection_close()


def _start(handler: ApiHandler, parameters: tuple[bytes, ...]) -> None:
    running: asyncio.Task[None] = asyncio.create_task(handler._execute([], *parameters))
    running.add_done_callback(_tell)


def _tell(ended: asyncio.Task[Any]) -> None:
    """Has a defect outside all that a handler catches be logged, as Tornado does it."""
    if not ended.cancelled():
        ended.result()
